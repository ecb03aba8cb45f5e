"""How well a recommender finds hidden items, and how much it leans to popular ones.

The hidden item is ranked among all items that the user does not have; the protocol with 99 sampled
negatives (He et al. 2017) is given beside it because papers use it, but it flatters and can order
models wrongly (Krichene and Rendle 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from securefed.learning.recommend.bias import PopularityBias, popularity_bias
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.holdout import Holdout
from securefed.learning.recommend.ranking import gain, ranks, top

ScoreItems = Callable[[Histories], NDArray[np.float64]]
"""From users' items to scores, shape (users, items): larger is better, -inf is unknown."""

_USERS_AT_A_TIME: Final = 256


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over the tested users.

    Attributes:
        hit_rate: share of hidden items among the first k of the full ranking.
        ndcg: the same, weighted by 1 / log2(rank + 1).
        sampled_hit_rate: among the first k of the hidden item and sampled negatives.
        sampled_ndcg: the same, weighted.
        bias: popularity bias of the lists of k.
        users: tested users.
        hit_rate_error: standard error of ``hit_rate``.
    """

    hit_rate: float
    ndcg: float
    sampled_hit_rate: float
    sampled_ndcg: float
    bias: PopularityBias
    users: int
    hit_rate_error: float

    def row(self) -> dict[str, float]:
        """Return all figures by name, for a table."""
        plain = asdict(self)
        bias: dict[str, float] = plain.pop("bias")
        return plain | bias


@dataclass(slots=True)
class Evaluator:
    """Collects users, company by company, so that companies may use models of their own.

    Attributes:
        popularity: users who have each item in training, shape (items,).
        k: length of the lists.
        negatives: sampled items beside the hidden one.
        seed: of the sample, which depends on nothing but the order in which users are added.
    """

    popularity: NDArray[np.float64]
    k: int = 10
    negatives: int = 99
    seed: int = 0
    _rng: np.random.Generator = field(init=False, repr=False)
    _full: list[NDArray[np.int64]] = field(default_factory=list, init=False, repr=False)
    _sampled: list[NDArray[np.int64]] = field(default_factory=list, init=False, repr=False)
    _targets: list[NDArray[np.int64]] = field(default_factory=list, init=False, repr=False)
    _lists: list[NDArray[np.int64]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def add(self, score: ScoreItems, holdout: Holdout) -> None:
        """Rank the hidden items of one company's users.

        Raises:
            InputError: the model returned NaN or another shape, or the catalogue is too small
                for so many negatives.
        """
        histories = Histories.from_interactions(holdout.train)
        for start in range(0, histories.people, _USERS_AT_A_TIME):
            stop = min(start + _USERS_AT_A_TIME, histories.people)
            self._add(score, histories.slice(start, stop), holdout.targets[start:stop])

    def _add(self, score: ScoreItems, users: Histories, targets: NDArray[np.int64]) -> None:
        scores = np.array(score(users), dtype=np.float64)
        if scores.shape != (users.people, len(self.popularity)) or np.isnan(scores).any():
            raise InputError(f"the model's scores have shape {scores.shape} or hold NaN")
        scores[users.users, users.items] = np.nan
        tested = np.flatnonzero(targets >= 0)
        scores, hidden = scores[tested], targets[tested]
        if not tested.size:
            return
        self._full.append(ranks(scores, hidden))
        self._sampled.append(ranks(self._with_negatives(scores, hidden), np.zeros_like(hidden)))
        self._targets.append(hidden)
        self._lists += [top(row, self.k) for row in scores]

    def _with_negatives(
        self, scores: NDArray[np.float64], hidden: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        picked = np.empty((len(hidden), 1 + self.negatives))
        for row, (values, target) in enumerate(zip(scores, hidden, strict=True)):
            free = np.flatnonzero(~np.isnan(values))
            free = free[free != target]
            if len(free) < self.negatives:
                raise InputError(f"a user has only {len(free)} items to sample negatives from")
            chosen = self._rng.choice(free, self.negatives, replace=False)
            picked[row, 0], picked[row, 1:] = values[target], values[chosen]
        return picked

    def result(self) -> Evaluation:
        """Return the means over all users so far.

        Raises:
            InputError: no user was tested.
        """
        if not self._full:
            raise InputError("no user was tested; add a company whose users have two rows")
        full, sampled = np.concatenate(self._full), np.concatenate(self._sampled)
        hits = full < self.k
        return Evaluation(
            hit_rate=float(hits.mean()),
            ndcg=float(gain(full, self.k).mean()),
            sampled_hit_rate=float((sampled < self.k).mean()),
            sampled_ndcg=float(gain(sampled, self.k).mean()),
            bias=popularity_bias(self._lists, hits, np.concatenate(self._targets), self.popularity),
            users=len(full),
            hit_rate_error=float(hits.std() / np.sqrt(len(full))),
        )


def evaluate(
    score: ScoreItems,
    holdout: Holdout,
    *,
    popularity: NDArray[np.float64] | None = None,
    k: int = 10,
    negatives: int = 99,
    seed: int = 0,
) -> Evaluation:
    """Evaluate one model on one set of users; see :class:`Evaluator` for several.

    Args:
        score: the model, such as ``recommender.scores``.
        holdout: rows and hidden items.
        popularity: users who have each item, of all companies; counted here unless given.
        k: length of the lists.
        negatives: sampled items beside the hidden one.
        seed: of the sample.

    Raises:
        InputError: see :class:`Evaluator`.
    """
    if popularity is None:
        popularity = Histories.from_interactions(holdout.train).raters.astype(np.float64)
    evaluator = Evaluator(popularity, k, negatives, seed)
    evaluator.add(score, holdout)
    return evaluator.result()
