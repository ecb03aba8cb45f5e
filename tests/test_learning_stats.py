from __future__ import annotations

import secrets
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed import PrivacyGoal
from securefed.data import Data
from securefed.federation import Federation
from securefed.learning import SecureStats, SecureSum, SumOf, build_task, registry, suggest
from securefed.learning.exact_sum import ExactSum, Summand
from securefed.learning.incomplete import IncompleteData, numeric, pool
from securefed.learning.quantile_search import edges, floors, keys
from securefed.learning.reference import fit, fixed_point_sum
from securefed.learning.stats import secure_histogram, secure_stats, secure_vocabulary
from securefed.learning.sum_task import register_statistic

PARTIES = ("north", "south", "west")
SMALL = settings(max_examples=25, deadline=None)


def federation():
    return Federation("stats", PARTIES, privacy=None)


def table(rows=240, seed=0):
    """A wide column far from zero, categories, and a column with gaps."""
    rng = np.random.default_rng(seed)
    gaps = np.where(rng.random(rows) < 0.2, np.nan, rng.exponential(size=rows))
    return np.c_[rng.normal(3e5, 1e-2, rows), rng.geometric(0.4, rows) - 1.0, gaps]


def companies(features, cuts=(40, 130)):
    parts = np.split(features, cuts)
    rows = [IncompleteData(part, np.zeros(len(part))) for part in parts]
    return dict(zip(PARTIES, rows, strict=True))


# The primitive


@SMALL
@given(
    values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=12),
    resolution=st.sampled_from([1.0, 0.3, 2.0**-40, 2.0**-90]),
    word=st.integers(20, 40),
)
def test_a_sum_of_words_is_exact_whatever_the_bound_and_resolution(values, resolution, word):
    sums = ExactSum.of({"x": Summand((), 1e9, resolution, word), "rows": Summand((), 100.0)})
    numbers, layout = sums.numbers(), sums.layout()
    total = layout.zeros()
    for value in values:
        words = sums.encode({"x": np.array(value), "rows": np.array(1.0)})
        assert np.abs(layout.flatten(words)).max() <= numbers.bound
        for name, digits in words.items():
            total[name] += digits
    found = sums.decode(total)
    step = sums.summands[0][1].step
    exact = sum((round(Fraction(value) / Fraction(step)) for value in values), start=0)
    assert float(found["x"]) == pytest.approx(float(exact * Fraction(step)), rel=1e-15)
    assert found["rows"] == len(values)


def test_the_sum_of_numbers_that_cancel_keeps_every_bit():
    sums = ExactSum.of({"x": Summand((), 2.0**70, 2.0**-40)})
    total = sum(sums.encode({"x": np.array(v)})["x"] for v in (2.0**69, 2.0**-40, -(2.0**69), 3.0))
    assert sums.decode({"x": total})["x"] == 3.0 + 2.0**-40


def test_a_value_above_its_own_bound_is_refused_and_the_array_is_named():
    sums = ExactSum.of({"x": Summand((2,), 10.0), "y": Summand((), 1e6)})
    with pytest.raises(InputError, match="x exceeds its agreed bound of 10"):
        sums.encode({"x": np.array([0.0, 11.0]), "y": np.array(1e5)})
    with pytest.raises(InputError, match="x has shape"):
        sums.encode({"x": np.array([0.0]), "y": np.array(1e5)})
    with pytest.raises(InputError, match="y holds NaN"):
        sums.encode({"x": np.zeros(2), "y": np.array(np.nan)})
    with pytest.raises(MisuseError, match="larger resolution"):
        Summand((), 1e300, 1e-300)


def test_declared_columns_and_functions_are_summed_over_real_masks(monkeypatch):
    monkeypatch.setattr("securefed.learning.sum_task._STATISTICS", {})
    register_statistic(
        "two-powers", lambda data: np.stack([data.features[:, 1] ** p for p in (3, 4)]).sum(axis=1)
    )
    data = {
        name: Data(np.nan_to_num(part.features), part.labels + 1)
        for name, part in companies(table()).items()
    }
    everything = pool(list(data.values()))
    arrays = {
        "income": SumOf("columns:0,2", bound=1e9, resolution=1e-6),
        "powers": SumOf("squares:1", bound=1e9),
        "cross": SumOf("products:1,2", bound=1e9, resolution=1e-6),
        "own": SumOf("function:two-powers", bound=1e12, shape=(2,)),
        "targets": SumOf("labels", bound=1e6),
        "known": SumOf("present:0", bound=1e6),
    }
    sums = SecureSum(arrays).fit(federation(), data)
    x = everything.features
    for name, expected in {
        "income": x[:, [0, 2]].sum(axis=0),
        "powers": [(x[:, 1] ** 2).sum()],
        "cross": x[:, 1:].T @ x[:, 1:],
        "own": [(x[:, 1] ** 3).sum(), (x[:, 1] ** 4).sum()],
        "targets": len(x),
        "known": [len(x)],
        "rows": len(x),
    }.items():
        np.testing.assert_allclose(sums.total_[name], expected, atol=1e-5)
    plain = SecureSum(arrays).fit_plain([everything])
    np.testing.assert_array_equal(plain.total_["own"], sums.total_["own"])


