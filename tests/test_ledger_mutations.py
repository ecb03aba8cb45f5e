"""Every kind of tampering with a ledger, by what the tamperer owns, and the name it is found under.

*Nobody's key*: a copy of the ledger is changed on its way. *The coordinator and colluders*: the
coordinator's key and those of as many parties as the agreement withstands sign anew whatever they
can; the honest parties' signatures stay. *Everybody's key*: all parties sign along, so that nothing
but the rules themselves stands against the lie.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agreements import COORDINATOR, identity_of, in_force, plain_agreement
from support.forgeries import Forger, message_of, places, sealed, steps
from support.ledgers import (
    START,
    LedgerWriter,
    digest_of,
    genuine,
    leaf,
    small_agreement,
    small_federation,
    whole_run,
)
from support.masked_round import stranger
from support.mutation import mutants

from protocols.agreement import agreement_from
from protocols.errors import LedgerError
from protocols.identity import Envelope
from protocols.intent import Commit, Terms
from protocols.ledger.audit import audit
from protocols.ledger.bundle import bundle_parts, read_leaves
from protocols.ledger.checkpoint import Checkpoint, cosign, parse_note, sign_checkpoint
from protocols.ledger.records import (
    MAX_LEAF_BYTES,
    AgreementLeaf,
    CheckpointLeaf,
    MessageLeaf,
    PartySignature,
    encode_leaf,
)
from protocols.ledger.verify import LedgerVerifier
from protocols.masking.messages import Confirmation, Submission
from protocols.rounds import RoundAborted, RoundOpen, RunEnded
from protocols.wire import encode

HUB = identity_of(COORDINATOR)
COLLUDERS = frozenset({"party-4"})
Leaves = list[bytes]


def refusal(leaves: Leaves | tuple[bytes, ...]) -> LedgerError | None:
    verifier = LedgerVerifier()
    try:
        for one in leaves:
            verifier.take(one)
    except LedgerError as error:
        return error
    return None


def found(leaves: Leaves | tuple[bytes, ...]) -> str | None:
    error = refusal(leaves)
    return None if error is None else error.finding


def log(*, noise: bool = False) -> Leaves:
    return list(genuine(noise=noise))


def place(step: str, which: int = 0) -> int:
    return places(genuine(noise=False), step)[which]


def envelope(step: str, which: int = 0) -> Envelope:
    read = leaf(genuine(noise=False)[place(step, which)])
    assert isinstance(read, MessageLeaf)
    return read.envelope


def with_leaf(position: int, new: Any) -> Leaves:
    leaves = log()
    leaves[position] = new if isinstance(new, bytes) else encode_leaf(new)
    return leaves


def replaced(message: msgspec.Struct, **fields: Any) -> Any:
    return msgspec.structs.replace(message, **fields)


def changing(**fields: Any) -> Callable[[Any], Any]:
    return lambda message: replaced(message, **fields)


def test_the_ledger_that_is_tampered_with_is_sound():
    for noise in (True, False):
        assert refusal(genuine(noise=noise)) is None
    assert Counter(steps(genuine(noise=False))) == {
        "agreement": 1, "checkpoint": 8, "open": 5, "submit": 23, "confirm": 18, "result": 4,
        "abort": 1, "end": 1,
    }  # fmt: skip


# Nobody's key: whole leaves


OMITTED = {
    "agreement": {"agreement-missing"},
    "checkpoint": {"checkpoint-missing", "checkpoint-size"},
    "open": {"intent-missing"},
    "submit": {"confirmation-without-commit", "survivors-too-few", "checkpoint-size"},
    "confirm": {"checkpoint-size", "quorum-missing"},
    "result": {"leaf-out-of-place"},
    "abort": {"leaf-out-of-place"},
    "end": {"checkpoint-size"},
}
REPEATED = {
    "agreement": {"leaf-out-of-place"},
    "checkpoint": {"checkpoint-size"},
    "open": {"leaf-out-of-place"},
    "submit": {"commit-duplicate"},
    "confirm": {"confirmation-duplicate"},
    "result": {"leaf-out-of-place"},
    "abort": {"leaf-out-of-place"},
    "end": {"leaf-out-of-place"},
}


def test_nobodys_key_any_leaf_but_the_last_left_out_is_found():
    leaves = log()
    for position, step in enumerate(steps(leaves)[:-1]):
        assert found(leaves[:position] + leaves[position + 1 :]) in OMITTED[step], position


def test_nobodys_key_any_leaf_twice_is_found():
    leaves = log()
    for position, step in enumerate(steps(leaves)):
        assert found(leaves[: position + 1] + leaves[position:]) in REPEATED[step], position


def test_nobodys_key_any_two_neighbours_in_another_order_are_found():
    leaves = log()
    for position in range(len(leaves) - 1):
        pair = [leaves[position + 1], leaves[position]]
        assert found(leaves[:position] + pair + leaves[position + 2 :]), position


def test_nobodys_key_any_leaf_moved_anywhere_is_found():
    leaves = log()
    for start in range(0, len(leaves), 5):
        rest = leaves[:start] + leaves[start + 1 :]
        for end in range(0, len(rest) + 1, 3):
            if end != start:
                assert found([*rest[:end], leaves[start], *rest[end:]]), (start, end)


@pytest.mark.parametrize(
    ("first", "last", "finding"),
    [
        (place("open", 0), place("open", 1), "round-gap"),
        (place("open", 1), place("open", 2), "round-gap"),
        (place("open", 2), place("open", 3), "round-gap"),
        (place("open", 4), place("end"), "checkpoint-missing"),
        (place("open", 0), place("checkpoint", 1), "checkpoint-size"),
    ],
)
def test_nobodys_key_a_whole_round_left_out_is_found(first, last, finding):
    leaves = log()
    if finding == "checkpoint-missing":
        last, first = last + 0, first - 1
    cut = leaves[:first] + leaves[last:]
    assert found(cut) == finding


def test_nobodys_key_a_round_replayed_is_found():
    leaves = log()
    once = leaves[place("open", 0) : place("open", 1)]
    assert found(leaves[: place("open", 1)] + once) == "round-gap"


def test_nobodys_key_a_round_of_another_federation_is_found():
    signed = in_force(agreement_from(plain_agreement(5, federation="other", max_dropouts=1)))
    other = LedgerWriter(signed).begin().play().leaves
    first = place("open", 0)
    assert found(log()[:first] + other[2:]) == "another-agreement"
    assert found(log()[:1] + other[1:]) == "checkpoint-another-log"
    assert found(log()[: first + 1] + other[3:]) == "another-agreement"


def test_nobodys_key_a_round_of_a_fork_is_found():
    fork = LedgerWriter(small_federation(noise=False)).begin().play(silent=(1,)).play().leaves
    leaves, second = log(), place("open", 1)
    assert found(leaves[:second] + fork[places(fork, "open")[1] :]) == "tree-mismatch"


def test_nobodys_key_cut_short_it_is_sound_but_never_verified():
    leaves = log()
    for size in range(1, len(leaves)):
        result = audit(leaves[:size])
        assert result.verdict == "incomplete", size
        names = {one.name for one in result.warnings}
        assert names & {"not-closed", "tail-unwitnessed"}


def test_nobodys_key_leaves_after_the_end_are_found():
    for extra in (place("open", 0), place("submit", 0), place("result", 0), place("agreement")):
        assert found([*log(), log()[extra]]) == "leaf-out-of-place"
    assert found([*log(), log()[1]]) == "checkpoint-size"


# Nobody's key: bytes


@pytest.mark.parametrize(
    ("junk", "finding"),
    [
        (b"", "leaf-unreadable"),
        (b"\x00" * 40, "leaf-unreadable"),
        (b"\xff" * 40, "leaf-unreadable"),
        (b"\x91" * 100_000, "leaf-unreadable"),
        (b"\xdd\xff\xff\xff\xff", "leaf-unreadable"),
        (b"\x93\xa7message\xc6\xff\xff\xff\xff", "leaf-unreadable"),
        (bytes(MAX_LEAF_BYTES + 1), "leaf-oversized"),
    ],
)
def test_nobodys_key_junk_in_place_of_any_leaf_is_found(junk, finding):
    for position in range(0, len(log()), 9):
        error = refusal(with_leaf(position, junk))
        assert (error.finding, error.leaf) == (finding, position)


BINDINGS = {
    "version": {"other-version"},
    "agreement": {"another-agreement", "leaf-unreadable"},
    "round": {"wrong-round", "round-gap", "intent-missing", "signature-invalid"},
    "step": {"leaf-unreadable"},
    "sender": {"leaf-unreadable", "wrong-sender", "signature-invalid"},
    "payload": {"signature-invalid"},
    "signature": {"signature-invalid", "leaf-unreadable"},
}


@pytest.mark.parametrize("noise", [True, False])
def test_nobodys_key_any_field_of_any_message_changed_is_found(noise):
    verifier, seen = LedgerVerifier(), Counter[str]()
    for data in genuine(noise=noise):
        read = leaf(data)
        for path, mutant in mutants(read.envelope) if isinstance(read, MessageLeaf) else ():
            with pytest.raises(LedgerError) as caught:
                verifier.take(encode_leaf(MessageLeaf(mutant)))
            assert caught.value.finding in BINDINGS[path[0]], path
            seen[path[0]] += 1
        verifier.take(data)
    assert set(seen) == set(BINDINGS)


@pytest.mark.parametrize("noise", [True, False])
def test_nobodys_key_any_field_of_any_payload_changed_is_found(noise):
    """Unsigned or signed by a stranger: whatever it says, it is refused before it is read."""
    verifier = LedgerVerifier()
    for data in genuine(noise=noise):
        read = leaf(data)
        if isinstance(read, MessageLeaf):
            forged = sealed(
                stranger(read.envelope.sender), read.envelope, message_of(read.envelope)
            )
            for path, mutant in mutants(message_of(read.envelope)):
                unsigned = replaced(read.envelope, payload=encode(mutant))
                with pytest.raises(LedgerError) as caught:
                    verifier.take(encode_leaf(MessageLeaf(unsigned)))
                assert caught.value.finding == "signature-invalid", path
            with pytest.raises(LedgerError, match="signature-invalid"):
                verifier.take(encode_leaf(forged))
        verifier.take(data)


def test_nobodys_key_any_byte_of_any_checkpoint_changed_is_found():
    verifier, seen = LedgerVerifier(), Counter[str]()
    for position, data in enumerate(genuine(noise=False)):
        read = leaf(data)
        if isinstance(read, CheckpointLeaf):
            for at in range(position % 3, len(read.note), 3):
                note = read.note[:at] + bytes([read.note[at] ^ 1]) + read.note[at + 1 :]
                with pytest.raises(LedgerError) as caught:
                    verifier.take(encode_leaf(CheckpointLeaf(note)))
                seen[caught.value.finding] += 1
        verifier.take(data)
    assert set(seen) == {
        "checkpoint-unreadable",
        "checkpoint-another-log",
        "checkpoint-unsigned",
        "checkpoint-foreign-signature",
        "signature-invalid",
    }


@lru_cache(maxsize=1)
def bundle() -> bytes:
    return b"".join(bundle_parts(LedgerWriter(small_federation(noise=False)).begin().play().leaves))


def from_bundle(data: bytes) -> list[bytes] | LedgerError:
    """What an auditor makes of a file: its leaves, or why not."""
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        piece = data[at : at + count]
        at += len(piece)
        return piece

    verifier, leaves = LedgerVerifier(), list[bytes]()
    try:
        for one in read_leaves(read):
            verifier.take(one)
            leaves.append(one)
    except LedgerError as error:
        return error
    return leaves


@settings(max_examples=400)
@given(st.data())
def test_nobodys_key_any_flipped_bit_of_a_file_is_found(data):
    whole = bundle()
    position = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[position] ^ (1 << data.draw(st.integers(0, 7)))
    result = from_bundle(whole[:position] + bytes([flipped]) + whole[position + 1 :])
    assert isinstance(result, LedgerError)


@settings(max_examples=100)
@given(st.integers(0, len(bundle()) - 1))
def test_nobodys_key_a_file_cut_short_anywhere_is_found(size):
    error = from_bundle(bundle()[:size])
    assert isinstance(error, LedgerError)
    assert error.finding == "truncated"


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_nobodys_key_random_bytes_are_no_ledger(junk):
    assert audit([junk]).verdict == "failed"
    assert isinstance(from_bundle(junk), LedgerError)
    assert isinstance(from_bundle(bundle() + junk), LedgerError) == bool(junk)


# The agreement


def agreement_leaf_with(**fields: Any) -> Leaves:
    first = leaf(log()[0])
    assert isinstance(first, AgreementLeaf)
    return with_leaf(0, replaced(first, **fields))


def test_nobodys_key_another_agreement_with_the_old_signatures_is_found():
    first = leaf(log()[0])
    weaker = small_agreement(noise=False).model_copy(update={"federation": "test-federatiom"})
    assert found(agreement_leaf_with(canonical=weaker.canonical_bytes())) == "agreement-invalid"
    for junk in (b"", b"\x80", first.canonical[:-1], first.canonical + b"\x00"):
        assert found(agreement_leaf_with(canonical=junk)) == "agreement-invalid"


def test_nobodys_key_a_party_whose_key_was_swapped_is_found():
    plain = small_agreement(noise=False).to_plain()
    plain["parties"][1]["public_key"] = stranger("party-1").public.raw.hex()
    swapped = agreement_from(plain)
    assert found(agreement_leaf_with(canonical=swapped.canonical_bytes())) == "agreement-invalid"


def test_nobodys_key_signatures_of_the_agreement_cannot_be_moved():
    signatures = leaf(log()[0]).signatures
    moved = (PartySignature(signatures[0].name, signatures[1].signature), *signatures[1:])
    for bad in ((), signatures[:-1], signatures[::-1], (*signatures, signatures[0]), moved):
        assert found(agreement_leaf_with(signatures=bad)) == "agreement-invalid"


def test_the_coordinator_with_a_party_of_its_own_cannot_bring_another_agreement_into_force():
    plain = small_agreement(noise=False).to_plain()
    plain["tasks"][0]["rounds"] = 1000
    longer = agreement_from(plain)
    leaves = LedgerWriter(in_force(longer)).begin().leaves
    first = leaf(leaves[0])
    only = tuple(
        one if one.name in COLLUDERS else replaced(one, signature=bytes(64))
        for one in first.signatures
    )
    forged = [encode_leaf(replaced(first, signatures=only)), *leaves[1:]]
    assert found(forged) == "agreement-invalid"
    # Signed by everybody it is another agreement, which whoever holds the true one notices.
    result = audit(leaves, agreement_digest=small_federation(noise=False).digest)
    assert result.failure.name == "another-agreement"


# The coordinator and colluders: messages signed anew, and all that follows


LIES = {
    ("open", "task"): {"task-unknown"},
    ("open", "round_in_task"): {"plan-violated", "rounds-exceeded", "payload-unreadable"},
    ("open", "model"): {"model-chain-broken", "commit-other-intent", "payload-unreadable"},
    ("open", "tree_size"): {"tree-mismatch"},
    ("open", "tree_root"): {"tree-mismatch", "payload-unreadable"},
    ("open", "invited"): {
        "invited-invalid",
        "invited-too-few",
        "commit-other-intent",
        "commit-uninvited",
    },
    ("open", "outputs"): {"outputs-altered", "payload-unreadable"},
    ("submit", "roster"): {"commit-other-roster", "witnesses-too-few", "payload-unreadable"},
    ("submit", "sharers"): {"commit-other-roster", "witnesses-too-few", "payload-unreadable"},
    ("submit", "model"): {"commit-other-model", "payload-unreadable"},
    ("submit", "vector"): {"confirmation-other-set", "witnesses-too-few", "payload-unreadable"},
    ("submit", "count"): {"commit-other-length"},
    ("submit", "statement"): {"payload-unreadable"},
    ("confirm", "survivors"): {"confirmation-other-set", "payload-unreadable"},
    ("result", "model"): {"witnesses-too-few", "payload-unreadable"},
    ("result", "aggregate"): {"witnesses-too-few", "payload-unreadable"},
    ("result", "survivors"): {"survivors-invalid", "survivor-missing"},
    ("result", "dropouts"): {"survivors-invalid", "sharers-altered"},
    ("result", "done"): {"payload-unreadable"},
    ("abort", "step"): {"witnesses-too-few"},
    ("abort", "reason"): {"witnesses-too-few"},
    ("end", "outcome"): {"payload-unreadable"},
    ("end", "reason"): {"witnesses-too-few"},
}


@pytest.mark.parametrize("noise", [True, False])
def test_the_coordinator_and_colluders_any_field_of_their_own_messages_changed_is_found(noise):
    """After the run: the honest parties' signatures are what they are."""
    leaves = log(noise=noise)
    forger = Forger(small_federation(noise=noise), COLLUDERS)
    verifier, seen = LedgerVerifier(), defaultdict(set)
    for position, data in enumerate(leaves):
        read = leaf(data)
        own = isinstance(read, MessageLeaf) and read.envelope.sender in {COORDINATOR, *COLLUDERS}
        for path, mutant in mutants(message_of(read.envelope)) if own else ():
            lie = sealed(identity_of(read.envelope.sender), read.envelope, mutant)
            try:
                # Most lies are refused here, and the verifier stays as it was.
                verifier.take(encode_leaf(lie))
            except LedgerError as error:
                name = error.finding
            else:
                name = found(forger.rebuild(leaves, {position: lie}))
                verifier = verified(leaves[:position])
            seen[read.envelope.step, path[0]].add(name)
        verifier.take(data)
    assert dict(seen) == {key: LIES[key] & seen[key] for key in seen}
    assert set(seen) == set(LIES)


