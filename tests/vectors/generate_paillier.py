"""Regenerate ``paillier.json``: ``python tests/vectors/generate_paillier.py``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from protocols.encoding import word_bits_for
from protocols.paillier.ciphertexts import Product, ciphertexts_to_bytes
from protocols.paillier.encryption import Encrypted, encrypt
from protocols.paillier.factor_proof import prove_factors
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.keys import PrivateKey, generate_key
from protocols.paillier.modulus_proof import prove_modulus
from protocols.paillier.obfuscators import make_obfuscators
from protocols.paillier.packing import Lanes
from protocols.paillier.plaintext_proof import prove_plaintexts
from protocols.prg import RandomBytes, word_type

FOLDER = Path(__file__).parent
BITS = 512
"""Far too short for use: these vectors are for arithmetic, and stay legible."""
AGREEMENT = bytes(range(32))


class Recorded:
    """Pseudo-random bytes, and a record of every draw."""

    def __init__(self, label: str) -> None:
        self.label, self.drawn = label, list[bytes]()

    def __call__(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        label = f"paillier vectors {self.label} {len(self.drawn)}"
        self.drawn.append(hashlib.shake_256(label.encode()).digest(count))
        return self.drawn[-1]


def source(label: str) -> RandomBytes:
    """Return pseudo-random bytes."""
    return Recorded(label)


def lane_vectors() -> list[dict[str, Any]]:
    """Words and the plaintexts that hold them, for narrow, odd, whole and wide lanes."""
    vectors = []
    for ring_bits, summands, bits, count in (
        (5, 3, 256, 40),
        (16, 100, 256, 25),
        (16, 256, 512, 22),
        (32, 100, 512, 14),
        (64, 100, 512, 8),
    ):
        lanes = Lanes(ring_bits, summands, bits)
        kind = word_type(word_bits_for(ring_bits))
        drawn = np.frombuffer(source(f"words {ring_bits} {bits}")(count * kind.itemsize), kind)
        words = drawn & kind.type(2**ring_bits - 1)
        words[-1] = 2**ring_bits - 1
        vectors.append(
            {
                "ring_bits": ring_bits,
                "summands": summands,
                "modulus_bits": bits,
                "lane_bits": lanes.lane_bits,
                "lanes": lanes.lanes,
                "words": words.tolist(),
                "plaintexts": list(map(int, lanes.pack(words))),
            }
        )
    return vectors


def encrypted_vector(key: PrivateKey, label: str, plain: list[int]) -> tuple[Encrypted, bytes]:
    """Encrypt, and tell the exponents as they were drawn."""
    base, drawn = FixedBase.build(key.public, expected=10), Recorded(label)
    ready = make_obfuscators(key.public, len(plain), random=drawn, powers=base.powers)
    values = [type(base.key.h_s)(one) for one in plain]
    return encrypt(key.public, values, ready), drawn.drawn[0]


def fields(proof: msgspec.Struct) -> dict[str, str]:
    """Return the byte strings of a proof."""
    return {name: getattr(proof, name).hex() for name in proof.__struct_fields__}


def paillier_vectors() -> dict[str, Any]:
    """A key, its proofs, two vectors of ciphertexts, their product and a proof of knowledge."""
    key = generate_key(BITS, random=source("key"), allow_small=True)
    public, n = key.public, key.public.n
    plain = ([0, n - 1, 2**500, 42], [5, 2, 2**500 + 1, 42])
    (first, drawn), (second, other) = (
        encrypted_vector(key, f"vector {index}", one) for index, one in enumerate(plain)
    )
    product = Product(public, len(plain[0]), limit=2)
    product.multiply(first.ciphertexts)
    product.multiply(second.ciphertexts)
    of_factors, of_plaintexts = Recorded("factors"), Recorded("plaintexts")
    owner = {"agreement": AGREEMENT, "prover": "holder"}
    party = {"agreement": AGREEMENT, "round_": 7, "party": "alpha"}
    return {
        "agreement": AGREEMENT.hex(),
        "prover": "holder",
        "party": "alpha",
        "round": 7,
        "p": key.p,
        "q": key.q,
        "public": public.to_bytes().hex(),
        "digest": public.digest().hex(),
        "base": int(public.h_s).to_bytes(public.ciphertext_bytes, "big").hex(),
        "lanes": lane_vectors(),
        "plaintexts": plain,
        "exponent_bytes": [drawn.hex(), other.hex()],
        "ciphertexts": [
            ciphertexts_to_bytes(public, one.ciphertexts).hex() for one in (first, second)
        ],
        "product": ciphertexts_to_bytes(public, product.ciphertexts()).hex(),
        "sums": list(map(int, key.decrypt(product.ciphertexts()))),
        "modulus_proof": fields(prove_modulus(key, **owner, random=source("modulus"))),
        "factor_proof": fields(prove_factors(key, **owner, random=of_factors)),
        "factor_bytes": [one.hex() for one in of_factors.drawn],
        "plaintext_proof": fields(prove_plaintexts(first, **party, random=of_plaintexts)),
        "plaintext_bytes": [one.hex() for one in of_plaintexts.drawn],
    }


def render(vectors: object) -> str:
    """One byte string per value: sorted keys, one space of indentation, a final newline."""
    return json.dumps(vectors, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file anew."""
    (FOLDER / "paillier.json").write_text(render(paillier_vectors()), encoding="utf-8")


if __name__ == "__main__":
    main()
