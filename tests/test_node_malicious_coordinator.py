"""What a party node says to a coordinator that lies: nothing that it has not signed up for."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

import msgspec
import pytest
from support.framing import opening, result
from support.lies import Hub, sha
from support.nodes import GLM

from parties.embedded import MemoryJournal
from parties.reporting import MOST_PER_WINDOW
from protocols.errors import JournalError, ShareError, TransportError
from protocols.identity import NO_ROUND, Identity
from protocols.rounds import (
    FinalModel,
    RoundAborted,
    RunEnded,
    seal,
)
from protocols.wire import Packet, encode

TWO_TASKS = [{**GLM, "name": "risk", "rounds": 3}, {**GLM, "name": "churn", "rounds": 3}]
ANY = b"another model"
PARTY = "party-0"
ONE = [PARTY]


class Gate:
    """Training that waits until the test lets it go on."""

    def __init__(self, hub: Hub, name: str = PARTY) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.calls: list[int] = []
        trainer = hub.federation.trainers[name]
        honest = trainer.update

        def update(task, model, round_in_task):
            self.calls.append(round_in_task)
            if len(self.calls) == 1:
                self.began.set()
                self.go.wait(20)
            return honest(task, model, round_in_task)

        trainer.update = update

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()


def run(scenario) -> None:
    async def bounded():
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(bounded())


async def submitted_by_others(hub: Hub) -> None:
    """Open round 1 and run it until PARTY trains and the others have submitted."""
    hub.open(1)
    role = hub.role(1)
    for packet in (await hub.hear("advertise")).values():
        role.receive_advertise(packet.envelope)
    hub.deliver(role.close_advertise())
    for packet in (await hub.hear("share")).values():
        role.receive_shares(packet.envelope)
    hub.deliver(role.close_shares())
    await hub.hear("submit", hub.names[1:])
    await hub.federation.until(PARTY, "training")


def test_an_honest_round_of_the_harness_has_a_sum():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            aggregate = await hub.finish(role, await hub.to_submission(role), hub.model)
            assert aggregate.survivors == (0, 1, 2)

    run(scenario())


# Openings


def test_an_opening_of_another_agreement_is_refused_without_a_word():
    async def scenario():
        async with Hub() as hub:
            message = opening("risk", 1, sha(hub.model))
            envelope = seal(hub.key, sha(b"another agreement"), 1, message)
            hub.post(encode(Packet(envelope, memoryview(hub.model))), ONE)
            assert "another agreement" in (await hub.refused(PARTY))[0]
            assert hub.steps(PARTY) == []

    run(scenario())


@pytest.mark.parametrize("signer", ["party-1", "stranger", "coordinator"])
def test_an_opening_that_the_coordinator_did_not_sign_is_refused_without_a_word(signer):
    async def scenario():
        async with Hub() as hub:
            key = Identity(signer, b"\x07" * 32) if signer != "party-1" else hub.identities[signer]
            envelope = seal(key, hub.digest, 1, opening("risk", 1, sha(hub.model)))
            hub.post(encode(Packet(envelope, memoryview(hub.model))), ONE)
            assert "sign" in (await hub.refused(PARTY))[0]
            assert hub.steps(PARTY) == []

    run(scenario())


@pytest.mark.parametrize(
    ("round_", "task", "place", "initial"),
    [
        (0, "risk", 1, True),  # no round at all
        (1, "risk", 2, True),  # the second round of the task, first
        (2, "risk", 1, True),  # a round was jumped
        (7, "risk", 1, True),  # beyond the plan
        (1, "churn", 1, True),  # the second task, first
        (1, "fraud", 1, True),  # a task that nobody agreed on
        (1, "risk", 1, False),  # not the agreed initial model
    ],
)
def test_an_opening_outside_the_plan_gets_a_withdrawal_at_most(round_, task, place, initial):
    async def scenario():
        async with Hub(tasks=TWO_TASKS) as hub:
            hub.open(round_, place, hub.model if initial else ANY, task, ONE)
            await hub.refused(PARTY)
            assert hub.steps(PARTY) == ([] if round_ == 0 else ["withdraw"])
            # Nothing was used up: the honest round goes on.
            hub.open(1, 1, to=ONE)
            await hub.hear("advertise", ONE)

    run(scenario())


def test_a_model_that_is_not_the_signed_one_is_refused():
    async def scenario():
        async with Hub() as hub:
            hub.say(1, opening("risk", 1, sha(hub.model)), hub.model + b"x", ONE)
            assert "not what was signed" in (await hub.refused(PARTY))[0]
            assert hub.steps(PARTY) == ["withdraw"]

    run(scenario())


def test_an_opening_that_is_refused_is_not_charged():
    async def scenario():
        async with Hub() as hub:
            charged: list[str] = []
            hub.parties[PARTY]._purse.charge = lambda task: charged.append(task.name)
            hub.say(1, opening("risk", 1, sha(hub.model)), hub.model + b"x", ONE)
            hub.open(1, model=ANY, to=ONE)
            hub.open(2, 1, to=ONE)
            hub.open(1, 2, to=ONE)
            await hub.refused(PARTY, 4)
            assert charged == []
            hub.open(1, to=ONE)
            hub.open(1, to=ONE)
            await hub.federation.until(PARTY, "ignored")
            assert charged == ["risk"]

    run(scenario())


def test_an_opening_that_is_repeated_gets_no_second_answer():
    async def scenario():
        async with Hub() as hub:
            hub.open(1, to=ONE)
            hub.open(1, to=ONE)
            await hub.federation.until(PARTY, "ignored")
            assert hub.steps(PARTY) == ["advertise"]
            # It was not taken as a reason to leave the round either.
            hub.open(1, to=hub.names[1:])
            role = hub.role(1)
            role.receive_advertise((await hub.hear("advertise", ONE))[PARTY].envelope)
            for packet in (await hub.hear("advertise", hub.names[1:])).values():
                role.receive_advertise(packet.envelope)
            hub.deliver(role.close_advertise())
            await hub.hear("share")

    run(scenario())


def test_two_different_openings_of_one_round_end_it_for_the_party():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            for packet in (await hub.hear("advertise")).values():
                role.receive_advertise(packet.envelope)
            hub.open(1, model=ANY, to=ONE)
            assert "opened in another way" in (await hub.refused(PARTY))[0]
            hub.deliver(role.close_advertise(), ONE)
            await hub.federation.until(PARTY, "ignored")
            assert hub.steps(PARTY) == ["advertise", "withdraw"]

    run(scenario())


def test_no_round_number_is_answered_twice_whatever_came_between():
    async def scenario():
        async with Hub() as hub:
            hub.open(1, to=ONE)
            hub.say(1, RoundAborted("share", "for a reason"), to=ONE)
            hub.open(2, to=ONE)
            hub.open(1, to=ONE)
            assert "round 1 is past" in (await hub.refused(PARTY))[0]
            assert hub.steps(PARTY) == ["advertise", "advertise", "withdraw"]

    run(scenario())


def test_a_round_number_stays_used_up_across_a_restart():
    async def scenario():
        async with Hub() as hub:
            hub.open(1, to=ONE)
            await hub.hear("advertise", ONE)
            hub.nodes[PARTY].cancel()
            await asyncio.gather(hub.nodes[PARTY], return_exceptions=True)
            hub.nodes[PARTY] = asyncio.create_task(hub.federation.party(PARTY).run())
            await hub.federation.until(PARTY, "connected", 2)
            hub.open(1, to=ONE)  # the very same
            hub.open(1, model=ANY, to=ONE)
            await hub.federation.until(PARTY, "ignored")
            await hub.refused(PARTY)
            assert hub.steps(PARTY) == ["advertise", "withdraw"]

    run(scenario())


def test_a_backup_forgets_rounds_but_no_word_of_them_can_be_used_again():
    """A restored state is not noticed by the party itself; the round's secrets were never in it."""

    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            old = await hub.hear("advertise")
            for packet in old.values():
                role.receive_advertise(packet.envelope)
            roster = role.close_advertise()
            hub.nodes[PARTY].cancel()
            await asyncio.gather(hub.nodes[PARTY], return_exceptions=True)
            hub.federation.journals[PARTY] = MemoryJournal()
            hub.books[PARTY].shown = 0
            hub.nodes[PARTY] = asyncio.create_task(hub.federation.party(PARTY).run())
            await hub.federation.until(PARTY, "connected", 2)
            hub.open(1, to=ONE)
            new = await hub.hear("advertise", ONE)
            assert new[PARTY].envelope.payload != old[PARTY].envelope.payload
            hub.deliver(roster, ONE)
            assert "other keys for us" in (await hub.refused(PARTY))[0]
            await hub.hear("withdraw", ONE)
            assert hub.steps(PARTY) == ["advertise", "advertise", "withdraw"]

    run(scenario())


