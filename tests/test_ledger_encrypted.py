"""Ledgers of runs that encrypt: their key, their rounds, and what an audit says of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agreements import identity_of
from support.commands import Run, commands
from support.forgeries import Forger, message_of, places, sealed, steps
from support.ledgers import genuine, leaf, small_federation
from support.masked_round import stranger
from support.trustees import fixed_primes

from parties.embedded import MemoryJournal
from parties.party.ledger_copy import LedgerCopy
from protocols.agreement import SignedAgreement, bring_into_force, sign_agreement
from protocols.errors import LedgerError, MisuseError
from protocols.identity import Envelope
from protocols.intent import intent_digest
from protocols.ledger.audit import audit
from protocols.ledger.bundle import bundle_parts
from protocols.ledger.key_place import same_key
from protocols.ledger.messages import Extension, seal_ledger
from protocols.ledger.records import CheckpointLeaf, KeyLeaf, Leaf, MessageLeaf, encode_leaf
from protocols.ledger.verify import LedgerVerifier
from protocols.masking.context import RoundContext
from protocols.paillier.key_record import KeyRecord
from protocols.rounds import round_context
from securefed import Auditor
from securefed.agreement_text import agreement_to_toml
from securefed.audit.compare import compare
from securefed.audit.html import render
from securefed.audit.key_leaf import KeyCheck, key_facts
from securefed.ciphers import MemoryCiphers, deal_here
from securefed.cli.exit_codes import ExitCode
from securefed.data.table import Data
from securefed.federation import Federation
from securefed.simulation import COORDINATOR, _patient, _Run

PARTIES = ("north", "south", "west", "east")
MODES = {"paillier": {"dealer": "mint"}, "layered": {"key_holder": "vault"}}


@dataclass(frozen=True)
class Played:
    """A run in memory, by identities that everybody knows."""

    signed: SignedAgreement
    record: bytes
    leaves: tuple[bytes, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(party.name for party in self.signed.agreement.parties)

    def forged(
        self,
        changed: Mapping[int, Leaf | None] = MappingProxyType({}),
        *,
        owned: Any = PARTIES,
        leaves: Any = None,
    ) -> list[bytes]:
        """The ledger changed by the coordinator and the owners of some keys."""
        return Forger(self.signed, owned).rebuild(leaves or self.leaves, changed)


@lru_cache
def played(mode: str) -> Played:
    names = PARTIES if mode == "paillier" else PARTIES[:3]
    federation = Federation(
        "credit",
        list(names),
        privacy=None,
        mode=mode,
        key_bits=2048,
        max_dropouts=1 if mode == "paillier" else 0,
        **MODES[mode],
    )
    federation.add_task("risk", "glm-logistic", rounds=1, features=2, max_rows=100, ridge=1.0)
    everybody = (COORDINATOR, *names, *federation.key_makers)
    identities = {name: identity_of(name) for name in everybody}
    agreement = _patient(federation.agreement_for(identities))
    signed = bring_into_force(
        agreement, [sign_agreement(agreement, identities[name]) for name in names]
    )
    keys = deal_here(signed, identities, make_primes=fixed_primes)
    ciphers = MemoryCiphers(signed, identities, keys)
    done = asyncio.run(_Run(signed, identities, rows(names), 1, ciphers).run(lambda _event: None))
    return Played(signed, keys[COORDINATOR].record, done.ledger)


def rows(names: tuple[str, ...]) -> dict[str, Data]:
    random = np.random.default_rng(1)
    made = {}
    for name in names:
        features = random.normal(size=(20, 2))
        made[name] = Data(features, (features[:, 0] > features[:, 1]).astype(int))
    return made


@lru_cache
def another_ceremony(mode: str) -> bytes:
    """A record that dealer and trustees of the same agreement signed as well."""
    run = played(mode)
    identities = {name: identity_of(name) for name in (COORDINATOR, *PARTIES, "mint", "vault")}
    return deal_here(run.signed, identities, make_primes=fixed_primes)[COORDINATOR].record


def with_another_key(mode: str, *, owned: tuple[str, ...] = PARTIES) -> list[bytes]:
    """The ledger with that record, signed again by the coordinator and owners of some keys."""
    run = played(mode)
    made = run.forged({1: KeyLeaf(another_ceremony(mode))}, owned=owned)
    context = context_of_round(run.signed, made)
    roster = context.roster_digest(()) if mode == "paillier" else bytes(32)
    sharers = context.sharers_digest(roster, range(len(run.names)))
    changed: dict[int, Leaf | None] = {}
    commits = []
    for place in places(made, "submit"):
        fresh = again(made, place, roster=roster, sharers=sharers)
        commits.append(fresh.envelope)
        if fresh.envelope.sender in owned:
            changed[place] = fresh
    survivors = context.survivors_digest(sharers, commits, ())
    for place in places(made, "confirm"):
        changed[place] = again(made, place, survivors=survivors)
    return run.forged(changed, owned=owned, leaves=made)


def envelope(leaves: Any, position: int) -> Envelope:
    read = leaf(leaves[position])
    assert isinstance(read, MessageLeaf)
    return read.envelope


def again(leaves: Any, position: int, **changes: Any) -> MessageLeaf:
    """A message that its own sender signs anew."""
    read = envelope(leaves, position)
    message = msgspec.structs.replace(message_of(read), **changes)
    return sealed(identity_of(read.sender), read, message)


def context_of_round(signed: SignedAgreement, leaves: Any) -> RoundContext:
    opened = envelope(leaves, places(leaves, "open")[0])
    agreement, digest = signed.agreement, intent_digest(opened.payload)
    return round_context(agreement, signed.digest, 1, agreement.tasks[0], 1, digest)


def audited(leaves: Any) -> Any:
    return audit(leaves, check_key=KeyCheck())


def found(leaves: Any) -> str:
    """The first fault, by name."""
    result = audited(leaves)
    return "" if result.failure is None else result.failure.name


def bundle(path: Path, leaves: Any) -> Path:
    path.write_bytes(b"".join(bundle_parts(leaves)))
    return path


def report_of(mode: str, tmp_path: Path) -> dict[str, Any]:
    run = played(mode)
    done = Auditor(run.signed.agreement).audit(bundle(tmp_path / "run.ledger", run.leaves))
    assert done.verdict == "verified", done.result.failure
    return done.to_plain()


# What an audit says


@pytest.mark.parametrize("mode", MODES)
def test_the_key_stands_behind_the_agreement_and_is_checked_in_full(mode, tmp_path):
    run = played(mode)
    assert steps(run.leaves)[:3] == ["agreement", "key", "checkpoint"]
    told = report_of(mode, tmp_path)
    key = told["secrecy"]["key"]
    facts = key_facts(run.signed.agreement, run.signed.digest, run.record)
    assert (key["ceremony_holds"], key["digest"], key["record"]) == (
        True,
        facts["key"],
        facts["record"],
    )
    expected = {
        "paillier": ("dealer", "mint", list(PARTIES), 3),
        "layered": ("key holder", "vault", ["vault"], 1),
    }[mode]
    assert (key["role"], key["name"], key["trustees"], key["threshold"]) == expected
    assert (key["bits"], told["secrecy"]["mode"]) == (2048, mode)
    [line] = [one for one in told["transcript"] if one["check"] == "key"]
    assert line["outcome"] == "passed"


def test_who_could_read_one_companys_part_is_said_in_words(tmp_path):
    words = " ".join(report_of("paillier", tmp_path)["secrecy"]["sentences"])
    for part in (
        "any 3 of north, south, west, east open a sum together",
        "mint is trusted to have kept nothing of it",
        "takes breaking the Paillier key",
        "at any time later: 3 companies; or dealer and 1 company; or coordinator and dealer",
        "A dealer could only if it kept what it dealt",
    ):
        assert part in words
    words = " ".join(report_of("layered", tmp_path)["secrecy"]["sentences"])
    assert "held by vault alone. What it opens is still masked." in words
    assert "masks and the Paillier key, both" in words
    assert "dealer" not in words


def test_nothing_is_said_of_masks_where_there_are_none(tmp_path):
    told = report_of("paillier", tmp_path)
    assert "mask" not in json.dumps(told).lower()
    page = render(told)
    assert "mask" not in page[page.index("<body>") :].lower()
    assert "secret sharing" not in json.dumps(told)
    assert told["cards"][0]["text"].startswith("Encryption hides which company contributed what.")
    nobody = "That mint forgot the key that it dealt."
    assert nobody in told["not_claimed"]
    assert any("nobody can factor" in one for one in told["protection"]["assumptions"])
    with_coordinator = {one["who"]: one["how"] for one in told["protection"]["from"]}
    assert with_coordinator["mint with the coordinator or a company, had it kept the key"] == (
        "nothing is promised"
    )


def test_the_key_holder_is_among_those_who_see_something(tmp_path):
    told = report_of("layered", tmp_path)
    sees = {one["who"]: one["sees"] for one in told["protection"]["from"]}
    assert "that is still masked" in sees["the key holder vault"]
    assert "That vault kept its key to itself." in told["not_claimed"]
    assert told["cards"][0]["text"].startswith("Masks and encryption hide")
    assert "Key of 2048 bits, held by vault alone" in render(told)


def test_a_ledger_with_a_key_is_not_judged_by_an_audit_that_cannot_check_it():
    with pytest.raises(MisuseError, match="check of the key"):
        audit(played("layered").leaves)
    assert audit(genuine(noise=False)).verdict == "verified"


# The key, tampered with by everybody together: only the rules on keys can find it


def forged_countersignature(record: bytes) -> bytes:
    whole = KeyRecord.from_bytes(record, party="")
    first, *rest = whole.transcript.countersignatures
    fake = stranger(first.sender).seal(
        agreement=first.agreement, round_=first.round, step=first.step, payload=first.payload
    )
    transcript = msgspec.structs.replace(whole.transcript, countersignatures=(fake, *rest))
    return msgspec.structs.replace(whole, transcript=transcript).to_bytes()


def one_countersignature_less(record: bytes) -> bytes:
    whole = KeyRecord.from_bytes(record, party="")
    fewer = msgspec.structs.replace(
        whole.transcript, countersignatures=whole.transcript.countersignatures[1:]
    )
    return msgspec.structs.replace(whole, transcript=fewer).to_bytes()


TAMPERED: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda record: record[:-1],
    "longer": lambda record: record + b"\x00",
    "another session": lambda record: msgspec.structs.replace(
        KeyRecord.from_bytes(record, party=""), session=bytes(32)
    ).to_bytes(),
    "a forged countersignature": forged_countersignature,
    "a countersignature less": one_countersignature_less,
    "of another agreement": lambda _: played("layered").record,
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_record_that_does_not_hold_is_found_at_its_leaf_and_accuses_nobody(how):
    run = played("paillier")
    result = audited(run.forged({1: KeyLeaf(TAMPERED[how](run.record))}))
    failure = result.failure
    assert (failure.name, failure.leaf, failure.party) == ("key-invalid", 1, "")


@given(place=st.integers(0, 2**20), bit=st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_a_record_with_any_bit_flipped_is_invalid_and_nothing_else(place, bit):
    run = played("layered")
    data = bytearray(run.record)
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(LedgerError, match="key-invalid"):
        key_facts(run.signed.agreement, run.signed.digest, bytes(data))


@pytest.mark.parametrize("mode", MODES)
def test_a_key_left_out_twice_or_elsewhere_is_found(mode):
    run = played(mode)
    agreement, key, head, *rest = run.leaves
    made = {
        "key-missing": [
            run.forged({1: None}),
            run.forged(leaves=[agreement, head, key, *rest]),
        ],
        "leaf-out-of-place": [
            run.forged(leaves=[agreement, key, key, head, *rest]),
            run.forged(leaves=[key, agreement, head, *rest]),
            run.forged(leaves=[agreement, key, head, key, *rest]),
        ],
    }
    for name, ledgers in made.items():
        assert [found(one) for one in ledgers] == [name] * len(ledgers)


def test_a_key_in_a_ledger_that_encrypts_nothing_is_out_of_place():
    first, *rest = genuine(noise=False)
    with_key = [first, encode_leaf(KeyLeaf(played("layered").record)), *rest]
    owned = [party.name for party in small_federation(noise=False).agreement.parties]
    made = Forger(small_federation(noise=False), owned).rebuild(with_key)
    assert found(made) == "leaf-out-of-place"


# The key of another ceremony, which is valid in itself


def test_nobodys_and_the_coordinators_key_another_ceremonys_record_is_found():
    run = played("layered")
    other = KeyLeaf(another_ceremony("layered"))
    assert found([run.leaves[0], encode_leaf(other), *run.leaves[2:]]) == "checkpoint-root"
    assert found(run.forged({1: other}, owned=())) == "witnesses-too-few"


def test_one_honest_party_in_a_round_binds_it_to_the_key_on_record():
    """A quorum and the coordinator sign again whatever they can; the last commit stays."""
    result = audited(with_another_key("paillier", owned=PARTIES[:3]))
    assert (result.failure.name, result.failure.party) == ("commit-other-intent", "east")


def test_what_all_of_them_sign_again_is_told_by_a_nodes_own_record_and_copy(tmp_path):
    """An auditor cannot know which of two valid keys was meant: whoever kept something can."""
    run = played("layered")
    made = with_another_key("layered")
    # Everybody's key: the story is consistent, and about another key.
    assert found(made) == ""
    one, other = (
        bundle(tmp_path / name, leaves)
        for name, leaves in zip("ab", (run.leaves, made), strict=True)
    )
    auditor = Auditor(run.signed.agreement)
    digests = {auditor.audit(path).to_plain()["secrecy"]["key"]["record"] for path in (one, other)}
    assert len(digests) == 2

    last = leaf(run.leaves[-1])
    assert isinstance(last, CheckpointLeaf)
    head = tmp_path / "north.note"
    head.write_bytes(last.note)
    assert auditor.audit(other, [head]).result.failure.name == "split-view"

    parted = compare(one, other, run.signed.agreement)
    assert (parted.parting.position, parted.parting.signed_both) == (1, ("vault",))
    assert parted.proof is not None
    assert set(parted.deceivers) == {COORDINATOR, *run.names}


def test_a_node_takes_no_other_key_than_its_own():
    run = played("layered")
    made = with_another_key("layered")
    verifier = LedgerVerifier(check_key=same_key(run.record))
    verifier.take(made[0])
    with pytest.raises(LedgerError, match="key-invalid"):
        verifier.take(made[1])
    verifier.take(run.leaves[1])

    copy = LedgerCopy(
        run.signed, identity_of("north"), MemoryJournal(), run.record, clock=lambda: 1_800_000_000
    )
    shown = Extension(0, tuple(made[:2]), b"", ())
    with pytest.raises(LedgerError, match="key-invalid"):
        copy.extend(seal_ledger(identity_of(COORDINATOR), run.signed.digest, shown), 1 << 24)
    assert copy.size == 0


# Rounds that mask nothing


def test_everybodys_key_commits_of_an_unmasked_round_name_the_empty_roster():
    run = played("paillier")
    context = context_of_round(run.signed, run.leaves)
    submits = places(run.leaves, "submit")
    empty = context.roster_digest(())
    assert {message_of(envelope(run.leaves, place)).roster for place in submits} == {empty}
    other = context.roster_digest([envelope(run.leaves, submits[0])])
    for changes in (
        {"roster": other},
        {"sharers": context.sharers_digest(empty, (0, 1, 2))},
        {"roster": other, "sharers": context.sharers_digest(other, range(4))},
    ):
        # One of them, and all of them alike.
        assert found(run.forged({submits[2]: again(run.leaves, submits[2], **changes)})) == (
            "commit-other-roster"
        )
        all_alike = {place: again(run.leaves, place, **changes) for place in submits}
        result = audited(run.forged(all_alike))
        assert (result.failure.name, result.failure.leaf) == ("commit-other-roster", submits[0])
        assert "nothing is masked" in result.failure.reason


def without_the_last(dropouts: tuple[int, ...]) -> list[bytes]:
    """A round in which the last party sent nothing, whoever else confirms that."""
    run = played("paillier")
    context = context_of_round(run.signed, run.leaves)
    *kept, lost = places(run.leaves, "submit")
    empty = context.roster_digest(())
    sharers = context.sharers_digest(empty, range(4))
    survivors = context.survivors_digest(
        sharers, [envelope(run.leaves, place) for place in kept], (3,)
    )
    changed: dict[int, Leaf | None] = {lost: None}
    for place in places(run.leaves, "confirm"):
        told = again(run.leaves, place, survivors=survivors)
        changed[place] = None if told.envelope.sender == "east" else told
    [result] = places(run.leaves, "result")
    changed[result] = again(run.leaves, result, survivors=(0, 1, 2), dropouts=dropouts)
    return run.forged(changed)


def test_survivors_and_dropouts_of_an_unmasked_round_are_exactly_those_invited():
    result = audited(without_the_last((3,)))
    assert result.failure is None, result.failure
    assert (result.rounds[0].survivors, result.rounds[0].dropouts) == ((0, 1, 2), (3,))
    assert found(without_the_last(())) == "sharers-altered"


# Commands


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    call = commands(monkeypatch, capsys, tmp_path)
    for mode in MODES:
        bundle(Path(f"{mode}.ledger"), played(mode).leaves)
        Path(f"{mode}.toml").write_text(agreement_to_toml(played(mode).signed.agreement))
    return call


def test_the_commands_audit_show_and_import_an_encrypted_run(run):
    done = run("audit", "paillier.ledger", "--agreement", "paillier.toml")
    assert done.code == ExitCode.OK, done.err
    words = " ".join(done.out.split())
    assert "Key of 2048 bits, dealt by mint; any 3 of north, south, west, east" in words
    assert "The record of how the key was made holds" in words

    shown = run("ledger", "show", "layered.ledger").out
    key = next(line for line in shown.splitlines() if line[:9].split() == ["1"])
    assert key.endswith("key of 2048 bits, held by vault alone; the record of its ceremony holds")
    assert 'Mode "layered"' in shown
    lines = run("ledger", "show", "layered.ledger", "--json").out.splitlines()
    first, second = map(json.loads, lines[:2])
    assert first["content"]["secrecy"]["mode"] == "layered"
    assert (second["kind"], second["signers"]) == ("key", ["vault"])
    assert second["content"]["holds"] is True

    done = run("ledger", "import", "layered.ledger", "archive", "--agreement", "layered.toml")
    assert done.code == ExitCode.OK, done.err


def test_a_tampered_key_is_told_by_audit_and_by_show(run):
    good = played("layered")
    bundle(Path("bad.ledger"), good.forged({1: KeyLeaf(good.record[:-1])}))
    done = run("audit", "bad.ledger", "--agreement", "layered.toml", "--json")
    assert done.code == ExitCode.LEDGER
    assert done.json["verdict"]["failure"]["name"] == "key-invalid"
    assert done.json["secrecy"]["key"]["ceremony_holds"] is False
    shown = run("ledger", "show", "bad.ledger", "--json").out.splitlines()[1]
    assert json.loads(shown)["content"]["holds"] is False


def test_without_the_extra_an_audit_says_what_to_install_and_gives_no_verdict(run):
    bundle(Path("masked.ledger"), genuine(noise=False))
    program = """
import sys
sys.modules["gmpy2"] = sys.modules["phe"] = None
from securefed.cli import main
for words in (
    "audit masked.ledger --quiet",
    "audit layered.ledger --agreement layered.toml --quiet",
    "ledger import layered.ledger archive",
    "ledger show layered.ledger",
):
    sys.argv = ["securefed", *words.split()]
    try:
        main()
    except SystemExit as ended:
        print("code", ended.code, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    codes = [line for line in done.stdout.splitlines() if line.startswith("code ")]
    assert codes == ["code 0", "code 2", "code 2", "code 0"], done.stdout + done.stderr
    assert done.stdout.count("VERIFIED") == 1
    assert "FAILED" not in done.stdout
    assert done.stderr.count("pip install 'securefed[paillier]'") == 2
    assert "not checked here: gmpy2 is not installed" in " ".join(done.stdout.split())
    assert not Path("archive").exists()
