"""Proof that a modulus of two primes has no small one, which anybody can check.

Figure 28 of Canetti et al. (ePrint 2021/060) convinces one verifier, who brings a modulus of its
own. This one needs nobody's: the prover commits to p in a group of known prime order Q, far larger
than n, and shows that p and the q with pq = n are short (Couteau, Klooß, Lin and Reichle, EUROCRYPT
2021, on bounded integers in such groups). Of a cheater one extracts fractions x/d and y/d with

    x y = n d^2 as integers, |x|, |y| < 2^(|n|/2 + 256),

as both sides are below Q. A prime factor of n beyond that bound would divide x or y and cannot.
With ``modulus_proof.py``, by which n has exactly two prime factors, both exceed 2^(|n|/2 - 257).
Assumed: discrete logarithms in the group are hard, and the hash is a random oracle.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Final

import msgspec

from protocols.errors import ProofError
from protocols.paillier.integers import hash_to_bytes, invert, mpz, powmod
from protocols.paillier.keys import PrivateKey, PublicKey
from protocols.paillier.known_groups import Group, group
from protocols.prg import RandomBytes, uniform_below

CHALLENGE_BYTES: Final = 16
SLACK_BITS: Final = 128
"""Responses hide the factors up to a statistical distance of 2^-128."""

_LABEL: Final = b"securefed factor proof v1"
_MAX_ELEMENT: Final = 6144 // 8
_MAX_RESPONSE: Final = 4096 // 16 + 32

_Element = Annotated[bytes, msgspec.Meta(max_length=_MAX_ELEMENT)]
_Response = Annotated[bytes, msgspec.Meta(max_length=_MAX_RESPONSE)]


class FactorProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A commitment to one factor, and a proof about it. Integers are big-endian.

    Attributes:
        commitment: g^p h^r.
        challenge: 16 bytes, the hash of the first message.
        first: response for p; |n|/2 + 256 bits.
        second: response for q, likewise.
        first_blind: response for r, modulo the order.
        second_blind: response for the blinding of n, likewise.
    """

    commitment: _Element
    challenge: Annotated[
        bytes, msgspec.Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)
    ]
    first: _Response
    second: _Response
    first_blind: _Element
    second_blind: _Element

    def __repr__(self) -> str:
        return f"FactorProof({self.challenge.hex()})"


def group_for(bits: int) -> Group:
    """Return the group for moduli of ``bits`` bits: 2^(bits + 512) and twice it are below Q."""
    return group(next(size for size in (2048, 3072, 4096, 6144) if bits + 514 < size))


def prove_factors(
    key: PrivateKey, *, agreement: bytes, prover: str, random: RandomBytes
) -> FactorProof:
    """Prove that no factor is small. About 60 ms at 2048 bits and 150 ms at 3072.

    Args:
        key: of the prover.
        agreement: digest of the agreement, 32 bytes.
        prover: name in the agreement.
        random: for blinding; the proof would give the factors away if it were predictable.
    """
    public, p, q = key.public, mpz(key.p), mpz(key.q)
    space = group_for(public.bits)
    order, bound = space.order, 1 << 8 * _response_bytes(public)
    blind = uniform_below(int(order), random)
    commitment = _commit(space, space.g, p, blind)
    while True:
        a, b = uniform_below(bound, random), uniform_below(bound, random)
        r, s = uniform_below(int(order), random), uniform_below(int(order), random)
        messages = (_commit(space, space.g, a, r), _commit(space, commitment, b, s))
        challenge = _challenge(public, space, commitment, messages, agreement, prover)
        e = int.from_bytes(challenge, "big")
        first, second = a + e * p, b + e * q
        # It exceeds the bound with a probability of 2^-128, and would then tell something.
        if max(first, second) < bound:
            break
    size, response = space.element_bytes, _response_bytes(public)
    # g^n = commitment^q h^(-r q).
    return FactorProof(
        commitment.to_bytes(size, "big"),
        challenge,
        first.to_bytes(response, "big"),
        second.to_bytes(response, "big"),
        ((r + e * blind) % order).to_bytes(size, "big"),
        ((s - e * q * blind) % order).to_bytes(size, "big"),
    )


def check_factors(
    key: PublicKey, proof: FactorProof, *, agreement: bytes, prover: str, step: str
) -> None:
    """Check a proof. About 50 ms at 2048 bits and 120 ms at 3072.

    It says nothing unless :func:`protocols.paillier.modulus_proof.check_modulus` holds as well.

    Args:
        key: of which the proof speaks.
        proof: hostile.
        agreement: digest of the agreement, 32 bytes.
        prover: whose proof it has to be; named when it is refused.
        step: protocol step for the same purpose.

    Raises:
        ProofError: the proof does not hold for this key, agreement and prover.
    """

    def refuse(reason: str) -> ProofError:
        return ProofError(
            prover, step, f"its Paillier modulus is not proved free of small factors: {reason}"
        )

    space = group_for(key.bits)
    size, response = space.element_bytes, _response_bytes(key)
    elements = (proof.commitment, proof.first_blind, proof.second_blind)
    if {len(one) for one in elements} != {size} or (len(proof.first), len(proof.second)) != (
        response,
        response,
    ):
        raise refuse("another length")
    commitment, r, s = (mpz.from_bytes(one, "big") for one in elements)
    first, second = (mpz.from_bytes(one, "big") for one in (proof.first, proof.second))
    if not space.holds(commitment) or max(r, s) >= space.order:
        raise refuse("a number is out of range")
    e, modulus = mpz.from_bytes(proof.challenge, "big"), space.modulus
    whole = powmod(space.g, key.n * e, modulus)
    messages = (
        _commit(space, space.g, first, r) * invert(powmod(commitment, e, modulus), modulus),
        _commit(space, commitment, second, s) * invert(whole, modulus),
    )
    first_message, second_message = (message % modulus for message in messages)
    challenge = _challenge(
        key, space, commitment, (first_message, second_message), agreement, prover
    )
    if not hmac.compare_digest(challenge, proof.challenge):
        raise refuse("the challenge is another")


def _response_bytes(key: PublicKey) -> int:
    return key.bits // 16 + CHALLENGE_BYTES + SLACK_BITS // 8


def _commit(space: Group, base: mpz, value: mpz, blind: mpz) -> mpz:
    blinding = powmod(space.h, blind, space.modulus)
    return powmod(base, value, space.modulus) * blinding % space.modulus


def _challenge(
    key: PublicKey,
    space: Group,
    commitment: mpz,
    messages: tuple[mpz, mpz],
    agreement: bytes,
    prover: str,
) -> bytes:
    size = space.element_bytes
    elements = (value.to_bytes(size, "big") for value in (commitment, *messages))
    return hash_to_bytes(
        CHALLENGE_BYTES, _LABEL, agreement, prover.encode(), key.to_bytes(), *elements
    )
