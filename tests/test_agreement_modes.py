"""Which agreements may encrypt, under whose key, and how a lead chooses that."""

from __future__ import annotations

import hashlib

import pytest
from support.agreements import encrypted, identity_of, party_name, plain_agreement
from support.seeded import seeded
from support.trustees import fixed_primes

from protocols.agreement import Agreement, agreement_from, load_agreement, validate
from protocols.agreement.ciphertexts import encrypted_bytes
from protocols.agreement.key_sizes import key_record_bytes
from protocols.agreement.ledger_sizes import largest_leaf
from protocols.agreement.sizes import step_sizes
from protocols.errors import AgreementError, MisuseError
from protocols.identity import Identity
from protocols.paillier.key_record import deal_in_memory
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
