"""Step 3: what hides one party's update (Bonawitz et al. 2017, figure 4, round 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from protocols.errors import InputError, MisuseError
from protocols.masking.context import RoundContext
from protocols.masking.party_states import Masks, Ready
from protocols.masking.sealing import pairwise_seed, self_seed
from protocols.packing import pack
from protocols.prg import Words, add_masks

Encrypt: TypeAlias = Callable[[Words], bytes]
"""Makes the ciphertexts of a vector of words."""

SPAN: Final = 2**20
"""Words masked and packed at a time, a multiple of eight: no second vector is ever held, and each
keystream is opened so seldom that it does not count."""


def check_values(context: RoundContext, values: Words, encrypt: Encrypt | None) -> None:
    """Check an encoded update before anything is done with it.

    Raises:
        InputError: another shape or word type than agreed.
        MisuseError: it would be encrypted where that is not agreed, or not where it is.
    """
    if (encrypt is None) != (not context.encrypted_bytes):
        raise MisuseError("vectors are encrypted exactly where the agreement says so")
    if values.shape != (context.count,) or values.dtype != context.word:
        raise InputError(
            f"the update is {values.dtype} of shape {values.shape}; the agreement says "
            f"{context.word} of shape ({context.count},)"
        )


def hide(
    context: RoundContext, state: Ready, own: int, values: Words, encrypt: Encrypt | None
) -> bytes:
    """Mask and pack, mask and encrypt, or encrypt ``values``, which are left unchanged.

    Raises:
        MisuseError: ``encrypt`` makes another length than agreed.
    """
    masks = state.masks
    seeds = () if masks is None else mask_seeds(context, state.roster_digest, masks, own)
    if encrypt is None:
        return mask_and_pack(values, seeds, context.modulus_bits)
    wire = encrypt(blind(values, seeds) if seeds else values)
    if len(wire) != context.encrypted_bytes:
        raise MisuseError(f"{len(wire)} bytes encrypted, not {context.encrypted_bytes}")
    return wire


def mask_seeds(
    context: RoundContext, roster_digest: bytes, masks: Masks, own: int
) -> Sequence[tuple[bytes, bool]]:
    """Derive the seeds of our self-mask and of every pairwise mask; True where it is added.

    The party with the smaller number adds the mask of a pair, the other one subtracts it.

    Args:
        context: the round.
        roster_digest: of its roster.
        masks: our keys and whom we mask with.
        own: our number.
    """
    seeds = [(self_seed(context, roster_digest, masks.seed, own), True)]
    for peer in masks.edges:
        key = masks.roster[peer].mask_key
        seeds.append(
            (pairwise_seed(context, roster_digest, masks.mask, own, key, peer), peer > own)
        )
    return seeds


def mask_and_pack(values: Words, seeds: Sequence[tuple[bytes, bool]], bits: int) -> bytes:
    """Return ``values`` with these masks added or subtracted, packed; no other words are held.

    Args:
        values: encoded update, shape (d,), of the width of words of ``bits`` bits.
        seeds: as :func:`mask_seeds` makes them.
        bits: 2..64.
    """
    return b"".join(
        pack(blind(values[low : low + SPAN], seeds, start=low), bits)
        for low in range(0, values.size, SPAN)
    )


def blind(values: Words, seeds: Sequence[tuple[bytes, bool]], *, start: int = 0) -> Words:
    """Add masks to a copy of ``values``, words ``[start, start + len(values))`` of the vector."""
    masked = values.copy()
    add_masks(masked, seeds, start=start)
    return masked
