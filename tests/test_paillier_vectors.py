"""The known answers, read by a second implementation on Python's own integers."""

from __future__ import annotations

import hashlib
import json
from math import gcd

import pytest
from vectors.generate_paillier import FOLDER, paillier_vectors, render

from protocols.paillier.factor_proof import FactorProof, check_factors
from protocols.paillier.keys import PublicKey
from protocols.paillier.modulus_proof import ModulusProof, check_modulus

V = json.loads((FOLDER / "paillier.json").read_text(encoding="utf-8"))
P, Q = V["p"], V["q"]
N = P * Q
SIZE = N.bit_length() // 8
SQUARE = N * N
AGREEMENT, PUBLIC = bytes.fromhex(V["agreement"]), bytes.fromhex(V["public"])
BASE = int(V["base"], 16)


def joined(*parts: bytes) -> bytes:
    return b"".join(len(one).to_bytes(8, "big") + one for one in parts)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(joined(*parts)).digest()


def shake(count: int, *parts: bytes) -> bytes:
    return hashlib.shake_256(joined(*parts)).digest(count)


def uniform(drawn: bytes, bound: int) -> int:
    return int.from_bytes(drawn, "little") >> 8 * len(drawn) - (bound - 1).bit_length()


def split(text: str, size: int) -> list[int]:
    data = bytes.fromhex(text)
    return [int.from_bytes(data[low : low + size], "big") for low in range(0, len(data), size)]


def test_the_file_is_what_the_code_makes():
    assert render(paillier_vectors()) == (FOLDER / "paillier.json").read_text(encoding="utf-8")


def test_key_digest_and_base_are_the_documented_hashes():
    seed = PUBLIC[:32]
    assert seed + N.to_bytes(SIZE, "big") == PUBLIC
    assert V["digest"] == sha(b"securefed paillier public key v1", PUBLIC).hex()
    hashed = shake(SIZE + 16, b"securefed paillier base v1", seed, N.to_bytes(SIZE, "big"))
    x = int.from_bytes(hashed, "big") % N
    assert pow(-x * x, N, SQUARE) == BASE


@pytest.mark.parametrize("index", range(5))
def test_words_lie_in_lanes(index):
    one = V["lanes"][index]
    assert one["lane_bits"] == one["ring_bits"] + (one["summands"] - 1).bit_length()
    assert one["lanes"] == (one["modulus_bits"] - 1) // one["lane_bits"]
    words, width, step = one["words"], one["lane_bits"], one["lanes"]
    packed = [
        sum(word << width * place for place, word in enumerate(words[low : low + step]))
        for low in range(0, len(words), step)
    ]
    assert packed == one["plaintexts"]