def test_a_statistic_is_registered_once_and_has_to_be_there():
    with pytest.raises(MisuseError, match="no name"):
        register_statistic("Two Powers", len)
    with pytest.raises(InputError, match="north: no statistic 'absent'"):
        SecureSum({"x": SumOf("function:absent", bound=1)}).fit(federation(), companies(table()))


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("columns:0,9", "sources"),
        ("means:0", "sources"),
        ("codes:0/0", "sources"),
        ("histogram:0/2/1/5", "sources"),
        ("columns:x", "sources"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_with_the_agreement(source, key):
    with pytest.raises(AgreementError) as caught:
        SecureSum({"x": SumOf(source, bound=1)}).add_to(federation(), features=3)
    assert caught.value.key == f"tasks.sum.parameters.{key}"


def test_a_sum_is_part_of_a_deployed_agreement_and_read_back_by_name():
    lead = SecureSum({"x": SumOf("columns:1", bound=1e6)}).add_to(
        federation(), "totals", features=3
    )
    assert lead.tasks == ("totals",)
    data = companies(np.nan_to_num(table()))
    models = lead.simulate(data).models
    loaded = SecureSum({"x": SumOf("columns:1", bound=1e6)}).load(models, "totals")
    assert loaded.total_["x"] == sum(part.features[:, 1].sum() for part in data.values())
    with pytest.raises(MisuseError, match="no state of task 'sum'"):
        SecureSum({}).load(models)
    with pytest.raises(MisuseError, match="fit takes a federation without tasks"):
        SecureSum({}).fit(lead, data)
    with pytest.raises(MisuseError, match="how many columns"):
        SecureSum({}).add_to(federation())


# Statistics


def test_statistics_are_those_of_the_pooled_table_gaps_left_out():
    features = table()
    told = secure_stats(federation(), companies(features), quantiles=(0.1, 0.5, 0.9))
    assert told.rows_ == len(features)
    np.testing.assert_array_equal(told.count_, (~np.isnan(features)).sum(axis=0))
    np.testing.assert_allclose(told.mean_, np.nanmean(features, axis=0), rtol=1e-14)
    # Far from zero, a mean square minus a squared mean would keep no digit of this variance.
    np.testing.assert_allclose(told.variance_, np.nanvar(features, axis=0), rtol=1e-7)
    expected = np.nanquantile(features, [0.1, 0.5, 0.9], axis=0, method="inverted_cdf").T
    np.testing.assert_allclose(told.quantiles_, expected, rtol=3e-10)
    assert told.n_rounds_ <= 15


def test_a_constant_column_has_variance_zero():
    features = np.c_[np.full(60, 0.1), np.arange(60.0)]
    told = SecureStats(quantiles=()).fit_plain(list(companies(features, (10, 30)).values()))
    assert told.variance_[0] == 0
    assert told.variance_[1] > 0


@SMALL
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    quantile=st.floats(0, 1),
)
def test_quantiles_are_order_statistics_whatever_the_numbers_and_the_split(values, cut, quantile):
    features = np.array(values)[:, np.newaxis]
    parts = [Data(part, np.zeros(len(part))) for part in np.split(features, [cut]) if len(part)]
    task = build_task("column-quantiles", {"features": 1, "quantiles": [quantile]})
    found = fit(task, parts, rounds=40)
    assert found.done
    place = max(1, int(np.ceil(quantile * len(values) - 1e-9)))
    exact = np.sort(np.array(values))[place - 1]
    assert (
        found.state["quantiles"][0, 0] == floors(keys(np.array([exact]), 44).astype(float), 44)[0]
    )


@SMALL
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([16, 32, 44]))
def test_an_edge_splits_numbers_exactly_as_its_key_does(value, bits):
    key = keys(np.array([value]), bits).astype(float)
    low, high = floors(key, bits)[0], edges(key, bits)[0]
    assert low <= value <= high
    assert keys(np.array([np.nextafter(high, np.inf)]), bits)[0] == key[0] + 1