def test_the_next_round_must_start_from_the_announced_model():
    async def scenario():
        async with Hub() as hub:
            hub.open(1, to=ONE)
            hub.say(1, result(sha(ANY), 3, done=False), to=ONE)
            await hub.hear("advertise", ONE)
            hub.open(2, to=ONE)  # the old model again: a rerun to average noise away
            assert "last round announced" in (await hub.refused(PARTY))[0]
            hub.open(2, model=ANY, to=ONE)
            await hub.hear("advertise", ONE)

    run(scenario())


def test_a_coordinator_that_shows_two_ledgers_gets_no_sum_in_the_very_next_round():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            await hub.hear("advertise")
            # One party is shown that round 1 came to nothing, the others that it has a result: two
            # logs, each of them flawless, and a model that suits each.
            hub.say(1, RoundAborted("share", ""), to=ONE)
            others = hub.names[1:]
            hub.say(1, result(sha(hub.model), 3, done=False), to=others)
            hub.open(2)
            assert hub.intents[PARTY] != hub.intents[others[0]]
            role = hub.role(2)
            for packet in (await hub.hear("advertise")).values():
                role.receive_advertise(packet.envelope)
            hub.deliver(role.close_advertise())
            shares = await hub.hear("share")
            for name in others:
                role.receive_shares(shares[name].envelope)
            with pytest.raises(ShareError, match="another roster"):
                role.receive_shares(shares[PARTY].envelope)

    run(scenario())


