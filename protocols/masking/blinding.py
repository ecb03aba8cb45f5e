"""Step 3: what hides one party's update (Bonawitz et al. 2017, figure 4, round 2)."""

from __future__ import annotations

from protocols.errors import InputError
from protocols.masking.context import RoundContext
from protocols.masking.party_states import Ready
from protocols.masking.sealing import pairwise_seed, self_seed
from protocols.packing import pack
from protocols.prg import Words, add_masks


def check_values(context: RoundContext, values: Words) -> None:
    """Check an encoded update before anything is done with it.

    Raises:
        InputError: another shape or word type than agreed.
    """
    if values.shape != (context.count,) or values.dtype != context.word:
        raise InputError(
            f"the update is {values.dtype} of shape {values.shape}; the agreement says "
            f"{context.word} of shape ({context.count},)"
        )


def blind(context: RoundContext, state: Ready, own: int, values: Words) -> bytes:
    """Add the self-mask and every pairwise mask to a copy of ``values``; return it packed.

    The party with the smaller number adds the mask of a pair, the other one subtracts it.

    Args:
        context: the round.
        state: our keys and whom we mask with.
        own: our number.
        values: encoded update, shape ``(count,)``.
    """
    roster = state.roster_digest
    masks = [(self_seed(context, roster, state.seed, own), True)]
    for peer in state.edges:
        key = state.roster[peer].mask_key
        masks.append((pairwise_seed(context, roster, state.mask, own, key, peer), peer > own))
    masked = values.copy()
    add_masks(masked, masks)
    return pack(masked, context.modulus_bits)
