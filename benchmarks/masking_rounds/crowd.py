"""All parties of one round. Some are measured; the messages of the others are made cheaply.

The measured ones are :class:`MaskingParty` objects and do all that a party does. For the others the
same functions seal, share, mask and sign, so that each message is what an honest party sends, but
nobody verifies one roster a thousand times, the seed of a pair is derived once for both of its
ends, and masks are added on every core.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from time import perf_counter, thread_time
from typing import Self, TypeVar

import msgspec

from masking_rounds.federation import MODEL, Federation
from parties.parallel import add_masks_parallel
from protocols.graph import draw_neighbours
from protocols.identity import Envelope
from protocols.masking.dealing import Secrets, deal, take
from protocols.masking.ephemeral import EphemeralKey
from protocols.masking.messages import (
    Advertise,
    Confirmation,
    Delivery,
    Roster,
    Shares,
    Submission,
    Survivors,
    Unmask,
)
from protocols.masking.party import MaskingParty
from protocols.masking.sealing import SharePair, pairwise_seed, seed_digest, self_seed
from protocols.packing import pack, packed_size
from protocols.prg import Words, expand

T = TypeVar("T")
M = TypeVar("M")
Mail = Mapping[int, Envelope]

CORES = os.cpu_count() or 1


def opened(envelope: Envelope, kind: type[M]) -> M:
    """Return the message of an envelope, nothing checked."""
    return msgspec.msgpack.decode(envelope.payload, type=kind)


class Vectors:
    """Masked vectors in an unnamed file, since a thousand of them may not fit into memory."""

    def __init__(self, size: int) -> None:
        """Args: bytes of one vector."""
        self._size = size
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()

    def write(self, number: int, vector: bytes) -> None:
        self._file.seek(number * self._size)
        self._file.write(vector)

    def read(self, number: int) -> memoryview:
        self._file.seek(number * self._size)
        return memoryview(self._file.read(self._size))

    def close(self) -> None:
        self._file.close()


class Crowd:
    """Every party of one round. What was said once is said again to the next coordinator.

    Attributes:
        seconds: wall-clock seconds of each step of each measured party.
        cpu_seconds: the same by the clock of its thread, which other processes do not stretch.
    """

    def __init__(self, made: Federation, measured: Collection[int]) -> None:
        """Make everybody's keys.

        Args:
            made: the federation.
            measured: numbers of the parties that are measured.
        """
        self.made, self.context = made, made.context
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.cpu_seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._secrets = {
            number: Secrets(
                EphemeralKey(secrets.token_bytes(32)),
                EphemeralKey(secrets.token_bytes(32)),
                secrets.token_bytes(32),
            )
            for number in range(len(made.parties))
        }
        self._inputs = {number: secrets.token_bytes(32) for number in self._secrets}
        self._nodes = {number: self._node(number) for number in measured}
        self._pairs: dict[tuple[int, int], bytes] = {}
        self._held: dict[int, dict[int, SharePair]] = {}
        self._edges: dict[int, set[int]] = {number: set() for number in self._secrets}
        self._said: dict[object, dict[int, Envelope]] = {}
        self._submitted: dict[int, Envelope] = {}
        self._vectors = Vectors(packed_size(made.context.count, made.context.modulus_bits))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._vectors.close()

    def _node(self, number: int) -> MaskingParty:
        known = [self._secrets[number].mask.private, self._secrets[number].channel.private]

        def random(count: int) -> bytes:
            return known.pop() if known else secrets.token_bytes(count)

        return MaskingParty(self.context, self.made.parties[number], random)

    def values(self, number: int) -> Words:
        """Return the update of one party, shape (count,)."""
        return expand(self._inputs[number], self.context.count, self.context.word.itemsize * 8)

    def _timed(self, step: str, work: Callable[[], T]) -> T:
        start, start_cpu = perf_counter(), thread_time()
        result = work()
        self.seconds[step].append(perf_counter() - start)
        self.cpu_seconds[step].append(thread_time() - start_cpu)
        return result

    def _once(self, key: object, make: Callable[[], dict[int, Envelope]]) -> dict[int, Envelope]:
        if key not in self._said:
            self._said[key] = make()
        return self._said[key]

    def _seal(self, number: int, message: msgspec.Struct) -> Envelope:
        return self.context.seal(self.made.parties[number], message)

    # Step 1

    def advertise(self) -> dict[int, Envelope]:
        """Return everybody's :class:`Advertise`."""
        return self._once("advertise", lambda: {n: self._advertise(n) for n in self._secrets})

    def _advertise(self, number: int) -> Envelope:
        if number in self._nodes:
            return self._timed("advertise", self._nodes[number].advertise)
        known = self._secrets[number]
        return self._seal(number, Advertise(known.channel.public, known.mask.public))

    # Step 2

    def share(self, mail: Mail) -> dict[int, Envelope]:
        """Return everybody's :class:`Shares` for the roster."""
        return self._once("share", lambda: self._share_all(mail))

    def _share_all(self, mail: Mail) -> dict[int, Envelope]:
        roster = opened(mail[0], Roster).advertisements
        self._roster = self.context.roster_digest(roster)
        self._keys = [opened(one, Advertise) for one in roster]
        shares = {number: self._share(number, mail[number]) for number in self._secrets}
        for dealer, envelope in shares.items():
            for dealt in opened(envelope, Shares).dealt:
                self._edges[dealer].add(dealt.holder)
                self._edges[dealt.holder].add(dealer)
        return shares

    def _share(self, number: int, roster: Envelope) -> Envelope:
        if number in self._nodes:
            return self._timed("share", lambda: self._nodes[number].receive_roster(roster))
        context, known = self.context, self._secrets[number]
        holders = [other for other in self._secrets if other != number]
        if context.degree is not None:
            holders = [*draw_neighbours(number, holders, context.degree, secrets.token_bytes)]
        public = {holder: self._keys[holder].channel_key for holder in holders}
        dealt = deal(context, self._roster, number, public, known, secrets.token_bytes)
        return self._seal(
            number, Shares(self._roster, seed_digest(context, known.seed, number), dealt)
        )

    def deliver(self, mail: Mail) -> None:
        """Let everybody open its shares."""
        if self._held:
            return
        for number, envelope in mail.items():
            if number in self._nodes:
                self._timed("deliver", lambda n=number, e=envelope: self._take_measured(n, e))
            self._held[number] = self._take(number, opened(envelope, Delivery))
        self._sharers = self.context.sharers_digest(self._roster, sorted(mail))

    def _take_measured(self, number: int, envelope: Envelope) -> None:
        if self._nodes[number].receive_delivery(envelope):
            raise SystemExit("an honest share did not open")

    def _take(self, number: int, delivery: Delivery) -> dict[int, SharePair]:
        key = self._secrets[number].channel
        return {
            one.dealer: take(
                self.context, self._roster, number, key, self._keys[one.dealer].channel_key, one
            )
            for one in delivery.delivered
        }

    # Step 3

    def submit(self, alive: Collection[int]) -> Iterator[tuple[Envelope, memoryview]]:
        """Yield the :class:`Submission` and the masked vector of each party in ``alive``."""
        for number in sorted(alive):
            if number not in self._submitted:
                self._submitted[number] = self._submit(number)
            yield self._submitted[number], self._vectors.read(number)

    def _submit(self, number: int) -> Envelope:
        values = self.values(number)
        if number in self._nodes:
            node = self._nodes[number]
            envelope, wire = self._timed("submit", lambda: node.submit(values, model=MODEL))
        else:
            add_masks_parallel(values, self._masks(number), CORES)
            wire = pack(values, self.context.modulus_bits)
            digest = hashlib.sha256(wire).digest()
            count = self.context.count
            envelope = self._seal(
                number, Submission(self._roster, self._sharers, MODEL, digest, count, b"")
            )
        self._vectors.write(number, wire)
        return envelope

    def _masks(self, number: int) -> list[tuple[bytes, bool]]:
        seed = self_seed(self.context, self._roster, self._secrets[number].seed, number)
        edges = sorted(self._edges[number])
        return [(seed, True), *((self._pair(number, peer), peer > number) for peer in edges)]

    def _pair(self, number: int, peer: int) -> bytes:
        pair = (min(number, peer), max(number, peer))
        if pair not in self._pairs:
            key, public = self._secrets[number].mask, self._keys[peer].mask_key
            self._pairs[pair] = pairwise_seed(self.context, self._roster, key, number, public, peer)
        return self._pairs[pair]

    # Steps 4 and 5

    def confirm(
        self, alive: frozenset[int], mail: Mail, measured: Collection[int]
    ) -> dict[int, Envelope]:
        """Return everybody's :class:`Confirmation` of the survivor set ``alive``."""
        return self._once(("confirm", alive), lambda: self._confirm(alive, mail, measured))

    def _confirm(
        self, alive: frozenset[int], mail: Mail, measured: Collection[int]
    ) -> dict[int, Envelope]:
        said = {
            n: self._timed("confirm", lambda n=n: self._nodes[n].receive_survivors(mail[n]))
            for n in measured
        }
        message = opened(mail[min(alive)], Survivors)
        digest = self.context.survivors_digest(self._sharers, message.submissions, message.dropouts)
        return {n: said.get(n) or self._seal(n, Confirmation(digest)) for n in sorted(alive)}

    def unmask(
        self, alive: frozenset[int], mail: Mail, measured: Collection[int]
    ) -> dict[int, Envelope]:
        """Return everybody's :class:`Unmask` for the survivor set ``alive``."""
        return self._once(("unmask", alive), lambda: self._unmask(alive, mail, measured))

    def _unmask(
        self, alive: frozenset[int], mail: Mail, measured: Collection[int]
    ) -> dict[int, Envelope]:
        said = {
            n: self._timed("unmask", lambda n=n: self._nodes[n].receive_confirmations(mail[n]))
            for n in measured
        }
        digest = opened(self._said["confirm", alive][min(alive)], Confirmation).survivors
        return {n: said.get(n) or self._release(n, alive, digest) for n in sorted(alive)}

    def _release(self, number: int, alive: frozenset[int], digest: bytes) -> Envelope:
        held = sorted(self._held[number].items())
        seeds = tuple(pair.seed for dealer, pair in held if dealer in alive)
        keys = tuple(pair.key for dealer, pair in held if dealer not in alive)
        return self._seal(number, Unmask(digest, seeds, keys))
