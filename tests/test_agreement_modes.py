"""Which agreements may encrypt, under whose key, and how a lead chooses that."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from support.agreements import (
    changed,
    encrypted,
    identity_of,
    member,
    party_name,
    plain_agreement,
    plain_toml,
    without,
)
from support.seeded import seeded
from support.trustees import fixed_primes

from protocols.agreement import Agreement, agreement_from, load_agreement, validate
from protocols.agreement.ciphertexts import ciphertexts_for, encrypted_bytes
from protocols.agreement.key_sizes import key_record_bytes
from protocols.agreement.ledger_sizes import largest_leaf
from protocols.agreement.model import MAX_DIMENSION
from protocols.agreement.sizes import step_sizes
from protocols.errors import AgreementError, MisuseError
from protocols.identity import Identity
from protocols.paillier.key_record import MAX_RECORD_BYTES, deal_in_memory
from protocols.paillier.messages import MAX_CIPHERTEXTS
from protocols.privacy.noise_meter import METER_VALUES
from securefed.agreement_text import agreement_to_toml
from securefed.federation import Federation, MemberKeys


def keys(*names: str) -> dict[str, MemberKeys]:
    raw = {name: hashlib.sha256(name.encode()).digest() for name in names}
    return {
        name: MemberKeys(Identity(name, key).public.raw.hex(), key.hex())
        for name, key in raw.items()
    }


def lead(mode: str, n: int = 3, **chosen: object) -> Federation:
    parties = [party_name(number) for number in range(n)]
    return Federation("test", parties, privacy=None, mode=mode, **chosen).add_task(
        "risk", "glm-logistic", rounds=5, features=400, max_rows=500
    )


def agreed(federation: Federation) -> Agreement:
    members = keys("hub", *federation.parties, *federation.key_makers)
    return federation.agreement(members, coordinator="hub", address="localhost:1")


MODES = [("masking", {})]
MODES += [(mode, {"dealer": "maker"}) for mode in ("paillier", "layered")]
MODES += [("layered", {"key_holder": "keeper"})]


# What a lead chooses


@pytest.mark.parametrize(("mode", "who"), MODES)
@pytest.mark.parametrize("n", [2, 3, 9, 100])
def test_a_lead_chooses_a_mode_and_every_message_of_it_fits(mode, who, n):
    agreement = agreed(lead(mode, n, **who))
    validate(agreement)
    assert agreement.aggregation.mode == mode
    assert [one.name for one in agreement.trustees] == (
        []
        if mode == "masking"
        else list(who.values())
        if "key_holder" in who
        else [one.name for one in agreement.parties]
    )
    text = agreement_to_toml(agreement)
    assert load_agreement(text).digest() == agreement.digest()
    assert ("[paillier.dealer]" in text) == ("dealer" in who)
    longest = max(step_sizes(agreement, agreement.tasks[0]).values())
    assert longest < agreement.aggregation.max_message_bytes
    assert largest_leaf(agreement) < agreement.aggregation.max_message_bytes
    if mode != "masking":
        assert longest >= encrypted_bytes(agreement, agreement.tasks[0]) > 0


def test_a_simulation_needs_no_certificates_of_dealer_or_key_holder_either():
    federation = lead("layered", key_holder="keeper")
    names = ("coordinator", *federation.parties, "keeper")
    agreement = federation.agreement_for({name: identity_of(name) for name in names})
    assert agreement.verify_key("keeper").raw == identity_of("keeper").public.raw


def test_missing_keys_of_a_dealer_and_a_key_nobody_needs_are_named():
    federation = lead("paillier", dealer="maker")
    with pytest.raises(MisuseError, match="no keys of maker"):
        federation.agreement(keys("hub", *federation.parties), coordinator="hub", address="h:1")
    with pytest.raises(AgreementError, match="nothing is encrypted"):
        agreed(lead("masking", dealer="maker"))
    with pytest.raises(AgreementError, match="nothing is encrypted"):
        agreed(lead("masking", key_bits=2048))
    with pytest.raises(AgreementError, match=r"paillier.dealer: must be there"):
        agreed(lead("layered"))


# How long the record of the key is


@pytest.mark.parametrize("who", ["dealer", "key_holder"])
@pytest.mark.parametrize("n", [2, 5])
def test_the_record_of_the_key_is_as_long_as_foretold(n, who):
    agreement = agreement_from(encrypted(plain_agreement(n, colluders=0), "layered", who))
    names = [one.name for one in agreement.parties]
    people = {name: identity_of(name) for name in (*names, "dealer", "key-holder")}
    record, _ = deal_in_memory(
        agreement, agreement.digest(), people, seeded("length"), make_primes=fixed_primes
    )
    assert 0 <= key_record_bytes(agreement) - len(record) < 100 + 3 * n
    assert largest_leaf(agreement) >= key_record_bytes(agreement)


def test_the_longest_record_of_any_agreement_is_one_that_every_node_reads():
    plain = encrypted(plain_agreement(100), "layered", "dealer", key_bits=4096)
    long = [one | {"name": f"{number:0>64}"} for number, one in enumerate(plain["parties"])]
    agreement = agreement_from(plain | {"parties": long})
    assert 170_000 < key_record_bytes(agreement) < MAX_RECORD_BYTES
    assert largest_leaf(agreement) > key_record_bytes(agreement)
    assert key_record_bytes(agreement_from(plain_agreement(100))) == 0


# Which agreements may encrypt


def test_an_agreement_from_before_there_were_ciphertexts_keeps_its_digest():
    vectors = Path(__file__).parent / "vectors" / "ledger"
    agreement = load_agreement((vectors / "agreement.toml").read_text())
    assert agreement.paillier is None
    assert b"paillier" not in agreement.canonical_bytes()
    assert agreement.canonical_bytes() in (vectors / "bundle").read_bytes()


def bent(mode: str, who: str, path: str, value: Any, n: int = 3) -> dict[str, Any]:
    return changed(encrypted(plain_agreement(n), mode, who), path, value)


DEALER = {key: value for key, value in member("dealer").items() if key != "tls_fingerprint"}
BOTH = {"key_bits": 3072, "dealer": DEALER, "key_holder": member("key-holder")}
SAME_NAME = member("key-holder") | {"name": "hub"}


@pytest.mark.parametrize(
    ("plain", "key", "words", "remedy"),
    [
        (
            bent("masking", "dealer", "aggregation.mode", "masking"),
            "paillier", 'with mode = "masking" nothing is encrypted', 'to "layered"',
        ),
        (
            without(encrypted(plain_agreement(3), "layered", "dealer"), "paillier"),
            "paillier", 'mode = "layered" encrypts every vector', "the dealer's name",
        ),
        (
            without(encrypted(plain_agreement(3), "paillier", "dealer"), "paillier.dealer"),
            "paillier.dealer", "must be there, or else paillier.key_holder", "name who deals",
        ),
        (
            bent("layered", "dealer", "paillier", BOTH),
            "paillier.dealer", "and not both", "name who deals",
        ),
        (
            bent("paillier", "key_holder", "aggregation.mode", "paillier"),
            "paillier.key_holder", "could open every party's vector", "paillier.dealer instead",
        ),
        (
            encrypted(plain_agreement(101), "layered", "dealer"),
            "aggregation.mode", "for at most 100 parties", 'set it to "masking"',
        ),
        (
            bent("layered", "key_holder", "paillier.key_holder", SAME_NAME),
            "paillier.key_holder.name", "the same as that of coordinator", "its own",
        ),
        (
            bent("layered", "key_holder", "paillier.key_holder", member("hub")),
            "paillier.key_holder.name", "the same as that of coordinator", "its own",
        ),
        (
            bent("layered", "key_holder", "paillier.key_holder", member("party-1")),
            "paillier.key_holder.name", r"the same as that of parties\[1\]", "its own",
        ),
        (
            bent("layered", "dealer", "paillier.dealer", DEALER | {
                "public_key": member("party-2")["public_key"]
            }),
            "paillier.dealer.public_key", r"the same as that of parties\[2\]", "its own",
        ),
        (
            bent("layered", "key_holder", "paillier.key_holder.public_key", "02" + "00" * 31),
            "paillier.key_holder.public_key", "not an Ed25519", "paste the key",
        ),
        (
            bent("layered", "dealer", "paillier.key_bits", 2047),
            "paillier.key_bits", "is no multiple of 64", "expected: length of the modulus",
        ),
        (
            bent("layered", "dealer", "paillier.key_bits", 1024),
            "paillier.key_bits", "is less than 2048", "expected: length of the modulus",
        ),
        (
            bent("layered", "dealer", "paillier.key_bits", 3000),
            "paillier.key_bits", "is no multiple of 64", "expected: length of the modulus",
        ),
        (
            bent("layered", "dealer", "paillier.key_bits", 4160),
            "paillier.key_bits", "is greater than 4096", "expected: length of the modulus",
        ),
        (
            bent("layered", "dealer", "paillier.dealer.tls_fingerprint", "ab" * 32),
            "paillier.dealer.tls_fingerprint", "is not a known key", "remove it",
        ),
    ],
)  # fmt: skip
def test_a_key_that_does_not_fit_the_mode_is_refused_by_name(plain, key, words, remedy):
    with pytest.raises(AgreementError, match=words) as caught:
        agreement_from(plain)
    assert caught.value.key == key
    assert remedy in caught.value.remedy


def test_a_hundred_parties_may_encrypt():
    assert agreement_from(encrypted(plain_agreement(100), "layered", "dealer"))


def test_no_vector_has_more_ciphertexts_than_a_node_reads():
    longest = ciphertexts_for(MAX_DIMENSION + METER_VALUES, 64, parties=100, key_bits=2048)
    assert longest < MAX_CIPHERTEXTS


@pytest.mark.parametrize(("table", "near"), [("dealer", "name"), ("key_holder", "tls_fingerprint")])
def test_an_unknown_key_inside_a_nested_table_is_named_with_its_line(table, near):
    text = agreement_to_toml(agreement_from(encrypted(plain_agreement(3), "layered", table)))
    lines = text.splitlines()
    place = lines.index(f"[paillier.{table}]")
    at = next(i for i in range(place, len(lines)) if lines[i].startswith(f"{near} = "))
    lines[at] = lines[at].replace(near, f"{near}s", 1)
    with pytest.raises(AgreementError, match=rf"line {at + 1}\)") as caught:
        load_agreement("\n".join(lines))
    assert caught.value.key == f"paillier.{table}.{near}s"
    assert caught.value.remedy == f"did you mean {near!r}?"


def warnings_of(mode: str, who: str, key_bits: int) -> list[str]:
    return validate(agreement_from(encrypted(plain_agreement(3), mode, who, key_bits=key_bits)))


def test_a_short_key_and_ciphertexts_without_masks_are_warned_of():
    short, bare = "112-bit security", "whoever gets a quorum of the shares one day"

    def told(mode: str, who: str, key_bits: int) -> tuple[bool, bool]:
        text = " ".join(warnings_of(mode, who, key_bits))
        return short in text, bare in text

    assert told("layered", "key_holder", 3072) == (False, False)
    assert told("layered", "dealer", 2048) == (True, False)
    assert told("layered", "dealer", 3008) == (True, False)
    assert told("paillier", "dealer", 4096) == (False, True)
    assert told("paillier", "dealer", 2048) == (True, True)


def test_a_message_limit_below_the_ciphertexts_or_the_record_is_refused_with_what_would_do():
    small = encrypted(plain_agreement(3), "layered", "dealer", key_bits=4096)
    need = largest_leaf(agreement_from(small))
    with pytest.raises(AgreementError, match=r"\(extend\)") as caught:
        agreement_from(changed(small, "aggregation.max_message_bytes", 2**16))
    enough = int(caught.value.remedy.split()[-1])
    assert enough >= need
    agreement_from(changed(small, "aggregation.max_message_bytes", enough))
    large = changed(small, "tasks.0.dimension", 10**6)
    with pytest.raises(AgreementError, match=r"\(encrypt\)"):
        agreement_from(changed(large, "aggregation.max_message_bytes", 2**22))


def test_the_text_of_a_file_reads_back_with_the_tables_inside_the_table():
    for mode, who in (("paillier", "dealer"), ("layered", "key_holder")):
        plain = encrypted(plain_agreement(3), mode, who)
        agreement = agreement_from(plain)
        assert load_agreement(plain_toml(plain)).digest() == agreement.digest()
        assert load_agreement(agreement_to_toml(agreement)).digest() == agreement.digest()
