from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.metrics import d2_tweedie_score, r2_score

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed import PrivacyGoal
from securefed.data import Data, breast_cancer_companies
from securefed.data.table import concatenate
from securefed.federation import Federation
from securefed.learning import (
    FederatedImputer,
    FederatedLinearRegression,
    FederatedLogisticRegression,
    FederatedOneHot,
    FederatedPipeline,
    FederatedPoissonRegressor,
    FederatedStandardizer,
    SecureStats,
    build_task,
    suggest,
)
from securefed.learning.demo import FEATURE_CENTER, FEATURE_UNIT
from securefed.learning.incomplete import IncompleteData
from securefed.learning.inference import critical_value, two_sided
from securefed.learning.reference import fit, fixed_point_sum

PARTIES = ("north", "south", "west")
MODELS = (FederatedLogisticRegression, FederatedLinearRegression, FederatedPoissonRegressor)


def federation(parties=PARTIES):
    return Federation("models", parties, privacy=None)


def company_data(kind, seed=0, rows=(40, 90, 150)):
    """Columns of unlike units, and labels of the family; companies differ in level and size."""
    rng = np.random.default_rng(seed)
    parts = {}
    for number, (name, count) in enumerate(zip(PARTIES, rows, strict=True)):
        x = rng.normal(size=(count, 3))
        eta = x @ [0.8, -0.5, 0.3] + 0.4 * number - 0.2
        features = x * [1e-3, 1.0, 1e4] + [2.0, 0.0, -5e4]
        if kind is FederatedLogisticRegression:
            labels = rng.random(count) < 1 / (1 + np.exp(-eta))
        elif kind is FederatedPoissonRegressor:
            labels = rng.poisson(np.exp(eta))
        else:
            labels = 100 * eta + rng.normal(size=count)
        parts[name] = Data(features, labels)
    return parts


def scaled(data):
    table = concatenate(list(data.values()))
    mean, scale = table.features.mean(axis=0), table.features.std(axis=0)
    return np.c_[np.ones(len(table)), (table.features - mean) / scale], table.labels


def maximum_likelihood(kind, design, labels, penalty):
    """Coefficients and covariance by a general optimiser and the textbook's formula."""

    def loss(b):
        eta = design @ b
        fits = {
            FederatedLogisticRegression: lambda: np.logaddexp(0, eta) - labels * eta,
            FederatedPoissonRegressor: lambda: np.exp(eta) - labels * eta,
            FederatedLinearRegression: lambda: (labels - eta) ** 2 / 2,
        }
        return fits[kind]().sum() + penalty @ b**2 / 2

    start = np.zeros(design.shape[1])
    if kind is FederatedPoissonRegressor:
        start[0] = np.log(labels.mean())
    found = start
    for _ in range(3):
        found = optimize.minimize(loss, found, method="BFGS", options={"gtol": 1e-9}).x
    eta = design @ found
    weight = {
        FederatedLogisticRegression: lambda: 1 / (2 + 2 * np.cosh(eta)),
        FederatedPoissonRegressor: lambda: np.exp(eta),
        FederatedLinearRegression: lambda: np.ones_like(eta),
    }[kind]()
    information = design.T @ (design * weight[:, np.newaxis])
    inverse = np.linalg.inv(information + np.diag(penalty))
    spread = inverse @ information @ inverse
    if kind is FederatedLinearRegression:
        spread *= ((labels - eta) ** 2).sum() / (len(labels) - design.shape[1])
    return found, spread


