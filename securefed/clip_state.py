"""The clip norm of an adaptively clipped task travels inside the model, so that all agree on it.

The model's digest is signed in every round and compared between parties; what follows from it
cannot be told differently to two of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from protocols.agreement import Task as AgreedTask
from protocols.errors import WireError
from securefed.learning.state import State, state_from_bytes, state_to_bytes

CLIP_NORM: Final = "privacy.clip_norm"


def pack_state(agreed: AgreedTask, state: State, clip_norm: float | None = None) -> bytes:
    """Return a state as bytes, with the clip norm where it adapts; the first one unless given."""
    if agreed.privacy is None or agreed.privacy.adaptive is None:
        return state_to_bytes(state)
    value = agreed.privacy.clip_norm if clip_norm is None else clip_norm
    return state_to_bytes({**state, CLIP_NORM: np.array([value])})


def unpack_state(agreed: AgreedTask, model: bytes) -> tuple[State, float | None]:
    """Return the state in a model, and the clip norm that it carries where it adapts.

    Raises:
        WireError: no model, or one without a clip norm.
    """
    state = state_from_bytes(model, sender="coordinator", step=agreed.name)
    if agreed.privacy is None or agreed.privacy.adaptive is None:
        return state, None
    carried = state.pop(CLIP_NORM, np.empty(0))
    if carried.shape != (1,) or carried.dtype != np.float64:
        raise WireError("coordinator", agreed.name, "the model carries no clip norm")
    return state, float(carried[0])
