import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from protocols.errors import InputError, MisuseError
from securefed.data import Data, breast_cancer_companies
from securefed.learning import build_task
from securefed.learning.demo import RISK_SCORE
from securefed.learning.evaluation import accuracy, auc, compare, log_loss, predict_proba, score
from securefed.learning.reference import fit


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_auc_with_ties_is_that_of_scikit_learn(rows):
    labels = np.array([label for label, _ in rows])
    scores = np.array([value for _, value in rows], dtype=float)
    if labels.all() or not labels.any():
        with pytest.raises(InputError, match="both classes"):
            auc(labels, scores)
    else:
        assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))


def test_accuracy_and_log_loss_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), size=50)
    labels = rng.integers(3, size=50)
    assert accuracy(labels, probabilities) == metrics.accuracy_score(
        labels, probabilities.argmax(axis=1)
    )
    assert log_loss(labels, probabilities) == pytest.approx(metrics.log_loss(labels, probabilities))
    assert np.isfinite(log_loss(np.array([0]), np.array([[0.0, 1.0]])))


def test_the_demonstration_regression_equals_the_pooled_one_and_beats_local_models():
    split, demo = breast_cancer_companies(), RISK_SCORE
    table = compare(demo.kind, demo.parameters, split.parts, split.test, rounds=demo.rounds)
    assert table.federated.auc == table.pooled.auc
    assert table.federated.log_loss == pytest.approx(table.pooled.log_loss, abs=1e-9)
    assert table.federated.auc > table.local.auc + 0.005
    assert table.federated.accuracy > table.local.accuracy + 0.02
    plain = json.loads(json.dumps(table.to_plain()))
    assert plain["federated"]["auc"] == table.federated.auc
    assert len(str(table).splitlines()) == 4


def test_prediction_refuses_features_that_are_no_table():
    task = build_task("glm-logistic", {"features": 2})
    state = task.initial_state()
    np.testing.assert_allclose(predict_proba(task, state, np.zeros((3, 2))), 0.5)
    for features, reason in ((np.zeros(2), "dimensions"), (np.full((1, 2), np.nan), "NaN")):
        with pytest.raises(InputError, match=reason):
            predict_proba(task, state, features)
    with pytest.raises(InputError, match="labels"):
        score("x", task, state, Data(np.zeros((1, 2)), np.array([2])))


def test_a_fit_without_parties_or_rounds_is_refused():
    task = build_task("glm-logistic", {"features": 2})
    data = Data(np.zeros((1, 2)), np.array([1]))
    for parts, rounds in (([], 1), ([data], 0)):
        with pytest.raises(MisuseError, match="at least one party"):
            fit(task, parts, rounds=rounds)