# The pooled model


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("ridge", [0.0, 5.0])
def test_a_federated_model_is_the_pooled_one_in_at_most_ten_rounds(kind, ridge):
    data = company_data(kind)
    model = kind(ridge=ridge).fit(federation(), data)
    pooled = kind(ridge=ridge).fit_plain([concatenate(list(data.values()))])
    assert model.converged_
    assert model.n_rounds_ <= 10
    gap = model.coefficients_.estimates - pooled.coefficients_.estimates
    size = np.maximum(np.abs(pooled.coefficients_.estimates), 1)
    assert np.abs(gap / size).max() < 1e-8
    np.testing.assert_allclose(
        model.coefficients_.standard_errors, pooled.coefficients_.standard_errors, rtol=1e-8
    )
    assert model.n_samples_ == 280


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("ridge", [0.0, 5.0])
def test_estimates_and_errors_are_those_of_the_textbook(kind, ridge):
    data = company_data(kind)
    design, labels = scaled(data)
    penalty = np.array([0.0, ridge, ridge, ridge])
    expected, spread = maximum_likelihood(kind, design, labels, penalty)
    table = concatenate(list(data.values())).features
    to_raw = np.diag(np.r_[1, 1 / table.std(axis=0)])
    to_raw[0, 1:] = -table.mean(axis=0) / table.std(axis=0)
    model = kind(ridge=ridge).fit_plain(list(data.values()))
    told = model.coefficients_
    np.testing.assert_allclose(told.estimates, to_raw @ expected, rtol=1e-5, atol=1e-8)
    errors = np.sqrt(np.diag(to_raw @ spread @ to_raw.T))
    np.testing.assert_allclose(told.standard_errors, errors, rtol=1e-5)
    law = stats.t(276) if kind is FederatedLinearRegression else stats.norm
    statistic = told.estimates / errors
    np.testing.assert_allclose(told.p_values, 2 * law.sf(np.abs(statistic)), rtol=1e-3, atol=1e-12)
    reach = law.ppf(0.95) * errors
    np.testing.assert_allclose(
        model.conf_int(0.9), np.c_[told.estimates - reach, told.estimates + reach], rtol=1e-4
    )


def test_coefficients_are_those_of_scikit_learn():
    split = breast_cancer_companies(seed=0)
    everything = concatenate(split.parts)
    names = [f"c{number}" for number in range(5)]
    own = FederatedLogisticRegression(ridge=2.0).fit(
        federation(names), dict(zip(names, split.parts, strict=True))
    )
    mean, scale = everything.features.mean(axis=0), everything.features.std(axis=0)
    theirs = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000)
    theirs.fit((everything.features - mean) / scale, everything.labels)
    np.testing.assert_allclose(own.coef_ * scale, theirs.coef_, atol=2e-5)
    test = (split.test.features - mean) / scale
    np.testing.assert_allclose(
        own.predict_proba(split.test.features), theirs.predict_proba(test), atol=1e-5
    )
    assert own.score(split.test.features, split.test.labels) == theirs.score(
        test, split.test.labels
    )
    assert own.coef_.shape == theirs.coef_.shape
    assert own.intercept_.shape == theirs.intercept_.shape


def test_linear_and_poisson_scores_are_those_of_scikit_learn():
    features, target = load_diabetes(return_X_y=True)
    parts = [Data(features[:100], target[:100]), Data(features[100:], target[100:])]
    linear = FederatedLinearRegression().fit_plain(parts)
    reference = LinearRegression().fit(features, target)
    np.testing.assert_allclose(linear.coef_, reference.coef_, rtol=1e-8)
    assert linear.score(features, target) == pytest.approx(
        r2_score(target, reference.predict(features))
    )
    poisson = FederatedPoissonRegressor().fit_plain(parts)
    theirs = PoissonRegressor(alpha=0, tol=1e-10, max_iter=2000).fit(features, target)
    np.testing.assert_allclose(poisson.coef_, theirs.coef_, rtol=1e-3)
    expected = d2_tweedie_score(target, poisson.predict(features), power=1)
    assert poisson.score(features, target) == pytest.approx(expected)


def test_raw_features_can_be_fitted_without_scaling():
    data = {
        name: Data(rows.features * [1e3, 1, 1e-4], rows.labels)
        for name, rows in company_data(FederatedLinearRegression).items()
    }
    one = FederatedLinearRegression(standardize=False).fit_plain(list(data.values()))
    two = FederatedLinearRegression().fit_plain(list(data.values()))
    np.testing.assert_allclose(one.coefficients_.estimates, two.coefficients_.estimates, rtol=1e-7)
    np.testing.assert_allclose(
        one.coefficients_.standard_errors, two.coefficients_.standard_errors, rtol=1e-6
    )


@pytest.mark.parametrize("kind", MODELS)
def test_each_party_may_have_an_intercept_of_its_own(kind):
    data = company_data(kind)
    model = kind(ridge=1.0, intercepts="per-party", intercept_ridge=0.5).fit(federation(), data)
    design, labels = scaled(data)
    owner = np.repeat(np.eye(3), [40, 90, 150], axis=0)
    penalty = np.r_[0, [0.5] * 3, [1.0] * 3]
    wide = np.c_[design[:, :1], owner, design[:, 1:]]
    expected, _ = maximum_likelihood(kind, wide, labels, penalty)
    table = concatenate(list(data.values())).features
    np.testing.assert_allclose(
        model.slopes_ * table.std(axis=0), expected[4:], rtol=1e-4, atol=1e-6
    )
    levels = model.party_intercepts_
    np.testing.assert_allclose(
        levels - model.common_intercept_, expected[1:4], rtol=1e-3, atol=1e-5
    )
    assert levels[0] < levels[1] < levels[2]
    rows = data["west"].features
    unknown, own = model.linear_predictor(rows), model.linear_predictor(rows, party=2)
    np.testing.assert_allclose(own - unknown, expected[3], rtol=1e-3)
    with pytest.raises(InputError, match="no intercept of party 3"):
        model.predict(rows, party=3)
    assert "intercept[2]" in str(model.coefficients_)