def verified(leaves: Leaves) -> LedgerVerifier:
    verifier = LedgerVerifier()
    for one in leaves:
        verifier.take(one)
    return verifier


@pytest.mark.parametrize(
    ("keep", "finding"), [(False, "witnesses-too-few"), (True, "signature-invalid")]
)
@pytest.mark.parametrize("step", ["confirm", "end"])
def test_the_coordinator_and_colluders_cannot_witness_a_log_without_a_leaf(step, keep, finding):
    forger = Forger(small_federation(noise=False), COLLUDERS, keep_lines=keep)
    assert found(forger.rebuild(log(), {place(step): None})) == finding


def test_the_coordinator_and_colluders_cannot_leave_out_a_commit_of_an_aborted_round():
    forger = Forger(small_federation(noise=False), COLLUDERS)
    read = [leaf(one) for one in log()]
    for position, one in enumerate(read):
        if isinstance(one, MessageLeaf) and one.envelope.step == "submit":
            made = forger.rebuild(log(), {position: None})
            expected = {"witnesses-too-few"} if one.envelope.round == 3 else OMITTED["submit"]
            assert found(made) in expected


def test_the_coordinator_and_colluders_cannot_call_a_completed_round_aborted():
    forger = Forger(small_federation(noise=False), COLLUDERS)
    result = envelope("result", 1)
    abort = HUB.seal(
        agreement=result.agreement,
        round_=result.round,
        step="abort",
        payload=encode(RoundAborted("unmask", "too few parties answered")),
    )
    assert found(forger.rebuild(log(), {place("result", 1): MessageLeaf(abort)})) == (
        "witnesses-too-few"
    )


