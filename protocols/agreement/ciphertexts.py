"""How long encrypted vectors are, and which agreements may encrypt: from the agreement alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.agreement.model import Agreement, Task
from protocols.agreement.noise import summed_values
from protocols.errors import AgreementError
from protocols.packing import lane_bits, lanes_within
from protocols.paillier.messages import MAX_TRUSTEES

_RECOMMENDED_BITS: Final = 3072


def ciphertext_count(agreement: Agreement, task: Task) -> int:
    """Return how many ciphertexts the vector of one party takes; 0 with "masking"."""
    if agreement.paillier is None:
        return 0
    return ciphertexts_for(
        summed_values(agreement, task),
        task.modulus_bits,
        parties=len(agreement.parties),
        key_bits=agreement.paillier.key_bits,
    )


def ciphertexts_for(values: int, modulus_bits: int, *, parties: int, key_bits: int) -> int:
    """Return how many ciphertexts hold a vector of so many values that so many parties add up."""
    return -(-values // lanes_within(key_bits, lane_bits(modulus_bits, parties)))


def ciphertext_bytes(key_bits: int) -> int:
    """Return the bytes of one ciphertext, which is as long as n squared."""
    return key_bits // 4


def encrypted_bytes(agreement: Agreement, task: Task) -> int:
    """Return how many bytes they have; 0 with "masking"."""
    bits = 0 if agreement.paillier is None else agreement.paillier.key_bits
    return ciphertext_count(agreement, task) * ciphertext_bytes(bits)


def key_problems(agreement: Agreement) -> Iterator[AgreementError]:
    """Check that a key is agreed exactly where one is needed, and who opens with it."""
    mode, rules = agreement.aggregation.mode, agreement.paillier
    if mode == "masking":
        if rules is not None:
            yield AgreementError(
                "paillier",
                'is there, and with mode = "masking" nothing is encrypted',
                'remove the table, or set aggregation.mode to "layered"',
            )
        return
    if rules is None:
        yield AgreementError(
            "paillier",
            f'is missing, and mode = "{mode}" encrypts every vector',
            "add the table with the dealer's name and public key",
        )
        return
    if (rules.dealer is None) == (rules.key_holder is None):
        yield AgreementError(
            "paillier.dealer",
            "must be there, or else paillier.key_holder, and not both",
            "name who deals the key to the parties; or who holds it alone",
        )
    elif mode == "paillier" and rules.key_holder is not None:
        yield AgreementError(
            "paillier.key_holder",
            "could open every party's vector together with the coordinator, and read every sum",
            'name a paillier.dealer instead, or set aggregation.mode to "layered"',
        )
    if len(agreement.parties) > MAX_TRUSTEES:
        yield AgreementError(
            "aggregation.mode",
            f'is "{mode}", which is for at most {MAX_TRUSTEES} parties',
            'set it to "masking"',
        )


def key_warnings(agreement: Agreement) -> Iterator[str]:
    """Say what is allowed but should be known."""
    rules = agreement.paillier
    if rules is None:
        return
    if rules.key_bits < _RECOMMENDED_BITS:
        yield (
            f"paillier.key_bits is {rules.key_bits}: 112-bit security, for sums that need not stay "
            f"secret beyond 2030; {_RECOMMENDED_BITS} is the default"
        )
    if agreement.aggregation.mode == "paillier":
        yield (
            'mode is "paillier": whoever gets a quorum of the shares one day can open every vector '
            'that was recorded; "layered" has masks as well, which are gone after the round'
        )