def test_parties_told_different_tasks_in_one_round_have_no_roster_in_common():
    async def scenario():
        async with Hub(tasks=TWO_TASKS) as hub:
            hub.open(1)
            await hub.hear("advertise")
            others = hub.names[1:]
            hub.say(1, result(sha(hub.model), 3, done=True), to=others)
            # One party trains the first task on, for it heard no result; the model is the same.
            hub.open(2, 2, task="risk", to=ONE)
            hub.open(2, 1, task="churn", to=others)
            role = hub.role(2, 1, task=1)
            for packet in (await hub.hear("advertise")).values():
                role.receive_advertise(packet.envelope)
            hub.deliver(role.close_advertise())
            shares = await hub.hear("share")
            for name in others:
                role.receive_shares(shares[name].envelope)
            with pytest.raises(ShareError, match="another roster"):
                role.receive_shares(shares[PARTY].envelope)

    run(scenario())


# While training runs


def test_a_late_update_is_never_sent_in_another_round():
    async def scenario():
        async with Hub() as hub, Gate(hub) as gate:
            await submitted_by_others(hub)
            gate.began.wait(20)
            hub.open(2)
            role = hub.role(2)
            for packet in (await hub.hear("advertise")).values():
                role.receive_advertise(packet.envelope)
            hub.deliver(role.close_advertise())
            for packet in (await hub.hear("share")).values():
                role.receive_shares(packet.envelope)
            hub.deliver(role.close_shares())
            await hub.federation.until(PARTY, "training", 2)
            assert gate.calls == [1]  # never two at a time on the same data
            gate.go.set()
            late = (await hub.hear("submit", ONE))[PARTY]
            assert late.envelope.round == 2
            assert gate.calls == [1, 2]
            assert hub.steps(PARTY).count("submit") == 1
            journal = hub.federation.journals[PARTY]
            assert (1, "submit") not in journal.promises

    run(scenario())