def test_a_deployed_party_is_given_rows_with_its_number():
    data = company_data(FederatedLogisticRegression)
    model = FederatedLogisticRegression(intercepts="per-party")
    lead = model.add_to(federation(), "risk", features=3)
    prepared = {name: model.party_data(data[name], k) for k, name in enumerate(PARTIES)}
    loaded = clone(model).load(lead.simulate(prepared).models, "risk")
    fitted = clone(model).fit(federation(), data)
    np.testing.assert_allclose(loaded.party_intercepts_, fitted.party_intercepts_, atol=1e-12)
    with pytest.raises(InputError, match="features has 3 columns"):
        build_task("glm", model.plan(3, 3)[0].parameters).check(data["north"])
    wrong = Data(np.c_[data["north"].features, np.full(40, 3.0)], data["north"].labels)
    with pytest.raises(InputError, match="no party number from 0 to 2"):
        build_task("glm", model.plan(3, 3)[0].parameters).check(wrong)


# Through the ring


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("parties", [3, 1000])
def test_the_suggested_ring_carries_the_words_without_rounding(kind, parties):
    data = list(company_data(kind).values())
    [plan] = kind(ridge=1.0).plan(3, 3)
    add = fixed_point_sum(suggest(plan.kind, plan.parameters, parties), parties=3, random=bytes)
    task = build_task(plan.kind, plan.parameters)
    ringed = fit(task, data, rounds=30, add=add)
    plain = fit(task, data, rounds=30)
    np.testing.assert_array_equal(ringed.state["coefficients"], plain.state["coefficients"])


def test_a_candidate_out_of_bounds_or_a_scale_of_zero_is_refused_at_the_party():
    [plan] = FederatedLogisticRegression().plan(3, 3)
    task, rng = build_task(plan.kind, plan.parameters), np.random.default_rng(0)
    rows = company_data(FederatedLogisticRegression)["north"]
    for change, message in (
        ({"candidate": np.full(4, 1e9)}, "coefficient is out of bounds"),
        ({"scale": np.zeros(3)}, "scale is not positive"),
    ):
        state = task.initial_state() | {"phase": np.array(1.0)} | change
        with pytest.raises(WireError, match=message):
            task.contribute(state, rows, 2, rng)


