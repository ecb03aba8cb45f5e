"""What a recommender is tested on: each user's last item, hidden from training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from securefed.learning.recommend.interactions import Interactions


@dataclass(frozen=True, slots=True)
class Holdout:
    """A company's rows without each user's last one.

    Attributes:
        train: what remains; the same users in the same order.
        targets: the hidden item of each user, shape (users,); -1 for a user with a single row,
            who stays in training and is not tested.
    """

    train: Interactions
    targets: NDArray[np.int64]


def leave_last_out(interactions: Interactions) -> Holdout:
    """Hide the latest item of every user who has two or more; a later row wins a tie in time.

    Raises:
        InputError: nobody has two rows.
    """
    starts = interactions.starts
    sizes = np.diff(starts)
    tested = sizes > 1
    if not tested.any():
        raise InputError("no user has two interactions, so none can be hidden")
    last = starts[1:] - 1
    targets = np.where(tested, interactions.items[last], -1)
    keep = np.ones(len(interactions), dtype=np.bool_)
    keep[last[tested]] = False
    return Holdout(interactions.rows(keep), targets.astype(np.int64))
