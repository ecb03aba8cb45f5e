"""Regenerate the vectors of threshold decryption.

Run ``python tests/vectors/generate_paillier_threshold.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from protocols.paillier.dealing_shares import deal_key
from protocols.paillier.integers import mpz, powmod
from protocols.paillier.keys import PublicKey
from protocols.paillier.threshold import combine, combine_roots, partial_decryption
from protocols.paillier.threshold_key import KeyShare, ThresholdKey, join_residues
from protocols.paillier.threshold_lifting import lift
from protocols.paillier.threshold_proofs import prove
from protocols.prg import RandomBytes

FOLDER = Path(__file__).parent

PRIMES = (
    mpz(0xE6558CB8FF77AC1D5B445E2747BAAABE612A495BD563304B7AEE56036C838C3F),
    mpz(0xEEE46EEFAFD09FE9A56440757B531CA79DCF449039772ABD157AD5D76270CA87),
)
"""Safe primes of 256 bits, which everybody knows."""
SEED = bytes(range(32))
BINDING = hashlib.sha256(b"request").digest()
CASES = ((3, 2, 1), (3, 2, 2), (5, 3, 1))
"""Trustees, threshold, degree."""


def recorded(label: str, drawn: list[str]) -> RandomBytes:
    """Bytes that depend on the label and the number of calls; each draw is noted."""

    def random(count: int) -> bytes:
        data = hashlib.shake_256(f"{label}/{len(drawn)}".encode()).digest(count)
        drawn.append(data.hex())
        return data

    return random


def encrypt(key: ThresholdKey, plaintext: int, y: int) -> mpz:
    """(1 + n)^M y^{n^s}."""
    modulus = key.cipher_modulus
    power = powmod(1 + key.n, plaintext, modulus)
    return power * powmod(y, key.plain_modulus, modulus) % modulus


def trustee_vectors(
    key: ThresholdKey, shares: Sequence[KeyShare], ciphertexts: Sequence[mpz]
) -> list[dict[str, Any]]:
    """What each trustee sends, with its proof and the nonce that the proof took."""
    found = []
    for share in shares:
        partial = partial_decryption(key, share, ciphertexts)
        drawn: list[str] = []
        source = recorded(f"nonce {share.index}", drawn)
        proof = prove(key, share, ciphertexts, partial, binding=BINDING, random=source)
        found.append(
            {
                "index": share.index,
                "share": int(share.value),
                "values": list(map(int, partial.values)),
                "nonce_bytes": drawn[0],
                "challenge": proof.challenge.hex(),
                "response": proof.response.hex(),
            }
        )
    return found


def case(trustees: int, threshold: int, degree: int) -> dict[str, Any]:
    """One dealing and the opening of three ciphertexts by every subset of trustees."""
    public = PublicKey(int(PRIMES[0] * PRIMES[1]), SEED, allow_small=True)
    drawn: list[str] = []
    key, shares = deal_key(
        public,
        PRIMES,
        trustees=trustees,
        threshold=threshold,
        degree=degree,
        random=recorded(f"coefficients {trustees} {threshold} {degree}", drawn),
    )
    plain = [0, 12345678901234567890, int(key.plain_modulus) - 1]
    ciphertexts = [encrypt(key, one, 3 + place) for place, one in enumerate(plain)]
    partials = [partial_decryption(key, share, ciphertexts) for share in shares]
    subsets = []
    for chosen in combinations(partials, threshold):
        if combine(key, ciphertexts, chosen) != plain:
            raise ArithmeticError("a subset does not open what was encrypted")
        roots = combine_roots(key, ciphertexts, chosen)
        subsets.append(
            {
                "indices": [one.index for one in chosen],
                "exponent": int(roots.exponent),
                "roots": list(map(int, roots.values)),
                "lifted": list(map(int, lift(key, roots.values))),
            }
        )
    return {
        "trustees": trustees,
        "threshold": threshold,
        "degree": degree,
        "coefficient_bytes": drawn,
        "base": int(key.base),
        "verification": list(map(int, key.verification)),
        "key_digest": key.digest().hex(),
        "plaintexts": plain,
        "ciphertexts": join_residues(ciphertexts, key.ciphertext_bytes).hex(),
        "partials": trustee_vectors(key, shares, ciphertexts),
        "subsets": subsets,
    }


def threshold_vectors() -> dict[str, Any]:
    """All cases."""
    return {
        "primes": list(map(int, PRIMES)),
        "seed": SEED.hex(),
        "binding": BINDING.hex(),
        "cases": [case(*one) for one in CASES],
    }


def render(vectors: object) -> str:
    """One byte string per value: sorted keys, one space of indentation, a final newline."""
    return json.dumps(vectors, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file anew."""
    path = FOLDER / "paillier_threshold.json"
    path.write_text(render(threshold_vectors()), encoding="utf-8")


if __name__ == "__main__":
    main()