# Bad data


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        (MODELS[0], lambda x, y: Data(x[:, :2], y), "features has 2 columns"),
        (MODELS[0], lambda x, y: Data(x, y + 1), "labels holds values outside"),
        (MODELS[0], lambda x, y: Data(x * 1e9, y), "column 0 exceeds feature_bound"),
        (MODELS[0], lambda x, y: IncompleteData(np.where(x > x.max(), 0, np.nan), y), "missing"),
        (MODELS[1], lambda x, y: Data(x, y * 1e9), "labels exceeds label_bound"),
        (MODELS[2], lambda x, y: Data(x, -1 - y), "below 0"),
        (MODELS[2], lambda x, y: Data(x, 1e5 + y), "labels exceeds label_bound"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_sent(kind, bad, message):
    data = company_data(kind)
    data["south"] = bad(data["south"].features, data["south"].labels)
    with pytest.raises(InputError, match=f"south: .*{message}"):
        kind().fit(federation(), data)


def test_a_party_without_rows_or_with_nan_cannot_even_be_described():
    with pytest.raises(InputError, match="at least one row"):
        Data(np.empty((0, 3)), [])
    with pytest.raises(InputError, match="NaN"):
        Data([[np.nan]], [0.0])
    with pytest.raises(MisuseError, match="no data of west"):
        FederatedLinearRegression().fit(
            federation(), dict.fromkeys(PARTIES[:2], Data([[1.0]], [1]))
        )


def test_a_party_with_one_class_takes_part_and_all_in_one_class_is_no_model():
    data = company_data(FederatedLogisticRegression)
    data["north"] = Data(data["north"].features, np.ones(40))
    model = FederatedLogisticRegression(intercepts="per-party").fit(federation(), data)
    assert model.converged_
    assert model.party_intercepts_[0] > model.common_intercept_
    ones = {name: Data(rows.features, np.ones(len(rows))) for name, rows in data.items()}
    with pytest.raises(NoResultError, match="all labels of all parties are equal"):
        FederatedLogisticRegression().fit(federation(), ones)
    zeros = {name: Data(rows.features, np.zeros(len(rows))) for name, rows in data.items()}
    with pytest.raises(NoResultError, match="all counts of all parties are 0"):
        FederatedPoissonRegressor().fit_plain(list(zeros.values()))


@pytest.mark.parametrize("kind", MODELS)
def test_a_constant_column_gets_the_coefficient_zero_and_no_standard_error(kind):
    data = {
        name: Data(np.c_[rows.features, np.full(len(rows), 7.3)], rows.labels)
        for name, rows in company_data(kind).items()
    }
    model = kind(ridge=0.0).fit_plain(list(data.values()))
    without = kind(ridge=0.0).fit_plain(list(company_data(kind).values()))
    assert model.coefficients_.estimates[-1] == 0
    assert np.isnan(model.coefficients_.standard_errors[-1])
    assert np.isnan(model.coefficients_.p_values[-1])
    np.testing.assert_allclose(
        model.coefficients_.standard_errors[:-1], without.coefficients_.standard_errors, rtol=1e-9
    )


def test_collinear_columns_need_a_ridge():
    data = {
        name: Data(np.c_[rows.features, rows.features[:, 0] * 2], rows.labels)
        for name, rows in company_data(FederatedLinearRegression).items()
    }
    with pytest.raises(NoResultError, match="collinear"):
        FederatedLinearRegression().fit_plain(list(data.values()))
    model = FederatedLinearRegression(ridge=1e-3).fit_plain(list(data.values()))
    assert np.isfinite(model.coefficients_.standard_errors).all()


# Differential privacy


@pytest.mark.parametrize("kind", ["dp-glm", "dp-logistic"])
def test_with_noise_the_logistic_model_keeps_a_privacy_goal(kind):
    split = breast_cancer_companies(companies=3, seed=0)
    lead = Federation("models", PARTIES, privacy=PrivacyGoal(epsilon=8.0, delta=1e-4))
    model = FederatedLogisticRegression(
        noise={"clip_norm": 0.5 if kind == "dp-glm" else 1.0, "people": 400},
        private_kind=kind,
        private_rounds=6,
        private={"feature_center": FEATURE_CENTER, "feature_unit": FEATURE_UNIT},
    ).fit(lead, dict(zip(PARTIES, split.parts, strict=True)))
    assert model.privacy_.epsilon <= 8.0
    assert model.score(split.test.features, split.test.labels) > 0.85
    # Raw coefficients tell the same as the task's own prediction, within the clip.
    center, unit = np.array(FEATURE_CENTER), np.array(FEATURE_UNIT)
    inside = center + unit * np.random.default_rng(0).uniform(-1, 1, (5, 30))
    odds = model.decision_function(inside)
    likely = model.predict_proba(inside)
    np.testing.assert_allclose(odds, np.log(likely[:, 1] / likely[:, 0]), atol=1e-6)
    with pytest.raises(MisuseError, match="no confidence intervals"):
        model.conf_int()


def test_a_state_of_another_estimator_is_refused():
    data = company_data(FederatedLogisticRegression)
    models = FederatedStandardizer().add_to(federation(), "risk", features=3).simulate(data).models
    for other in (FederatedLogisticRegression(), SecureStats(), FederatedOneHot([0])):
        with pytest.raises(MisuseError, match=f"none of {type(other).__name__}"):
            other.load(models, "risk")


def test_what_has_no_private_form_is_refused_by_name():
    lead = Federation("models", PARTIES, privacy=PrivacyGoal(epsilon=8.0, delta=1e-4))
    noise = {"clip_norm": 1.0, "people": 400}
    for model in (
        FederatedLinearRegression(),
        FederatedPoissonRegressor(),
        FederatedStandardizer(),
    ):
        with pytest.raises(
            MisuseError, match=f"{type(model).__name__} .*no differentially private form"
        ):
            model.add_to(lead, features=3)
    with pytest.raises(MisuseError, match="a private one noise="):
        FederatedLogisticRegression().add_to(lead, features=3)
    with pytest.raises(MisuseError, match="FederatedLogisticRegression"):
        FederatedLogisticRegression(noise=noise).add_to(federation(), features=3)
    with pytest.raises(
        MisuseError, match="intercepts of each party have no differentially private"
    ):
        FederatedLogisticRegression(noise=noise, intercepts="per-party").add_to(lead, features=3)
    with pytest.raises(AgreementError, match="dp-glm or dp-logistic"):
        FederatedLogisticRegression(noise=noise, private_kind="glm").add_to(lead, features=3)
    with pytest.raises(AgreementError, match="common or per-party"):
        FederatedLogisticRegression(intercepts="own").add_to(federation(), features=3)


# scikit-learn's conventions

ESTIMATORS = (
    *(kind() for kind in MODELS),
    FederatedStandardizer(),
    FederatedImputer(),
    FederatedOneHot([0], codes=5),
    SecureStats(quantiles=(0.5,)),
)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda one: type(one).__name__)
def test_an_estimator_is_cloned_shown_and_set_as_scikit_learn_does(estimator):
    parameters = estimator.get_params()
    copied = clone(estimator)
    assert copied is not estimator
    assert copied.get_params() == parameters
    # The constructor keeps what it is given, and sets nothing else.
    assert {name for name in vars(copied) if not name.startswith("_")} == set(parameters)
    assert not [name for name in vars(copied) if name.endswith("_")]
    assert copied.set_params(max_rows=77) is copied
    assert copied.max_rows == 77
    assert "max_rows=77" in repr(copied)
    assert repr(estimator).startswith(type(estimator).__name__)
    with pytest.raises(MisuseError, match="no parameter 'colour'"):
        copied.set_params(colour=1)


