"""Bad rows, estimator by estimator: an error at the party before anything is sent, or as promised.

The table in docs/estimators.md says the same in words.
"""

import numpy as np
import pytest

from protocols.errors import InputError, MisuseError, NoResultError
from securefed import Federation, PrivacyGoal
from securefed.data import Data
from securefed.learning import (
    FederatedGradientBoosting,
    FederatedImputer,
    FederatedLinearRegression,
    FederatedLogisticRegression,
    FederatedOneHot,
    FederatedPipeline,
    FederatedPoissonRegressor,
    FederatedStandardizer,
    IncompleteData,
    SecureStats,
    SecureSum,
    SumOf,
)
from securefed.learning.recommend import (
    Bpr,
    Catalogue,
    ContentBased,
    DpEase,
    DpIals,
    DpPopularity,
    Ease,
    Ials,
    Interactions,
    ItemCosine,
    ItemFeatures,
    Popularity,
)

PARTIES = ("north", "south", "west")
COLUMNS = ("region", "size", "age")
GOAL = PrivacyGoal(epsilon=3.0, delta=1e-4)


def boosting(**options):
    return FederatedGradientBoosting(trees=2, depth=2, bins=7, min_support=1, **options)


def noised(kind):
    return FederatedLogisticRegression(
        noise={"clip_norm": 1.0, "people": 300}, private_kind=kind, private_rounds=2
    )


ESTIMATORS = {
    "SecureSum": lambda: SecureSum({"sizes": SumOf("columns:1", 1e6, 1e-6)}),
    "SecureStats": lambda: SecureStats(min_support=1),
    "FederatedStandardizer": lambda: FederatedStandardizer(min_support=1),
    "FederatedImputer": FederatedImputer,
    "FederatedImputer, most frequent": lambda: FederatedImputer(
        "most_frequent", codes=100, min_support=1
    ),
    "FederatedOneHot": lambda: FederatedOneHot([0], codes=8),
    "FederatedPipeline": lambda: FederatedPipeline(
        [("regions", FederatedOneHot([0], codes=8)), ("fit", FederatedLogisticRegression())]
    ),
    "FederatedLogisticRegression": FederatedLogisticRegression,
    "FederatedLogisticRegression, own intercepts": lambda: FederatedLogisticRegression(
        intercepts="per-party"
    ),
    "FederatedLinearRegression": FederatedLinearRegression,
    "FederatedPoissonRegressor": FederatedPoissonRegressor,
    "FederatedGradientBoosting": boosting,
    "FederatedGradientBoosting, squared": lambda: boosting(objective="squared"),
}
NOISED = {"dp-glm": lambda: noised("dp-glm"), "dp-logistic": lambda: noised("dp-logistic")}
ALL = ESTIMATORS | NOISED
TAKES_GAPS = {
    "SecureSum", "SecureStats", "FederatedStandardizer", "FederatedImputer",
    "FederatedImputer, most frequent", "FederatedOneHot", "FederatedGradientBoosting",
    "FederatedGradientBoosting, squared",
}  # fmt: skip


def table(seed, count=30):
    rng = np.random.default_rng(seed)
    features = np.c_[
        rng.integers(0, 3, count), rng.integers(0, 60, count), rng.integers(20, 80, count)
    ]
    labels = rng.random(count) < 1 / (1 + np.exp(-(features[:, 1] - 30) / 15))
    return features.astype(float), labels.astype(float)


def rows():
    return {name: Data(*table(seed), COLUMNS) for seed, name in enumerate(PARTIES)}


def federation(name):
    return Federation("models", PARTIES, privacy=GOAL if name in NOISED else None)


@pytest.fixture
def nothing_is_sent(monkeypatch):
    """Fail where a run begins."""
    monkeypatch.setattr(Federation, "simulate", lambda *_, **__: pytest.fail("a run began"))


