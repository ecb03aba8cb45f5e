"""How long the arithmetic of one round takes, estimated from measured unit costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocols.agreement import Agreement, Task
from protocols.agreement.ciphertexts import ciphertext_count
from protocols.agreement.noise import summed_values
from protocols.encoding import word_bits_for
from securefed import mode_prices

MASK_BYTES_PER_SECOND: Final = 1e9
"""Assumed speed of expanding and adding masks; AES hardware of 2020 reaches several times that."""


@dataclass(frozen=True, slots=True)
class RoundSeconds:
    """Estimated seconds of one round on one thread, without training and transfer.

    Attributes:
        party_online: masking, and encrypting with a full pool, while the others wait.
        party_offline: making obfuscators, while the party trains.
        trustee: checking the others' vectors and decrypting; at the key holder if there is one.
        coordinator: unmasking; checking vectors, and lifting and reading their product.
    """

    party_online: float
    party_offline: float
    trustee: float
    coordinator: float

    @property
    def waited_for(self) -> float:
        """Seconds that a round lasts longer for it."""
        return self.party_online + self.trustee + self.coordinator


def round_seconds(agreement: Agreement, task: Task) -> RoundSeconds:
    """Estimate one round in which every party takes part, in the agreement's own mode."""
    n, mode = len(agreement.parties), agreement.aggregation.mode
    words = summed_values(agreement, task) * word_bits_for(task.modulus_bits) // 8
    mask = 0.0 if mode == "paillier" else words / MASK_BYTES_PER_SECOND
    masking = RoundSeconds(masks_per_party(agreement) * mask, 0.0, 0.0, n * mask)
    if agreement.paillier is None:
        return masking
    bits, trustees = agreement.paillier.key_bits, len(agreement.trustees)
    alone = agreement.paillier.key_holder is not None
    count = ciphertext_count(agreement, task)
    received = mode_prices.receive_seconds(bits)
    opened = mode_prices.combine_seconds(bits, trustees, 1 if alone else agreement.quorum)
    others = n if alone else n - 1
    decrypted = others * received + mode_prices.decrypt_seconds(bits, trustees)
    return RoundSeconds(
        masking.party_online + count * mode_prices.encrypt_seconds(bits),
        count * mode_prices.OBFUSCATE.at(bits),
        count * decrypted,
        masking.coordinator + count * (n * received + opened),
    )


def masks_per_party(agreement: Agreement) -> float:
    """Return how many mask vectors a party expands: its own, and one for each neighbour.

    Two parties are neighbours if either drew the other, hence an average.
    """
    if agreement.aggregation.mode == "paillier":
        return 0.0
    others = len(agreement.parties) - 1
    chance = agreement.holders / others
    return 1 + others * (1 - (1 - chance) ** 2)
