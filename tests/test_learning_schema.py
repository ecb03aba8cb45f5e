import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.agreement import agreement_from
from protocols.errors import AgreementError, InputError
from securefed import Federation, PrivacyGoal
from securefed.data import Column, Data, Schema, load_party_data, save_party_data
from securefed.data.schema import KEYS, MAX_COLUMNS, read_schema
from securefed.data.table import PARTY_COLUMN, concatenate
from securefed.learning import (
    FederatedImputer,
    FederatedLogisticRegression,
    FederatedPipeline,
    FederatedStandardizer,
    IncompleteData,
    SecureStats,
    build_task,
)
from securefed.learning.incomplete import pool

PARTIES = ("north", "south", "west")
NAMES = ("age", "sex", "pressure")
SCHEMA = Schema(
    (Column("age", "integer", 0, 120), Column("sex", "boolean"), Column("pressure", low=0.5))
)


def rows(seed=0, count=40, columns=NAMES):
    rng = np.random.default_rng(seed)
    table = np.c_[rng.integers(20, 90, count), rng.integers(0, 2, count), rng.normal(130, 9, count)]
    labels = rng.random(count) < 1 / (1 + np.exp(-(table[:, 0] - 55) / 20))
    return Data(table, labels, columns)


def hospitals():
    return {name: rows(seed) for seed, name in enumerate(PARTIES)}


def federation():
    return Federation("hospitals", PARTIES, privacy=None)


def spoilt(how):
    """The rows of one hospital with something wrong, and words of what it is told."""
    data = rows(1)
    x, y = data.features.copy(), data.labels
    if how == "missing":
        return Data(x[:, :2], y, NAMES[:2]), "agreed column 'pressure' is missing; add it"
    if how == "extra":
        return Data(np.c_[x, y], y, (*NAMES, "postcode")), "'postcode' is not agreed; leave it out"
    if how == "other order":
        return Data(x[:, [1, 0, 2]], y, ("sex", "age", "pressure")), (
            "column 0 is 'sex' and the agreement says 'age'; bring the columns into the agreed "
            "order: age, sex, pressure"
        )
    if how == "other name":
        return Data(x, y, ("age", "gender", "pressure")), "agreed column 'sex' is missing"
    if how == "no names":
        return Data(x, y), "these rows name none; load them with their header"
    place = {"other type": 1, "no whole number": 0, "out of range": 0, "below the range": 2}[how]
    x[3, place] = {"other type": 7.0, "no whole number": 30.5}.get(how, -1.0)
    told = {
        "other type": "'sex' is agreed to hold zeros and ones and holds other values; recode",
        "no whole number": "'age' is agreed to hold whole numbers",
        "out of range": r"'age' holds values outside the agreed range 0\.\.120; check its unit",
        "below the range": r"'pressure' holds values outside the agreed range 0\.5\.\.;",
    }[how]
    return Data(x, y, NAMES), told


ALL_WRONG = (
    "missing", "extra", "other order", "other name", "no names", "other type", "no whole number",
    "out of range", "below the range",
)  # fmt: skip


@pytest.mark.parametrize("how", ALL_WRONG)
def test_a_party_with_other_columns_than_agreed_is_told_before_anything_is_sent(how, monkeypatch):
    monkeypatch.setattr(Federation, "simulate", lambda *_, **__: pytest.fail("something was sent"))
    data, (bad, told) = hospitals(), spoilt(how)
    data["south"] = bad
    with pytest.raises(InputError, match=f"^south: .*{told}") as caught:
        FederatedLogisticRegression().fit(federation(), data, schema=SCHEMA)
    assert "30.5" not in str(caught.value)


@pytest.mark.parametrize("how", ALL_WRONG)
def test_a_deployed_party_refuses_by_itself_and_takes_no_part(how):
    lead = FederatedLogisticRegression().add_to(federation(), schema=SCHEMA)
    bad, told = spoilt(how)
    with pytest.raises(InputError, match=told):
        lead.simulate({**hospitals(), "south": bad})