def finite(estimator):
    """The fitted arrays hold numbers, and predictions are numbers."""
    found = {key: value for key, value in vars(estimator).items() if key.endswith("_")}
    arrays = [value for value in found.values() if isinstance(value, np.ndarray)]
    if hasattr(estimator, "predict"):
        arrays.append(estimator.predict(table(9)[0]))
    elif hasattr(estimator, "transform"):
        arrays.append(estimator.transform(table(9)[0]))
    # A coefficient of a constant column has no standard error, and edges of bins may be endless.
    skipped = {"covariance_", "bin_edges_"}
    kept = [found[key] for key in found if key in skipped]
    return all(np.isfinite(array).all() for array in arrays if not any(array is s for s in kept))


# Another schema


def with_fewer(x, y):
    return Data(x[:, :2], y, COLUMNS[:2])


def with_more(x, y):
    return Data(np.c_[x, y], y, (*COLUMNS, "extra"))


def in_another_order(x, y):
    return Data(x[:, [0, 2, 1]], y, ("region", "age", "size"))


def without_names(x, y):
    return Data(x, y)


def with_fewer_and_no_names(x, y):
    return Data(x[:, :2], y)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (with_fewer, "agreed column 'age' is missing"),
        (with_more, "'extra' is not agreed"),
        (in_another_order, "column 1 is 'age' and the agreement says 'size'"),
        (without_names, "these rows name none"),
    ],
)
def test_another_schema_is_told_to_its_party_alone(name, spoil, told, nothing_is_sent):
    data = rows()
    data["south"] = spoil(*table(1))
    with pytest.raises(InputError, match=f"^south: .*{told}"):
        ALL[name]().fit(federation(name), data)


@pytest.mark.parametrize("name", ALL)
def test_another_number_of_columns_is_told_where_they_have_no_names(name, nothing_is_sent):
    data = {party: Data(part.features, part.labels) for party, part in rows().items()}
    data["south"] = with_fewer_and_no_names(*table(1))
    with pytest.raises(InputError, match=r"^south: features has 2 columns"):
        ALL[name]().fit(federation(name), data)


# No row


@pytest.mark.parametrize("name", ALL)
def test_a_party_without_rows_cannot_be_described_and_one_without_data_is_named(
    name, nothing_is_sent
):
    with pytest.raises(InputError, match="at least one row"):
        Data(np.empty((0, 3)), [], COLUMNS)
    data = rows()
    del data["west"]
    with pytest.raises(MisuseError, match="no data of west"):
        ALL[name]().fit(federation(name), data)


# One class


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_party_with_one_class_takes_part_like_any_other(name):
    data = rows()
    data["south"] = Data(data["south"].features, np.ones(30), COLUMNS)
    fitted = ESTIMATORS[name]().fit_plain(list(data.values()))
    assert finite(fitted)


@pytest.mark.parametrize("name", NOISED)
def test_a_party_with_one_class_takes_part_under_noise(name):
    data = rows()
    data["south"] = Data(data["south"].features, np.ones(30), COLUMNS)
    fitted = NOISED[name]().fit(federation(name), data)
    assert not fitted.complaints_
    assert np.isfinite(fitted.coef_).all()


CLASSES = [
    "FederatedPipeline", "FederatedLogisticRegression",
    "FederatedLogisticRegression, own intercepts", "FederatedGradientBoosting", *NOISED,
]  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_a_label_that_is_no_class_is_told_to_its_party(name):
    data = rows()
    data["south"] = Data(data["south"].features, data["south"].labels + 1, COLUMNS)
    with pytest.raises(InputError, match=r"^south: labels holds values outside"):
        ALL[name]().fit(federation(name), data)


