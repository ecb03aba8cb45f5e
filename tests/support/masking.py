"""A seeded federation for tests of the masking roles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from protocols.identity import Identity
from protocols.masking.context import RoundContext
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.party import MaskingParty
from protocols.prg import RandomBytes, expand

MODEL = hashlib.sha256(b"model").digest()


def seeded_random(seed: int) -> RandomBytes:
    """Deterministic random bytes: AES-CTR under a key made from ``seed``. For tests only."""
    key = hashlib.sha256(b"test randomness" + seed.to_bytes(8, "big")).digest()
    position = 0

    def random(count: int) -> bytes:
        nonlocal position
        words = -(-count // 4)
        chunk = expand(key, words, 32, position).tobytes()[:count]
        position += words
        return chunk

    return random


@dataclass(frozen=True)
class Federation:
    """Identities and the context of round 1 for n parties."""

    context: RoundContext
    coordinator: Identity
    parties: dict[int, Identity]

    def hub(self) -> MaskingCoordinator:
        return MaskingCoordinator(self.context, self.coordinator)

    def nodes(self, seed: int = 1) -> dict[int, MaskingParty]:
        random = seeded_random(seed)
        return {n: MaskingParty(self.context, who, random) for n, who in self.parties.items()}

    def vary(self, **changes: object) -> Federation:
        return replace(self, context=replace(self.context, **changes))


def federation(
    n: int,
    *,
    colluders: int = 0,
    max_dropouts: int = 0,
    threshold: int | None = None,
    degree: int | None = None,
    modulus_bits: int = 32,
    count: int = 17,
    round_: int = 1,
    seed: int = 7,
) -> Federation:
    random = seeded_random(seed)
    coordinator = Identity("coordinator", random(32))
    parties = {i: Identity(f"party-{i}", random(32)) for i in range(n)}
    context = RoundContext(
        agreement=hashlib.sha256(b"agreement").digest(),
        round=round_,
        coordinator=coordinator.public,
        parties=tuple(who.public for who in parties.values()),
        threshold=threshold or colluders + 1,
        quorum=(n + colluders) // 2 + 1,
        min_cohort=2 + colluders,
        max_dropouts=max_dropouts,
        degree=degree,
        modulus_bits=modulus_bits,
        count=count,
        max_message_bytes=1 << 24,
    )
    return Federation(context, coordinator, parties)


def random_inputs(made: Federation, seed: int = 3) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = (1 << made.context.modulus_bits) - 1
    return {
        number: (
            rng.integers(0, 2**63, made.context.count, dtype=np.uint64) & np.uint64(mask)
        ).astype(made.context.word)
        for number in made.parties
    }


def plain_sum(made: Federation, inputs: dict[int, np.ndarray], who: tuple[int, ...]) -> np.ndarray:
    total = np.zeros(made.context.count, dtype=made.context.word)
    for number in who:
        total += inputs[number]
    return total & made.context.word.type((1 << made.context.modulus_bits) - 1)
