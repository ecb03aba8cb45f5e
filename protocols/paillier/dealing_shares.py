"""Sharing a Paillier key among trustees, and checking in public that the shares are right.

Source: Shoup (EUROCRYPT 2000, section 2) with public exponent n^s: d = 1 / n^s modulo p'q' is the
constant of a random polynomial of degree t - 1 modulo p'q'.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import Final

from protocols.errors import InputError, MisuseError, ShareError
from protocols.paillier.integers import invert, mpz, powmod
from protocols.paillier.keys import PublicKey
from protocols.paillier.messages import MAX_TRUSTEES
from protocols.paillier.threshold import lagrange
from protocols.paillier.threshold_key import (
    MAX_DEGREE,
    KeyShare,
    ThresholdKey,
    verification_base,
)
from protocols.prg import RandomBytes, uniform_below

_ROUNDS: Final = 32


def deal_key(
    public: PublicKey,
    primes: tuple[mpz, mpz],
    *,
    trustees: int,
    threshold: int,
    degree: int,
    random: RandomBytes,
) -> tuple[ThresholdKey, tuple[KeyShare, ...]]:
    """Share the key of ``primes`` among ``trustees``, any ``threshold`` of whom can decrypt.

    Args:
        public: the key of their product.
        primes: two safe primes; the caller forgets them.
        trustees: how many shares, 1 to 100.
        threshold: t, 1 to ``trustees``.
        degree: s, 1 to 4.
        random: source of the coefficients.

    Raises:
        MisuseError: primes of another key, primes that are not safe, or numbers out of range.
    """
    if not 1 <= threshold <= trustees <= MAX_TRUSTEES or not 1 <= degree <= MAX_DEGREE:
        raise MisuseError(f"no sharing among {trustees} with threshold {threshold}, s = {degree}")
    first, second = (prime // 2 for prime in primes)
    if primes[0] * primes[1] != public.n or primes[0] == primes[1]:
        raise MisuseError("the primes are not those of the public key")
    if not all(one.is_prime(_ROUNDS) for one in (*primes, first, second)):
        raise MisuseError("a threshold key needs safe primes, p = 2p' + 1")
    order, n = first * second, mpz(public.n)
    polynomial = [invert(n**degree, order)]
    polynomial += [mpz(uniform_below(int(order), random)) for _ in range(threshold - 1)]
    base, delta = verification_base(public), mpz(factorial(trustees))
    shares = []
    for index in range(1, trustees + 1):
        value = mpz(0)
        for coefficient in reversed(polynomial):
            value = (value * index + coefficient) % order
        shares.append(KeyShare(index, value))
    verification = tuple(powmod(base, delta * share.value, n) for share in shares)
    return ThresholdKey(public, degree, threshold, verification), tuple(shares)


def check_verification_keys(key: ThresholdKey) -> None:
    """Check that the verification keys commit to shares of the very root exponent of the key.

    Nothing secret is needed. With v_i = v^{Delta s_i}: the exponents of all trustees lie on one
    polynomial of degree t - 1, and its value d at 0 fulfils d n^s = 1 modulo the order of v. So any
    t shares decrypt. Every equation is between squares, whose group has no small subgroup.

    Raises:
        InputError: they do not; whoever dealt the key did not share it.
    """
    n, chosen = key.n, range(1, key.threshold + 1)
    squares = [one**2 % n for one in key.verification]
    for index in range(key.threshold + 1, key.trustees + 1):
        weights, scale = lagrange(chosen, index)
        if _combine(squares, weights, n) != powmod(squares[index - 1], scale, n):
            raise InputError(f"the verification key of trustee {index} is not on the polynomial")
    weights, scale = lagrange(chosen)
    shared = powmod(_combine(squares, weights, n), key.plain_modulus, n)
    if shared != powmod(key.base, 2 * key.delta * scale * key.scale, n):
        raise InputError("the verification keys do not share the exponent that decrypts")


def check_share(key: ThresholdKey, share: KeyShare, *, dealer: str) -> None:
    """Check a share against its verification key.

    Raises:
        ShareError: out of range or not the one committed to; names ``dealer``.
        UnknownPartyError: the key has no such trustee.
    """
    committed = key.verification_of(share.index, dealer, "deal")
    if share.value < 0 or share.value.bit_length() > key.share_bits:
        raise ShareError(dealer, "deal", "the share is longer than the key")
    if powmod(key.base, key.delta * share.value, key.n) != committed:
        raise ShareError(dealer, "deal", "the share does not match its verification key")


def _combine(squares: Sequence[mpz], weights: Sequence[int], n: mpz) -> mpz:
    total = mpz(1)
    for one, weight in zip(squares, weights, strict=False):
        total = total * powmod(one, weight, n) % n
    return total
