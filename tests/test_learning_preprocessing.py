from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError
from securefed.data import Data
from securefed.federation import Federation
from securefed.learning import (
    FederatedImputer,
    FederatedOneHot,
    FederatedPipeline,
    FederatedStandardizer,
    SecureStats,
)
from securefed.learning.incomplete import IncompleteData, pool

PARTIES = ("north", "south", "west")


def federation():
    return Federation("clean", PARTIES, privacy=None)


@pytest.fixture(scope="module")
def data():
    """Codes 0 to 3 with one rare code, a wide column and one with gaps, unlike at each company."""
    rng = np.random.default_rng(1)
    parts = {}
    for number, name in enumerate(PARTIES):
        rows = 30 + 20 * number
        codes = rng.integers(0, 3, rows).astype(float)
        codes[0] = 9 if number == 0 else codes[0]
        wide = rng.normal(100 * number, 1 + number, rows)
        gaps = np.where(rng.random(rows) < 0.3, np.nan, rng.exponential(size=rows))
        parts[name] = IncompleteData(np.c_[codes, wide, gaps], rng.integers(0, 2, rows))
    return parts


def test_standardising_uses_the_rows_of_all_parties_and_leaves_gaps(data):
    everything = pool(list(data.values())).features
    scaler = FederatedStandardizer().fit(federation(), data)
    reference = StandardScaler().fit(everything)
    np.testing.assert_allclose(scaler.mean_, reference.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaler.scale_, reference.scale_, rtol=1e-12)
    assert scaler.n_samples_seen_ == len(everything)
    changed = scaler.transform(everything)
    np.testing.assert_allclose(changed, reference.transform(everything), atol=1e-12)
    np.testing.assert_allclose(scaler.inverse_transform(changed), everything, rtol=1e-12)


def test_a_constant_column_becomes_zero():
    parts = [Data(np.full((20, 1), 0.3), np.zeros(20)), Data(np.full((9, 1), 0.3), np.zeros(9))]
    scaler = FederatedStandardizer().fit_plain(parts)
    assert scaler.scale_ == 1
    np.testing.assert_allclose(scaler.transform([[0.3]]), 0, atol=1e-15)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