@pytest.mark.parametrize(
    "ending",
    [RoundAborted("submit", "so it seems"), result(sha(ANY), 3, done=False)],
    ids=["abort", "result"],
)
def test_a_round_that_is_said_to_have_ended_gets_no_update(ending):
    async def scenario():
        async with Hub() as hub, Gate(hub) as gate:
            await submitted_by_others(hub)
            gate.began.wait(20)
            hub.say(1, ending, to=ONE)
            kind = "round-aborted" if isinstance(ending, RoundAborted) else "round-completed"
            await hub.federation.until(PARTY, kind)
            gate.go.set()
            model = hub.model if isinstance(ending, RoundAborted) else ANY
            hub.open(2, model=model, to=ONE)
            await hub.hear("advertise", ONE)
            assert "submit" not in hub.steps(PARTY)

    run(scenario())


def test_training_that_never_ends_costs_its_party_rounds_and_nobody_else_anything():
    async def scenario():
        async with Hub(deadline_seconds=0.5) as hub, Gate(hub) as gate:
            await submitted_by_others(hub)
            gate.began.wait(20)
            withdrawn = await hub.hear("withdraw", ONE)
            assert withdrawn[PARTY].envelope.round == 1
            hub.open(2, to=ONE)
            # The round is declined at once: nobody waits for us, and our data are not read twice.
            assert (await hub.hear("withdraw", ONE))[PARTY].envelope.round == 2
            hub.say(NO_ROUND, RunEnded("failed", "enough"), to=ONE)
            ended = await hub.nodes[PARTY]
            assert ended.outcome == "failed"
            assert gate.calls == [1]

    run(scenario())


def test_training_code_that_exits_ends_no_node():
    async def scenario():
        async with Hub() as hub:

            def leave(*_args):
                raise SystemExit(0)

            hub.federation.trainers[PARTY].update = leave
            await submitted_by_others(hub)
            await hub.hear("withdraw", ONE)
            told = await hub.federation.until(PARTY, "training-failed")
            assert told[0].detail["reason"] == "SystemExit"
            hub.open(2, to=ONE)
            await hub.hear("advertise", ONE)

    run(scenario())


# Endings


def test_a_round_ends_in_one_way_only():
    async def scenario():
        async with Hub() as hub:
            hub.say(1, result(sha(ANY), 3, done=False), to=ONE)  # no round has begun
            await hub.refused(PARTY)
            hub.open(1, to=ONE)
            hub.say(1, result(sha(ANY), 3, done=False), to=ONE)
            hub.say(1, result(sha(ANY), 3, done=False), to=ONE)
            await hub.federation.until(PARTY, "ignored")
            hub.say(1, result(sha(b"a third"), 3, done=False), to=ONE)
            hub.say(1, RoundAborted("unmask", "after all"), to=ONE)
            reasons = await hub.refused(PARTY, 3)
            assert "in another way" in reasons[1]
            assert "has a result" in reasons[2]
            hub.open(2, model=ANY, to=ONE)
            await hub.hear("advertise", ONE)

    run(scenario())


