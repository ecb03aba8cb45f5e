"""Nodes that are killed after any one of their durable or visible acts, and started again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lies import read
from support.masking import seeded_random
from support.nodes import GLM, NodeFederation, make_agreement, toy_data

from parties.coordinator.node import CoordinatorNode
from parties.coordinator.progress import RunReport
from parties.embedded import MemoryJournal
from parties.party.node import PartyNode
from parties.store import Journal
from protocols.errors import JournalError, LedgerError
from protocols.identity import Identity
from protocols.wire import Packet

ROUNDS = 2
VICTIM = "party-0"
HUB = "coordinator"


class Killed(BaseException):
    """The process is gone: nobody may catch this and go on."""


class Fuse:
    """Counts what one process does to the world, and kills it right after act number ``at``."""

    def __init__(self, at: int) -> None:
        self.at, self.acts = at, 0
        self.blown = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._guard = threading.Lock()

    def act(self, deed: Callable[[], object]) -> object:
        with self._guard:
            if self.acts >= self.at:
                self._loop.call_soon_threadsafe(self.blown.set)
                raise Killed
            self.acts += 1
            done = deed()
            if self.acts >= self.at:
                self._loop.call_soon_threadsafe(self.blown.set)
                raise Killed
            return done


class FusedLedger:
    """Leaves are written as everything else in the journal is."""

    def __init__(self, journal: FusedJournal, inner) -> None:
        self._journal, self._inner = journal, inner

    @property
    def size(self) -> int:
        return self._inner.size

    def append(self, leaves) -> None:
        self._journal._write(lambda: self._inner.append(leaves))

    def leaf(self, position: int) -> bytes:
        return self._inner.leaf(position)

    def leaves(self, start: int = 0):
        return self._inner.leaves(start)


class FusedJournal:
    """Every write is an act; a transaction is one, and all or nothing."""

    def __init__(self, inner: MemoryJournal, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse
        self._pending: list[Callable[[], object]] | None = None
        self.ledger = FusedLedger(self, inner.ledger)

    def _write(self, deed: Callable[[], object]) -> object:
        if self._pending is None:
            return self._fuse.act(deed)
        self._pending.append(deed)
        return None

    def promise(self, round_: int, step: str, digest: bytes) -> None:
        self._write(lambda: self._inner.promise(round_, step, digest))

    def put(self, key: str, value: bytes) -> None:
        self._write(lambda: self._inner.put(key, value))

    def put_blob(self, data: bytes) -> bytes:
        return self._fuse.act(lambda: self._inner.put_blob(data))

    def keep_blobs(self, digests) -> None:
        self._fuse.act(lambda: self._inner.keep_blobs(digests))

    def get(self, key: str) -> bytes | None:
        return self._inner.get(key)

    def blob(self, digest: bytes) -> bytes | None:
        return self._inner.blob(digest)

    @contextmanager
    def transaction(self):
        if self._pending is not None:  # a block in a block belongs to the outer one
            yield
            return
        self._pending = []
        try:
            yield
            pending = self._pending
        finally:
            self._pending = None
        self._fuse.act(lambda: [deed() for deed in pending])


class FusedLink:
    """Every message sent is an act."""

    def __init__(self, inner, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    async def start(self):
        return await self._inner.start()

    async def stop(self) -> None:
        """A killed process says no goodbye."""

    async def next_event(self):
        return await self._inner.next_event()

    async def send(self, *arguments) -> None:
        # The memory links send without waiting, so one step runs the whole coroutine.
        def deed() -> None:
            with pytest.raises(StopIteration):
                self._inner.send(*arguments).send(None)

        self._fuse.act(deed)


class Wire:
    """Remembers every word that was said, and checks that nobody contradicts itself."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, str, int, str], bytes] = {}
        self.opened: list[int] = []
        self.contradictions: list[object] = []

    def __call__(self, sender: str, receiver: str, body: bytes) -> bytes:
        packet: Packet = read(body)
        envelope = packet.envelope
        # What a party says goes to the coordinator alone; what the coordinator says may differ by
        # receiver in one step only.
        to = receiver if envelope.step == "deliver" else ""
        key = (sender, to, envelope.round, envelope.step)
        framing = envelope.step in {"withdraw", "end", "final", "holding", "extend", "cosign"}
        if not framing and self.said.setdefault(key, envelope.payload) != envelope.payload:
            self.contradictions.append(key)
        if envelope.step == "open" and envelope.round not in self.opened[-1:]:
            if envelope.round < max(self.opened, default=0):
                self.contradictions.append(key)
            self.opened.append(envelope.round)
        return body


