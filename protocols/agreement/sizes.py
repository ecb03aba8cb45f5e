"""How long the messages of a round are: by encoding messages of the very shape that will be sent.

Sizes follow from the agreement alone: names, number of parties, neighbour graph, bits per value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from protocols.agreement.ciphertexts import ciphertext_count, encrypted_bytes
from protocols.agreement.model import Agreement, Task
from protocols.agreement.noise import summed_values
from protocols.encoding import packed_size
from protocols.identity import DIGEST_BYTES, SIGNATURE_BYTES, Envelope
from protocols.intent import statement, terms_of
from protocols.masking.messages import (
    SALT_BYTES,
    SHARE_PLAINTEXT_BYTES,
    TAG_BYTES,
    Advertise,
    Confirmation,
    Confirmations,
    DealtShare,
    DeliveredShare,
    Delivery,
    OpenedShare,
    Roster,
    Shares,
    Submission,
    Survivors,
    Unmask,
)
from protocols.paillier.messages import (
    CHALLENGE_BYTES,
    STEP_OF,
    CiphertextSubmission,
    OpeningRequest,
    PartialOpening,
)
from protocols.secret_sharing import SHARE_BYTES
from protocols.version import PROTOCOL_VERSION
from protocols.wire import Packet, encode

_DIGEST: Final = bytes(DIGEST_BYTES)
_SEALED: Final = bytes(SHARE_PLAINTEXT_BYTES + TAG_BYTES)
_UNMASKED: Final = ("submit", "survivors", "confirm")
"""Steps of masking that are left where nothing is masked."""
_BIN_HEADER: Final = 3
"""msgpack spends 2 bytes on the header of an empty attachment and up to 5 on a long one."""


def blank_envelope(round_: int, step: str, sender: str, message: msgspec.Struct) -> Envelope:
    """Return an envelope as long as the signed one would be; digest and signature are zeros."""
    return Envelope(
        PROTOCOL_VERSION, _DIGEST, round_, step, sender, encode(message), bytes(SIGNATURE_BYTES)
    )


def packet_size(envelope: Envelope, attached: int = 0) -> int:
    """Return the bytes of a packet with that many attached bytes, rounded up by at most 3."""
    return len(encode(Packet(envelope))) + (attached + _BIN_HEADER if attached else 0)


def step_sizes(agreement: Agreement, task: Task, holders: int | None = None) -> dict[str, int]:
    """Return the bytes of each message of a round's steps in which every party answers.

    Args:
        agreement: a validated one.
        task: one of its tasks.
        holders: dealers whose shares one party holds; by default as many as hold its own.

    Returns:
        Bytes by step name; for steps whose length depends on the party's name, the longest.
    """
    names = tuple(party.name for party in agreement.parties)
    control = _control_sizes(
        names,
        agreement.coordinator.name,
        agreement.max_rounds,
        summed_values(agreement, task),
        agreement.holders,
        holders or agreement.holders,
        len(statement(_DIGEST, terms_of(agreement, task))),
    )
    if agreement.paillier is not None:
        kept = _UNMASKED if agreement.aggregation.mode == "paillier" else control.keys()
        return {step: control[step] for step in kept} | _cipher_sizes(agreement, task)
    vector = packed_size(summed_values(agreement, task), task.modulus_bits)
    return {**control, "submit": control["submit"] + vector + _BIN_HEADER}


def _cipher_sizes(agreement: Agreement, task: Task) -> dict[str, int]:
    """Return the bytes of the messages that carry ciphertexts, and of the request to open them."""
    count, round_ = ciphertext_count(agreement, task), agreement.max_rounds
    residue = encrypted_bytes(agreement, task) // count // 2
    proof, challenge = bytes(2 * residue), bytes(CHALLENGE_BYTES)
    submission = CiphertextSubmission(_DIGEST, _DIGEST, _DIGEST, count, proof, b"")
    request = OpeningRequest(tuple(range(len(agreement.parties))), _DIGEST, _DIGEST)
    partial = PartialOpening(_DIGEST, _DIGEST, count, challenge, proof)
    longest = max((one.name for one in (*agreement.parties, *agreement.trustees)), key=len)
    hub = agreement.coordinator.name
    return {
        STEP_OF[type(message)]: packet_size(
            blank_envelope(round_, STEP_OF[type(message)], sender, message), attached
        )
        for message, sender, attached in (
            (submission, longest, encrypted_bytes(agreement, task)),
            (request, hub, 0),
            (partial, longest, count * residue),
        )
    }


@lru_cache(maxsize=64)
def _control_sizes(
    names: tuple[str, ...],
    hub: str,
    round_: int,
    count: int,
    holders: int,
    held: int,
    stated: int,
) -> Mapping[str, int]:
    last, longest = len(names) - 1, max(names, key=len)
    parties = tuple(range(len(names)))

    def from_all(step: str, message: msgspec.Struct) -> tuple[Envelope, ...]:
        return tuple(blank_envelope(round_, step, name, message) for name in names)

    # The highest numbers take the most bytes.
    dealt = tuple(DealtShare(u, _SEALED, _DIGEST, _DIGEST) for u in _highest(last, holders))
    delivered = tuple(DeliveredShare(u, _SEALED, _DIGEST, _DIGEST) for u in _highest(last, held))
    opened = tuple(
        OpenedShare(u, bytes(SHARE_BYTES), bytes(SALT_BYTES)) for u in _highest(last, held)
    )
    advertise = Advertise(_DIGEST, _DIGEST)
    submission = Submission(_DIGEST, _DIGEST, _DIGEST, _DIGEST, count, bytes(stated))
    confirmation = Confirmation(_DIGEST)
    said: dict[str, msgspec.Struct] = {
        "advertise": advertise,
        "share": Shares(_DIGEST, _DIGEST, dealt),
        "submit": submission,
        "confirm": confirmation,
        "unmask": Unmask(_DIGEST, opened, ()),
    }
    told: dict[str, msgspec.Struct] = {
        "roster": Roster(from_all("advertise", advertise)),
        "deliver": Delivery(last, _DIGEST, parties, delivered),
        "survivors": Survivors(from_all("submit", submission), ()),
        "confirmations": Confirmations(from_all("confirm", confirmation)),
    }
    sizes = {
        step: packet_size(blank_envelope(round_, step, sender, message))
        for sender, messages in ((longest, said), (hub, told))
        for step, message in messages.items()
    }
    return MappingProxyType(sizes)


def _highest(last: int, count: int) -> range:
    return range(max(last + 1 - count, 0), last + 1)
