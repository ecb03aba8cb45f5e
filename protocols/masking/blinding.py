"""Step 3: what hides one party's update (Bonawitz et al. 2017, figure 4, round 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from protocols.errors import InputError, MisuseError
from protocols.masking.context import RoundContext
from protocols.masking.party_states import Masks, Ready
from protocols.masking.sealing import pairwise_seed, self_seed
from protocols.packing import pack
from protocols.prg import Words, add_masks

Encrypt: TypeAlias = Callable[[Words], bytes]
"""Makes the ciphertexts of a vector of words."""


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
    """Mask and pack, mask and encrypt, or encrypt a copy of ``values``.

    Raises:
        MisuseError: ``encrypt`` makes another length than agreed.
    """
    if state.masks is not None:
        values = blind(context, state.roster_digest, state.masks, own, values)
    if encrypt is None:
        return pack(values, context.modulus_bits)
    wire = encrypt(values)
    if len(wire) != context.encrypted_bytes:
        raise MisuseError(f"{len(wire)} bytes encrypted, not {context.encrypted_bytes}")
    return wire


def blind(
    context: RoundContext, roster_digest: bytes, masks: Masks, own: int, values: Words
) -> Words:
    """Add the self-mask and every pairwise mask to a copy of ``values``.

    The party with the smaller number adds the mask of a pair, the other one subtracts it.

    Args:
        context: the round.
        roster_digest: of its roster.
        masks: our keys and whom we mask with.
        own: our number.
        values: encoded update, shape ``(count,)``.
    """
    seeds = [(self_seed(context, roster_digest, masks.seed, own), True)]
    for peer in masks.edges:
        key = masks.roster[peer].mask_key
        seeds.append(
            (pairwise_seed(context, roster_digest, masks.mask, own, key, peer), peer > own)
        )
    masked = values.copy()
    add_masks(masked, seeds)
    return masked
