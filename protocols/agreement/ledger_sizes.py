"""How long the leaves and messages of the ledger are, computed from the agreement alone.

See ``docs/ledger.md``. The ledger's own modules build on the agreement, so lengths are counted here
and not by encoding; a test compares them with those of a real ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocols.agreement.key_sizes import key_record_bytes
from protocols.agreement.model import Agreement, Task
from protocols.identity import DIGEST_BYTES, SIGNATURE_BYTES

EXTENSION_OVERHEAD: Final = 8192
"""Bytes that the message around the longest leaf may need: head, proof, envelope."""

_LEAF_HEADER: Final = 10
"""An array's header and the name of its kind."""
_NOTE_LEAF_HEADER: Final = 17
_LIST_HEADER: Final = 5
_BYTES_HEADER: Final = 5
_INTEGER: Final = 5
_COSIGNATURE_LINE: Final = 3 + 1 + 1 + 104 + 1
"""Dash, blanks, base64 of key id, time and signature, and the line's end; the name comes to it."""
_COORDINATOR_LINE: Final = 3 + 1 + 1 + 92 + 1
_ROOT_LINE: Final = 45
_WITNESS: Final = len("securefed.party/")
_ENVELOPE: Final = 130
"""Of an envelope around a short payload: digest, signature, headers; the name comes to it."""


def largest_leaf(agreement: Agreement) -> int:
    """Return the bytes of the longest leaf; a party must be able to receive it in one message."""
    names = sum(len(party.name) for party in agreement.parties)
    each = SIGNATURE_BYTES + 2 + 2 + 1
    first = len(agreement.canonical_bytes()) + names + each * len(agreement.parties)
    agreed = first + _LEAF_HEADER + 2 * _LIST_HEADER
    key = key_record_bytes(agreement) + _LEAF_HEADER + _BYTES_HEADER
    return max(agreed, key, _checkpoint(agreement))


def round_sizes(agreement: Agreement, task: Task, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of what a round adds to the ledger, as one party sends or receives it.

    Args:
        agreement: a validated one.
        task: one of its tasks.
        sizes: bytes of the messages ``open`` (without the model), ``submit`` (without the vector),
            ``confirm`` and ``result``.

    Returns:
        ``extend``: both extensions of a round in which every party answers, with the head and its
        proof in the first and the checkpoint in the second; ``cosign``: the party's answer.
    """
    n, longest = len(agreement.parties), max(len(party.name) for party in agreement.parties)
    leaves = task.rounds * (2 * n + 3)
    proof = (DIGEST_BYTES + 2) * leaves.bit_length()
    head = _body(agreement) + _COORDINATOR_LINE + len(_origin(agreement)) + _BYTES_HEADER
    signed = n * (sizes["submit"] + sizes["confirm"]) + sizes["open"] + sizes["result"]
    signed += (2 * n + 2) * (_LEAF_HEADER + 2)
    around = _ENVELOPE + len(agreement.coordinator.name) + _INTEGER + _LIST_HEADER
    return {
        "extend": signed + head + proof + _checkpoint(agreement) + 2 * around,
        "cosign": _ENVELOPE + _INTEGER + _COSIGNATURE_LINE + _WITNESS + 2 * longest + 3,
    }


def _origin(agreement: Agreement) -> str:
    return f"securefed.ledger/{agreement.federation}/{'0' * 2 * DIGEST_BYTES}"


def _body(agreement: Agreement) -> int:
    return len(_origin(agreement)) + 1 + len("1000000\n") + _ROOT_LINE + 1


def _checkpoint(agreement: Agreement) -> int:
    names = sum(len(party.name) for party in agreement.parties)
    lines = len(agreement.parties) * (_COSIGNATURE_LINE + _WITNESS) + names
    note = _body(agreement) + _COORDINATOR_LINE + len(_origin(agreement)) + lines
    return note + _NOTE_LEAF_HEADER + _BYTES_HEADER
