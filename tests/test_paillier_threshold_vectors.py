"""The committed openings, and a second implementation that reads them without any of this code.

It follows tests/vectors/README.md with Python's integers, hashlib and a msgpack writer alone.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from math import factorial, prod

import msgspec
import pytest
from vectors.generate_paillier_threshold import FOLDER, render, threshold_vectors

TEXT = (FOLDER / "paillier_threshold.json").read_text(encoding="utf-8")
FILE = json.loads(TEXT)
N = FILE["primes"][0] * FILE["primes"][1]
WIDTH = N.bit_length() // 8
PUBLIC = bytes.fromhex(FILE["seed"]) + N.to_bytes(WIDTH, "big")

pytestmark = pytest.mark.parametrize("case", FILE["cases"], ids=lambda case: str(case["degree"]))


def prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(prefixed(*parts)).digest()


def wide(value: int) -> bytes:
    return value.to_bytes(WIDTH, "big")


def facts(case):
    """delta, the modulus of ciphertexts, the ciphertexts and the digest of the key."""
    modulus = N ** (case["degree"] + 1)
    size = (case["degree"] + 1) * WIDTH
    joined = bytes.fromhex(case["ciphertexts"])
    ciphertexts = [
        int.from_bytes(joined[at : at + size], "big") for at in range(0, len(joined), size)
    ]
    key = [PUBLIC, False, case["degree"], case["threshold"], list(map(wide, case["verification"]))]
    digest = sha(b"securefed threshold key v1", msgspec.msgpack.encode(key))
    return factorial(case["trustees"]), modulus, ciphertexts, digest


def test_the_committed_openings_are_what_this_code_makes(case):
    assert render(threshold_vectors()) == TEXT


def test_the_shares_are_values_of_the_polynomial(case):
    order = (FILE["primes"][0] // 2) * (FILE["primes"][1] // 2)
    coefficients = [pow(N ** case["degree"], -1, order)]
    for drawn in map(bytes.fromhex, case["coefficient_bytes"]):
        excess = 8 * len(drawn) - (order - 1).bit_length()
        value = int.from_bytes(drawn, "little") >> excess
        if value < order:
            coefficients.append(value)
    assert len(coefficients) == case["threshold"]
    for partial in case["partials"]:
        powers = (c * partial["index"] ** k for k, c in enumerate(coefficients))
        assert partial["share"] == sum(powers) % order


def test_the_verification_keys_are_powers_of_a_hashed_square(case):
    delta, _, _, digest = facts(case)
    stream = hashlib.shake_256(prefixed(b"securefed threshold base v1", PUBLIC))
    base = (int.from_bytes(stream.digest(WIDTH + 16), "big") % N) ** 2 % N
    assert base == case["base"]
    for partial, verification in zip(case["partials"], case["verification"], strict=True):
        assert verification == pow(base, delta * partial["share"], N)
    assert digest.hex() == case["key_digest"]


def test_the_partial_decryptions_are_powers_modulo_n(case):
    delta, _, ciphertexts, _ = facts(case)
    for partial in case["partials"]:
        exponent = 2 * delta * partial["share"]
        assert partial["values"] == [pow(one % N, exponent, N) for one in ciphertexts]


def test_the_proofs_hold(case):
    delta, _, _, digest = facts(case)
    count = len(case["plaintexts"])
    _, _, ciphertexts, _ = facts(case)
    for partial, verification in zip(case["partials"], case["verification"], strict=True):
        statement = sha(
            b"securefed threshold statement v1",
            bytes.fromhex(FILE["binding"]),
            digest,
            wide(case["base"]),
            partial["index"].to_bytes(4, "big"),
            wide(verification),
            bytes.fromhex(case["ciphertexts"]),
            b"".join(map(wide, partial["values"])),
        )
        stream = hashlib.shake_256(
            prefixed(b"securefed threshold coefficients v1", statement)
        ).digest(16 * count)
        weights = [int.from_bytes(stream[at : at + 16], "big") for at in range(0, 16 * count, 16)]
        folded = prod(pow(c, w, N) for c, w in zip(ciphertexts, weights, strict=True)) % N
        answer = prod(pow(v, w, N) for v, w in zip(partial["values"], weights, strict=True)) % N
        challenge = int(partial["challenge"], 16)
        response = int(partial["response"], 16)
        bits = N.bit_length() + delta.bit_length() + 256
        assert len(partial["response"]) == 2 * ((bits + 8) // 8)
        nonce_bytes = bytes.fromhex(partial["nonce_bytes"])
        nonce = int.from_bytes(nonce_bytes, "big") >> (8 * len(nonce_bytes) - bits)
        assert response == nonce + challenge * delta * partial["share"]
        first = pow(folded, 4 * response, N) * pow(answer, -2 * challenge, N) % N
        second = pow(case["base"], response, N) * pow(verification, -challenge, N) % N
        assert (first, second) == (pow(folded, 4 * nonce, N), pow(case["base"], nonce, N))
        expected = sha(b"securefed threshold challenge v1", statement, wide(first), wide(second))
        assert expected[:16].hex() == partial["challenge"]


def test_every_subset_opens_what_was_encrypted(case):
    delta, modulus, ciphertexts, _ = facts(case)
    degree = case["degree"]
    for subset in case["subsets"]:
        indices = subset["indices"]
        used = [case["partials"][index - 1]["values"] for index in indices]
        rational = [
            prod((Fraction(j, j - i) for j in indices if j != i), start=Fraction(1))
            for i in indices
        ]
        scale = Fraction(subset["exponent"], 4 * delta)
        weights = [2 * scale * one for one in rational]
        assert all(one.denominator == 1 for one in weights)
        for place, ciphertext in enumerate(ciphertexts):
            root = prod(
                pow(values[place], int(weight), N)
                for values, weight in zip(used, weights, strict=True)
            )
            assert root % N == subset["roots"][place]
            lifted = pow(root % N, N**degree, modulus)
            assert lifted == subset["lifted"][place]
            plain = case["plaintexts"][place]
            power = pow(1 + N, subset["exponent"] * plain, modulus)
            assert pow(ciphertext, subset["exponent"], modulus) == lifted * power % modulus
