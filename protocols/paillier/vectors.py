"""A vector of ring words as one party's ciphertexts in one round, and back from an opened product.

Source of the pieces: ``packing.py``, ``encryption.py``, ``plaintext_proof.py``.

Ciphertexts add up in the integers and not in the ring. A negative value is a word near 2^b, so that
an opened lane would tell, beyond the sum in the ring, how many values of it were negative. Every
party therefore adds 2^(b-1) to its words: they are then value + 2^(b-1) as integers, and k of them
add up to the sum of the values + k 2^(b-1), of which the sum in the ring tells all, since it does
not wrap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from protocols.agreement.ciphertexts import ciphertext_count
from protocols.agreement.model import Agreement, Task
from protocols.errors import InputError, NoResultError
from protocols.identity import Envelope, Identity
from protocols.masking.context import RoundContext
from protocols.paillier.ciphertexts import ciphertexts_to_bytes
from protocols.paillier.encryption import encrypt
from protocols.paillier.integers import mpz
from protocols.paillier.messages import CiphertextSubmission
from protocols.paillier.obfuscators import Obfuscator
from protocols.paillier.packing import Lanes
from protocols.paillier.plaintext_proof import prove_plaintexts
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import ThresholdKey
from protocols.prg import RandomBytes, Ranges, Words
from protocols.wire import encode

TakeObfuscators: TypeAlias = Callable[[int], Sequence[Obfuscator]]
"""Hands out exactly so many, each once."""


def opening_context(
    agreement: Agreement, round_: RoundContext, task: Task, key: ThresholdKey, model: bytes
) -> OpeningContext:
    """Return the facts of the opening that belongs to a round.

    Args:
        agreement: in force.
        round_: facts of the round; its purpose, which binds task and intent, goes in as well.
        task: that is at work.
        key: of the agreement's record.
        model: digest of the global model that the round hands out, 32 bytes.
    """
    return OpeningContext(
        agreement=round_.agreement,
        round=round_.round,
        coordinator=round_.coordinator,
        parties=round_.parties,
        trustees=tuple(trustee.verify_key() for trustee in agreement.trustees),
        key=key,
        min_cohort=round_.min_survivors,
        count=ciphertext_count(agreement, task),
        summands=len(round_.parties),
        max_message_bytes=round_.max_message_bytes,
        purpose=round_.purpose,
        model=model,
    )


def lanes_of(context: OpeningContext, ring_bits: int) -> Lanes:
    """Return how words lie in the plaintexts of an opening."""
    return Lanes(ring_bits, context.summands, context.key.public.bits)


def encrypt_vector(
    context: OpeningContext,
    identity: Identity,
    words: Words,
    ring_bits: int,
    *,
    take: TakeObfuscators,
    random: RandomBytes,
    ranges: Ranges | None = None,
) -> tuple[Envelope, bytes]:
    """Pack, encrypt and sign one party's vector, with the proof that it knows it.

    Args:
        context: the opening.
        identity: of the party.
        words: shape ``(d,)``, masked or not.
        ring_bits: of a word.
        take: where obfuscators come from.
        random: cryptographically secure, for the proof.
        ranges: divides the vector among threads.

    Returns:
        The signed :class:`CiphertextSubmission`, and the ciphertexts.

    Raises:
        MisuseError: words of another number or type than agreed.
    """
    key = context.key.public
    plaintexts = lanes_of(context, ring_bits).pack(words + _half(words, ring_bits))
    sealed = encrypt(key, plaintexts, take(len(plaintexts)), ranges=ranges)
    proof = prove_plaintexts(
        sealed,
        agreement=context.agreement,
        round_=context.round,
        party=identity.name,
        random=random,
    )
    wire = ciphertexts_to_bytes(key, sealed.ciphertexts)
    header = CiphertextSubmission(
        context.key.digest(),
        context.model,
        hashlib.sha256(wire).digest(),
        len(sealed.ciphertexts),
        encode(proof),
        b"",
    )
    return context.seal(identity, header), wire


def read_sum(
    context: OpeningContext, opened: Sequence[mpz], ring_bits: int, count: int, *, vectors: int
) -> Words:
    """Read the sum of so many ``vectors`` of ``count`` words from an opened product.

    Raises:
        NoResultError: a party encrypted what is no packed vector, and nobody can tell which.
    """
    try:
        total = lanes_of(context, ring_bits).unpack(opened, count)
    except InputError as error:
        raise NoResultError(
            "the opened sum is not one of packed vectors: a party encrypted something else, and "
            "ciphertexts do not tell which"
        ) from error
    if vectors % 2:
        total += _half(total, ring_bits)  # which is its own negative in the ring
    total &= total.dtype.type(2**ring_bits - 1)
    return total


def _half(words: Words, ring_bits: int) -> np.unsignedinteger[Any]:
    return words.dtype.type(2 ** (ring_bits - 1))
