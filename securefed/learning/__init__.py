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
    from securefed.learning.estimator import FederatedEstimator as FederatedEstimator
    from securefed.learning.incomplete import IncompleteData as IncompleteData
    from securefed.learning.inference import CoefficientTable as CoefficientTable
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
    "Classifier",
    "CoefficientTable",
    "Contribution",
    "FederatedEstimator",
    "FederatedGradientBoosting",
    "FederatedImputer",
    "FederatedLinearRegression",
    "FederatedLogisticRegression",
    "FederatedOneHot",
    "FederatedPipeline",
    "FederatedPoissonRegressor",
    "FederatedStandardizer",
    "Histogram",
    "IncompleteData",
    "Layout",
    "Numbers",
    "PersonPrivacy",
    "PersonTask",
    "PrivateSuggestion",
    "SecureStats",
    "SecureSum",
    "State",
    "Step",
    "Suggestion",
    "SumOf",
    "Task",
    "build_task",
    "check_task",
    "is_private",
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
    "CoefficientTable": "inference",
    "FederatedEstimator": "estimator",
    "FederatedGradientBoosting": "boosting",
    "FederatedImputer": "preprocessing",
    "FederatedLinearRegression": "linear_estimators",
    "FederatedLogisticRegression": "linear_estimators",
    "FederatedOneHot": "preprocessing",
    "FederatedPipeline": "pipeline",
    "FederatedPoissonRegressor": "linear_estimators",
    "FederatedStandardizer": "preprocessing",
    "Histogram": "stats",
    "IncompleteData": "incomplete",
    "SecureStats": "stats",
    "SecureSum": "stats",
    "SumOf": "stats",
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