def test_under_a_privacy_goal_a_party_refuses_by_itself_as_well():
    lead = Federation("hospitals", PARTIES, privacy=PrivacyGoal(epsilon=3.0, delta=1e-4))
    noise = {"clip_norm": 1.0, "people": 200}
    lead.add_task("risk", "dp-logistic", rounds=2, features=3, privacy=noise, **SCHEMA.parameters())
    lead.simulate(hospitals())
    with pytest.raises(InputError, match="'pressure' is missing"):
        lead.simulate({**hospitals(), "south": spoilt("missing")[0]})


def test_names_are_agreed_on_by_themselves_where_rows_have_them():
    data = hospitals()
    fitted = FederatedLogisticRegression(intercepts="per-party").fit(federation(), data)
    assert fitted.n_features_in_ == 3
    data["west"] = spoilt("other order")[0]
    for estimator in (FederatedLogisticRegression(), SecureStats(quantiles=())):
        with pytest.raises(InputError, match=r"^west: features column 0 is 'sex'"):
            estimator.fit(federation(), data)
    with pytest.raises(InputError, match=r"^part 2: features column 0 is 'sex'"):
        FederatedLogisticRegression().fit_plain(list(data.values()))


def test_a_pipeline_checks_what_its_first_step_takes():
    data = {
        name: IncompleteData(
            np.where(part.features == 42, np.nan, part.features), part.labels, NAMES
        )
        for name, part in hospitals().items()
    }
    steps = [
        ("fill", FederatedImputer()),
        ("scale", FederatedStandardizer()),
        ("fit", FederatedLogisticRegression()),
    ]
    wide = Schema(tuple(Column(name, low=0, high=1000) for name in NAMES))
    fitted = FederatedPipeline(steps).fit(federation(), data, schema=wide)
    assert len(fitted.predict(data["north"].features)) == 40
    narrow = Schema((Column("age", high=30), *wide.columns[1:]))
    with pytest.raises(InputError, match=r"^north: .*'age' holds values outside"):
        FederatedPipeline(steps).fit(federation(), data, schema=narrow)


def test_the_agreement_says_which_columns_and_nothing_changes_where_it_names_none():
    plain = FederatedLogisticRegression().add_to(federation(), features=3)
    named = FederatedLogisticRegression().add_to(federation(), schema=SCHEMA)
    told = named._tasks[0]["parameters"]
    assert told["columns"] == ["age", "sex", "pressure"]
    assert told["column_types"] == ["integer", "boolean", "number"]
    assert told["column_ranges"] == ["0..120", "", "0.5.."]
    bare = {key: value for key, value in told.items() if key not in KEYS}
    assert plain._tasks[0] == named._tasks[0] | {"parameters": bare}


names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
ends = st.floats(allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names, ends, ends), min_size=1, max_size=6, unique_by=lambda one: one[0]))
def test_a_schema_survives_its_parameters(told):
    columns = [Column(name, "number", min(a, b), max(a, b)) for name, a, b in told]
    if any(one.low == math.inf or one.high == -math.inf for one in columns):
        return
    schema = Schema(tuple(columns))
    assert read_schema(schema.parameters()) == schema


@pytest.mark.parametrize(
    ("parameters", "key", "told"),
    [
        ({"columns": ["a", "a"]}, "columns", "two columns are named 'a'"),
        ({"columns": ["a"]}, "columns", "has 1 names; name all 2 features"),
        ({"columns": ["a", ""]}, "columns", "a text of 1 to 128 characters"),
        ({"columns": ["a", "b\n"]}, "columns", "control characters"),
        ({"columns": ["a", PARTY_COLUMN]}, "columns", "is reserved"),
        ({"columns": ["a", 3]}, "columns", "is no list of texts"),
        ({"columns": "ab"}, "columns", "is no list of texts"),
        ({"columns": ["a"] * (MAX_COLUMNS + 1)}, "columns", "is no list of texts"),
        ({"columns": []}, "columns", "has 0 names"),
        ({"column_types": ["number"]}, "column_types", "without columns"),
        ({"columns": ["a", "b"], "column_types": ["number"]}, "column_types", "1 entries for 2"),
        ({"columns": ["a", "b"], "column_types": ["text", "number"]}, "column_types", "unknown"),
        ({"columns": ["a", "b"], "column_ranges": ["1", ""]}, "column_ranges", "is no range"),
        ({"columns": ["a", "b"], "column_ranges": ["x..", ""]}, "column_ranges", "is no range"),
        ({"columns": ["a", "b"], "column_ranges": ["2..1", ""]}, "column_ranges", "no number"),
        ({"columns": ["a", "b"], "column_ranges": ["nan..", ""]}, "column_ranges", "is no range"),
    ],
)
def test_a_malformed_schema_is_refused_with_the_agreement(parameters, key, told):
    with pytest.raises(AgreementError, match=told) as caught:
        build_task("glm-logistic", {"features": 2, **parameters}, name="risk")
    assert caught.value.key == f"tasks.risk.parameters.{key}"