def test_gaps_are_filled_with_a_statistic_of_all_parties(data, strategy):
    if strategy == "most_frequent":
        data = {
            name: IncompleteData(np.floor(np.abs(part.features) % 7), part.labels)
            for name, part in data.items()
        }
    everything = pool(list(data.values())).features
    imputer = FederatedImputer(strategy).fit(federation(), data)
    filled = imputer.transform(everything)
    assert not np.isnan(filled).any()
    if strategy == "median":  # the value at place ceil(n / 2), which is a value that occurs
        expected = np.nanquantile(everything, 0.5, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(imputer.statistics_, expected, rtol=3e-10)
    else:
        reference = SimpleImputer(strategy=strategy).fit(everything)
        np.testing.assert_allclose(imputer.statistics_, reference.statistics_, rtol=1e-12)


def test_categories_with_enough_rows_get_columns_and_others_zeros(data):
    encoder = FederatedOneHot([0], codes=12, min_support=3).fit(federation(), data)
    np.testing.assert_array_equal(encoder.categories_[0], [0, 1, 2])
    table = np.array([[0, 5.0, 1], [2, 6.0, 1], [9, 7.0, 1], [11, 8, 1], [np.nan, 9, 1]])
    expected = OneHotEncoder(categories=[[0.0, 1.0, 2.0]], handle_unknown="ignore")
    shown = expected.fit(table[:2, :1]).transform(table[:, :1]).toarray()
    np.testing.assert_array_equal(encoder.transform(table), np.c_[table[:, 1:], shown])
    strict = FederatedOneHot([0], codes=12, unknown="error").fit_plain(list(data.values()))
    with pytest.raises(InputError, match="column 0 holds a category that is rare"):
        strict.transform([[11.0, 0, 0]])


def test_a_deployed_encoder_reads_its_width_from_the_model(data):
    lead = FederatedOneHot([0], codes=12).add_to(federation(), features=3)
    models = lead.simulate(data).models
    loaded = FederatedOneHot([0], codes=12).load(models)
    assert loaded.n_features_in_ == 3
    with pytest.raises(InputError, match="fitted on 3"):
        loaded.transform([[1.0, 2.0]])


def test_bad_columns_are_refused_before_anything_is_sent(data):
    with pytest.raises(
        InputError, match=r"north: .*column 1 holds values that are no whole number"
    ):
        FederatedOneHot([1]).fit(federation(), data)
    with pytest.raises(AgreementError, match="column outside 0 to 2"):
        FederatedOneHot([3]).fit(federation(), data)
    with pytest.raises(AgreementError, match="use ignore or error"):
        FederatedOneHot([0], unknown="drop").fit(federation(), data)
    with pytest.raises(AgreementError, match="mean, median or most_frequent"):
        FederatedImputer("mode").fit(federation(), data)
    with pytest.raises(NoResultError, match="column 0 has fewer than min_support = 200 values"):
        FederatedStandardizer(min_support=200).fit(federation(), data)
    with pytest.raises(AgreementError, match="min_support"):
        FederatedImputer(min_support=0).fit(federation(), data)


def test_a_pipeline_fits_each_step_on_what_the_steps_before_made(data):
    steps = [
        ("fill", FederatedImputer("median")),
        ("encode", FederatedOneHot([0], codes=12)),
        ("scale", FederatedStandardizer()),
    ]
    pipeline = FederatedPipeline(steps).fit(federation(), data)
    everything = pool(list(data.values())).features
    # The last step is no transformer to the pipeline: its own table is what it was fitted on.
    table = pipeline.transform(everything)
    np.testing.assert_allclose(pipeline["scale"].mean_, table.mean(axis=0), atol=1e-9)
    assert pipeline.n_rounds_ == sum(step.n_rounds_ for _, step in steps)
    assert set(pipeline.bytes_up_) == set(PARTIES)
    plain = FederatedPipeline([(name, clone(step)) for name, step in steps]).fit_plain(
        [pool(list(data.values()))]
    )
    np.testing.assert_allclose(plain["scale"].mean_, pipeline["scale"].mean_, rtol=1e-12)
    for call in (pipeline.predict, pipeline.predict_proba):
        with pytest.raises(MisuseError, match="FederatedStandardizer"):
            call(everything)
    with pytest.raises(MisuseError, match="FederatedStandardizer does not predict"):
        pipeline.score(everything, np.zeros(len(everything)))


def test_a_pipeline_is_no_single_agreement_and_its_steps_have_names():
    pipeline = FederatedPipeline([("scale", FederatedStandardizer())])
    with pytest.raises(MisuseError, match="an agreement of its own"):
        pipeline.add_to(federation(), features=3)
    with pytest.raises(MisuseError, match="not fitted yet"):
        pipeline.transform([[1.0]])
    twice = FederatedPipeline([("a", FederatedStandardizer()), ("a", FederatedStandardizer())])
    with pytest.raises(MisuseError, match="different names"):
        twice.fit_plain([Data([[1.0]], [0.0])])
    wrong = FederatedPipeline([("a", SecureStats()), ("b", FederatedStandardizer())])
    with pytest.raises(MisuseError, match="step a is no transformer"):
        wrong.fit_plain([Data([[1.0]], [0.0])])


def test_parameters_of_a_pipeline_are_read_set_and_cloned_by_step():
    pipeline = FederatedPipeline([("fill", FederatedImputer()), ("scale", FederatedStandardizer())])
    pipeline.set_params(fill__strategy="median", scale__min_support=7)
    assert pipeline.get_params()["fill__strategy"] == "median"
    assert pipeline["scale"].min_support == 7
    copied = clone(pipeline)
    assert copied["fill"] is not pipeline["fill"]
    assert copied.get_params()["scale__min_support"] == 7
    for wrong in ({"x": 1}, {"fill__x": 1}):
        with pytest.raises(MisuseError, match="no parameter"):
            pipeline.set_params(**wrong)
    assert repr(pipeline["fill"]) == "FederatedImputer(strategy='median')"
