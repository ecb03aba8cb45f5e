"""A node's journal: what it promised, before it says so, across kill -9 and power loss.

Promises and outcomes are append-only, by triggers. One process holds a journal at a time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from parties.database import Database
from parties.journal_schema import JOURNAL_FILE, JOURNAL_SCHEMA
from parties.ledger_store import LedgerStore
from parties.state_directory import StateDirectory
from protocols.errors import JournalError, MisuseError
from protocols.identity import DIGEST_BYTES

MAX_VALUE_BYTES: Final = 900_000_000
"""SQLite's own bound is 10^9 bytes; larger things belong into blobs."""
MAX_DETAIL_LENGTH: Final = 64 * 1024
MAX_STEP_LENGTH: Final = 64

Outcome = Literal["completed", "aborted"]

_OWNER: Final = "securefed/owner"


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """How one round ended.

    Attributes:
        round: number, from 1.
        task: name of the task.
        outcome: ``completed`` or ``aborted``.
        reason: why it was aborted; empty when completed.
        dropouts: names of the parties that were lost on the way.
        model: SHA-256 of the model after the round; None when aborted.
    """

    round: int
    task: str
    outcome: Outcome
    reason: str = ""
    dropouts: tuple[str, ...] = ()
    model: bytes | None = None


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """One line of the log: seconds since 1970, round (0: none), kind, facts for people."""

    at: float
    round: int
    kind: str
    detail: Mapping[str, Any]


