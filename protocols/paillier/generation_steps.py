"""The steps of making a key together, as every party runs them.

A generator: each ``yield`` hands out what this party sends and takes what all parties sent. What is
opened in between is random or public, so that all parties take the same turns.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import factorial
from typing import Final, TypeAlias

from protocols.errors import InputError, ShareError
from protocols.paillier.dealing_shares import check_share, check_verification_keys
from protocols.paillier.generation_candidates import (
    TRIALS,
    biprimality_powers,
    may_be_modulus,
    passes,
    residues,
    sieve_for,
    summand,
    tries_for,
)
from protocols.paillier.generation_root import (
    TOP_BITS,
    RootRing,
    combined_share,
    correction,
    deal_summand,
    own_phi,
    share_bound,
    split_summand,
)
from protocols.paillier.generation_sharing import (
    GenerationContext,
    Points,
    add_points,
    draw,
    open_points,
    share_all,
)
from protocols.paillier.integers import absorb, gcd, mpz, powmod
from protocols.paillier.keys import PublicKey
from protocols.paillier.threshold_key import KeyShare, ThresholdKey, verification_base
from protocols.prg import RandomBytes

_LABEL_SEED: Final = b"securefed generated key seed v1"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one party sends at one step, and what it takes from each of the others.

    Attributes:
        step: name of the step; all parties are at the same one.
        private: SECRET, one list for each party; empty when the list is for all.
        broadcast: the list for all.
        count: length of the list that each other party sends us.
        bound: what its values stay below.
    """

    step: str
    private: Mapping[int, Sequence[mpz]] = field(repr=False)
    broadcast: Sequence[mpz] = field(repr=False)
    count: int
    bound: mpz = field(repr=False)


Made: TypeAlias = tuple[ThresholdKey, KeyShare]
Part: TypeAlias = Generator[Exchange, Points, list[mpz]]


