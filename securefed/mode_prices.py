"""What one ciphertext costs, measured: the figures behind every estimate of seconds.

All were measured on one thread of a 2-core AMD EPYC with GMP 6.3.0, at 2048 and 3072 bits, and
stand in ``docs/benchmarks.md`` ("Paillier") and ``docs/threshold-paillier.md`` ("What it costs").
Other lengths follow the power law through the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log
from typing import Final

SHORT, LONG = 2048, 3072
"""Lengths of the modulus in bits at which everything was measured."""
VECTOR: Final = (11_765, 7_875)
"""Ciphertexts of a vector of a million 16-bit values in lanes of 24 bits."""
PROVED: Final = 2_000
"""Ciphertexts in one measured proof of partial decryptions."""


@dataclass(frozen=True, slots=True)
class UnitCost:
    """Seconds per ciphertext at both lengths.

    Attributes:
        short: at 2048 bits.
        long: at 3072 bits.
    """

    short: float
    long: float

    def at(self, key_bits: int) -> float:
        """Return the seconds per ciphertext at another length."""
        power = log(self.long / self.short) / log(LONG / SHORT)
        return self.short * float(pow(key_bits / SHORT, power))


def _of_vector(short: float, long: float) -> UnitCost:
    return UnitCost(short / VECTOR[0], long / VECTOR[1])


OBFUSCATE: Final = _of_vector(3.31 - 0.064, 6.69 - 0.081)
"""Make an obfuscator: benchmarks.md, "ours", "encrypt, s" less "from a pool, s"."""
ENCRYPT: Final = _of_vector(0.064, 0.081)
"""Pack, encrypt and write with obfuscators from a pool: "ours", "from a pool, s"."""
PROVE_KNOWLEDGE: Final = _of_vector(0.030, 0.038)
"""benchmarks.md, "prove knowledge of a vector, check it", the first of the two."""
READ: Final = _of_vector(0.049, 0.056)
"""benchmarks.md, "read a vector and check that all of it is in the group"."""
CHECK_KNOWLEDGE: Final = _of_vector(0.650, 0.809)
"""benchmarks.md, "prove knowledge of a vector, check it", the second of the two."""
MULTIPLY: Final = _of_vector(0.057, 0.073)
"""Multiply a vector into the product: benchmarks.md, "ours", "add, s"."""
DECRYPT: Final = UnitCost(2.53e-3, 7.79e-3)
"""Partial decryption, three trustees: threshold-paillier.md, "ours, s = 1"."""
PROOF: Final = UnitCost(0.13 / PROVED, 0.24 / PROVED)
"""Make, or check, a proof of partial decryptions: threshold-paillier.md, last idea."""
JOIN: Final = UnitCost(0.05e-3, 0.07e-3)
"""Join the roots of two trustees: threshold-paillier.md, combiner, s = 1, "roots"."""
LIFT: Final = UnitCost(8.9e-3, 28.5e-3)
"""Raise the joint root: combiner, s = 1, "lift"."""
OPEN: Final = UnitCost(0.07e-3, 0.14e-3)
"""Read the sum: combiner, s = 1, "read"."""

DECRYPT_ALONE: Final = _of_vector(30.7, 65.2)
"""Decrypt with the factors: benchmarks.md, "ours", "decrypt, s"."""
PROOF_ALONE: Final = UnitCost(0.09e-3, 0.17e-3)
"""Make, or check, the proof of all plaintexts: threshold-paillier.md, "A trustee alone"."""

_MEASURED_TRUSTEES: Final = 3
_MEASURED_THRESHOLD: Final = 2


def decrypt_seconds(key_bits: int, trustees: int) -> float:
    """Return the seconds of a partial decryption and its proof, per ciphertext.

    The exponent is a share times the factorial of the number of trustees; one trustee alone uses
    the factors.
    """
    if trustees == 1:
        return DECRYPT_ALONE.at(key_bits) + PROOF_ALONE.at(key_bits)

    def bits(number: int) -> float:
        return key_bits + lgamma(number + 1) / log(2)

    longer = bits(trustees) / bits(_MEASURED_TRUSTEES)
    return (DECRYPT.at(key_bits) + PROOF.at(key_bits)) * longer


def combine_seconds(key_bits: int, trustees: int, threshold: int) -> float:
    """Return the seconds of checking all answers and opening the sum, per ciphertext."""
    if trustees == 1:
        return PROOF_ALONE.at(key_bits)
    join = JOIN.at(key_bits) * threshold / _MEASURED_THRESHOLD
    return trustees * PROOF.at(key_bits) + join + LIFT.at(key_bits) + OPEN.at(key_bits)


def receive_seconds(key_bits: int) -> float:
    """Return the seconds of checking another's vector and multiplying it, per ciphertext."""
    return READ.at(key_bits) + CHECK_KNOWLEDGE.at(key_bits) + MULTIPLY.at(key_bits)


def encrypt_seconds(key_bits: int) -> float:
    """Return the seconds of encrypting with a full pool and proving knowledge, per ciphertext."""
    return ENCRYPT.at(key_bits) + PROVE_KNOWLEDGE.at(key_bits)