# A constant column


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("where", ["everywhere", "at one party"])
def test_a_constant_column_does_no_harm(name, where):
    data = rows()
    for party in PARTIES if where == "everywhere" else ["south"]:
        x = data[party].features.copy()
        x[:, 2] = 40.0
        data[party] = Data(x, data[party].labels, COLUMNS)
    fitted = ESTIMATORS[name]().fit_plain(list(data.values()))
    assert finite(fitted)
    if where == "everywhere" and hasattr(fitted, "slopes_"):
        assert fitted.slopes_[2] == 0
        assert np.isnan(fitted.coefficients_.standard_errors[-1])
    if where == "everywhere" and hasattr(fitted, "feature_importances_"):
        assert fitted.feature_importances_[2] == 0


@pytest.mark.parametrize("name", NOISED)
def test_a_constant_column_does_no_harm_under_noise(name):
    data = {}
    for party, part in rows().items():
        data[party] = Data(part.features * [1, 1, 0] + [0, 0, 40], part.labels, COLUMNS)
    fitted = NOISED[name]().fit(federation(name), data)
    assert not fitted.complaints_
    assert np.isfinite(fitted.predict(table(9)[0])).all()


# A category that was never seen


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_category_that_training_never_saw_gives_numbers(name):
    fitted = ESTIMATORS[name]().fit_plain(list(rows().values()))
    seen, unseen = table(9)[0], table(9)[0]
    seen[:, 0], unseen[:, 0] = 2.0, 7.0
    for method in ("predict", "transform"):
        if hasattr(fitted, method):
            told = getattr(fitted, method)(unseen)
            assert np.isfinite(told).all()
    if name == "FederatedOneHot":
        np.testing.assert_array_equal(fitted.transform(unseen)[:, 2:], 0)
        np.testing.assert_array_equal(fitted.transform(seen)[:, 2:], [[0, 0, 1]] * 30)
    if name == "FederatedGradientBoosting":
        np.testing.assert_array_equal(fitted.predict(unseen), fitted.predict(seen))


