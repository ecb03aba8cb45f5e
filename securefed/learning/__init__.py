"""Tasks: what a party computes, and what becomes of the sum. Estimators: recipes of tasks.

Estimators are loaded when they are first used: they run federations, which tasks know nothing of.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from securefed.learning.layout import Arrays, Layout
from securefed.learning.person import (
    AnyTask,
    PersonPrivacy,
    PersonTask,
    PrivateSuggestion,
    is_private,
    require_plain,
    require_private,
)
from securefed.learning.registry import (
    Suggestion,
    build_task,
    check_task,
    register_task,
    suggest,
    suggest_private,
)
from securefed.learning.state import State, state_digest, state_from_bytes, state_to_bytes
from securefed.learning.task import Classifier, Contribution, Numbers, Step, Task

if TYPE_CHECKING:
    from securefed.learning.boosting import FederatedGradientBoosting as FederatedGradientBoosting
    from securefed.learning.curves import History as History
    from securefed.learning.curves import histories as histories
    from securefed.learning.estimator import FederatedEstimator as FederatedEstimator
    from securefed.learning.incomplete import IncompleteData as IncompleteData
    from securefed.learning.inference import CoefficientTable as CoefficientTable
    from securefed.learning.language.ngram import FederatedNgram as FederatedNgram
    from securefed.learning.language.private_ngram import DpNgram as DpNgram
    from securefed.learning.language.text import Lexicon as Lexicon
    from securefed.learning.language.text import ngram_data as ngram_data
    from securefed.learning.linear_estimators import (
        FederatedLinearRegression as FederatedLinearRegression,
    )
    from securefed.learning.linear_estimators import (
        FederatedLogisticRegression as FederatedLogisticRegression,
    )
    from securefed.learning.linear_estimators import (
        FederatedPoissonRegressor as FederatedPoissonRegressor,
    )
    from securefed.learning.pipeline import FederatedPipeline as FederatedPipeline
    from securefed.learning.preprocessing import FederatedImputer as FederatedImputer
    from securefed.learning.preprocessing import FederatedOneHot as FederatedOneHot
    from securefed.learning.preprocessing import FederatedStandardizer as FederatedStandardizer
    from securefed.learning.recommend.als import Ials as Ials
    from securefed.learning.recommend.bpr import Bpr as Bpr
    from securefed.learning.recommend.catalogue import Catalogue as Catalogue
    from securefed.learning.recommend.content import ContentBased as ContentBased
    from securefed.learning.recommend.content import Hybrid as Hybrid
    from securefed.learning.recommend.ease import Ease as Ease
    from securefed.learning.recommend.ease import ItemCosine as ItemCosine
    from securefed.learning.recommend.evaluation import Evaluator as Evaluator
    from securefed.learning.recommend.features import ItemFeatures as ItemFeatures
    from securefed.learning.recommend.holdout import leave_last_out as leave_last_out
    from securefed.learning.recommend.interactions import Interactions as Interactions
    from securefed.learning.recommend.popularity import Popularity as Popularity
    from securefed.learning.recommend.private import DpEase as DpEase
    from securefed.learning.recommend.private import DpPopularity as DpPopularity
    from securefed.learning.recommend.private_als import DpIals as DpIals
    from securefed.learning.recommend.recommender import Recommender as Recommender
    from securefed.learning.recommend.rerank import Calibration as Calibration
    from securefed.learning.stats import Histogram as Histogram
    from securefed.learning.stats import SecureStats as SecureStats
    from securefed.learning.stats import SecureSum as SecureSum
    from securefed.learning.stats import SumOf as SumOf
    from securefed.learning.stats import secure_histogram as secure_histogram
    from securefed.learning.stats import secure_stats as secure_stats
    from securefed.learning.stats import secure_vocabulary as secure_vocabulary
    from securefed.learning.sum_task import register_statistic as register_statistic

__all__ = [
    "AnyTask",
    "Arrays",
    "Bpr",
    "Calibration",
    "Catalogue",
    "Classifier",
    "CoefficientTable",
    "ContentBased",
    "Contribution",
    "DpEase",
    "DpIals",
    "DpNgram",
    "DpPopularity",
    "Ease",
    "Evaluator",
    "FederatedEstimator",
    "FederatedGradientBoosting",
    "FederatedImputer",
    "FederatedLinearRegression",
    "FederatedLogisticRegression",
    "FederatedNgram",
    "FederatedOneHot",
    "FederatedPipeline",
    "FederatedPoissonRegressor",
    "FederatedStandardizer",
    "Histogram",
    "History",
    "Hybrid",
    "Ials",
    "IncompleteData",
    "Interactions",
    "ItemCosine",
    "ItemFeatures",
    "Layout",
    "Lexicon",
    "Numbers",
    "PersonPrivacy",
    "PersonTask",
    "Popularity",
    "PrivateSuggestion",
    "Recommender",
    "SecureStats",
    "SecureSum",
    "State",
    "Step",
    "Suggestion",
    "SumOf",
    "Task",
    "build_task",
    "check_task",
    "histories",
    "is_private",
    "leave_last_out",
    "ngram_data",
    "register_statistic",
    "register_task",
    "require_plain",
    "require_private",
    "secure_histogram",
    "secure_stats",
    "secure_vocabulary",
    "state_digest",
    "state_from_bytes",
    "state_to_bytes",
    "suggest",
    "suggest_private",
]

_HOME: Final = {
    "Bpr": "recommend.bpr",
    "Calibration": "recommend.rerank",
    "Catalogue": "recommend.catalogue",
    "CoefficientTable": "inference",
    "ContentBased": "recommend.content",
    "DpEase": "recommend.private",
    "DpIals": "recommend.private_als",
    "DpNgram": "language.private_ngram",
    "DpPopularity": "recommend.private",
    "Ease": "recommend.ease",
    "Evaluator": "recommend.evaluation",
    "FederatedEstimator": "estimator",
    "FederatedGradientBoosting": "boosting",
    "FederatedImputer": "preprocessing",
    "FederatedLinearRegression": "linear_estimators",
    "FederatedLogisticRegression": "linear_estimators",
    "FederatedNgram": "language.ngram",
    "FederatedOneHot": "preprocessing",
    "FederatedPipeline": "pipeline",
    "FederatedPoissonRegressor": "linear_estimators",
    "FederatedStandardizer": "preprocessing",
    "Histogram": "stats",
    "History": "curves",
    "Hybrid": "recommend.content",
    "Ials": "recommend.als",
    "IncompleteData": "incomplete",
    "Interactions": "recommend.interactions",
    "ItemCosine": "recommend.ease",
    "ItemFeatures": "recommend.features",
    "Lexicon": "language.text",
    "Popularity": "recommend.popularity",
    "Recommender": "recommend.recommender",
    "SecureStats": "stats",
    "SecureSum": "stats",
    "SumOf": "stats",
    "histories": "curves",
    "leave_last_out": "recommend.holdout",
    "ngram_data": "language.text",
    "register_statistic": "sum_task",
    "secure_histogram": "stats",
    "secure_stats": "stats",
    "secure_vocabulary": "stats",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
