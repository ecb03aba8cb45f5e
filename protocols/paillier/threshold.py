"""Threshold decryption by roots: t of n trustees open a product, fewer learn nothing.

Source: Shoup, "Practical threshold signatures" (EUROCRYPT 2000) for shares over the integers, with
public exponent n^s; Damgard and Jurik (PKC 2001, section 4.1) for the setting; Paillier
(EUROCRYPT 1999, section 5) for the relation c mod n = y^n that turns decrypting into a root.

A ciphertext c = (1 + n)^M y^{n^s} is y^{n^s} modulo n. The trustees share d = 1 / n^s modulo
p'q' and raise x = c mod n, not c: modulo n instead of n^{s+1}, by |n| bits instead of (s+1) |n|.
Their results combine to w = y^{4 Delta D}. Lifting w to w^{n^s} modulo n^{s+1} needs no secret, and

    c^{4 Delta D} / w^{n^s} = (1 + n)^{4 Delta D M}.

Unlike a decryption that yields M alone, this tells y, the randomness of the product, as well. Of a
product with two honest factors y is uniform whatever the plaintexts are; see
docs/threshold-paillier.md for the argument and for what callers must see to.

The root of x is unique, so that the last line is one plus a multiple of n only if w is right: no
false plaintext comes out, whatever the trustees did. The proofs of ``threshold_proofs.py`` serve
to name who did it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm, prod

from protocols.errors import (
    BelowThresholdError,
    DuplicateError,
    MisuseError,
    ShareError,
    UnknownPartyError,
)
from protocols.paillier.integers import gcd, invert, mpz, product
from protocols.paillier.multi_exponentiation import ONE_THREAD, Spread, powers
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from protocols.paillier.threshold_lifting import lift, logarithm

STEP = "decrypt"


@dataclass(frozen=True, slots=True)
class Partial:
    """What one trustee made of a list of ciphertexts.

    Attributes:
        index: which trustee, from 1.
        values: x^{2 Delta s_i} mod n for each ciphertext, in order.
    """

    index: int
    values: Sequence[mpz] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Roots:
    """Partial decryptions combined; public, and so is all that remains to be done with them.

    Attributes:
        values: w = y^{4 Delta D} for each ciphertext.
        exponent: 4 Delta D, times the scale of the key.
    """

    values: list[mpz] = field(repr=False)
    exponent: mpz


def partial_decryption(
    key: ThresholdKey,
    share: KeyShare,
    ciphertexts: Sequence[mpz],
    spread: Spread = ONE_THREAD,
) -> Partial:
    """Raise each ciphertext to this trustee's share: x^{2 Delta s_i} mod n with x = c mod n.

    Callers make sure that the ciphertexts are the agreed product and nothing else, see
    :class:`protocols.paillier.threshold_party.DecryptingParty`.

    Raises:
        UnknownPartyError: the key has no such trustee.
        MisuseError: a ciphertext is out of range or no unit.
    """
    key.verification_of(share.index, f"trustee {share.index}", STEP)
    check_units(key, ciphertexts)
    n = key.n
    reduced = [ciphertext % n for ciphertext in ciphertexts]
    return Partial(share.index, powers(reduced, 2 * key.delta * share.value, n, spread))


def combine(
    key: ThresholdKey,
    ciphertexts: Sequence[mpz],
    partials: Sequence[Partial],
    spread: Spread = ONE_THREAD,
) -> list[mpz]:
    """Decrypt with partial decryptions of at least ``key.threshold`` trustees; uses that many.

    Returns:
        M of each ciphertext, in [0, n^s).

    Raises:
        BelowThresholdError: too few.
        DuplicateError: one trustee twice.
        UnknownPartyError: there is no such trustee.
        ShareError: a partial decryption is wrong; whose, the proofs tell.
    """
    roots = combine_roots(key, ciphertexts, partials, spread)
    return open_with(key, ciphertexts, roots, lift(key, roots.values, spread), spread)


def combine_roots(
    key: ThresholdKey,
    ciphertexts: Sequence[mpz],
    partials: Sequence[Partial],
    spread: Spread = ONE_THREAD,
) -> Roots:
    """Combine partial decryptions to w; raises as :func:`combine`, but sees no wrong one."""
    check_units(key, ciphertexts)
    used = _choose(key, partials, len(ciphertexts))
    weights, scale = lagrange([partial.index for partial in used])
    n = key.n
    above, below = [mpz(1)] * len(ciphertexts), [mpz(1)] * len(ciphertexts)
    for partial, weight in zip(used, weights, strict=True):
        raised = powers(partial.values, mpz(2 * abs(weight)), n, spread)
        into = above if weight > 0 else below
        into[:] = [one * other % n for one, other in zip(into, raised, strict=True)]
    values = [one * invert(other, n) % n for one, other in zip(above, below, strict=True)]
    return Roots(values, 4 * key.delta * scale * key.scale)


def open_with(
    key: ThresholdKey,
    ciphertexts: Sequence[mpz],
    roots: Roots,
    lifted: Sequence[mpz],
    spread: Spread = ONE_THREAD,
) -> list[mpz]:
    """Read the plaintexts off ciphertexts with lifted roots.

    Args:
        key: the key.
        ciphertexts: what is opened.
        roots: what :func:`combine_roots` gave.
        lifted: w^{n^s} mod n^{s+1} of each root; of others' lifts, only those that
            :func:`~protocols.paillier.threshold_lifting.lifts_hold` has passed.
        spread: where powers are computed.

    Raises:
        ShareError: the roots are wrong.
        MisuseError: not one lift per ciphertext.
    """
    if not len(ciphertexts) == len(roots.values) == len(lifted):
        raise MisuseError("there is one root and one lift for each ciphertext")
    n, modulus, plain = key.n, key.cipher_modulus, key.plain_modulus
    raised = powers(ciphertexts, roots.exponent, modulus, spread)
    unscale = invert(roots.exponent, plain)
    opened = []
    for ciphertext, one in zip(raised, lifted, strict=True):
        bare = ciphertext * invert(one, modulus) % modulus
        if bare % n != 1:
            raise ShareError(
                "unknown", STEP, "a partial decryption or a lift is wrong; check their proofs"
            )
        opened.append(logarithm(key, bare) * unscale % plain)
    return opened


def lagrange(indices: Sequence[int], at: int = 0) -> tuple[list[int], int]:
    """Return integers l_i and D with sum l_i f(i) = D f(at), for f of degree < len(indices).

    D is the least common denominator of the rational coefficients, which often is less than the
    factorial that Shoup takes. Its prime factors are below the largest index, so that it is a unit
    modulo n and p'q'.

    Args:
        indices: distinct, >= 1.
        at: where f is wanted, >= 0.
    """
    rational = [
        prod((Fraction(at - j, i - j) for j in indices if j != i), start=Fraction(1))
        for i in indices
    ]
    scale = lcm(*(one.denominator for one in rational))
    return [int(one * scale) for one in rational], scale


def check_units(key: ThresholdKey, ciphertexts: Sequence[mpz]) -> None:
    """Refuse what is no ciphertext.

    Raises:
        MisuseError: out of range, or not a unit modulo n.
    """
    if not are_units(ciphertexts, key.cipher_modulus, key.n):
        raise MisuseError("a ciphertext lies in [1, n^(s+1)) and has no factor in common with n")


def are_units(values: Sequence[mpz], bound: mpz, n: mpz) -> bool:
    """Tell whether all lie in [1, bound) and have no factor in common with n; one gcd for all."""
    return all(0 < one < bound for one in values) and gcd(product(list(values), n), n) == 1


def _choose(key: ThresholdKey, partials: Sequence[Partial], count: int) -> list[Partial]:
    seen: dict[int, Partial] = {}
    for partial in partials:
        name = f"trustee {partial.index}"
        if not 1 <= partial.index <= key.trustees:
            raise UnknownPartyError(name, STEP, f"there are trustees 1 to {key.trustees} only")
        if partial.index in seen:
            raise DuplicateError(name, STEP, "its partial decryption was given twice")
        if len(partial.values) != count:
            raise ShareError(name, STEP, f"{len(partial.values)} values for {count} ciphertexts")
        if not are_units(partial.values, key.n, key.n):
            raise ShareError(name, STEP, "a partial decryption is no unit modulo n")
        seen[partial.index] = partial
    if len(seen) < key.threshold:
        raise BelowThresholdError(STEP, have=len(seen), need=key.threshold)
    return [seen[index] for index in sorted(seen)][: key.threshold]