@pytest.mark.parametrize("survivors", [1, 4])
def test_a_result_of_impossibly_few_or_many_survivors_is_refused(survivors):
    async def scenario():
        async with Hub() as hub:
            hub.open(1, to=ONE)
            hub.say(1, result(sha(ANY), survivors, done=False), to=ONE)
            assert "survivors of 3 parties" in (await hub.refused(PARTY))[0]

    run(scenario())


def test_a_final_model_must_be_the_signed_and_announced_one_and_a_model_of_the_task():
    async def scenario():
        async with Hub() as hub:
            other = hub.model.replace(b"\x00" * 8, b"\x00" * 7 + b"\x3f", 1)
            hub.open(1, to=ONE)
            hub.say(1, result(sha(hub.model), 3, done=True), to=ONE)
            hub.say(NO_ROUND, FinalModel("risk", sha(hub.model)), other, ONE)
            hub.say(NO_ROUND, FinalModel("risk", sha(other)), other, ONE)
            hub.say(NO_ROUND, FinalModel("fraud", sha(other)), other, ONE)
            await hub.refused(PARTY, 3)
            assert hub.federation.models[PARTY] == {}
            hub.say(NO_ROUND, FinalModel("risk", sha(hub.model)), hub.model, ONE)
            await hub.federation.until(PARTY, "model-received")
            assert hub.federation.models[PARTY] == {"risk": hub.model}

    run(scenario())


def test_a_task_has_one_final_model_and_is_over_with_it():
    async def scenario():
        async with Hub(tasks=TWO_TASKS) as hub:
            hub.say(NO_ROUND, FinalModel("risk", sha(ANY)), ANY, ONE)
            await hub.refused(PARTY)  # it is no model of that task
            hub.say(NO_ROUND, FinalModel("risk", sha(hub.model)), hub.model, ONE)
            await hub.federation.until(PARTY, "model-received")
            other = hub.model.replace(b"\x00" * 8, b"\x00" * 7 + b"\x3f", 1)
            hub.say(NO_ROUND, FinalModel("risk", sha(other)), other, ONE)
            assert "another final model" in (await hub.refused(PARTY, 2))[1]
            hub.open(1, to=ONE)
            assert "is over" in (await hub.refused(PARTY, 3))[2]
            assert hub.federation.models[PARTY] == {"risk": hub.model}

    run(scenario())


def test_only_the_coordinator_ends_the_run():
    async def scenario():
        async with Hub() as hub:
            forged = seal(hub.identities["party-1"], hub.digest, 0, RunEnded("completed", ""))
            hub.post(encode(Packet(forged)), ONE)
            await hub.refused(PARTY)
            assert not hub.nodes[PARTY].done()

    run(scenario())


# Bytes


@pytest.mark.parametrize(
    "body",
    [b"\xc1", b"\x92", b"\x00", b"\xff" * 1000, b"\x92\xc4\x00\xc4\x00", b"\xdd\xff\xff\xff\xff"],
)
def test_garbage_is_refused_without_a_word_and_hurts_no_round(body):
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            hub.post(body)
            submitted = await hub.to_submission(role)
            hub.post(body)
            await hub.finish(role, submitted, hub.model)
            assert "packet" in (await hub.refused(PARTY))[0]
            assert hub.steps(PARTY) == ["advertise", "share", "submit", "confirm", "unmask"]

    run(scenario())


def test_every_truncation_and_every_flipped_byte_of_an_opening_is_refused():
    async def scenario():
        async with Hub() as hub:
            whole = encode(Packet(hub.sealed(1, opening("risk", 1, sha(b""))), memoryview(b"")))
            bodies = [whole[:end] for end in range(1, len(whole), 7)]
            bodies += [
                whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :]
                for place in range(len(whole))
            ]
            for body in bodies:
                hub.post(body, ONE)
            hub.open(1, to=ONE)
            await hub.hear("advertise", ONE)
            assert hub.steps(PARTY) == ["advertise"]

    run(scenario())


