"""How long the record of the agreement's key is: by encoding a ceremony of the very shape.

The record's own module builds on the agreement and on gmpy2, so it is not asked here; a test
compares the length with that of a real record.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocols.agreement.model import Agreement
from protocols.agreement.sizes import blank_envelope
from protocols.identity import DIGEST_BYTES, NO_ROUND, Envelope
from protocols.paillier.dealing_messages import (
    STEP_OF,
    CeremonyKey,
    CeremonyTranscript,
    Countersignature,
    Dealing,
)

_DIGEST: Final = bytes(DIGEST_BYTES)
_HEADER: Final = 5
"""Of a byte string or list, at the most."""
_FOURTH_ROOTS: Final = 128
_ROOTS: Final = 8
_RESIDUES: Final = 2 + _ROOTS + _FOURTH_ROOTS
"""The modulus, and the proof that it is well formed (figure 16 of ePrint 2021/060, batched)."""
_GROUPS: Final = (2048, 3072, 4096, 6144)
"""Bits of the primes of RFC 7919 in which the factors are committed to."""
_SLACK: Final = 32
_FIELDS: Final = 16
"""Headers of the proofs' fields, at the most."""


def key_record_bytes(agreement: Agreement) -> int:
    """Return the most bytes of the key's record, as every node keeps it; 0 with "masking"."""
    rules = agreement.paillier
    dealer = None if rules is None else rules.dealer or rules.key_holder
    if rules is None or dealer is None:
        return 0
    names = [one.name for one in agreement.trustees]
    residue = rules.key_bits // 8
    shared = DIGEST_BYTES + residue + len(names) * (residue + _HEADER) + 4 * _HEADER
    dealing = Dealing(
        _DIGEST,
        tuple(_blank(name, CeremonyKey(_DIGEST, _DIGEST)) for name in names),
        _DIGEST,
        bytes(shared),
        bytes(_proof_bytes(rules.key_bits)),
        (_DIGEST,) * len(names),
    )
    confirmed = tuple(_blank(name, Countersignature(_DIGEST, _DIGEST)) for name in names)
    transcript = CeremonyTranscript(_blank(dealer.name, dealing), confirmed)
    return len(msgspec.msgpack.encode((_DIGEST, transcript)))


def _proof_bytes(bits: int) -> int:
    """Return the most bytes of a modulus with the proofs that it is well formed."""
    group = next(size for size in _GROUPS if bits + 514 < size) // 8
    modulus = DIGEST_BYTES + _RESIDUES * (bits // 8) + _FOURTH_ROOTS
    return modulus + 3 * group + 2 * (bits // 16 + _SLACK) + 16 + _FIELDS * _HEADER


def _blank(sender: str, message: CeremonyKey | Dealing | Countersignature) -> Envelope:
    return blank_envelope(NO_ROUND, STEP_OF[type(message)], sender, message)