def test_ciphertexts_products_and_sums():
    vectors = []
    for plain, drawn, sent in zip(
        V["plaintexts"], V["exponent_bytes"], V["ciphertexts"], strict=True
    ):
        data = bytes.fromhex(drawn)
        size = SIZE // 2
        alphas = [
            int.from_bytes(data[low : low + size], "little") for low in range(0, len(data), size)
        ]
        made = [
            (1 + m * N) * pow(BASE, a, SQUARE) % SQUARE for m, a in zip(plain, alphas, strict=True)
        ]
        assert made == split(sent, 2 * SIZE)
        vectors.append(made)
    product = [a * b % SQUARE for a, b in zip(*vectors, strict=True)]
    assert product == split(V["product"], 2 * SIZE)
    order = (P - 1) * (Q - 1)
    opened = [(pow(c, order, SQUARE) - 1) // N * pow(order, -1, N) % N for c in product]
    assert opened == V["sums"] == [sum(one) % N for one in zip(*V["plaintexts"], strict=True)]


def test_the_modulus_proof_answers_the_documented_challenges():
    proof = V["modulus_proof"]
    about = (AGREEMENT, V["prover"].encode(), PUBLIC, bytes.fromhex(proof["w"]))
    w = int(proof["w"], 16)
    roots, fourths = split(proof["roots"], SIZE), split(proof["fourth_roots"], SIZE)
    for index, choice in enumerate(bytes.fromhex(proof["choices"])):
        place = index.to_bytes(2, "big") + bytes(4)
        drawn = shake(SIZE + 16, b"securefed modulus proof v1", *about, place)
        y = int.from_bytes(drawn, "big") % N
        assert gcd(y, N) == 1
        if index < 8:
            assert pow(roots[index], N, N) == y
        assert pow(fourths[index], 4, N) == (-1) ** (choice & 1) * w ** (choice >> 1) * y % N
    assert (len(roots), len(fourths)) == (8, 128)


def test_the_factor_proof_is_the_documented_one():
    proof = V["factor_proof"]
    modulus = group()
    order, size = (modulus - 1) // 2, 256
    root = (
        int.from_bytes(
            shake(272, b"securefed second generator v1", (2048).to_bytes(2, "big")), "big"
        )
        % modulus
    )
    g, h, bound = 2, root * root % modulus, 2 ** (4 * SIZE + 256)
    blind, a, b, r, s = (
        uniform(bytes.fromhex(drawn), below)
        for drawn, below in zip(V["factor_bytes"], (order, bound, bound, order, order), strict=True)
    )
    commitment = pow(g, P, modulus) * pow(h, blind, modulus) % modulus
    messages = (
        pow(g, a, modulus) * pow(h, r, modulus) % modulus,
        pow(commitment, b, modulus) * pow(h, s, modulus) % modulus,
    )
    elements = (one.to_bytes(size, "big") for one in (commitment, *messages))
    challenge = shake(
        16, b"securefed factor proof v1", AGREEMENT, V["prover"].encode(), PUBLIC, *elements
    )
    e = int.from_bytes(challenge, "big")
    assert proof == {
        "commitment": commitment.to_bytes(size, "big").hex(),
        "challenge": challenge.hex(),
        "first": (a + e * P).to_bytes(SIZE // 2 + 32, "big").hex(),
        "second": (b + e * Q).to_bytes(SIZE // 2 + 32, "big").hex(),
        "first_blind": ((r + e * blind) % order).to_bytes(size, "big").hex(),
        "second_blind": ((s - e * Q * blind) % order).to_bytes(size, "big").hex(),
    }


def group() -> int:
    """The prime of 2048 bits of RFC 7919, with e from its continued fraction."""
    a, b, c, d = 1, 2, 1, 3
    for k in range(2, 3000):
        # Convergents of e: [2; 1, 2, 1, 1, 4, 1, 1, 6, ...].
        term = 2 * ((k + 1) // 3) if k % 3 == 2 else 1
        a, b, c, d = c, d, c * term + a, d * term + b
    e_bits = (d << 1918) // c
    return 2**2048 - 2**1984 + (e_bits + 560316) * 2**64 - 1


def test_the_plaintext_proof_is_the_documented_one():
    sent = bytes.fromhex(V["ciphertexts"][0])
    data, half = bytes.fromhex(V["exponent_bytes"][0]), SIZE // 2
    alphas = [int.from_bytes(data[low : low + half], "little") for low in range(0, len(data), half)]
    count = len(alphas)
    statement = sha(
        b"securefed plaintext statement v1",
        AGREEMENT,
        count.to_bytes(8, "big"),
        V["round"].to_bytes(8, "big"),
        V["party"].encode(),
        bytes.fromhex(V["digest"]),
        hashlib.sha256(sent).digest(),
    )
    weights = split(shake(16 * count, b"securefed plaintext powers v1", statement).hex(), 16)
    size = SIZE // 2 + 53
    hiding, blind = (
        uniform(bytes.fromhex(drawn), below)
        for drawn, below in zip(V["plaintext_bytes"], (N, 2 ** (8 * size - 8)), strict=True)
    )
    message = (1 + hiding * N) * pow(BASE, blind, SQUARE) % SQUARE
    challenge = shake(
        16, b"securefed plaintext challenge v1", statement, message.to_bytes(2 * SIZE, "big")
    )
    e = int.from_bytes(challenge, "big")
    plain = sum(m * w for m, w in zip(V["plaintexts"][0], weights, strict=True))
    exponent = sum(a * w for a, w in zip(alphas, weights, strict=True))
    assert V["plaintext_proof"] == {
        "challenge": challenge.hex(),
        "plaintext": ((hiding + e * plain) % N).to_bytes(SIZE, "big").hex(),
        "exponent": (blind + e * exponent).to_bytes(size, "big").hex(),
    }


def test_the_proofs_of_the_file_hold():
    key = PublicKey(N, PUBLIC[:32], allow_small=True)
    place = {"agreement": AGREEMENT, "prover": V["prover"], "step": "key"}
    modulus, factors = (
        {name: bytes.fromhex(value) for name, value in V[kind].items()}
        for kind in ("modulus_proof", "factor_proof")
    )
    check_modulus(key, ModulusProof(**modulus), **place)
    check_factors(key, FactorProof(**factors), **place)
