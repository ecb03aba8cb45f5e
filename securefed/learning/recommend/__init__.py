"""Recommenders learnt from all companies' users, whose histories stay where they are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from securefed.learning.recommend.als import Ials
    from securefed.learning.recommend.bias import PopularityBias, popularity_bias
    from securefed.learning.recommend.bpr import Bpr
    from securefed.learning.recommend.catalogue import (
        Catalogue,
        items_from_texts,
        items_to_texts,
    )
    from securefed.learning.recommend.content import ContentBased, Hybrid
    from securefed.learning.recommend.ease import Ease, ItemCosine
    from securefed.learning.recommend.evaluation import Evaluation, Evaluator, evaluate
    from securefed.learning.recommend.features import ItemFeatures
    from securefed.learning.recommend.histories import Histories
    from securefed.learning.recommend.holdout import Holdout, leave_last_out
    from securefed.learning.recommend.interactions import Interactions, merge
    from securefed.learning.recommend.plans import Recommendation
    from securefed.learning.recommend.popularity import Popularity
    from securefed.learning.recommend.private import DpEase, DpPopularity
    from securefed.learning.recommend.private_als import DpIals
    from securefed.learning.recommend.recommender import Recommender
    from securefed.learning.recommend.rerank import Calibration, discount_popularity

_HOME = {
    "Bpr": "bpr",
    "Calibration": "rerank",
    "Catalogue": "catalogue",
    "ContentBased": "content",
    "DpEase": "private",
    "DpIals": "private_als",
    "DpPopularity": "private",
    "Ease": "ease",
    "Evaluation": "evaluation",
    "Evaluator": "evaluation",
    "Histories": "histories",
    "Holdout": "holdout",
    "Hybrid": "content",
    "Ials": "als",
    "Interactions": "interactions",
    "ItemCosine": "ease",
    "ItemFeatures": "features",
    "Popularity": "popularity",
    "PopularityBias": "bias",
    "Recommendation": "plans",
    "Recommender": "recommender",
    "discount_popularity": "rerank",
    "evaluate": "evaluation",
    "items_from_texts": "catalogue",
    "items_to_texts": "catalogue",
    "leave_last_out": "holdout",
    "merge": "interactions",
    "popularity_bias": "bias",
}

__all__ = [
    "Bpr",
    "Calibration",
    "Catalogue",
    "ContentBased",
    "DpEase",
    "DpIals",
    "DpPopularity",
    "Ease",
    "Evaluation",
    "Evaluator",
    "Histories",
    "Holdout",
    "Hybrid",
    "Ials",
    "Interactions",
    "ItemCosine",
    "ItemFeatures",
    "Popularity",
    "PopularityBias",
    "Recommendation",
    "Recommender",
    "discount_popularity",
    "evaluate",
    "items_from_texts",
    "items_to_texts",
    "leave_last_out",
    "merge",
    "popularity_bias",
]


def __getattr__(name: str) -> Any:
    # The registry of tasks imports from this package while recommenders import the registry.
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