def test_the_coordinator_and_colluders_cannot_take_back_a_round_that_a_head_outside_covers():
    writer = LedgerWriter(small_federation(noise=False)).begin().play()
    kept = parse_note(leaf(writer.leaves[-1]).note, party="")
    before = whole_run(small_federation(noise=False)).leaves[:2]
    result = audit(before, heads=[kept])
    assert result.failure.name == "rolled-back"
    fork = LedgerWriter(small_federation(noise=False)).begin().play(silent=(0,)).play()
    assert audit(fork.leaves, heads=[kept]).failure.name == "split-view"


# Everybody's key: intents


def lying(step: str, lie: Any, *, round_: int = 2, noise: bool = False) -> str | None:
    """What is found in a run of two rounds whose second holds a lie; what follows fits it."""
    writer = LedgerWriter(small_federation(noise=noise), lies={(step, round_): lie})
    try:
        writer.begin().play().play()
    except LedgerError as error:
        raise AssertionError from error
    return found(writer.leaves)


TERMS = Terms(2.0, 4.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"model": digest_of("another")}, "model-chain-broken"),
        ({"tree_size": 3}, "tree-mismatch"),
        ({"tree_root": bytes(32)}, "tree-mismatch"),
        ({"invited": (0, 1, 2)}, "invited-too-few"),
        ({"invited": (0, 1, 2, 2, 3)}, "invited-invalid"),
        ({"invited": (1, 0, 2, 3, 4)}, "invited-invalid"),
        ({"invited": (0, 1, 2, 3, 4, 5)}, "invited-invalid"),
        ({"outputs": ("sum", "loss")}, "outputs-altered"),
        ({"terms": TERMS}, "terms-altered"),
        ({"epsilon_before": 0.0, "epsilon_after": 0.0}, "epsilon-altered"),
        ({"epsilon_after": 1.0}, "epsilon-altered"),
    ],
)
def test_everybodys_key_an_intent_that_breaks_a_rule_is_found(fields, finding):
    told: list[RoundOpen] = []

    def lie(message: RoundOpen) -> RoundOpen:
        told.append(message)
        return replaced(message, **fields)

    writer = LedgerWriter(small_federation(noise=False)).begin().play()
    opened = _intent_after(writer, lie)
    assert found(opened) == finding
    assert told


