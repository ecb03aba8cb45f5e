"""Payloads of opening one product of ciphertexts (``docs/threshold-paillier.md``).

Every payload travels inside a signed :class:`~protocols.identity.Envelope`, whose step name is the
key of :data:`STEPS`; bulk bytes travel beside it, under a digest that is signed. Parties are
numbered from 0 and trustees from 1, both in the order of the agreement.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from protocols.identity import Digest
from protocols.masking.messages import MAX_STATEMENT_BYTES, Parties

MAX_TRUSTEES: Final = 100
CHALLENGE_BYTES: Final = 16
MAX_CIPHERTEXTS: Final = 2**24
MAX_KNOWLEDGE_BYTES: Final = 2**13
MAX_RESPONSE_BYTES: Final = 2**11
"""Under a generated key of 4096 bits and a hundred trustees it has about 1400 bytes."""

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_CIPHERTEXTS)]


class CiphertextSubmission(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True
):
    """Party to coordinator, who passes it on to every trustee: header of a ciphertext vector.

    Attributes:
        key: digest of the threshold key that it is encrypted under.
        model: digest of the global model that was trained on.
        vector: SHA-256 of the ciphertexts beside it.
        count: ciphertexts.
        knowledge: proof that the sender knows what it encrypted, bound to round and sender.
        statement: of the layer above, as in :class:`protocols.masking.messages.Submission`.
    """

    key: Digest
    model: Digest
    vector: Digest
    count: Count
    knowledge: Annotated[bytes, msgspec.Meta(max_length=MAX_KNOWLEDGE_BYTES)]
    statement: Annotated[bytes, msgspec.Meta(max_length=MAX_STATEMENT_BYTES)]


class OpeningRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to every trustee: open the product of exactly these vectors.

    Attributes:
        submitters: whose vectors, ascending.
        submissions: digest of their headers.
        product: digest of the product, which every trustee computes itself.
    """

    submitters: Parties
    submissions: Digest
    product: Digest


class PartialOpening(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Trustee to coordinator: header of its partial decryption of the requested product.

    Attributes:
        request: digest of the request.
        values: SHA-256 of the partial decryptions beside it.
        count: partial decryptions.
        challenge: of the proof.
        response: of the proof.
    """

    request: Digest
    values: Digest
    count: Count
    challenge: Annotated[
        bytes, msgspec.Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)
    ]
    response: Annotated[bytes, msgspec.Meta(max_length=MAX_RESPONSE_BYTES)]


STEPS: Final[dict[str, type[msgspec.Struct]]] = {
    "encrypt": CiphertextSubmission,
    "open-product": OpeningRequest,
    "decrypt": PartialOpening,
}
STEP_OF: Final = {kind: step for step, kind in STEPS.items()}
