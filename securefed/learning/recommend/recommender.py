"""What all recommenders can do once they are learnt: lists, similar items and reasons."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError, MisuseError
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.interactions import Interactions
from securefed.learning.recommend.plans import Recommendation, item_numbers
from securefed.learning.recommend.ranking import top, without
from securefed.learning.recommend.recipe import Recipe
from securefed.learning.recommend.rerank import Calibration, discount_popularity


class Recommender(Recipe):
    """Base of all recommenders; a subclass stores its parameters in ``__init__`` and no more.

    Attributes:
        popularity_: after fitting: users who have each item, shape (items,); 0 below the support.
    """

    popularity_: NDArray[np.float64]

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return scores of all items for each user, shape (people, items); -inf is unknown."""
        raise NotImplementedError

    def scores(self, histories: Histories | Interactions) -> NDArray[np.float64]:
        """Return scores of all items for users, shape (people, items).

        Users need not have been there in training: their items say everything (fold-in). Who has
        no item that the model knows gets the popular ones, scored by popularity in [0, 1].

        Raises:
            MisuseError: not fitted.
            InputError: histories of another catalogue.
        """
        self._require_fitted()
        if isinstance(histories, Interactions):
            if histories.catalogue.digest != self.catalogue.digest:
                raise InputError("the interactions were read with another catalogue")
            histories = Histories.from_interactions(histories)
        if histories.count != len(self.catalogue):
            raise InputError(f"the histories are over {histories.count} items, not the catalogue's")
        scores = self.score_items(histories)
        strange = np.ones(histories.people, dtype=np.bool_)
        strange[histories.users[self.trained_on()[histories.items]]] = False
        if strange.any():
            share = self.popularity_ / max(float(self.popularity_.max()), 1.0)
            scores[strange] = np.where(share > 0, share, -np.inf)
        return scores

    def trained_on(self) -> NDArray[np.bool_]:
        """Return which items of a user say anything to the model, shape (items,)."""
        return self.popularity_ > 0

    def recommend(
        self,
        history: ArrayLike,
        k: int = 10,
        *,
        window: int | None = None,
        with_known: bool = False,
        popularity_discount: float = 0.0,
        calibration: Calibration | None = None,
    ) -> list[Recommendation]:
        """Return the best items for a user, best first; computed where the user's items are.

        Args:
            history: numbers of the user's items, the latest last; may be empty.
            k: length of the list; shorter where the model knows fewer items.
            window: how many of the latest items to go by; all unless given. Ten served the users
                of our benchmark better than all.
            with_known: recommend the user's own items too.
            popularity_discount: beta of :func:`discount_popularity`.
            calibration: keeps the user's mix of kinds.

        Raises:
            InputError: an item outside of the catalogue, or one twice.
        """
        known = item_numbers(history)
        Histories.of([known], len(self.catalogue))
        recent = known if window is None else known[max(0, len(known) - window) :]
        scores = self.scores(Histories.of([recent], len(self.catalogue)))[0]
        scores = discount_popularity(scores, self.popularity_, popularity_discount)
        race = scores if with_known else without(scores, known)
        chosen = top(race, k) if calibration is None else calibration.choose(race, known, k)
        return self._listed(chosen, scores)

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Return how alike all items are to one, shape (items,); -inf is unknown."""
        raise NotImplementedError

    def similar(self, item: int, k: int = 10) -> list[Recommendation]:
        """Return the items most like one, without itself.

        Raises:
            InputError: an item outside of the catalogue.
        """
        self._require_fitted()
        self._require_item(item)
        scores = self.similarity(item)
        return self._listed(top(without(scores, np.array([item])), k), scores)

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return what each item of the history adds to the score of ``item``."""
        raise NotImplementedError

    def explain(self, history: ArrayLike, item: int) -> list[Recommendation]:
        """Return the user's items by what each adds to the score of ``item``, most first.

        The contributions sum to the score.

        Raises:
            InputError: an item outside of the catalogue, or one twice.
        """
        self._require_fitted()
        self._require_item(item)
        known = item_numbers(history)
        Histories.of([known], len(self.catalogue))
        parts = np.full(len(self.catalogue), np.nan)
        parts[known] = self.contributions(known, item)
        order = known[np.argsort(-parts[known], kind="stable")]
        return self._listed(order, parts)

    def _listed(
        self, items: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> list[Recommendation]:
        return [
            Recommendation(int(item), self.catalogue.keys[item], float(scores[item]))
            for item in items
        ]

    def _require_fitted(self) -> None:
        if not hasattr(self, "popularity_"):
            raise MisuseError(f"this {type(self).__name__} is not fitted; call fit or load first")

    def _require_item(self, item: int) -> None:
        if not 0 <= item < len(self.catalogue):
            raise InputError(f"item {item} is outside of 0 to {len(self.catalogue) - 1}")