def test_what_too_few_rows_hold_is_never_returned():
    features = np.c_[np.arange(30.0), np.full(30, np.nan)]
    features[:3, 1] = 7.0
    told = secure_stats(federation(), companies(features, (10, 20)), min_support=5)
    assert np.isnan([told.mean_[1], told.variance_[1], *told.quantiles_[1]]).all()
    # The most extreme quantile leaves min_support values beyond it, counting itself.
    ends = SecureStats(quantiles=(0.0, 1.0), min_support=5).fit_plain(
        list(companies(features, (10, 20)).values())
    )
    np.testing.assert_array_equal(ends.quantiles_[0], [4.0, 25.0])
    kept = secure_vocabulary(federation(), companies(table()), 1, codes=40, min_support=10)
    codes = table()[:, 1].astype(int)
    assert kept == {c: int(n) for c, n in enumerate(np.bincount(codes)) if n >= 10}
    counts = secure_histogram(
        federation(), companies(table()), 2, low=0, high=4, cells=8, min_support=12
    ).counts
    known = table()[:, 2][~np.isnan(table()[:, 2])]
    full = np.histogram(known, [-np.inf, *np.linspace(0, 4, 9), np.inf])[0]
    np.testing.assert_array_equal(counts, np.where(full >= 12, full, 0))


def test_the_brackets_of_a_column_without_support_never_move():
    task = build_task("column-quantiles", {"features": 2, "quantiles": [0.5], "min_support": 5})
    features = np.c_[np.arange(20.0), np.r_[7.0, np.full(19, np.nan)]]
    ended = fit(task, [IncompleteData(features, np.zeros(20))], rounds=40)
    assert ended.done
    first = task.initial_state()
    assert ended.state["low"][1] == first["low"][1]
    assert ended.state["high"][1] == first["high"][1]


def test_a_minimum_support_below_one_is_refused():
    for call in (
        lambda: secure_stats(federation(), companies(table()), min_support=0),
        lambda: secure_vocabulary(federation(), companies(table()), 1, codes=40, min_support=0),
        lambda: SecureSum({"x": SumOf("labels", 1)}, min_support=-1).add_to(
            federation(), features=1
        ),
    ):
        with pytest.raises(AgreementError, match="min_support"):
            call()
    with pytest.raises(NoResultError, match="fewer than min_support = 999 rows"):
        SecureSum({"x": SumOf("labels", 1e3)}, min_support=999).fit_plain([Data([[1.0]], [1.0])])


def test_data_that_does_not_fit_is_refused_before_anything_is_sent_and_names_the_party():
    good = companies(table())
    for bad, message in (
        (Data(np.ones((5, 2)), np.ones(5)), "features has 2 columns"),
        (Data(np.full((5, 3), 1e7), np.ones(5)), "column 0 exceeds feature_bound"),
        (Data(np.ones((300, 3)), np.ones(300)), "allows max_rows = 250"),
    ):
        with pytest.raises(InputError, match=f"west: .*{message}"):
            secure_stats(federation(), good | {"west": bad}, max_rows=250)
    few = dict.fromkeys(PARTIES, Data(np.ones((5, 3)), np.ones(5)))
    few["south"] = Data(np.full((5, 3), 4.0), np.ones(5))
    with pytest.raises(InputError, match=r"south: .*no whole number from 0 to 3"):
        secure_vocabulary(federation(), few, 1, codes=4)
    with pytest.raises(MisuseError, match="no data of west"):
        secure_stats(federation(), {name: good[name] for name in ("north", "south")})


def test_hostile_brackets_are_refused_at_the_party():
    task = build_task("column-quantiles", {"features": 1, "quantiles": [0.5]})
    state = task.initial_state() | {"low": np.array([[1.0]]), "high": np.array([[0.0]])}
    with pytest.raises(WireError, match="out of order"):
        task.contribute(state, Data([[1.0]], [0.0]), 1, np.random.default_rng(0))


def test_rows_with_gaps_are_checked_like_others():
    rows = IncompleteData([[1.0, np.nan]], [0.0])
    assert "1 rows" in repr(rows)
    assert np.isnan(rows.take(np.array([0])).features[0, 1])
    with pytest.raises(InputError, match="Inf"):
        IncompleteData([[1.0, np.inf]], [0.0])
    with pytest.raises(InputError, match="dtype"):
        numeric("features", [["a"]])
    with pytest.raises(InputError, match="different numbers"):
        pool([rows, Data([[1.0]], [0.0])])


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("column-moments", {"features": 3}),
        ("column-quantiles", {"features": 3}),
        (
            "sum",
            {
                "features": 3,
                "names": ["x"],
                "sources": ["columns:0"],
                "bounds": [1e6],
                "resolutions": [1e-9],
            },
        ),
    ],
)
@pytest.mark.parametrize("parties", [2, 5, 1000])
def test_the_suggested_ring_holds_the_words_of_up_to_a_thousand_parties(kind, parameters, parties):
    ring = suggest(kind, parameters, parties)
    fixed_point_sum(ring, parties=parties, random=secrets.token_bytes)
    assert kind in registry._KINDS


def test_exact_sums_are_refused_where_people_are_promised_privacy():
    private = Federation("stats", PARTIES, privacy=PrivacyGoal(epsilon=1.0, delta=1e-6))
    with pytest.raises(MisuseError, match="no differentially private form"):
        secure_stats(private, companies(table()))