class Crashes(NodeFederation):
    """A federation in which nodes are killed after some of their acts, each once."""

    def __init__(self, n: int, max_dropouts: int, rounds: int = ROUNDS) -> None:
        signed, identities = make_agreement(
            [{**GLM, "rounds": rounds}],
            n,
            max_dropouts=max_dropouts,
            threshold=1,
            deadline_seconds=5,
        )
        self.wire = Wire()
        super().__init__(signed, identities, toy_data(n, rows=20), self.wire)
        self.fuses: dict[str, Fuse] = {}

    def fused_coordinator(self, fuse: Fuse) -> CoordinatorNode:
        return CoordinatorNode(
            self.signed,
            self.identities[HUB],
            FusedLink(self.net.hub(), fuse),
            FusedJournal(self.journals[HUB], fuse),
            self.strategy,
            report=lambda event: self._note(HUB, event),
            **self.options,
        )

    def fused_party(self, name: str, fuse: Fuse) -> PartyNode:
        return PartyNode(
            self.signed,
            self.identities[name],
            FusedLink(self.net.spoke(name), fuse),
            FusedJournal(self.journals[name], fuse),
            self.trainers[name],
            random=seeded_random(fuse.at),
            report=lambda event: self._note(name, event),
        )

    async def live(self, name: str, at: int | None) -> RunReport | object:
        """Run a node; if it is killed on the way, start it again with the same state."""
        if at is not None:
            fuse = self.fuses[name] = Fuse(at)
            node = self.fused_coordinator(fuse) if name == HUB else self.fused_party(name, fuse)
            running = asyncio.create_task(node.run())
            death = asyncio.create_task(fuse.blown.wait())
            await asyncio.wait({running, death}, return_when=asyncio.FIRST_COMPLETED)
            killed = fuse.blown.is_set()
            for task in (running, death):
                task.cancel()
            ended = (await asyncio.gather(running, death, return_exceptions=True))[0]
            if not killed:
                return ended
            if name == HUB:
                self.net.restart_hub()
            else:
                self.net.cut(name)
        node = self.coordinator() if name == HUB else self.party(name)
        return await node.run()

    async def survive(self, kills: dict[str, int]) -> RunReport:
        async with asyncio.timeout(60):
            parties = [asyncio.create_task(self.live(name, kills.get(name))) for name in self.data]
            report = await self.live(HUB, kills.get(HUB))
            _, waiting = await asyncio.wait(parties, timeout=0.3)
            if waiting:
                # Who died while the run ended is given the models by a coordinator that comes back.
                await self.coordinator().run()
            ended = await asyncio.gather(*parties)
        assert all(one.outcome == "completed" for one in ended)
        return report

    def check(self, report: RunReport) -> None:
        """Whatever died: a model, the same one everywhere, and every round number used once."""
        assert isinstance(report, RunReport), report
        assert not self.wire.contradictions
        model = report.models["risk"]
        assert all(kept["risk"] == model for kept in self.models.values())
        rounds = [record.round for record in report.records]
        assert rounds == list(range(1, len(rounds) + 1))
        assert any(record.outcome == "completed" for record in report.records)
        assert len(rounds) <= self.signed.agreement.max_rounds


def acts_of(name: str, n: int, max_dropouts: int) -> int:
    """How many acts a node has in a run in which nobody dies."""

    async def count() -> int:
        made = Crashes(n, max_dropouts)
        made.check(await made.survive({name: 10**6}))
        return made.fuses[name].acts

    return asyncio.run(count())


def survive(
    n: int, max_dropouts: int, kills: dict[str, int], rounds: int = ROUNDS
) -> tuple[Crashes, RunReport]:
    async def scenario():
        made = Crashes(n, max_dropouts, rounds)
        report = await made.survive(kills)
        made.check(report)
        return made, report

    return asyncio.run(scenario())


def test_the_coordinator_may_die_after_any_act_and_the_run_completes():
    total = acts_of(HUB, 3, 0)
    assert total > 20 * ROUNDS
    # The last acts tell each party of the end; whoever starts again then waits for all of them.
    for at in [*range(1, total - 2), total - 1]:
        _, report = survive(3, 0, {HUB: at})
        assert sum(record.outcome == "aborted" for record in report.records) <= 1, at


