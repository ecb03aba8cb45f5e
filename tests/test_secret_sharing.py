from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import Counting, forbidden, seeded
from vectors.generate import FOLDER, render, shamir_vectors

from protocols.errors import MisuseError, ShareError
from protocols.secret_sharing import (
    MAX_POINT,
    PRIME,
    SHARE_BYTES,
    combine,
    element,
    lagrange_at_zero,
    split,
)

secrets_ = st.binary(min_size=32, max_size=32)


@st.composite
def sharings(draw: st.DrawFn) -> tuple[list[bytes], int, list[int]]:
    points = draw(st.lists(st.integers(1, MAX_POINT), min_size=1, max_size=9, unique=True))
    threshold = draw(st.integers(1, len(points)))
    return draw(st.lists(secrets_, min_size=1, max_size=3)), threshold, points


def is_probable_prime(number: int) -> bool:
    """Miller and Rabin's test to the first 40 prime bases."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    bases = [n for n in range(2, 174) if all(n % m for m in range(2, n))]
    for base in bases:
        powers = [pow(base, odd << shift, number) for shift in range(twos)]
        if powers[0] != 1 and number - 1 not in powers:
            return False
    return True


def value_at(point: int, points: list[int], values: list[int]) -> int:
    """Interpolate, slowly and plainly."""
    total = 0
    for x, y in zip(points, values, strict=True):
        term = y
        for other in points:
            if other != x:
                term = term * (point - other) * pow(x - other, -1, PRIME) % PRIME
        total += term
    return total % PRIME


def test_the_modulus_is_the_smallest_prime_that_holds_every_secret() -> None:
    assert PRIME == 2**256 + 297
    assert is_probable_prime(PRIME)
    assert not any(is_probable_prime(n) for n in range(2**256 + 1, PRIME, 2))


def test_the_committed_vectors_are_what_this_code_makes() -> None:
    assert (FOLDER / "shamir.json").read_text() == render(shamir_vectors())


@settings(max_examples=60, deadline=None)
@given(sharings(), st.randoms())
def test_any_threshold_of_the_shares_recovers_every_secret(
    sharing: tuple[list[bytes], int, list[int]], shuffler: object
) -> None:
    secrets, threshold, points = sharing
    shares = split(secrets, threshold=threshold, points=points, random=seeded("split"))
    chosen = shuffler.sample(range(len(points)), threshold)
    rows = [[row[i] for i in chosen] for row in shares]
    assert combine(rows, [points[i] for i in chosen]) == secrets


@settings(max_examples=30, deadline=None)
@given(sharings())
def test_shares_are_values_of_one_polynomial_of_the_agreed_degree(
    sharing: tuple[list[bytes], int, list[int]],
) -> None:
    secrets, threshold, points = sharing
    for secret, row in zip(
        secrets,
        split(secrets, threshold=threshold, points=points, random=seeded("split")),
        strict=True,
    ):
        values = [int.from_bytes(share, "big") for share in row]
        for point, value in zip(points, values, strict=True):
            assert value_at(point, points[:threshold], values[:threshold]) == value
        assert value_at(0, points, values) == int.from_bytes(secret, "big")


def test_fewer_shares_than_the_threshold_fit_every_secret_alike() -> None:
    # For each secret there is one set of coefficients that deals the very same two shares, and
    # dealing with those coefficients does so: the two shares rule no secret out.
    points = [1, 2, 3]
    [row] = split([b"\x07" * 32], threshold=3, points=points, random=seeded("secrecy"))
    seen = [int.from_bytes(share, "big") for share in row[:2]]
    for other in (bytes(32), b"\xff" * 32, b"\x07" * 32):
        constant = int.from_bytes(other, "big")
        at_three = value_at(3, [0, 1, 2], [constant, *seen])
        # f(1), f(2), f(0) fix the coefficients of x^2 and x.
        square = (seen[1] - 2 * seen[0] + constant) * pow(2, -1, PRIME) % PRIME
        linear = (seen[0] - constant - square) % PRIME
        drawn = square.to_bytes(49, "big") + linear.to_bytes(49, "big")
        [dealt] = split([other], threshold=3, points=points, random=lambda _, drawn=drawn: drawn)
        assert dealt[:2] == row[:2]
        assert int.from_bytes(dealt[2], "big") == at_three


def test_every_secret_is_shared_with_coefficients_of_its_own() -> None:
    random = Counting(seeded("fresh"))
    first, second = split([bytes(32)] * 2, threshold=4, points=[1, 2, 3, 4, 5], random=random)
    assert random.asked == [3 * 49, 3 * 49]
    assert not set(first) & set(second)


@settings(max_examples=20, deadline=None)
@given(secrets_, secrets_)
def test_sums_of_shares_are_shares_of_the_sum(one: bytes, two: bytes) -> None:
    points = [1, 4, 9]
    first, second = split([one, two], threshold=2, points=points, random=seeded("linear"))
    summed = [(element(a) + element(b)) % PRIME for a, b in zip(first, second, strict=True)]
    expected = (int.from_bytes(one, "big") + int.from_bytes(two, "big")) % PRIME
    for pair in itertools.combinations(range(3), 2):
        assert value_at(0, [points[i] for i in pair], [summed[i] for i in pair]) == expected


def test_one_changed_bit_in_a_share_changes_the_secret() -> None:
    points = [1, 2, 3]
    [row] = split([bytes(32)], threshold=3, points=points, random=seeded("tamper"))
    row[1] = row[1][:-1] + bytes([row[1][-1] ^ 1])
    with suppress(ShareError):  # the changed secret may also exceed 32 bytes
        assert combine([row], points) != [bytes(32)]


@pytest.mark.parametrize("value", [PRIME, PRIME + 1, 2**264 - 1])
def test_a_share_that_is_no_field_element_is_refused(value: int) -> None:
    share = value.to_bytes(SHARE_BYTES, "big")
    with pytest.raises(ShareError, match="not an element"):
        combine([[share, bytes(SHARE_BYTES)]], [1, 2])


@pytest.mark.parametrize("length", [0, 32, 34])
def test_a_share_of_another_length_is_refused_and_names_its_sender(length: int) -> None:
    with pytest.raises(ShareError, match=f"33 bytes, not {length}") as caught:
        element(bytes(length), "hospital-a")
    assert caught.value.party == "hospital-a"


@pytest.mark.parametrize("value", [2**256, PRIME - 1])
def test_shares_that_recover_more_than_32_bytes_are_refused(value: int) -> None:
    with pytest.raises(ShareError, match="no 32-byte secret"):
        combine([[value.to_bytes(SHARE_BYTES, "big")]], [1])


def test_errors_hold_no_share() -> None:
    share = (PRIME + 12345).to_bytes(SHARE_BYTES, "big")
    with pytest.raises(ShareError) as caught:
        combine([[share]], [1])
    text = repr(caught.value)
    assert share.hex() not in text
    assert str(PRIME + 12345) not in text


@pytest.mark.parametrize("points", [[], [0, 1], [1, 1], [-1], [MAX_POINT + 1]])
def test_points_that_would_give_a_secret_away_or_repeat_are_refused(points: list[int]) -> None:
    with pytest.raises(MisuseError):
        split([bytes(32)], threshold=1, points=points, random=forbidden)
    with pytest.raises(MisuseError):
        combine([[bytes(33)] * len(points)], points)


@pytest.mark.parametrize("threshold", [0, 4])
def test_a_threshold_that_the_holders_cannot_meet_is_refused(threshold: int) -> None:
    with pytest.raises(MisuseError, match="threshold"):
        split([bytes(32)], threshold=threshold, points=[1, 2, 3], random=forbidden)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(MisuseError, match="32 bytes"):
        split([bytes(length)], threshold=1, points=[1], random=forbidden)


def test_a_share_is_needed_at_every_point() -> None:
    with pytest.raises(MisuseError, match="1 shares for 2 points"):
        combine([[bytes(SHARE_BYTES)]], [1, 2])


def test_coefficients_are_computed_once_for_one_set_of_holders() -> None:
    points = (2, 3, 5, 7, 11)
    lagrange_at_zero.cache_clear()
    for _ in range(3):
        combine([[bytes(SHARE_BYTES)] * 5] * 10, points)
    assert lagrange_at_zero.cache_info().misses == 1
    assert sum(lagrange_at_zero(points)) % PRIME == 1