def _intent_after(writer: LedgerWriter, lie: Callable[[RoundOpen], Any]) -> Leaves:
    """The log with one more intent, which a lie has changed; no party answers it."""
    writer.lies = {("open", writer.round + 1): lie}
    task = writer.agreement.tasks[0 if writer.charged.get("mean", 0) < 3 else 1]
    writer.open(task, tuple(writer.people), None)
    return writer.leaves


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"task": "other"}, "task-unknown"),
        ({"task": "spread", "round_in_task": 1}, "plan-violated"),
        ({"round_in_task": 1}, "plan-violated"),
        ({"round_in_task": 3}, "plan-violated"),
        ({"round_in_task": 4}, "rounds-exceeded"),
    ],
)
def test_everybodys_key_a_round_out_of_the_agreed_plan_is_found(fields, finding):
    writer = LedgerWriter(small_federation(noise=False)).begin().play()
    assert found(_intent_after(writer, changing(**fields))) == finding


@pytest.mark.parametrize(
    ("number", "finding"), [(1, "round-gap"), (3, "round-gap"), (2**62, "round-gap")]
)
def test_everybodys_key_round_numbers_have_no_gaps(number, finding):
    writer = LedgerWriter(small_federation(noise=False)).begin().play()
    lie = lambda message: writer.seal(HUB, "open", number, message)  # noqa: E731
    assert found(_intent_after(writer, lie)) == finding


def test_everybodys_key_a_task_goes_on_until_it_is_done_or_used_up():
    early = LedgerWriter(small_federation(noise=False)).begin().play().play(task=1)
    assert found(early.leaves) == "plan-violated"
    done = LedgerWriter(small_federation(noise=False)).begin().play(done=True).play()
    assert found(done.leaves) == "plan-violated"
    used = LedgerWriter(small_federation(noise=False)).begin().play().play().play().play()
    assert found(used.leaves) == "rounds-exceeded"


def test_everybodys_key_aborted_rounds_use_up_the_plan_as_well():
    writer = LedgerWriter(small_federation(noise=False)).begin()
    for _ in range(4):
        writer.play(until="confirm")
    assert found(writer.leaves) == "rounds-exceeded"


def test_everybodys_key_no_round_follows_the_last_task():
    writer = whole_run(small_federation(noise=False))
    unended = writer.leaves[: place("end")]
    verifier = verified(unended)
    extra = LedgerWriter(small_federation(noise=False), leaves=[], round=5)
    extra.charged = {"mean": 3, "spread": 2}
    for one in unended:
        extra.append(one)
    extra.open(extra.agreement.tasks[1], (0, 1, 2, 3, 4), None)
    with pytest.raises(LedgerError, match="rounds-exceeded"):
        verifier.take(extra.leaves[-1])


