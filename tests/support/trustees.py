"""Threshold keys from fixed safe primes, which everybody knows: good for tests alone."""

from __future__ import annotations

from functools import lru_cache

from protocols.paillier.dealing_shares import deal_key
from protocols.paillier.integers import mpz, powmod
from protocols.paillier.keys import PublicKey
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from protocols.prg import RandomBytes, uniform_below

from .seeded import seeded

TEST_SAFE_PRIMES_512 = (
    mpz(0xE6558CB8FF77AC1D5B445E2747BAAABE612A495BD563304B7AEE56036C838C3F),
    mpz(0xEEE46EEFAFD09FE9A56440757B531CA79DCF449039772ABD157AD5D76270CA87),
)
"""Of a modulus of 512 bits: unsafe, and quick."""

TEST_SAFE_PRIMES_2048 = (
    mpz(
        0xC044265308F5E9DA81252986EB43403F0C663683808FBB1F897D6F2E8C968C28 << 768
        | 0xBD2969EDC2A833838CE84EC19072FBDBC7F3E1096BD49355B4228E0431B885A8 << 512
        | 0x1BB7F1CA4D8E875A3AE79550A7CF5217205B742786FD5D0BB8A1AF4B627713A5 << 256
        | 0x6E78E2F38C912BF2E8FE961C336E9C074C581E051BFC0FED58AC3F81DEE9CEDF
    ),
    mpz(
        0xFFD36AF7975CCB97ECBB5AFF77F7085D7F12C79A1F1785942A51E5B32504484E << 768
        | 0xBB4742D66FACDB73EBC0E5B5FD4702D27E6214A43BD028DB742D14B03FDD3154 << 512
        | 0x7AB21C313F8D634A7551F18B9820F2A193B20DD998F7748BD444FB0CBD3B7899 << 256
        | 0x924A7141EEF137B681B0003C0EFB85096A25F63B13FFFB3BC38E3EBFFDE088B3
    ),
)
"""Of the smallest modulus that is taken from the wire; printed here, so it keeps no secret."""

SEED = bytes(range(32))


@lru_cache
def public_key(bits: int = 512) -> PublicKey:
    first, second = primes(bits)
    return PublicKey(int(first * second), SEED, allow_small=bits < 2048)


def primes(bits: int) -> tuple[mpz, mpz]:
    return {512: TEST_SAFE_PRIMES_512, 2048: TEST_SAFE_PRIMES_2048}[bits]


def fixed_primes(bits: int, random: RandomBytes) -> tuple[mpz, mpz]:
    """Stands for the search for safe primes, which takes seconds."""
    return primes(bits)


@lru_cache
def dealt(
    trustees: int, threshold: int, degree: int = 1, bits: int = 512, dealing: str = "first"
) -> tuple[ThresholdKey, tuple[KeyShare, ...]]:
    """One dealing; another name of ``dealing`` shares the same key anew."""
    return deal_key(
        public_key(bits),
        primes(bits),
        trustees=trustees,
        threshold=threshold,
        degree=degree,
        random=seeded(f"dealing {dealing} {trustees} {threshold}"),
    )


def encrypt(key: ThresholdKey, plaintext: int, label: object = "") -> mpz:
    """(1 + n)^M y^{n^s}, written down from the paper."""
    n, modulus = key.n, key.cipher_modulus
    y = mpz(1 + uniform_below(int(n) - 1, seeded(f"encrypt {plaintext} {label}")))
    return powmod(1 + n, plaintext, modulus) * powmod(y, key.plain_modulus, modulus) % modulus


def encrypt_all(key: ThresholdKey, plaintexts: list[int], label: object = "") -> list[mpz]:
    return [encrypt(key, one, (label, place)) for place, one in enumerate(plaintexts)]
