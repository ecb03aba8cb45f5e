"""The committed rounds, and a second implementation that reads them without any of this code.

It follows tests/vectors/README.md with hashlib, a msgpack reader and ``cryptography`` alone.
"""

from __future__ import annotations

import hashlib
import json
import struct
from functools import cached_property
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from vectors.generate_masking import FOLDER, masking_vectors, render

TEXT = (FOLDER / "masking.json").read_text()
CASES = json.loads(TEXT)
PRIME = 2**256 + 297
FIELDS = (
    "threshold", "quorum", "min_cohort", "max_dropouts", "degree", "modulus_bits", "count",
)  # fmt: skip


def test_the_committed_rounds_are_what_this_code_makes():
    assert render(masking_vectors()) == TEXT


def prefixed(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


class Reader:
    """One case, read from its hexadecimal strings."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case, self.facts = case, case["facts"]
        self.n = len(self.facts["parties"])
        values = (self.facts["round"], self.n, *(self.facts[name] or 0 for name in FIELDS))
        self.bound = prefixed(
            bytes.fromhex(self.facts["agreement"]),
            struct.pack(">9Q", *values),
            bytes.fromhex(self.facts["purpose"]),
        )

    def digest(self, label: str, *parts: bytes) -> bytes:
        return hashlib.sha256(prefixed(label.encode()) + self.bound + prefixed(*parts)).digest()

    def key(self, secret: bytes, label: str, *parts: bytes) -> bytes:
        info = label.encode() + self.digest(label, *parts)
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret)

    def packet(self, step: str, number: int) -> tuple[list[Any], bytes]:
        return msgspec.msgpack.decode(bytes.fromhex(self.case["packets"][step][str(number)]))

    def payload(self, step: str, number: int) -> list[Any]:
        return msgspec.msgpack.decode(self.packet(step, number)[0][5])

    def identify(self, step: str, number: int) -> bytes:
        envelope = self.packet(step, number)[0]
        return envelope[4].encode() + b"\0" + envelope[5]

    @cached_property
    def roster(self) -> bytes:
        entries = (self.identify("advertise", number) for number in range(self.n))
        return self.digest("securefed roster v1", *entries)

    @cached_property
    def sharers(self) -> bytes:
        everybody = (numbers(number) for number in range(self.n))
        return self.digest("securefed sharers v1", self.roster, *everybody)

    @cached_property
    def survivors(self) -> bytes:
        gone = numbers(*self.case["dropouts"])
        entries = (self.identify("submit", number) for number in self.case["survivors"])
        return self.digest("securefed survivors v1", self.sharers, gone, *entries)

    def drawn(self, number: int) -> dict[str, Any]:
        """What a party drew: two keys, then (after any draw of holders) a seed and the rest."""
        everything = bytes.fromhex(self.case["drawn"][number])
        holders = [share[0] for share in self.payload("share", number)[2]]
        coefficients = 49 * (self.facts["threshold"] - 1)
        tail = everything[len(everything) - 32 - 2 * coefficients - 64 * len(holders) :]
        salts = tail[32 + 2 * coefficients :]
        return {
            "channel": everything[:32],
            "mask": everything[32:64],
            "seed": tail[:32],
            "of seed": tail[32 : 32 + coefficients],
            "of key": tail[32 + coefficients : 32 + 2 * coefficients],
            "salts": [
                (salts[low : low + 32], salts[low + 32 : low + 64])
                for low in range(0, len(salts), 64)
            ],
            "holders": holders,
        }

    def agree(self, number: int, use: str, peer: int) -> bytes:
        private = X25519PrivateKey.from_private_bytes(self.drawn(number)[use])
        public = self.payload("advertise", peer)[0 if use == "channel" else 1]
        return private.exchange(X25519PublicKey.from_public_bytes(public))


def share_at(point: int, secret: bytes, drawn: bytes) -> bytes:
    value = 0
    for low in range(0, len(drawn), 49):
        value = (value + int.from_bytes(drawn[low : low + 49], "big")) * point
    return ((value + int.from_bytes(secret, "big")) % PRIME).to_bytes(33, "big")


@pytest.fixture(params=CASES, ids=[case["name"] for case in CASES])
def reader(request) -> Reader:
    return Reader(request.param)


def test_every_envelope_is_signed_over_its_preamble_and_payload(reader):
    keys = {
        name: Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)).public_key()
        for name, key in reader.facts["private_keys"].items()
    }
    for name, public in zip(reader.facts["parties"], reader.facts["public_keys"], strict=True):
        assert keys[name].public_bytes_raw().hex() == public
    for step, box in reader.case["packets"].items():
        for number in map(int, box):
            version, agreement, round_, verb, sender, payload, signature = reader.packet(
                step, number
            )[0]
            assert (verb, round_) == (step, reader.facts["round"])
            name = sender.encode()
            signed = b"".join(
                (
                    b"securefed envelope v1\0",
                    struct.pack(">HQB", version, round_, len(agreement)),
                    agreement,
                    bytes([len(verb), len(name)]),
                    verb.encode() + name,
                    prefixed(payload),
                )
            )
            assert isinstance(keys[sender], Ed25519PublicKey)
            keys[sender].verify(signature, signed)


def test_digests_bind_the_facts_of_the_round(reader):
    stated = reader.case["digests"]
    assert reader.roster.hex() == stated["roster"]
    assert reader.sharers.hex() == stated["sharers"]
    assert reader.survivors.hex() == stated["survivors"]
    for number in reader.case["survivors"]:
        assert reader.payload("confirm", number) == [reader.survivors]
        wire = bytes.fromhex(reader.case["vectors"][str(number)])
        assert reader.packet("submit", number)[1] == wire
        assert reader.payload("submit", number) == [
            reader.roster,
            reader.sharers,
            bytes.fromhex(reader.case["model"]),
            hashlib.sha256(wire).digest(),
            reader.facts["count"],
            bytes.fromhex(reader.case["statement"]),
        ]


def test_every_sealed_share_opens_for_its_holder(reader):
    for dealer in range(reader.n):
        drawn = reader.drawn(dealer)
        roster, seed_digest, dealt = reader.payload("share", dealer)
        assert roster == reader.roster
        own = numbers(dealer)
        assert seed_digest == reader.digest("securefed seed digest v1", own, drawn["seed"])
        for share, (salt, other_salt) in zip(dealt, drawn["salts"], strict=True):
            holder, sealed, of_seed, of_key = share
            pair = numbers(dealer, holder)
            secret = reader.agree(holder, "channel", dealer)
            key = reader.key(secret, "securefed channel v1", roster, pair)
            binding = reader.digest("securefed channel v1", roster, pair) + of_seed + of_key
            plain = AESGCM(key).decrypt(bytes(12), sealed, binding)
            seed_share = share_at(holder + 1, drawn["seed"], drawn["of seed"])
            key_share = share_at(holder + 1, drawn["mask"], drawn["of key"])
            assert plain == seed_share + salt + key_share + other_salt
            for commitment, label, opened in (
                (of_seed, "securefed seed share v1", (salt, seed_share)),
                (of_key, "securefed key share v1", (other_salt, key_share)),
            ):
                assert commitment == reader.digest(label, pair, *opened)
            delivered = {one[0]: one[1:] for one in reader.payload("deliver", holder)[3]}
            assert delivered[dealer] == [sealed, of_seed, of_key]


def mask(key: bytes, count: int, word_bits: int) -> list[int]:
    keystream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    size = word_bits // 8
    octets = keystream.update(bytes(count * size))
    return [int.from_bytes(octets[i * size : (i + 1) * size], "little") for i in range(count)]


def test_every_masked_vector_is_the_input_and_its_masks(reader):
    bits, count = reader.facts["modulus_bits"], reader.facts["count"]
    word_bits = next(width for width in (16, 32, 64) if bits <= width)
    chosen = {number: set(reader.drawn(number)["holders"]) for number in range(reader.n)}
    for own in reader.case["survivors"]:
        seed = reader.drawn(own)["seed"]
        key = reader.key(seed, "securefed self mask v1", reader.roster, numbers(own))
        total = [
            value + word
            for value, word in zip(
                reader.case["inputs"][own], mask(key, count, word_bits), strict=True
            )
        ]
        for peer in range(reader.n):
            if peer == own or not (peer in chosen[own] or own in chosen[peer]):
                continue
            pair = numbers(min(own, peer), max(own, peer))
            secret = reader.agree(own, "mask", peer)
            key = reader.key(secret, "securefed pairwise mask v1", reader.roster, pair)
            sign = 1 if own < peer else -1
            words = mask(key, count, word_bits)
            total = [value + sign * word for value, word in zip(total, words, strict=True)]
        packed = sum((value % 2**bits) << (i * bits) for i, value in enumerate(total))
        wire = packed.to_bytes((count * bits + 7) // 8, "little")
        assert wire.hex() == reader.case["vectors"][str(own)]


def test_the_sum_is_that_of_the_survivors_and_their_shares_open_it(reader):
    survivors, dropouts = reader.case["survivors"], reader.case["dropouts"]
    modulus = 2 ** reader.facts["modulus_bits"]
    columns = zip(*(reader.case["inputs"][number] for number in survivors), strict=True)
    assert reader.case["sum"] == [sum(column) % modulus for column in columns]
    assert sorted(survivors + dropouts) == list(range(reader.n))
    for holder in survivors:
        digest, seeds, keys = reader.payload("unmask", holder)
        assert digest == reader.survivors
        dealers = [d for d in range(reader.n) if holder in reader.drawn(d)["holders"]]
        assert [share[0] for share in seeds] == [d for d in dealers if d in survivors]
        assert [share[0] for share in keys] == [d for d in dealers if d in dropouts]
        for dealer, share, _ in seeds:
            drawn = reader.drawn(dealer)
            assert share == share_at(holder + 1, drawn["seed"], drawn["of seed"])
        for dealer, share, _ in keys:
            drawn = reader.drawn(dealer)
            assert share == share_at(holder + 1, drawn["mask"], drawn["of key"])