def test_everybodys_key_an_aborted_round_leaves_the_model_as_it_was():
    writer = LedgerWriter(small_federation(noise=False)).begin().play(until="confirm")
    writer.model = digest_of("what the coordinator learned")
    assert found(writer.play().leaves) == "model-chain-broken"


def test_everybodys_key_an_intent_needs_a_checkpoint_before_it():
    writer = LedgerWriter(small_federation(noise=False)).begin().play(settle=False).play()
    assert found(writer.leaves) == "checkpoint-missing"
    late = LedgerWriter(small_federation(noise=False)).begin()
    late.play(unheard=(4,), settle=False).checkpoint().late(1, 4).play()
    assert found(late.leaves) == "checkpoint-missing"


# Everybody's key: noise and cost


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"noise_multiplier": 2.0}, "terms-altered"),
        ({"share_deviation": 1.0}, "terms-altered"),
        ({"sampling_rate": 0.25}, "terms-altered"),
        ({"sampling_rate": 1.0}, "terms-altered"),
        ({"clip_norm": 1.6}, "clip-norm-refused"),
        ({"clip_norm": 4.0}, "clip-norm-refused"),
        ({"clip_norm": 0.1}, "clip-norm-refused"),
        ({"clip_norm": 5e-324}, "clip-norm-refused"),
        ({"clip_norm": 1e300}, "clip-norm-refused"),
        ({"noise_multiplier": 5e-324}, "terms-altered"),
        ({"share_deviation": 1e300}, "terms-altered"),
        ({"sampling_rate": 5e-324}, "terms-altered"),
        (None, "terms-altered"),
    ],
)
def test_everybodys_key_other_terms_than_agreed_are_found(fields, finding):
    def lie(message: RoundOpen) -> RoundOpen:
        terms = None if fields is None else replaced(message.terms, **fields)
        return replaced(message, terms=terms)

    writer = LedgerWriter(small_federation()).begin().play()
    assert found(_intent_after(writer, lie)) == finding


def test_everybodys_key_the_first_clip_norm_of_a_task_is_the_agreed_one():
    writer = LedgerWriter(small_federation()).begin()
    assert found(writer.play(clip_norm=1.5).leaves) == "clip-norm-refused"
    fixed = small_agreement().to_plain()
    for task in fixed["tasks"]:
        task["privacy"]["adaptive"] = None
    rigid = LedgerWriter(in_force(agreement_from(fixed))).begin().play()
    lie = lambda message: replaced(message, terms=replaced(message.terms, clip_norm=1.5))  # noqa: E731
    assert found(_intent_after(rigid, lie)) == "clip-norm-refused"


@pytest.mark.parametrize(
    "fields",
    [
        {"epsilon_before": 0.0},
        {"epsilon_before": None},
        {"epsilon_after": None},
        {"epsilon_before": None, "epsilon_after": None},
        {"epsilon_after": 0.5},
        {"epsilon_after": 1e300},
    ],
)
def test_everybodys_key_another_epsilon_than_the_rounds_cost_is_found(fields):
    writer = LedgerWriter(small_federation()).begin().play()
    assert found(_intent_after(writer, changing(**fields))) == "epsilon-altered"


def test_everybodys_key_an_epsilon_that_forgets_an_aborted_round_is_found():
    writer = LedgerWriter(small_federation()).begin().play(until="confirm")
    uncharged = writer.charged
    writer.charged = {}
    forgotten = writer.epsilons(writer.agreement.tasks[0])
    writer.charged = uncharged
    lie = changing(epsilon_before=forgotten[0], epsilon_after=forgotten[1])
    assert found(_intent_after(writer, lie)) == "epsilon-altered"


@pytest.mark.parametrize("share", [1 + 2e-6, 1 - 2e-6])
def test_everybodys_key_epsilon_is_compared_closely(share):
    def lie(message: RoundOpen) -> RoundOpen:
        return replaced(message, epsilon_after=message.epsilon_after * share)

    writer = LedgerWriter(small_federation()).begin().play()
    assert found(_intent_after(writer, lie)) == "epsilon-altered"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_everybodys_key_numbers_that_are_none_are_unreadable(value):
    writer = LedgerWriter(small_federation()).begin().play()
    assert found(_intent_after(writer, changing(epsilon_after=value))) == "payload-unreadable"
    assert lying("result", changing(noise_meter=value), noise=True) == "payload-unreadable"


def test_everybodys_key_the_noise_meter_is_told_exactly_where_noise_is_agreed():
    assert lying("result", changing(noise_meter=None), noise=True) == "noise-meter-invalid"
    assert lying("result", changing(noise_meter=1.0), noise=False) == "noise-meter-invalid"


# Everybody's key: commits


def committing(
    lie: Callable[[Submission], Any], *, noise: bool = False, party: int = 1
) -> str | None:
    lies = {("submit", 2, party): lie}
    return found(
        LedgerWriter(small_federation(noise=noise), lies=lies).begin().play().play().leaves
    )


def stating(**fields: Any) -> Callable[[Submission], Submission]:
    def lie(message: Submission) -> Submission:
        commit = msgspec.msgpack.decode(message.statement, type=Commit)
        return replaced(message, statement=encode(replaced(commit, **fields)))

    return lie


@pytest.mark.parametrize(
    ("lie", "finding"),
    [
        (stating(intent=bytes(32)), "commit-other-intent"),
        (stating(terms=TERMS), "commit-other-terms"),
        (changing(model=bytes(32)), "commit-other-model"),
        (changing(count=11), "commit-other-length"),
        (changing(roster=bytes(32)), "commit-other-roster"),
        (changing(sharers=bytes(32)), "commit-other-roster"),
        (changing(statement=b""), "payload-unreadable"),
        (changing(statement=b"\x93" + bytes(40)), "payload-unreadable"),
        (changing(statement=bytes(513)), "payload-unreadable"),
        (changing(vector=bytes(32)), "confirmation-other-set"),
    ],
)
def test_everybodys_key_a_commit_that_does_not_fit_its_round_is_found(lie, finding):
    assert committing(lie) == finding


