"""The ledger between real nodes: copies, lost commits, old states, a coordinator that hides."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from support.lies import Hub, read
from support.nodes import GLM, NodeFederation, make_agreement, toy_data
from support.private import nodes, private_federation

from parties.embedded import MemoryJournal
from parties.party.purse import SPENT_KEY
from protocols.ledger.verify import LedgerVerifier
from protocols.rounds import RoundAborted
from securefed import Auditor
from securefed.federation import Federation

HUB = "coordinator"
PARTY = "party-0"


def federation(n: int = 4, *, rounds: int = 6, max_dropouts: int = 1, hook=None) -> NodeFederation:
    signed, identities = make_agreement(
        [{**GLM, "rounds": rounds}], n, max_dropouts=max_dropouts, threshold=1, deadline_seconds=1.5
    )
    return NodeFederation(signed, identities, toy_data(n, rows=20), hook)


def read_back(made: NodeFederation, name: str) -> LedgerVerifier:
    verifier = LedgerVerifier()
    for leaf in made.journals[name].ledger.leaves():
        verifier.take(leaf)
    return verifier


def test_every_party_ends_with_the_whole_ledger_and_each_verifies():
    made = federation()

    async def scenario():
        parties = [asyncio.create_task(made.party(name).run()) for name in made.data]
        await made.coordinator().run()
        await asyncio.gather(*parties)

    asyncio.run(scenario())
    hub = list(made.journals[HUB].ledger.leaves())
    for name in made.data:
        assert list(made.journals[name].ledger.leaves()) == hub
    verifier = read_back(made, HUB)
    assert verifier.closed
    assert all(len(one.witnesses) >= 3 for one in verifier.checkpoints)


def test_a_party_that_missed_rounds_is_shown_them_before_it_takes_part_again():
    made = federation(rounds=8)

    async def scenario():
        parties = {name: asyncio.create_task(made.party(name).run()) for name in made.data}
        running = asyncio.create_task(made.coordinator().run())
        await made.until(HUB, "round-completed", 1)
        parties[PARTY].cancel()
        await asyncio.gather(parties[PARTY], return_exceptions=True)
        await made.until(HUB, "round-completed", 3)
        parties[PARTY] = asyncio.create_task(made.party(PARTY).run())
        await running
        await asyncio.gather(*parties.values(), return_exceptions=True)

    asyncio.run(scenario())
    last = read_back(made, PARTY)
    assert last.closed
    assert 0 in last.rounds[-1].survivors
    assert any(0 not in one.survivors for one in last.rounds)


def test_a_commit_that_was_lost_on_its_way_is_recorded_late_and_its_party_goes_on():
    lost: list[int] = []

    def hook(sender: str, _receiver: str, body: bytes) -> bytes | None:
        envelope = read(body).envelope
        if sender == PARTY and envelope.step == "submit" and not lost:
            lost.append(envelope.round)
            return None
        return body

    made = federation(hook=hook)
    asyncio.run(made.run())
    assert lost == [1]
    verifier = read_back(made, HUB)
    first, second = verifier.rounds[:2]
    assert first.late == (0,)
    assert 0 not in first.survivors
    assert 0 in second.survivors
    # Its people are charged for a round whose sum does not hold them: the vector had left.
    assert verifier.commits_of(0) == {"risk": len(verifier.rounds)}


def test_a_coordinator_that_leaves_out_a_partys_commit_gets_no_further_answer_from_it():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            await hub.to_submission(hub.role(1))
            book = hub.books[PARTY]
            book.end(RoundAborted("submit", ""), heard=())  # as if nobody had committed
            hub.open(2, to=[PARTY])
            assert "our last commit" in (await hub.refused(PARTY))[0]
            assert hub.steps(PARTY)[-1] == "withdraw"
            hub.open(3, to=[PARTY])
            await hub.refused(PARTY, 2)
            assert hub.steps(PARTY).count("advertise") == 1

    asyncio.run(scenario())


def test_a_checkpoint_without_a_quorum_of_witnesses_opens_no_round():
    async def scenario():
        async with Hub(5, colluders=1) as hub:
            book = hub.books[PARTY]
            del book.leaves[1:]
            book.checkpoint(witnesses=hub.names[:3])  # four are needed
            hub.open(1, to=[PARTY])
            assert "witnesses-too-few" in (await hub.refused(PARTY))[0]
            await hub.hear("withdraw", [PARTY])
            assert hub.steps(PARTY) == ["withdraw"]

    asyncio.run(scenario())


def test_a_coordinator_that_shows_a_party_another_past_leaves_evidence_and_gets_no_answer():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            await hub.hear("advertise")
            book = hub.books[PARTY]
            hub.say(1, RoundAborted("share", "for one reason"), to=[PARTY])
            hub.open(2, to=[PARTY])
            await hub.hear("advertise", [PARTY])
            # The same round, ended in another way.
            del book.leaves[3:]
            book.shown, book.round, book.open = 2, 0, None
            message = book.opening(1, "risk", 1, read_model(hub))
            book.begin(1, message)
            book.end(RoundAborted("share", "for another reason"), ())
            hub.show(PARTY)
            told = await hub.refused(PARTY)
            assert "is not the one that we hold" in told[0]
            assert hub.federation.journals[PARTY].get("evidence") is not None
            hub.open(3, to=[PARTY])
            await hub.refused(PARTY, 2)
            assert hub.steps(PARTY).count("advertise") == 2

    asyncio.run(scenario())


def read_model(hub: Hub) -> bytes:
    opened, _ = hub.books["party-1"].open
    return opened.model


def test_a_party_restored_from_a_backup_catches_up_from_the_ledger_and_owes_what_it_forgot():
    _, identities, agreement = private_federation(rounds=5)
    made = nodes(agreement, identities)

    async def scenario():
        parties = {name: asyncio.create_task(made.party(name).run()) for name in made.data}
        running = asyncio.create_task(made.coordinator().run())
        await made.until(HUB, "round-completed", 2)
        parties[PARTY].cancel()
        await asyncio.gather(parties[PARTY], return_exceptions=True)
        made.journals[PARTY] = MemoryJournal()  # of before the first round
        parties[PARTY] = asyncio.create_task(made.party(PARTY).run())
        await running
        await asyncio.gather(*parties.values(), return_exceptions=True)

    asyncio.run(scenario())
    assert made.told(PARTY, "charged-from-ledger")
    verifier = read_back(made, PARTY)
    spent = msgspec.msgpack.decode(made.journals[PARTY].get(SPENT_KEY))
    assert spent["risk"] >= verifier.commits_of(0)["risk"] >= 2


@pytest.mark.parametrize("privacy", [None, "noise"])
def test_a_simulation_leaves_a_ledger_that_an_auditor_verifies(privacy, tmp_path: Path):
    if privacy is None:
        data = toy_data(3)
        lead = Federation("test", list(data), privacy=None)
        lead.add_task("risk", "glm-logistic", rounds=6, **GLM["parameters"])
        ran = lead.simulate(data)
        agreement = ran.agreement
    else:
        lead, _, _ = private_federation()
        ran = lead.simulate(toy_data(5))
        agreement = ran.agreement
    ran.write_bundle(tmp_path / "bundle")
    found = Auditor(agreement).audit(tmp_path / "bundle")
    assert found.verdict == "verified"
    assert (found.result.total is None) == (privacy is None)