def test_a_kind_that_reads_no_table_takes_no_columns():
    with pytest.raises(AgreementError, match="reads no named columns"):
        build_task("item-support", {"items": 3, "columns": ["a"]})


def test_a_signed_agreement_with_columns_reads_back_the_same():
    lead = FederatedLogisticRegression().add_to(federation(), schema=SCHEMA)
    result = lead.simulate(hospitals())
    again = agreement_from(result.agreement.to_plain())
    assert again.digest() == result.agreement.digest()
    assert read_schema(again.tasks[0].parameters) == SCHEMA


# Files


def test_names_survive_an_npz_file(tmp_path):
    path = tmp_path / "rows.npz"
    save_party_data(path, rows())
    loaded = load_party_data(path, schema=SCHEMA)
    assert loaded.columns == NAMES
    np.testing.assert_array_equal(loaded.features, rows().features)
    np.savez(path, features=[[1.0]], labels=[0], columns=[3])
    with pytest.raises(InputError, match="no list of texts"):
        load_party_data(path)


def test_a_csv_file_keeps_its_header_and_may_put_the_label_anywhere(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        "\ufeffage, label ,sex,pressure\n50,1,0,120.5\n\n61,0,1,140\n", encoding="utf-8"
    )
    data = load_party_data(path, features=3, schema=SCHEMA)
    assert data.columns == NAMES
    np.testing.assert_array_equal(data.features, [[50, 0, 120.5], [61, 1, 140]])
    np.testing.assert_array_equal(data.labels, [1, 0])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has 0 columns named label"),
        ("a,b\n1,2\n", "has 0 columns named label"),
        ("a,label,label\n1,2,3\n", "has 2 columns named label"),
        ("a,label\n", "at least one row"),
        ("label\n1\n", "one feature"),
        ("a,label\n1\n", "row 2 of rows.csv has 1 cells"),
        ("a,label\nred,1\n", "column 'a' of rows.csv holds in row 2 what is no number"),
        ("a,label\n,1\n", "column 'a' .* fill or drop gaps"),
        ("a,label\nnan,1\n", "holds NaN"),
        ("a,label\n1e999,1\n", "holds Inf"),
        ("a,a,label\n1,2,1\n", "two columns are named 'a'"),
        (",label\n1,1\n", "a text of 1 to 128"),
        ('a,label\n"1,1\n', "no UTF-8 table"),
        ("a,label\n1,2\n", "outside {0, 1}"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_refused_and_says_where(tmp_path, text, told):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=told) as caught:
        load_party_data(path)
    assert "red" not in str(caught.value)


def test_a_csv_file_in_another_encoding_or_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    with pytest.raises(InputError, match=r"rows\.csv cannot be read"):
        load_party_data(path)
    path.write_bytes("größe,label\n1,1\n".encode("latin-1"))
    with pytest.raises(InputError, match="no UTF-8"):
        load_party_data(path)


# Names at home


def test_names_stay_with_the_rows():
    data = rows()
    assert data.take(np.arange(3)).columns == NAMES
    assert concatenate([data, rows(1)]).columns == NAMES
    assert concatenate([data, rows(1, columns=None)]).columns is None
    gaps = IncompleteData(np.where(data.features == 0, np.nan, data.features), data.labels, NAMES)
    assert gaps.take(np.arange(3)).columns == pool([gaps, data]).columns == NAMES
    with pytest.raises(InputError, match="different columns"):
        concatenate([data, spoilt("other order")[0]])
    for columns, told in (
        (NAMES[:2], "2 names for 3"),
        (("a", "a", "b"), "two columns"),
        ((1, 2, 3), "text"),
    ):
        with pytest.raises(InputError, match=told):
            Data(data.features, data.labels, columns)
