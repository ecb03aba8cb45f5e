"""The proof of knowledge that every vector of an opening carries: of its plaintexts, batched."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.errors import MisuseError
from protocols.paillier.integers import mpz
from protocols.paillier.messages import STEP_OF, CiphertextSubmission
from protocols.paillier.plaintext_proof import PlaintextProof, check_plaintexts
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_product import CheckKnowledge
from protocols.prg import Ranges
from protocols.wire import decode

_STEP = STEP_OF[CiphertextSubmission]


def plaintext_knowledge(context: OpeningContext, *, ranges: Ranges | None = None) -> CheckKnowledge:
    """Return the check of ``CiphertextSubmission.knowledge`` for the roles of one opening.

    What is checked holds for one agreement, round and sender, so that nobody submits another's
    ciphertexts, changed or not (``plaintext_proof.py``).

    Args:
        context: the opening.
        ranges: divides a vector among threads.

    Raises:
        MisuseError: ciphertexts of a degree above 1, for which there is no such proof.
    """
    if context.key.degree != 1:
        raise MisuseError("knowledge is proved of ciphertexts of degree 1")

    def check(name: str, header: CiphertextSubmission, ciphertexts: Sequence[mpz]) -> None:
        proof = decode(
            PlaintextProof,
            header.knowledge,
            party=name,
            step=_STEP,
            max_bytes=context.max_message_bytes,
        )
        check_plaintexts(
            context.key.public,
            ciphertexts,
            proof,
            agreement=context.agreement,
            round_=context.round,
            party=name,
            step=_STEP,
            ranges=ranges,
        )

    return check
