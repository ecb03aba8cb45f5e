"""A trustee that holds the whole key alone: it sends plaintexts, and one root that proves them all.

Whoever knows the root exponent s = 1/n knows the factors as well, so that the key holder decrypts
by the Chinese remainder theorem. Nobody has to lift roots then, which is what combining costs where
several trustees answer.

The proof. c (1 - M n) is an n-th power modulo n^2 exactly if M is the plaintext of c. Weights rho_j
of 128 bits are hashed from everything, and a root Y of R = prod_j (c_j (1 - M_j n))^rho_j is shown:
Y^n = R. For wrong plaintexts R is (1 + n) to the power of sum_j rho_j (m_j - M_j) times an n-th
power. If one difference is not zero modulo a prime factor of n, which is longer than 128 bits
(``factor_proof.py``), the sum is zero modulo that prime with a chance of 2^-128 a try; otherwise R
has no root (small exponents test of Bellare, Garay and Rabin, EUROCRYPT 1998). Y tells less than
the roots of all c_j, which trustees tell otherwise.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from protocols.errors import MisuseError, ShareError
from protocols.paillier.integers import absorb, gcd, hash_to_bytes, invert, mpz, powmod
from protocols.paillier.key_checks import MIN_BITS
from protocols.paillier.keys import PrivateKey
from protocols.paillier.messages import CHALLENGE_BYTES
from protocols.paillier.multi_exponentiation import product_of_powers
from protocols.paillier.threshold import STEP, check_units
from protocols.paillier.threshold_key import (
    KeyShare,
    ThresholdKey,
    join_residues,
    residue_to_bytes,
)
from protocols.paillier.threshold_proofs import PartialProof
from protocols.prg import Ranges

_LABEL_STATEMENT: Final = b"securefed lone opening v1"
_LABEL_WEIGHTS: Final = b"securefed lone opening weights v1"


def is_lone(key: ThresholdKey) -> bool:
    """Tell whether one trustee opens alone, by a dealt key of degree 1."""
    return key.trustees == 1 and key.degree == 1 and not key.generated


def private_key(key: ThresholdKey, share: KeyShare) -> PrivateKey:
    """Return the factors that a lone trustee's share determines.

    4 (n s - 1) is a multiple of the order of the units. A unit to the odd part of that, squared
    until it is 1, passes a square root of 1 that splits n for at least half of all units (Miller,
    J. Comput. Syst. Sci. 13, 1976).

    Raises:
        MisuseError: the key has several trustees, or the share is not of this key.
    """
    if not is_lone(key) or share.index != 1:
        raise MisuseError("only a lone trustee holds the whole key")
    n = key.n
    if powmod(key.base, share.value, n) != key.verification[0]:
        raise MisuseError("the share is not of this key")
    order = 4 * (n * share.value - 1)
    squarings = int(order.bit_scan1())
    base = mpz(1)
    while True:
        base += 1
        root = powmod(base, order >> squarings, n)
        for _ in range(squarings):
            factor = gcd(root - 1, n)
            if 1 < factor < n:
                p, q = sorted((int(factor), int(n // factor)))
                return PrivateKey(p, q, key.public.seed, key.public.bits < MIN_BITS)
            root = root * root % n


def open_alone(
    key: ThresholdKey,
    share: KeyShare,
    product: Sequence[mpz],
    *,
    binding: bytes,
    ranges: Ranges | None = None,
) -> tuple[list[mpz], PartialProof]:
    """Decrypt a product, and prove all of its plaintexts.

    Args:
        key: of one trustee.
        share: its share.
        product: units modulo n^2.
        binding: digest of where this belongs: agreement, round, request.
        ranges: divides the work among threads.

    Returns:
        The plaintexts, one for each ciphertext, and the proof.

    Raises:
        MisuseError: the key has several trustees, or the share is not of this key; or this machine
            computed wrongly.
    """
    private = private_key(key, share)
    plaintexts = private.decrypt(product, ranges=ranges)
    statement = _statement(key, product, plaintexts, binding)
    residue = _residue(key, product, plaintexts, statement)
    # Not the share, which is an inverse for squares alone: a party may have sent -c for c.
    exponent = invert(key.n, mpz((private.p - 1) * (private.q - 1)))
    root = powmod(residue % key.n, exponent, key.n)
    # One value that is wrong modulo one factor would give that factor to whoever sees the answer
    # (Boneh, DeMillo and Lipton, EUROCRYPT 1997): a computer that erred says nothing.
    if powmod(root, key.n, key.cipher_modulus) != residue:
        raise MisuseError("a decryption went wrong; nothing of it is sent: check this machine")
    return plaintexts, PartialProof(statement[:CHALLENGE_BYTES], residue_to_bytes(key, root))


def check_alone(
    key: ThresholdKey,
    product: Sequence[mpz],
    plaintexts: Sequence[mpz],
    proof: PartialProof,
    *,
    binding: bytes,
    name: str,
) -> None:
    """Check what a lone trustee says that a product holds.

    Args:
        key: of one trustee.
        product: units modulo n^2.
        plaintexts: hostile.
        proof: hostile.
        binding: as in :func:`open_alone`.
        name: of the trustee.

    Raises:
        ShareError: the plaintexts are not those of the product, or the proof is none; names it.
    """
    n = key.n
    if len(proof.response) != key.residue_bytes or len(plaintexts) != len(product):
        raise ShareError(name, STEP, "its proof or its plaintexts have another length")
    if not all(0 <= one < n for one in plaintexts):
        raise ShareError(name, STEP, "a plaintext lies outside of 0 to n - 1")
    check_units(key, product)
    statement = _statement(key, product, plaintexts, binding)
    root = mpz(int.from_bytes(proof.response, "big"))
    same = hmac.compare_digest(statement[:CHALLENGE_BYTES], proof.challenge)
    if not same or not 0 < root < n:
        raise ShareError(name, STEP, "its proof is of another answer")
    residue = _residue(key, product, plaintexts, statement)
    if powmod(root, n, key.cipher_modulus) != residue:
        raise ShareError(name, STEP, "its plaintexts are not those of the product")


def _statement(
    key: ThresholdKey, product: Sequence[mpz], plaintexts: Sequence[mpz], binding: bytes
) -> bytes:
    return absorb(
        _LABEL_STATEMENT,
        binding,
        key.digest(),
        join_residues(product, key.ciphertext_bytes),
        join_residues(plaintexts, key.residue_bytes),
    ).digest()


def _residue(
    key: ThresholdKey, product: Sequence[mpz], plaintexts: Sequence[mpz], statement: bytes
) -> mpz:
    """Return prod_j (c_j (1 - M_j n))^rho_j; exponents of 1 - n are summed first."""
    size, n, square = CHALLENGE_BYTES, key.n, key.cipher_modulus
    stream = hash_to_bytes(size * len(product), _LABEL_WEIGHTS, statement)
    weights = [
        int.from_bytes(stream[low : low + size], "big") for low in range(0, len(stream), size)
    ]
    folded = product_of_powers(product, weights, square)
    total = sum(map(mpz.__mul__, plaintexts, map(mpz, weights)), mpz(0)) % n
    return folded * (1 - total * n) % square