class GenerationSteps:
    """One party's run; what it holds of the factors lives in the frame of :meth:`run`."""

    def __init__(self, context: GenerationContext, index: int, random: RandomBytes) -> None:
        self._context, self._index, self._random = context, index, random

    def run(self) -> Generator[Exchange, Points, Made]:
        """Exchange lists until a key is made; return it and our share."""
        while True:
            ours = yield from self._summands()
            moduli = yield from self._multiply(ours)
            for place in (yield from self._promising(ours, moduli)):
                first, second = ours[2 * place : 2 * place + 2]
                n, sums = moduli[place], first + second
                if not (yield from self._is_biprime(n, sums)):
                    continue
                theta, ring, point = yield from self._invert(n, sums)
                if gcd(theta, n) != 1:
                    continue
                share = yield from self._share_root(ring, theta, point)
                return (yield from self._publish(n, share))

    def _all(self, step: str, values: Sequence[mpz], bound: mpz) -> Exchange:
        return Exchange(step, {}, values, len(values), bound)

    def _each(self, step: str, points: Mapping[int, Sequence[mpz]], bound: mpz) -> Exchange:
        return Exchange(step, points, (), len(points[self._index]), bound)

    def _deal(self, values: Sequence[mpz], masks: int, modulus: mpz) -> dict[int, list[mpz]]:
        """Share values with degree tau, and that many zeros with degree 2 tau after them."""
        context, random = self._context, self._random
        low = share_all(values, context.degree, context.parties, modulus, random)
        zeros = [mpz(0)] * masks
        high = share_all(zeros, 2 * context.degree, context.parties, modulus, random)
        return {index: low[index] + high[index] for index in low}

    def _product(self, step: str, left: list[mpz], right: list[mpz], modulus: mpz) -> Part:
        """Open the products of the sums of all parties' left and right values."""
        count = len(left)
        dealt = self._deal([*left, *right], count, modulus)
        received = yield self._each(f"{step}-share", dealt, modulus)
        points = add_points(received, modulus)
        products = [
            (a * b + zero) % modulus
            for a, b, zero in zip(
                points[:count], points[count : 2 * count], points[2 * count :], strict=True
            )
        ]
        opened = yield self._all(f"{step}-open", products, modulus)
        return open_points(opened, modulus)

    def _summands(self) -> Part:
        """Draw our summands of a batch of factors f with no small prime in f or (f - 1) / 2."""
        context, random = self._context, self._random
        sieve = sieve_for(context.half, context.parties)
        tries = tries_for(sieve, 2 * context.batch)
        own = draw(tries, sieve.modulus, random)
        less = [(one - (self._index == 1)) % sieve.modulus for one in own]
        blind = draw(2 * tries, sieve.modulus, random)
        opened = yield from self._product("sieve", [*own, *less], blind, sieve.modulus)
        found = residues(sieve, own, opened[:tries], opened[tries:])
        return [
            summand(context, sieve, self._index, one, random)
            for one in found[: len(found) // 2 * 2]
        ]

    def _multiply(self, ours: list[mpz]) -> Part:
        """Open the product of each two factors."""
        return (
            yield from self._product(
                "modulus", ours[::2], ours[1::2], self._context.field_of_products
            )
        )

    def _promising(
        self, ours: list[mpz], moduli: list[mpz]
    ) -> Generator[Exchange, Points, list[int]]:
        """Test every modulus that nothing speaks against with one power each."""
        context = self._context
        places = [place for place, n in enumerate(moduli) if may_be_modulus(context, n)]
        powers = []
        for place in places:
            sums = ours[2 * place] + ours[2 * place + 1]
            powers += biprimality_powers(context, moduli[place], self._index, sums, range(1))
        received = yield self._all("one-power", powers, mpz(1) << context.bits)
        columns = zip(*received.values(), strict=True)
        return [
            place
            for place, column in zip(places, columns, strict=True)
            if passes(moduli[place], column)
        ]

    def _is_biprime(self, n: mpz, sums: mpz) -> Generator[Exchange, Points, bool]:
        """Test one modulus with all powers, and that it is prime to p + q - 1."""
        powers = biprimality_powers(self._context, n, self._index, sums, range(1, 1 + TRIALS))
        received = yield self._all("all-powers", powers, n)
        if not all(passes(n, column) for column in zip(*received.values(), strict=True)):
            return False
        own = (sums - 1 if self._index == 1 else sums) % n
        [masked] = yield from self._product("prime-to", [own], draw(1, n, self._random), n)
        return bool(gcd(masked, n) == 1)

    def _invert(self, n: mpz, sums: mpz) -> Generator[Exchange, Points, tuple[mpz, RootRing, mpz]]:
        """Open theta = beta phi mod n; return it with our point of beta phi."""
        ring = RootRing.of(self._context, n)
        prime = ring.prime
        own = [own_phi(n, self._index, sums) % prime]
        own += draw(1, n, self._random) + draw(1, ring.blind, self._random)
        received = yield self._each("inverse-share", self._deal(own, 2, prime), prime)
        phi, beta, rho, first, second = add_points(received, prime)
        hidden = (phi * beta + n * rho + first) % prime
        opened = yield self._all("inverse-open", [hidden], prime)
        return open_points(opened, prime)[0] % n, ring, (phi * beta + second) % prime

    def _share_root(
        self, ring: RootRing, theta: mpz, point: mpz
    ) -> Generator[Exchange, Points, mpz]:
        """Share the root exponent over the integers; return our share."""
        context = self._context
        ours = split_summand(context, ring, self._index, point, theta)
        told = [ours.remainder, ours.top]
        received = yield self._all("remainders", told, max(ring.n, mpz(1) << TOP_BITS))
        remainders, tops = zip(*received.values(), strict=True)
        quotient = ours.quotient
        if self._index == 1:
            quotient += correction(ring, theta, remainders, tops)
        dealt = deal_summand(context, ring, quotient, self._random)
        received = yield self._each("root-share", dealt, share_bound(context))
        return combined_share(received)

    def _publish(self, n: mpz, share: mpz) -> Generator[Exchange, Points, Made]:
        """Exchange verification keys, check them, and make the key."""
        context = self._context
        seed = absorb(_LABEL_SEED, context.session, int(n).to_bytes(context.bits // 8, "big"))
        public = PublicKey(int(n), seed.digest(), context.allow_small)
        exponent = mpz(factorial(context.parties)) * share
        verification = powmod(verification_base(public), exponent, n)
        received = yield self._all("verification", [verification], n)
        published = tuple(values[0] for values in received.values())
        try:
            key = ThresholdKey(public, 1, context.threshold, published, generated=True)
            check_verification_keys(key)
        except InputError as error:
            raise ShareError("unknown", "verification", str(error)) from error
        ours = KeyShare(self._index, share)
        check_share(key, ours, dealer=context.names[self._index - 1])
        return key, ours