def test_a_category_that_training_never_saw_is_an_error_where_that_was_asked_for():
    strict = FederatedOneHot([0], codes=8, unknown="error").fit_plain(list(rows().values()))
    with pytest.raises(InputError, match="column 0 holds a category that is rare or was never"):
        strict.transform([[7.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    "name", ["FederatedOneHot", "FederatedPipeline", "FederatedImputer, most frequent"]
)
@pytest.mark.parametrize("code", [999.0, -1.0, 0.5])
def test_a_code_that_is_not_among_the_agreed_ones_is_told_to_its_party(name, code, nothing_is_sent):
    data = rows()
    x = data["south"].features.copy()
    x[4, 0] = code
    data["south"] = Data(x, data["south"].labels, COLUMNS)
    with pytest.raises(InputError, match=r"^south: features column 0 holds values that are no"):
        ESTIMATORS[name]().fit(federation(name), data)


# The same person at two companies


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_same_rows_at_two_parties_count_twice(name):
    data = list(rows().values())
    once = ESTIMATORS[name]().fit_plain([data[0], data[1]])
    twice = ESTIMATORS[name]().fit_plain([data[0], data[1], data[1]])
    assert finite(twice)
    for attribute in ("n_samples_", "n_samples_seen_", "rows_"):
        if hasattr(twice, attribute):
            assert (getattr(once, attribute), getattr(twice, attribute)) == (60, 90)
    if name == "SecureSum":
        extra = data[1].features[:, 1].sum()
        assert twice.total_["sizes"][0] - once.total_["sizes"][0] == pytest.approx(extra)


# NaN


@pytest.mark.parametrize("name", ALL)
def test_nan_is_a_gap_where_gaps_are_taken_and_refused_where_not(name, nothing_is_sent):
    with pytest.raises(InputError, match="NaN"):
        Data([[0.0, np.nan, 0.0]], [0.0], COLUMNS)
    data = rows()
    x = data["south"].features.copy()
    x[3, 1] = np.nan
    data["south"] = IncompleteData(x, data["south"].labels, COLUMNS)
    if name in TAKES_GAPS:
        ESTIMATORS[name]().fit_plain(list(data.values()))
        return
    if name == "FederatedPipeline":
        # Its first step takes gaps; what refuses them is the second, with the name of the party.
        with pytest.raises(InputError, match=r"^part 1: features column \d has missing values"):
            ESTIMATORS[name]().fit_plain(list(data.values()))
        return
    with pytest.raises(InputError, match=r"^south: features column 1 has missing values"):
        ALL[name]().fit(federation(name), data)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_label_that_is_no_number_cannot_be_described(bad):
    for kind in (Data, IncompleteData):
        with pytest.raises(InputError, match=r"labels holds (NaN|Inf)"):
            kind([[1.0, 1.0, 1.0]], [bad], COLUMNS)


# More people than agreed


@pytest.mark.parametrize("name", NOISED)
def test_more_people_than_agreed_are_told_by_the_name_of_their_party(name):
    data = rows() | {"south": Data(*table(1, 400), COLUMNS)}
    with pytest.raises(InputError, match=r"^south: .*300"):
        NOISED[name]().fit(federation(name), data)


def test_everybody_in_one_class_is_no_model():
    data = [Data(part.features, np.ones(30), COLUMNS) for part in rows().values()]
    for estimator in (FederatedLogisticRegression(), boosting()):
        with pytest.raises(NoResultError, match="all labels of all parties are equal"):
            estimator.fit_plain(data)


# Recommenders

ITEMS = Catalogue(tuple(f"item-{number}" for number in range(12)))
OTHER = Catalogue(tuple(f"thing-{number}" for number in range(12)))
CHOSEN = list(range(12))
RECOMMENDERS = {
    "Popularity": lambda: Popularity(ITEMS, max_users=50, min_support=1),
    "ItemCosine": lambda: ItemCosine(ITEMS, max_users=50, min_support=1),
    "Ease": lambda: Ease(ITEMS, max_users=50, min_support=1),
    "Ials": lambda: Ials(ITEMS, max_users=50, min_support=1, factors=2, sweeps=2),
    "Bpr": lambda: Bpr(ITEMS, max_users=50, min_support=1, factors=2, sweeps=2),
    "ContentBased": lambda: ContentBased(
        ITEMS, ItemFeatures.of_kinds([["a"], ["b"]] * 6), max_users=50, min_support=1
    ),
}
NOISED_RECOMMENDERS = {
    "DpPopularity": lambda: DpPopularity(ITEMS, people=60),
    "DpEase": lambda: DpEase(ITEMS, chosen=CHOSEN, people=60),
    "DpIals": lambda: DpIals(ITEMS, chosen=CHOSEN, people=60),
}
ALL_RECOMMENDERS = RECOMMENDERS | NOISED_RECOMMENDERS


def taken(seed, users=10, catalogue=ITEMS):
    """What users took; item 11 is left to nobody."""
    rng = np.random.default_rng(seed)
    what = [rng.choice(11, 4, replace=False) for _ in range(users)]
    who = np.repeat([f"user-{user}" for user in range(users)], 4)
    return Interactions.of_numbers(catalogue, who.tolist(), np.concatenate(what))


def market():
    return {name: taken(seed) for seed, name in enumerate(PARTIES)}


def shops(name):
    return Federation("shops", PARTIES, privacy=GOAL if name in NOISED_RECOMMENDERS else None)


@pytest.mark.parametrize("name", ALL_RECOMMENDERS)
def test_another_catalogue_is_told_by_the_name_of_the_company(name, nothing_is_sent):
    data = market() | {"south": taken(1, catalogue=OTHER)}
    with pytest.raises(InputError, match=r"^south read its interactions with another catalogue"):
        ALL_RECOMMENDERS[name]().fit(shops(name), data)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_more_users_than_agreed_are_told_by_the_name_of_the_company(name, nothing_is_sent):
    data = market() | {"south": taken(1, users=51)}
    with pytest.raises(InputError, match=r"^south: there are 51 users here .* max_users = 50"):
        RECOMMENDERS[name]().fit(shops(name), data)


@pytest.mark.parametrize("name", NOISED_RECOMMENDERS)
def test_more_people_than_agreed_are_told_by_the_name_of_the_company(name):
    data = market() | {"south": taken(1, users=61)}
    with pytest.raises(InputError, match=r"^south: .*60"):
        NOISED_RECOMMENDERS[name]().fit(shops(name), data)


def test_rows_that_cannot_be_used_cannot_be_described():
    for users, items, more, told in (
        ([], [], {}, "no interaction; a company without any does not take part"),
        (["a"], ["thing"], {}, "does not list"),
        (["a", "a"], ["item-1", "item-1"], {}, "repeat an item"),
        ([float("nan")], ["item-1"], {}, "missing"),
        ([None], ["item-1"], {}, "missing"),
        (["a"], ["item-1"], {"values": [np.nan]}, "values holds NaN"),
        (["a"], ["item-1"], {"times": [np.inf]}, "times holds Inf"),
    ):
        with pytest.raises(InputError, match=told):
            Interactions.of(ITEMS, users, items, **more)


@pytest.mark.parametrize("name", ALL_RECOMMENDERS)
def test_a_company_without_data_is_named(name, nothing_is_sent):
    data = market()
    del data["west"]
    with pytest.raises(MisuseError, match="west"):
        ALL_RECOMMENDERS[name]().fit(shops(name), data)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_a_company_with_one_user_or_one_item_takes_part(name):
    one_user = Interactions.of_numbers(ITEMS, ["a", "a"], [0, 1])
    one_item = Interactions.of_numbers(ITEMS, ["a", "b"], [3, 3])
    fitted = RECOMMENDERS[name]().fit_plain([taken(0), taken(1), one_user, one_item])
    assert len(fitted.recommend(one_user.history("a"), k=3)) == 3


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_an_item_that_everybody_has_and_one_that_nobody_has_do_no_harm(name):
    parts = [taken(seed) for seed in range(3)]
    for number, part in enumerate(parts):
        kept = part.rows(part.items != 5)
        who = [kept.user_keys[user] for user in kept.users] + list(part.user_keys)
        what = [*kept.items.tolist(), *[5] * part.people]
        parts[number] = Interactions.of_numbers(ITEMS, who, what)
    fitted = RECOMMENDERS[name]().fit_plain(parts)
    assert fitted.popularity_[5] == 30
    assert fitted.popularity_[11] == 0
    scores = fitted.scores(parts[0])
    assert not np.isnan(scores).any()
    if name != "ContentBased":
        listed = [one.item for one in fitted.recommend(parts[0].history("user-0"), k=12)]
        assert 11 not in listed


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_a_person_of_two_companies_counts_as_two(name):
    once = RECOMMENDERS[name]().fit_plain([taken(0), taken(1)])
    twice = RECOMMENDERS[name]().fit_plain([taken(0), taken(1), taken(1)])
    extra = np.bincount(taken(1).items, minlength=12)
    np.testing.assert_array_equal(twice.popularity_ - once.popularity_, extra)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_a_history_with_an_unknown_or_repeated_item_is_refused(name):
    fitted = RECOMMENDERS[name]().fit_plain(list(market().values()))
    for history, told in (([12], "outside 0 to 11"), ([-1], "outside"), ([2, 2], "twice")):
        with pytest.raises(InputError, match=told):
            fitted.recommend(np.array(history), k=2)


def test_an_estimator_under_the_wrong_privacy_is_refused_before_anything_is_sent(nothing_is_sent):
    for make in ESTIMATORS.values():
        with pytest.raises(MisuseError, match="privacy"):
            make().fit(Federation("models", PARTIES, privacy=GOAL), rows())
    for make in RECOMMENDERS.values():
        with pytest.raises(MisuseError, match="privacy"):
            make().fit(Federation("shops", PARTIES, privacy=GOAL), market())
