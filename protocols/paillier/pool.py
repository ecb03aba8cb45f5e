"""A pool of obfuscators, made while a party trains and taken when it submits.

What is taken leaves the store durably before it is handed out. A crash in between loses
obfuscators, which costs time; the other order could hand one out twice, which tells everybody the
difference of two plaintexts. For the same reason a pool belongs into no backup.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

from protocols.errors import MisuseError
from protocols.paillier.keys import PublicKey
from protocols.paillier.obfuscators import Obfuscator

Record: TypeAlias = tuple[int, bytes]
"""Serial number and secret bytes of one obfuscator."""


class Store(Protocol):
    """Where a pool outlives its process."""

    def keep(self, records: Sequence[Record]) -> None:
        """Write the records, their bytes encrypted. A serial number that is there is an error."""

    def forget(self, serials: Sequence[int]) -> None:
        """Delete the records, and return only when they stay deleted also across a power cut.

        All or none: when one of them is not there, somebody else has taken it, and this raises
        without deleting any. Two pools on one store therefore never hand out the same obfuscator.
        """


class Pool:
    """Unused obfuscators of one key, oldest first.

    Attributes:
        key: whose obfuscators.
    """

    __slots__ = ("_next", "_store", "_unused", "key")

    def __init__(
        self,
        key: PublicKey,
        *,
        store: Store | None = None,
        records: Iterable[Record] = (),
        start: int = 1,
    ) -> None:
        """Open a pool.

        Args:
            key: whose obfuscators.
            store: where they are kept too; without one they end with the process.
            records: what the store holds.
            start: serial number below which the store takes none any more.

        Raises:
            InputError: a record that is no obfuscator of the key.
            MisuseError: a serial number or an obfuscator that is there twice, as when a backup was
                put back.
        """
        self.key, self._store = key, store
        self._unused: OrderedDict[int, Obfuscator] = OrderedDict()
        seen: set[bytes] = set()
        for serial, secret in sorted(records):
            if serial in self._unused or secret in seen:
                raise MisuseError(f"obfuscator {serial} is in the store twice")
            seen.add(secret)
            self._unused[serial] = Obfuscator.from_secret_bytes(key, secret)
        self._next = max(start, *(serial + 1 for serial in self._unused), 1)

    def __len__(self) -> int:
        return len(self._unused)

    def __repr__(self) -> str:
        return f"Pool({len(self)} unused)"

    def add(self, obfuscators: Sequence[Obfuscator]) -> None:
        """Put obfuscators in, into the store first. The objects themselves are used up by this.

        Raises:
            MisuseError: one is used, or belongs to another key; those before it are used up, and
                none is in the pool.
        """
        digest = self.key.digest()
        if any(one.key_digest != digest for one in obfuscators):
            raise MisuseError("an obfuscator belongs to another key")
        records = [
            (serial, one.to_secret_bytes(self.key))
            for serial, one in enumerate(obfuscators, self._next)
        ]
        self._next += len(records)
        if self._store is not None:
            self._store.keep(records)
        for serial, secret in records:
            self._unused[serial] = Obfuscator.from_secret_bytes(self.key, secret)

    def take(self, most: int) -> list[Obfuscator]:
        """Take up to ``most`` obfuscators out for good; make those that are missing afresh.

        They have left the pool, and its store, before any of them is returned. Where the store
        fails, its error passes through and the pool has forgotten them all the same.

        Raises:
            MisuseError: ``most`` is negative.
        """
        if most < 0:
            raise MisuseError(f"cannot take {most} obfuscators")
        serials = list(islice(self._unused, most))
        taken = [self._unused.pop(serial) for serial in serials]
        if serials and self._store is not None:
            self._store.forget(serials)
        return taken