def test_everybodys_key_a_commit_with_less_noise_than_its_intent_is_found():
    less = replaced(verified(log(noise=True)).rounds[1].terms, share_deviation=1.0)
    assert committing(stating(terms=less), noise=True) == "commit-other-terms"
    assert committing(stating(terms=None), noise=True) == "commit-other-terms"


def test_everybodys_key_a_commit_of_another_round_is_no_commit_of_this_one():
    first = envelope("submit", 1)
    assert first.sender == "party-1"
    assert committing(lambda _: first) == "wrong-round"
    resigned = lambda _: message_of(first)  # noqa: E731
    assert committing(resigned) == "commit-other-intent"


def test_everybodys_key_a_commit_in_the_name_of_another_is_found():
    forged = lambda message: stranger("party-1").seal(  # noqa: E731
        agreement=small_federation(noise=False).digest,
        round_=2,
        step="submit",
        payload=encode(message),
    )
    assert committing(forged) == "signature-invalid"
    by_hub = lambda message: HUB.seal(  # noqa: E731
        agreement=small_federation(noise=False).digest,
        round_=2,
        step="submit",
        payload=encode(message),
    )
    assert committing(by_hub) == "wrong-sender"


def test_everybodys_key_a_party_that_was_not_invited_cannot_commit():
    def lie(message: RoundOpen) -> RoundOpen:
        return replaced(message, invited=(0, 1, 2, 3))

    assert lying("open", lie) == "commit-uninvited"


def test_everybodys_key_commits_stand_in_order_once_and_before_confirmations():
    leaves = log()
    first, confirm = place("submit"), place("confirm")
    swapped = [*leaves[:first], leaves[first + 1], leaves[first], *leaves[first + 2 :]]
    forger = Forger(small_federation(noise=False), {f"party-{n}" for n in range(5)})
    assert found(forger.rebuild(swapped)) == "commit-out-of-order"
    twice = [*leaves[: first + 1], leaves[first], *leaves[first + 1 :]]
    assert found(forger.rebuild(twice)) == "commit-duplicate"
    last = confirm - 1
    after = [*leaves[:last], leaves[confirm], leaves[last], *leaves[confirm + 1 :]]
    assert found(forger.rebuild(after)) == "leaf-out-of-place"


@pytest.mark.parametrize(
    ("lie", "finding"),
    [
        (stating(intent=bytes(32)), "commit-other-intent"),
        (stating(terms=TERMS), "commit-other-terms"),
        (changing(model=bytes(32)), "commit-other-model"),
        (changing(count=11), "commit-other-length"),
        (changing(statement=b""), "payload-unreadable"),
    ],
)
def test_everybodys_key_a_late_commit_has_to_fit_its_round_as_well(lie, finding):
    writer = LedgerWriter(small_federation(noise=False), lies={("submit", 1, 4): lie}).begin()
    writer.play(unheard=(4,), settle=False).checkpoint().late(1, 4).checkpoint()
    assert found(writer.leaves) == finding


def test_everybodys_key_a_late_commit_is_one_that_is_not_there_yet():
    writer = LedgerWriter(small_federation(noise=False)).begin()
    writer.play(unheard=(4,)).late(1, 4)
    assert found(writer.leaves) is None
    assert found(writer.late(1, 4).leaves) == "commit-duplicate"
    again = LedgerWriter(small_federation(noise=False)).begin().play()
    again.append(again.leaves[place("submit")])
    assert found(again.leaves) == "commit-duplicate"


def test_everybodys_key_a_late_commit_needs_an_invitation_and_a_round_that_was():
    writer = LedgerWriter(small_federation(noise=False)).begin().play(absent=(4,))
    digest = writer.signed.digest
    read = leaf(writer.leaves[3])
    stray = identity_of("party-4").seal(
        agreement=digest, round_=1, step="submit", payload=read.envelope.payload
    )
    assert found([*writer.leaves, encode_leaf(MessageLeaf(stray))]) == "commit-uninvited"
    for number in (0, 2, 2**62):
        early = identity_of("party-4").seal(
            agreement=digest, round_=number, step="submit", payload=read.envelope.payload
        )
        assert found([*writer.leaves, encode_leaf(MessageLeaf(early))]) == "intent-missing"


# Everybody's key: confirmations and ends


def confirming(lie: Callable[[Confirmation], Any], party: int = 1) -> str | None:
    lies = {("confirm", 2, party): lie}
    return found(
        LedgerWriter(small_federation(noise=False), lies=lies).begin().play().play().leaves
    )


def test_everybodys_key_confirmations_are_all_of_the_recorded_set():
    assert confirming(changing(survivors=bytes(32))) == "confirmation-other-set"
    assert confirming(changing(survivors=bytes(32)), party=0) == "confirmation-other-set"
    everybody = {("confirm", 2, n): changing(survivors=bytes(32)) for n in range(5)}
    writer = LedgerWriter(small_federation(noise=False), lies=everybody).begin().play().play()
    assert found(writer.leaves) == "confirmation-other-set"
    assert refusal(writer.leaves).party == COORDINATOR


def test_everybodys_key_who_confirms_has_committed_and_confirms_once_in_order():
    leaves = log()
    forger = Forger(small_federation(noise=False), {f"party-{n}" for n in range(5)})
    confirm = place("confirm")
    twice = [*leaves[: confirm + 1], leaves[confirm], *leaves[confirm + 1 :]]
    assert found(forger.rebuild(twice)) == "confirmation-duplicate"
    swapped = [*leaves[:confirm], leaves[confirm + 1], leaves[confirm], *leaves[confirm + 2 :]]
    assert found(forger.rebuild(swapped)) == "confirmation-out-of-order"
    silent = LedgerWriter(small_federation(noise=False)).begin().play(silent=(0,))
    position = places(silent.leaves, "confirm")[0]
    read = leaf(silent.leaves[position])
    stray = sealed(identity_of("party-0"), read.envelope, message_of(read.envelope))
    made = [*silent.leaves[:position], encode_leaf(stray), *silent.leaves[position:]]
    assert found(made) == "confirmation-without-commit"


