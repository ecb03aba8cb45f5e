"""Shamir's secret sharing of 256-bit secrets over a prime field.

Source: Shamir, "How to Share a Secret", CACM 22(11), 1979. The field is GF(p), p = 2^256 + 297,
the smallest prime above 2^256: any 32-byte secret is one element, and one share is one element.
Fewer than ``threshold`` shares are independent of the secret, whatever the computing power.

Points are small integers (position of a holder, from 1), which the code uses: Horner's rule
multiplies by a small integer and reduces once, at the end, instead of at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Final

import numpy as np

from protocols.errors import MisuseError, ShareError
from protocols.prg import RandomBytes

PRIME: Final = 2**256 + 297
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
"""One element of the field, big-endian."""

MAX_POINT: Final = 2**16 - 1
_DRAW_BYTES: Final = 49
"""Reducing 392 uniform bits modulo p is within 2^-128 of uniform (RFC 9380 section 5.1)."""


def split(
    secrets: Sequence[bytes], *, threshold: int, points: Sequence[int], random: RandomBytes
) -> list[list[bytes]]:
    """Share each secret so that any ``threshold`` of the points recover it and fewer learn nothing.

    Args:
        secrets: 32 bytes each.
        threshold: shares needed, 1..len(points).
        points: where the polynomial is evaluated, one per holder; distinct, 1..65535.
        random: source of the coefficients; asked once per secret.

    Returns:
        ``shares[i][j]``: the share of ``secrets[i]`` at ``points[j]``, 33 bytes.

    Raises:
        MisuseError: an argument outside these ranges.
    """
    _check_points(points)
    if not 1 <= threshold <= len(points):
        raise MisuseError(f"threshold {threshold} is not between 1 and {len(points)} holders")
    if any(len(secret) != SECRET_BYTES for secret in secrets):
        raise MisuseError(f"a secret to share has {SECRET_BYTES} bytes")
    return [_split_one(secret, threshold, points, random) for secret in secrets]


def combine(shares: Sequence[Sequence[bytes]], points: Sequence[int]) -> list[bytes]:
    """Recover secrets from shares at ``points``, by Lagrange interpolation at zero.

    All given shares are used: pass exactly as many as the threshold, or more. Shamir's scheme does
    not detect a false share, so the caller compares the secret with the dealer's commitment.

    Args:
        shares: ``shares[i][j]`` is the share of secret ``i`` at ``points[j]``, 33 bytes.
        points: distinct, 1..65535, the same for every secret.

    Returns:
        The secrets, 32 bytes each.

    Raises:
        MisuseError: not one share per point, or points repeated or out of range.
        ShareError: a share is no field element, or the shares recover no 32-byte secret.
    """
    coefficients = lagrange_at_zero(tuple(points))
    secrets = []
    for row in shares:
        if len(row) != len(points):
            raise MisuseError(f"{len(row)} shares for {len(points)} points")
        elements = [element(share) for share in row]
        secret = sum(map(int.__mul__, coefficients, elements)) % PRIME
        if secret >> (8 * SECRET_BYTES):
            raise ShareError("unknown", "combine", "the shares recover no 32-byte secret")
        secrets.append(secret.to_bytes(SECRET_BYTES, "big"))
    return secrets


def element(share: bytes, party: str = "unknown") -> int:
    """Read one share.

    Args:
        share: 33 bytes, big-endian.
        party: who sent it, for the error.

    Raises:
        ShareError: wrong length, or not below the prime: never a share that :func:`split` dealt.
    """
    if len(share) != SHARE_BYTES:
        raise ShareError(party, "combine", f"a share has {SHARE_BYTES} bytes, not {len(share)}")
    value = int.from_bytes(share, "big")
    if value >= PRIME:
        raise ShareError(party, "combine", "a share is not an element of the field")
    return value


@lru_cache(maxsize=256)
def lagrange_at_zero(points: tuple[int, ...]) -> tuple[int, ...]:
    """Return the coefficients with which shares at ``points`` sum to the secret, mod p.

    Coefficient j is the product over i != j of x_i / (x_i - x_j). One inversion serves all of them
    (Montgomery's trick), and the result is kept, since the shares of many secrets come from the
    same holders. Points are public.

    Raises:
        MisuseError: no points, or points repeated or out of range.
    """
    _check_points(points)
    below = _denominators(points)
    prefix = [1]
    for value in below:
        prefix.append(prefix[-1] * value % PRIME)
    inverse = pow(prefix[-1], -1, PRIME) * prod(points) % PRIME
    coefficients = []
    for value, before in zip(reversed(below), reversed(prefix[:-1]), strict=True):
        coefficients.append(inverse * before % PRIME)
        inverse = inverse * value % PRIME
    return tuple(reversed(coefficients))


def _denominators(points: tuple[int, ...]) -> list[int]:
    """Return x_j times the product over i != j of (x_i - x_j), mod p, for every j."""
    x = np.array(points, np.int64)
    factors = x[np.newaxis, :] - x[:, np.newaxis]
    np.fill_diagonal(factors, x)
    # Machine words take as many factors as they hold, Python's integers the rest.
    together = 63 // max(points).bit_length()
    groups = np.multiply.reduceat(factors, range(0, len(points), together), axis=1)
    return [prod(row) % PRIME for row in groups.tolist()]


def _check_points(points: Sequence[int]) -> None:
    if not points or len(set(points)) != len(points):
        raise MisuseError("points are distinct, and there is at least one")
    if min(points) < 1 or max(points) > MAX_POINT:
        # At zero lies the secret itself.
        raise MisuseError(f"points lie between 1 and {MAX_POINT}")


def _split_one(
    secret: bytes, threshold: int, points: Sequence[int], random: RandomBytes
) -> list[bytes]:
    drawn = random(_DRAW_BYTES * (threshold - 1))
    coefficients = [
        int.from_bytes(drawn[low : low + _DRAW_BYTES], "big") % PRIME
        for low in range(0, len(drawn), _DRAW_BYTES)
    ]
    constant = int.from_bytes(secret, "big")
    shares = []
    for point in points:
        value = 0
        for coefficient in coefficients:
            value = (value + coefficient) * point
        shares.append(((value + constant) % PRIME).to_bytes(SHARE_BYTES, "big"))
    return shares