def test_an_oversized_body_is_refused():
    async def scenario():
        async with Hub() as hub:
            hub.post(bytes(hub.agreement.aggregation.max_message_bytes + 1), ONE)
            assert "at most" in (await hub.refused(PARTY))[0]

    run(scenario())


def test_a_message_that_carries_nothing_may_have_nothing_attached():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            for packet in (await hub.hear("advertise")).values():
                role.receive_advertise(packet.envelope)
            roster = role.close_advertise()[0]
            hub.post(encode(Packet(roster, memoryview(b"extra"))), ONE)
            hub.say(1, result(sha(ANY), 3, done=False), b"extra", ONE)
            hub.say(1, RoundAborted("share", ""), b"extra", ONE)
            hub.say(NO_ROUND, RunEnded("completed", ""), b"extra", ONE)
            assert all("attached" in reason for reason in await hub.refused(PARTY, 4))
            assert hub.steps(PARTY) == ["advertise"]

    run(scenario())


def test_no_reason_carries_a_command_for_a_terminal_or_a_second_line():
    async def scenario():
        async with Hub() as hub:
            hub.open(1, to=ONE)
            for text in ("\x1b[2J", "a\nb", "\x9b31m", "\u202e"):
                payload = msgspec.msgpack.encode(("share", text))
                envelope = hub.key.seal(
                    agreement=hub.digest, round_=1, step="abort", payload=payload
                )
                hub.post(encode(Packet(envelope)), ONE)
            await hub.refused(PARTY, 4)
            shown = repr([event for _, event in hub.federation.events])
            assert "x1b" not in shown
            assert "round-aborted" not in shown

    run(scenario())


def test_a_flood_fills_no_log_and_an_honest_round_goes_on_after_it():
    async def scenario():
        async with Hub() as hub:
            for number in range(2000):
                hub.post(b"\xc1%d" % number, ONE)
            hub.open(1)
            role = hub.role(1)
            await hub.finish(role, await hub.to_submission(role), hub.model)
            assert len(hub.federation.told(PARTY, "refused")) == MOST_PER_WINDOW

    run(scenario())


def test_a_step_of_a_round_that_was_never_opened_is_refused():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            for packet in (await hub.hear("advertise")).values():
                role.receive_advertise(packet.envelope)
            roster = role.close_advertise()
            hub.say(1, RoundAborted("share", ""))
            hub.open(2)
            await hub.hear("advertise")
            hub.deliver(roster, ONE)
            assert "no part in round 1" in (await hub.refused(PARTY))[0]
            assert "share" not in hub.steps(PARTY)

    run(scenario())


# The node's own trouble


def test_a_state_that_cannot_be_written_ends_the_node_before_anything_is_said():
    async def scenario():
        async with Hub() as hub:

            def full(*_args):
                raise JournalError("the disk is full")

            hub.federation.journals[PARTY].put = full
            hub.open(1, to=ONE)
            with pytest.raises(JournalError):
                await hub.nodes[PARTY]
            assert hub.steps(PARTY) == []

    run(scenario())


def test_an_update_that_cannot_be_put_on_record_is_not_sent_and_ends_the_node():
    async def scenario():
        async with Hub() as hub:
            journal = hub.federation.journals[PARTY]
            honest = journal.promise

            def full(round_, step, digest):
                if step == "submit":
                    raise JournalError("the disk is full")
                honest(round_, step, digest)

            journal.promise = full
            await submitted_by_others(hub)
            with pytest.raises(JournalError):
                await hub.nodes[PARTY]
            assert "submit" not in hub.steps(PARTY)

    run(scenario())


def test_a_coordinator_that_says_nothing_is_given_up_after_the_patience_and_one_deadline():
    async def scenario():
        hub = Hub(deadline_seconds=0.5)
        node = hub.federation.party(PARTY)
        node._patience = 0.1
        with pytest.raises(TransportError, match="was silent"):
            await node.run()

    run(scenario())