def test_everybodys_key_fewer_confirmations_than_the_quorum_are_found():
    leaves = log()[: place("open", 1)]
    forger = Forger(small_federation(noise=False), {f"party-{n}" for n in range(5)})
    confirm = place("confirm")
    one_less = forger.rebuild(leaves, {confirm: None})
    assert found(one_less) is None
    two_less = forger.rebuild(leaves, {confirm: None, confirm + 1: None})
    assert found(two_less) == "quorum-missing"


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"survivors": (0, 1, 2, 3, 4)}, "survivors-invalid"),
        ({"survivors": (0, 1, 2, 3, 4), "dropouts": ()}, "commit-missing"),
        ({"survivors": (0, 1, 3), "dropouts": (2, 4)}, "survivor-missing"),
        ({"survivors": (0, 1, 3)}, "survivor-missing"),
        ({"survivors": (1, 0, 3, 4)}, "survivors-invalid"),
        ({"survivors": (0, 1, 3, 3, 4)}, "survivors-invalid"),
        ({"survivors": (0, 1, 3, 9)}, "survivors-invalid"),
        ({"dropouts": ()}, "sharers-altered"),
        ({"dropouts": (2, 2)}, "survivors-invalid"),
        ({"dropouts": (9,)}, "survivors-invalid"),
        ({"dropouts": (4,)}, "survivors-invalid"),
    ],
)
def test_everybodys_key_a_result_about_other_parties_than_the_record_is_found(fields, finding):
    lies = {("result", 2): changing(**fields)}
    writer = LedgerWriter(small_federation(noise=False), lies=lies).begin().play().play(silent=(2,))
    assert found(writer.leaves) == finding


def test_everybodys_key_a_sum_of_fewer_than_agreed_is_found():
    leaves = log()
    forger = Forger(small_federation(noise=False), {f"party-{n}" for n in range(5)})
    first, confirm, result = place("submit"), place("confirm"), place("result")
    gone = dict.fromkeys((first, first + 1, confirm, confirm + 1))
    read = envelope("result")
    fewer = replaced(message_of(read), survivors=(2, 3, 4))
    made = forger.rebuild(leaves, {**gone, result: sealed(HUB, read, fewer)})
    assert found(made) == "survivors-too-few"
    none = dict.fromkeys(range(confirm, result))
    made = forger.rebuild(leaves, {**gone, **none, result: sealed(HUB, read, fewer)})
    assert found(made) == "survivors-too-few"


def test_everybodys_key_a_sum_after_too_few_dealt_shares_is_found():
    """Six parties: four may survive, and five have to deal shares."""
    signed = in_force(agreement_from(plain_agreement(6, max_dropouts=1)))
    lies = {("result", 1): changing(dropouts=())}
    writer = LedgerWriter(signed, lies=lies).begin()
    assert found(writer.play(absent=(5,), silent=(0,)).leaves) == "sharers-too-few"


def test_everybodys_key_parties_that_dealt_shares_cannot_be_forgotten():
    """A party less on record than dealt shares: the digest that all commits name shows it."""
    lies = {("result", 2): changing(dropouts=())}
    writer = LedgerWriter(small_federation(noise=False), lies=lies).begin().play().play(silent=(0,))
    assert found(writer.leaves) == "sharers-altered"


@pytest.mark.parametrize("step", ["open", "result", "abort", "end"])
def test_everybodys_key_no_party_speaks_for_the_coordinator(step):
    read = envelope(step)
    by_party = sealed(identity_of("party-4"), read, message_of(read))
    assert found(with_leaf(place(step), by_party)) == "wrong-sender"
    as_hub = sealed(stranger(COORDINATOR), read, message_of(read))
    assert found(with_leaf(place(step), as_hub)) == "signature-invalid"


@pytest.mark.parametrize(
    ("step", "kind"),
    [("abort", RoundAborted("confirm", "")), ("result", None), ("open", None), ("end", None)],
)
def test_everybodys_key_a_round_ends_once(step, kind):
    leaves = log()[: place("result") + 1]
    message = kind or message_of(envelope(step))
    again = HUB.seal(
        agreement=small_federation(noise=False).digest,
        round_=0 if step == "end" else 1,
        step=step,
        payload=encode(message),
    )
    finding = "checkpoint-missing" if step in {"open", "end"} else "leaf-out-of-place"
    assert found([*leaves, encode_leaf(MessageLeaf(again))]) == finding


def test_everybodys_key_one_step_does_not_pass_for_another():
    read = envelope("result")
    other = HUB.seal(
        agreement=read.agreement, round_=read.round, step="abort", payload=read.payload
    )
    assert found(with_leaf(place("result"), MessageLeaf(other))) == "payload-unreadable"


def test_everybodys_key_a_payload_longer_than_agreed_is_unreadable():
    read = envelope("result")
    huge = HUB.seal(
        agreement=read.agreement, round_=read.round, step="result", payload=bytes(12 << 20)
    )
    assert found(with_leaf(place("result"), MessageLeaf(huge))) == "payload-unreadable"
    limit = small_agreement(noise=False).aggregation.max_message_bytes
    assert limit > len(huge.payload)
    over = HUB.seal(
        agreement=read.agreement, round_=read.round, step="result", payload=bytes(limit)
    )
    with pytest.raises(LedgerError, match="leaf-oversized"):
        encode_leaf(MessageLeaf(over))


def test_everybodys_key_the_run_ends_once_when_all_is_done_and_well():
    early = LedgerWriter(small_federation(noise=False)).begin().play().end()
    assert found(early.leaves) == "end-too-early"
    failed = LedgerWriter(
        small_federation(noise=False), lies={("end", 0): lambda _: RunEnded("failed", "")}
    ).begin()
    assert found(failed.end().leaves) == "end-invalid"
    twice = whole_run(small_federation(noise=False)).end()
    assert found(twice.leaves) == "leaf-out-of-place"
    elsewhere = HUB.seal(
        agreement=small_federation(noise=False).digest,
        round_=1,
        step="end",
        payload=encode(RunEnded("completed", "")),
    )
    assert found(with_leaf(place("end"), MessageLeaf(elsewhere))) == "wrong-round"


