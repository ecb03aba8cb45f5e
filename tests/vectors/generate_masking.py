"""Regenerate the vectors of whole rounds: ``python tests/vectors/generate_masking.py``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from protocols.identity import Envelope, Identity
from protocols.masking.context import RoundContext
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.messages import Confirmation, Submission
from protocols.masking.party import MaskingParty
from protocols.prg import RandomBytes
from protocols.wire import Packet, decode, encode

FOLDER = Path(__file__).parent
STATEMENT = b"as agreed"
MODEL = hashlib.sha256(b"vector model").digest()


def stream(label: str, count: int) -> bytes:
    """Arbitrary input bytes; every vector also states them in full."""
    return hashlib.shake_256(label.encode()).digest(count)


class Draws:
    """Randomness of one party: an arbitrary stream, of which what was drawn is recorded."""

    def __init__(self, label: str) -> None:
        self._label, self.drawn = label, b""

    def __call__(self, count: int) -> bytes:
        whole = stream(self._label, len(self.drawn) + count)
        fresh = whole[len(self.drawn) :]
        self.drawn = whole
        return fresh


def facts(name: str, n: int, **changes: Any) -> tuple[RoundContext, Identity, list[Identity]]:
    """A round between n parties and the keys of everybody."""
    coordinator = Identity("coordinator", stream(f"{name} coordinator", 32))
    parties = [Identity(f"party-{i}", stream(f"{name} party {i}", 32)) for i in range(n)]
    values: dict[str, Any] = {
        "agreement": hashlib.sha256(name.encode()).digest(),
        "round": 1,
        "coordinator": coordinator.public,
        "parties": tuple(party.public for party in parties),
        "threshold": 1,
        "quorum": n // 2 + 1,
        "min_cohort": 2,
        "max_dropouts": 0,
        "degree": None,
        "modulus_bits": 32,
        "count": 5,
        "max_message_bytes": 2**20,
        "purpose": b"",
    }
    return RoundContext(**(values | changes)), coordinator, parties


def packet(envelope: Envelope, attachment: bytes = b"") -> str:
    return encode(Packet(envelope, memoryview(attachment))).hex()


def case(
    name: str,
    context: RoundContext,
    coordinator: Identity,
    identities: list[Identity],
    private: Mapping[str, bytes],
    silent_at_submit: Collection[int] = (),
) -> dict[str, Any]:
    """Run one round and write down everything that was drawn and said."""
    draws: list[RandomBytes] = [Draws(f"{name} draws {i}") for i in range(len(identities))]
    hub = MaskingCoordinator(context, coordinator)
    nodes = [
        MaskingParty(context, who, random) for who, random in zip(identities, draws, strict=True)
    ]
    low_bits = 2**context.modulus_bits - 1
    inputs = [
        np.frombuffer(stream(f"{name} input {i}", context.count * 8), "<u8") & np.uint64(low_bits)
        for i in range(len(nodes))
    ]
    said: dict[str, dict[str, str]] = {}

    def note(step: str, number: int, envelope: Envelope, vector: bytes = b"") -> Envelope:
        said.setdefault(step, {})[str(number)] = packet(envelope, vector)
        return envelope

    for number, node in enumerate(nodes):
        hub.receive_advertise(note("advertise", number, node.advertise()))
    for number, envelope in hub.close_advertise().items():
        note("roster", number, envelope)
        hub.receive_shares(note("share", number, nodes[number].receive_roster(envelope)))
    vectors = {}
    submitted = {}
    for number, envelope in hub.close_shares().items():
        nodes[number].receive_delivery(note("deliver", number, envelope))
        if number in silent_at_submit:
            continue
        words = inputs[number].astype(context.word)
        submission, vector = nodes[number].submit(words, model=MODEL, statement=STATEMENT)
        vectors[str(number)] = vector.hex()
        submitted[number] = submission
        note("submit", number, submission, vector)
        hub.receive_submission(submission, vector, model=MODEL)
    confirmed = {}
    for number, envelope in hub.close_submissions().items():
        note("survivors", number, envelope)
        confirmed[number] = note("confirm", number, nodes[number].receive_survivors(envelope))
        hub.receive_confirmation(confirmed[number])
    for number, envelope in hub.close_confirmations().items():
        note("confirmations", number, envelope)
        hub.receive_unmask(note("unmask", number, nodes[number].receive_confirmations(envelope)))
    result = hub.finish()
    return {
        "name": name,
        "facts": {
            "agreement": context.agreement.hex(),
            "round": context.round,
            "coordinator": context.coordinator.name,
            "parties": [key.name for key in context.parties],
            "public_keys": [key.raw.hex() for key in context.parties],
            "private_keys": {who: key.hex() for who, key in private.items()},
            "threshold": context.threshold,
            "quorum": context.quorum,
            "min_cohort": context.min_cohort,
            "max_dropouts": context.max_dropouts,
            "degree": context.degree,
            "modulus_bits": context.modulus_bits,
            "count": context.count,
            "purpose": context.purpose.hex(),
        },
        "model": MODEL.hex(),
        "statement": STATEMENT.hex(),
        "drawn": [random.drawn.hex() for random in draws if isinstance(random, Draws)],
        "inputs": [words.tolist() for words in inputs],
        "digests": digests(submitted, confirmed),
        "packets": said,
        "vectors": vectors,
        "sum": result.total.tolist(),
        "survivors": list(result.survivors),
        "dropouts": list(result.dropouts),
    }


def digests(submitted: Mapping[int, Envelope], confirmed: Mapping[int, Envelope]) -> dict[str, str]:
    """The three digests that everybody computes, as the survivors signed them."""

    def read(kind: type[Any], envelope: Envelope) -> Any:
        return decode(kind, envelope.payload, party="", step="", max_bytes=2**20)

    first = min(submitted)
    submission = read(Submission, submitted[first])
    confirmation = read(Confirmation, confirmed[first])
    return {
        "roster": submission.roster.hex(),
        "sharers": submission.sharers.hex(),
        "survivors": confirmation.survivors.hex(),
    }


def private_keys(name: str, n: int) -> dict[str, bytes]:
    """Ed25519 private keys, as :func:`facts` makes them."""
    keys = {f"party-{i}": stream(f"{name} party {i}", 32) for i in range(n)}
    return keys | {"coordinator": stream(f"{name} coordinator", 32)}


def masking_vectors() -> list[dict[str, Any]]:
    """Three parties that all survive, four of which one falls silent, five on a drawn graph."""
    rounds: list[tuple[str, int, dict[str, Any], Collection[int]]] = [
        ("three survive", 3, {}, ()),
        (
            "one of four falls silent",
            4,
            {
                "round": 7,
                "threshold": 2,
                "min_cohort": 3,
                "max_dropouts": 1,
                "modulus_bits": 21,
                "count": 6,
                "purpose": b"any bytes",
            },
            (2,),
        ),
        (
            "five draw three holders each",
            5,
            {"threshold": 2, "degree": 3, "modulus_bits": 64, "count": 2, "max_dropouts": 1},
            (),
        ),
    ]
    cases = []
    for name, n, changes, silent in rounds:
        context, coordinator, parties = facts(name, n, **changes)
        cases.append(case(name, context, coordinator, parties, private_keys(name, n), silent))
    return cases


def render(vectors: object) -> str:
    """One byte string per value: sorted keys, one space of indentation, a final newline."""
    return json.dumps(vectors, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    (FOLDER / "masking.json").write_text(render(masking_vectors()))