@pytest.mark.parametrize(("n", "max_dropouts"), [(3, 0), (4, 1)])
def test_a_party_may_die_after_any_act_and_rejoins_at_the_next_round(n, max_dropouts):
    total = acts_of(VICTIM, n, max_dropouts)
    assert total > 10 * ROUNDS
    for at in range(1, total + 1):
        made, report = survive(n, max_dropouts, {VICTIM: at})
        if max_dropouts:
            assert all(record.outcome == "completed" for record in report.records), at
        rounds = {r.round for r in report.records if r.outcome == "completed"}
        absent = {r.round for r in report.records if VICTIM not in r.survivors} & rounds
        assert len(absent) <= 1, at
        assert made.told(VICTIM, "connected")


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 130), st.integers(1, 38), st.integers(1, 38))
def test_a_coordinator_and_two_parties_may_die_in_one_run(hub, first, second):
    # Each death may cost a round; with one more than deaths, one has a sum.
    survive(5, 1, {HUB: hub, "party-0": first, "party-3": second}, rounds=4)


def test_a_coordinator_restored_from_an_old_backup_stops_before_it_signs_a_second_ledger():
    """What it does not remember, the parties do: no round number is answered twice."""
    signed, identities = make_agreement([{**GLM, "rounds": 10}], 3, deadline_seconds=5)
    wire = Wire()
    made = NodeFederation(signed, identities, toy_data(3), wire)
    backup = MemoryJournal()

    async def scenario():
        parties = [asyncio.create_task(made.party(name).run()) for name in made.data]
        first = asyncio.create_task(made.coordinator().run())
        await made.until(HUB, "round-completed", 2)
        backup.values = dict(made.journals[HUB].values)
        backup.blobs = dict(made.journals[HUB].blobs)
        backup.promises = dict(made.journals[HUB].promises)
        backup.ledger.append(list(made.journals[HUB].ledger.leaves()))
        await made.until(HUB, "round-completed", 4)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        made.journals[HUB] = backup
        made.net.restart_hub()
        wire.opened.clear()
        wire.said = {key: said for key, said in wire.said.items() if key[0] != HUB}
        with pytest.raises(LedgerError, match="not older than theirs"):
            await made.coordinator().run()
        for party in parties:
            party.cancel()
        await asyncio.gather(*parties, return_exceptions=True)

    asyncio.run(scenario())
    assert len(made.told(HUB, "ledger-behind")) == 3
    # It signed nothing new, so that the right backup can still go on with the run.
    assert all(made.journals[name].get("evidence") is None for name in made.data)


def test_no_secret_and_no_row_is_at_rest_or_told(tmp_path):
    """Everything drawn at random by a party, its key and its rows, looked for in all it leaves."""
    signed, identities = make_agreement([GLM], 3, deadline_seconds=10)
    data = toy_data(3)
    wire: list[bytes] = []

    def tap(_sender: str, _receiver: str, body: bytes) -> bytes:
        wire.append(body)
        return body

    made = NodeFederation(signed, identities, data, tap)
    drawn: list[bytes] = []
    real = seeded_random(5)

    def random(count: int) -> bytes:
        drawn.append(real(count))
        return drawn[-1]

    journals = {name: Journal(tmp_path / name) for name in identities}
    made.journals = journals

    async def scenario():
        node = PartyNode(
            signed,
            identities[VICTIM],
            made.net.spoke(VICTIM),
            journals[VICTIM],
            made.trainers[VICTIM],
            random=random,
            report=lambda event: made._note(VICTIM, event),
        )
        running = asyncio.create_task(node.run())
        await made.run([name for name in data if name != VICTIM])
        await running

    asyncio.run(scenario())
    for journal in journals.values():
        journal.close()
    secrets = [one for one in drawn if len(one) >= 16]
    assert len(secrets) > 20
    keys = seeded_random(11)  # as make_agreement draws them: the coordinator's, then party-0's
    secrets += [keys(32), keys(32)]
    assert Identity(VICTIM, secrets[-1]).public.raw == identities[VICTIM].public.raw
    rows = [row.tobytes() for row in data[VICTIM].features]
    values = [repr(float(value)) for value in data[VICTIM].features.ravel()]
    told = repr(made.events)
    at_rest = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert len(at_rest) > 10_000
    for secret in secrets:
        assert secret not in at_rest
        assert secret.hex() not in told
    for row in rows:
        assert row not in at_rest
        assert not any(row in body for body in wire)
    assert not any(value in told for value in values)


def test_one_state_serves_one_node_at_a_time(tmp_path):
    with Journal(tmp_path / "state"), pytest.raises(JournalError, match="in use"):
        Journal(tmp_path / "state")