def test_everybodys_key_an_end_needs_a_checkpoint_before_it():
    writer = LedgerWriter(small_federation(noise=False)).begin().play(done=True)
    writer.model = digest_of("second")
    assert found(writer.play(task=1, done=True, settle=False).end().leaves) == "checkpoint-missing"


# Checkpoints


def checkpointed(
    lie: Callable[[Checkpoint], Checkpoint] = lambda head: head,
    *,
    witnesses: tuple[int, ...] = (0, 1, 2, 3, 4),
    now: int = START,
    hub: Any = HUB,
    extra: Callable[[Checkpoint], bytes] = lambda _: b"",
) -> LedgerError | None:
    """What is found in a log of one leaf whose checkpoint holds a lie that everybody signed."""
    writer = LedgerWriter(small_federation(noise=False))
    writer.append(log()[0])
    read = parse_note(writer.head(range(5)).note, party="")
    head = lie(read.checkpoint)
    lines = [cosign(head, identity_of(f"party-{n}"), now) for n in witnesses]
    note = head.body() + b"\n" + sign_checkpoint(head, hub) + b"".join(lines) + extra(head)
    return refusal([log()[0], encode_leaf(CheckpointLeaf(note))])


def moved(**fields: Any) -> Callable[[Checkpoint], Checkpoint]:
    return lambda head: Checkpoint(
        **{"origin": head.origin, "size": head.size, "root": head.root} | fields
    )


def test_the_checkpoint_that_is_lied_about_is_sound():
    assert checkpointed() is None
    assert checkpointed(witnesses=(0, 1, 2, 4)) is None


@pytest.mark.parametrize(
    ("lie", "finding"),
    [
        (moved(size=0), "checkpoint-size"),
        (moved(size=2), "checkpoint-size"),
        (moved(size=2**62), "checkpoint-size"),
        (moved(root=bytes(32)), "checkpoint-root"),
        (moved(origin="securefed.ledger/test-federation/" + "0" * 64), "checkpoint-another-log"),
        (moved(origin="x"), "checkpoint-another-log"),
    ],
)
def test_everybodys_key_a_checkpoint_of_another_tree_is_found(lie, finding):
    assert checkpointed(lie).finding == finding


@pytest.mark.parametrize("witnesses", [(), (4,), (0, 1, 2)])
def test_the_coordinator_and_colluders_are_too_few_witnesses(witnesses):
    assert checkpointed(witnesses=witnesses).finding == "witnesses-too-few"


def test_the_coordinator_and_colluders_one_witness_does_not_count_twice():
    error = checkpointed(witnesses=(1, 4, 4, 4))
    assert (error.finding, error.party) == ("checkpoint-duplicate-signature", "party-4")


def test_the_coordinator_and_colluders_cannot_sign_as_witnesses_for_others():
    by = {
        "the coordinator": lambda head: cosign(head, HUB, START),
        "a stranger": lambda head: cosign(head, identity_of("mallory"), START),
        "another's name": lambda head: cosign(head, stranger("party-0"), START),
    }
    for line in by.values():
        error = checkpointed(witnesses=(1, 2, 3, 4), extra=line)
        assert error.finding == "checkpoint-foreign-signature"
    assert checkpointed(hub=stranger(COORDINATOR)).finding == "checkpoint-foreign-signature"
    assert checkpointed(hub=identity_of("party-4")).finding == "checkpoint-foreign-signature"


def test_the_coordinator_and_colluders_a_checkpoint_needs_the_coordinators_own_line_first():
    writer = LedgerWriter(small_federation(noise=False))
    writer.append(log()[0])
    body, _, lines = writer.head(range(5)).note.partition(b"\n\n")
    first, *rest = lines.splitlines(keepends=True)
    without = CheckpointLeaf(body + b"\n\n" + b"".join(rest))
    behind = CheckpointLeaf(body + b"\n\n" + b"".join((*rest, first)))
    for note in (without, behind):
        assert found([log()[0], encode_leaf(note)]) == "checkpoint-unsigned"


@pytest.mark.parametrize("now", [0, 1_000_000, 10_000_000_000, 2**63 - 1])
def test_everybodys_key_absurd_times_of_signing_are_found(now):
    error = checkpointed(now=now)
    assert (error.finding, error.party) == ("checkpoint-time", "party-0")


def test_everybodys_key_old_cosignatures_do_not_witness_a_new_head():
    leaves = log()
    second = parse_note(leaf(leaves[place("checkpoint", 1)]).note, party="")
    first = parse_note(leaf(leaves[1]).note, party="")
    note = (
        second.checkpoint.body()
        + b"\n"
        + b"".join(line.to_bytes() for line in (second.signatures[0], *first.signatures[1:]))
    )
    made = with_leaf(place("checkpoint", 1), CheckpointLeaf(note))
    assert found(made) == "signature-invalid"


def test_everybodys_key_no_checkpoint_stands_in_the_middle_of_a_round():
    writer = LedgerWriter(small_federation(noise=False)).begin()
    writer.open(writer.agreement.tasks[0], (0, 1, 2, 3, 4), None)
    assert found(writer.checkpoint().leaves) == "leaf-out-of-place"


# What nobody can find


def test_what_a_quorum_rewrites_before_anybody_kept_a_head_cannot_be_found():
    """The limit of every ledger: it takes a head, or a copy, that was kept elsewhere."""
    forger = Forger(small_federation(noise=False), {f"party-{n}" for n in range(5)})
    read = envelope("result", 3)
    other = sealed(HUB, read, replaced(message_of(read), aggregate=digest_of("another sum")))
    rewritten = forger.rebuild(log(), {place("result", 3): other})
    assert audit(rewritten).verdict == "verified"
    kept = parse_note(leaf(log()[-1]).note, party="")
    assert audit(rewritten, heads=[kept]).failure.name == "split-view"
    assert audit(log(), heads=[kept]).verdict == "verified"


def test_a_sum_and_a_noise_meter_are_the_coordinators_word():
    """The record binds it to its word for good; it cannot say whether the word is true."""
    for fields in ({"aggregate": bytes(32)}, {"model": bytes(32)}, {"noise_meter": 1.0001}):
        writer = LedgerWriter(small_federation(), lies={("result", 1): changing(**fields)})
        assert found(writer.begin().play().leaves) is None