@pytest.mark.parametrize("estimator", ESTIMATORS[:6], ids=lambda one: type(one).__name__)
def test_a_model_that_was_not_fitted_or_gets_other_columns_says_so(estimator):
    act = "predict" if hasattr(estimator, "predict") else "transform"
    with pytest.raises(MisuseError, match="is not fitted yet; call fit first"):
        getattr(clone(estimator), act)([[1.0]])
    rng = np.random.default_rng(0)
    parts = [Data(rng.integers(0, 3, (30, 3)), rng.integers(0, 2, 30)) for _ in range(2)]
    fitted = clone(estimator).fit_plain(parts)
    before = clone(fitted)
    assert not hasattr(before, "n_features_in_")
    with pytest.raises(InputError, match=r"features has 2 columns, but .* was fitted on 3"):
        getattr(fitted, act)(np.ones((4, 2)))
    with pytest.raises(InputError, match="dimensions"):
        getattr(fitted, act)(np.ones(3))
    # Fitting twice leaves nothing of the first fit; parameters stay as they were.
    twice = getattr(fitted.fit_plain(parts), act)(parts[0].features)
    np.testing.assert_array_equal(twice, getattr(fitted, act)(parts[0].features))
    assert fitted.get_params() == estimator.get_params()


def test_a_pipeline_ends_in_a_model_of_the_cleaned_table():
    rng = np.random.default_rng(3)
    parts = {}
    for name in PARTIES:
        x = np.c_[rng.integers(0, 3, 80), rng.normal(5, 2, 80)]
        labels = (x[:, 0] == 1) * 3.0 + x[:, 1] + rng.normal(size=80)
        x[rng.random(80) < 0.1, 1] = np.nan
        parts[name] = IncompleteData(x, labels)
    pipeline = FederatedPipeline(
        [
            ("fill", FederatedImputer("median")),
            ("encode", FederatedOneHot([0], codes=4)),
            ("fit", FederatedLinearRegression(ridge=1e-6)),
        ]
    ).fit(federation(), parts)
    table = np.concatenate([part.features for part in parts.values()])
    labels = np.concatenate([part.labels for part in parts.values()])
    assert pipeline.score(table, labels) > 0.6
    coefficients = pipeline["fit"].coef_
    assert coefficients[2] - coefficients[1] == pytest.approx(3, abs=0.5)
    with pytest.raises(MisuseError, match="predicts no classes"):
        pipeline.predict_proba(table)


@pytest.mark.parametrize("degrees", [1, 2, 5, 30, 1000, 1e6])
def test_tails_of_students_t_are_those_of_scipy(degrees):
    points = [0.0, 0.3, 1.0, 1.96, 4.0, 25.0]
    own = [two_sided(point, degrees) for point in points]
    np.testing.assert_allclose(own, 2 * stats.t.sf(points, degrees), rtol=1e-8)
    assert critical_value(0.95, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)
    assert np.isnan(two_sided(1.0, 0))
    assert critical_value(0.99, np.inf) == pytest.approx(stats.norm.ppf(0.995))