class Journal:
    """The durable memory of one node, for one agreement. Any thread may use it.

    A method returns only when its change is durable; inside :meth:`transaction` everything becomes
    durable together, at the end of the block. Any method raises JournalError when the state cannot
    be read or written, and then nothing may be sent.
    """

    def __init__(
        self, directory: Path, *, owner: bytes = b"", clock: Callable[[], float] = time.time
    ) -> None:
        """Open the journal in ``directory``, or begin one there.

        Args:
            directory: private to this node; made with mode 0700.
            owner: what the state belongs to, such as the agreement's digest; empty: not checked.
            clock: seconds since 1970, for the log.

        Raises:
            JournalError: in use, foreign, newer, damaged, missing though it was here before, of
                another owner, or not writable.
        """
        self._clock = clock
        self._directory = StateDirectory(directory)
        try:
            self._database = Database(self._directory, JOURNAL_FILE, JOURNAL_SCHEMA)
            try:
                self._claim(owner)
            except BaseException:
                self._database.close()
                raise
        except BaseException:
            self._directory.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the journal. Nothing is lost if this never runs."""
        self._database.close()
        self._directory.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make everything in the block durable together, or nothing of it. Never await inside."""
        return self._database.transaction()

    @property
    def ledger(self) -> LedgerStore:
        """The node's copy of the ledger, durable together with the rest."""
        return LedgerStore(self._database)

    def promise(self, round: int, step: str, digest: bytes) -> None:  # noqa: A002 - the paper's noun
        """Record that we say ``digest`` at this step, before we say it. Again is no change.

        Args:
            round: round number, 0 or more.
            step: step of the protocol.
            digest: SHA-256 of what we are about to send, 32 bytes.

        Raises:
            JournalError: something else is promised already, or this cannot be made durable.
        """
        if len(digest) != DIGEST_BYTES or not 0 <= round < 2**63:
            raise MisuseError("a promise has a round from 0 and a digest of 32 bytes")
        if not 0 < len(step) <= MAX_STEP_LENGTH:
            raise MisuseError(f"a promise has a step of 1 to {MAX_STEP_LENGTH} characters")
        with self.transaction():
            before = self.promised(round, step)
            if before is None:
                row = (round, step, bytes(digest), _seal(str(round), step, digest))
                self._database.run("INSERT INTO promises VALUES (?, ?, ?, ?)", row)
            elif not hmac.compare_digest(before, digest):
                raise JournalError(
                    f"round {round}, {step}: {before.hex()[:16]}… is promised already, and "
                    f"{digest.hex()[:16]}… differs; this round must be given up"
                )

    def promised(self, round: int, step: str) -> bytes | None:  # noqa: A002 - the paper's noun
        """Return the digest that is promised for this step, if one is."""
        rows = self._database.run(
            "SELECT digest, seal FROM promises WHERE round = ? AND step = ?", (round, step)
        )
        return self._unsealed(rows, str(round), step)

    def highest_round(self) -> int:
        """Return the highest round with a promise, 0 if there is none."""
        return int(self._database.run("SELECT coalesce(max(round), 0) FROM promises")[0][0])

    def put(self, key: str, value: bytes) -> None:
        """Store a value under a key, replacing the old one."""
        if len(value) > MAX_VALUE_BYTES:
            raise MisuseError(f"{key}: {len(value)} bytes; at most {MAX_VALUE_BYTES}, use a blob")
        row = (key, value, _seal("entry", key, value))
        with self.transaction():
            self._database.run("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", row)

    def get(self, key: str) -> bytes | None:
        """Return the value under a key, if there is one."""
        rows = self._database.run("SELECT value, seal FROM entries WHERE key = ?", (key,))
        return self._unsealed(rows, "entry", key)

    def log(self, round: int, kind: str, detail: Mapping[str, Any]) -> None:  # noqa: A002
        """Add a line to the log: names, sizes and digests only, never data or secrets."""
        text = json.dumps(detail, sort_keys=True, separators=(",", ":"), allow_nan=False)
        if len(text) > MAX_DETAIL_LENGTH:
            raise MisuseError(f"{kind}: a detail of {len(text)} characters is too long for the log")
        row = (self._clock(), round, kind, text)
        with self.transaction():
            self._database.run(
                "INSERT INTO events (at, round, kind, detail) VALUES (?, ?, ?, ?)", row
            )

    def events(self, round: int | None = None) -> list[JournalEvent]:  # noqa: A002
        """Return the log in order, of one round or whole."""
        rows = self._database.run(
            "SELECT at, round, kind, detail FROM events WHERE ?1 IS NULL OR round = ?1 ORDER BY id",
            (round,),
        )
        return [JournalEvent(at, number, kind, json.loads(text)) for at, number, kind, text in rows]

    def record(self, outcome: RoundRecord) -> None:
        """Record how a round ended, once. The same again is no change.

        Raises:
            JournalError: another outcome is on record already.
        """
        with self.transaction():
            before = self.records(outcome.round)
            if not before:
                row = (
                    outcome.round,
                    outcome.task,
                    outcome.outcome,
                    outcome.reason,
                    json.dumps(outcome.dropouts),
                    outcome.model,
                )
                self._database.run("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", row)
            elif before != [outcome]:
                raise JournalError(
                    f"round {outcome.round} is on record as {before[0].outcome}; it cannot end "
                    "in another way as well"
                )

    def records(self, round: int | None = None) -> list[RoundRecord]:  # noqa: A002
        """Return the outcomes in order, of one round or of all."""
        rows = self._database.run(
            "SELECT * FROM records WHERE ?1 IS NULL OR round = ?1 ORDER BY round", (round,)
        )
        return [
            RoundRecord(number, task, outcome, reason, tuple(json.loads(dropouts)), model)
            for number, task, outcome, reason, dropouts, model in rows
        ]

    def put_blob(self, data: bytes | memoryview) -> bytes:
        """Store bytes of any size under their SHA-256 and return it. Durable at once."""
        return self._directory.put_blob(data)

    def blob(self, digest: bytes) -> bytes | None:
        """Return the bytes with this SHA-256, if they are here and whole."""
        return self._directory.blob(digest)

    def keep_blobs(self, digests: Collection[bytes]) -> None:
        """Delete every blob but these."""
        self._directory.keep_blobs(digests)

    def _claim(self, owner: bytes) -> None:
        if not owner:
            return
        with self.transaction():
            before = self.get(_OWNER)
            if before is None:
                self.put(_OWNER, owner)
            elif not hmac.compare_digest(before, owner):
                raise JournalError(
                    f"{self._directory.path} holds the state of another agreement or node "
                    f"({before.hex()[:16]}…); choose another state directory"
                )

    def _unsealed(self, rows: list[tuple[Any, ...]], kind: str, name: str) -> bytes | None:
        if not rows:
            return None
        content, seal = rows[0]
        if not hmac.compare_digest(_seal(kind, name, content), seal):
            raise JournalError(
                f"{self._directory.path}: {kind} {name} is damaged on disk; stop, and restore the "
                "state or take part under a new identity"
            )
        return bytes(content)


def _seal(kind: str, name: str, content: bytes) -> bytes:
    """Return a check against bit rot (not against people): SHA-256 over all three, 16 bytes."""
    head = f"{len(kind)}:{kind}{len(name)}:{name}".encode()
    return hashlib.sha256(head + hashlib.sha256(content).digest()).digest()[:16]
