from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import InputError, MisuseError
from securefed.data import Data, load_party_data, save_party_data
from securefed.learning.recommend import (
    Catalogue,
    Histories,
    Interactions,
    items_from_texts,
    items_to_texts,
    leave_last_out,
    merge,
)

FRUIT = Catalogue.of(["pear", "apple", "fig", "plum"])


def rows(**changes):
    given = {"users": ["ann", "bob", "ann"], "items": ["fig", "fig", "plum"]} | changes
    return Interactions.of(FRUIT, given.pop("users"), given.pop("items"), **given)


# Catalogues


def test_a_catalogue_is_sorted_and_its_digest_depends_on_every_key():
    assert FRUIT.keys == ("apple", "fig", "pear", "plum")
    assert FRUIT.digest == Catalogue(("apple", "fig", "pear", "plum")).digest
    assert FRUIT.digest != Catalogue(("applef", "ig", "pear", "plum")).digest
    assert len(FRUIT.tag) == 12


@pytest.mark.parametrize("keys", [(), ("a", "a"), ("a", "")])
def test_a_catalogue_that_is_empty_or_ambiguous_is_refused(keys):
    with pytest.raises(InputError):
        Catalogue(keys)


@given(st.integers(1, 70_000), st.data())
@settings(max_examples=25, deadline=None)
def test_chosen_items_survive_the_way_through_an_agreement(count, data):
    chosen = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=40))
    texts = items_to_texts(np.array(sorted(chosen)), count)
    assert max(map(len, texts)) <= 4096
    assert items_from_texts(texts, count).tolist() == sorted(chosen)


@pytest.mark.parametrize("texts", [("zz",), ("ff",), ("0000",), ("00",)])
def test_a_bitmap_that_is_not_of_the_catalogue_is_refused(texts):
    with pytest.raises(MisuseError):
        items_from_texts(texts, 4)


# Interactions


def test_rows_are_sorted_by_user_and_time():
    table = rows(users=["b", "a", "b"], items=["fig", "pear", "apple"], times=[9, 1, 3])
    assert table.user_keys == ("b", "a")
    assert table.history("b").tolist() == [FRUIT.index(["apple"])[0], FRUIT.index(["fig"])[0]]
    assert len(table) == 3
    assert table.people == 2


def test_an_unknown_item_is_refused_and_its_row_named_but_not_its_key():
    with pytest.raises(InputError, match="row 1 has an item") as refused:
        rows(items=["fig", "secret-drug", "plum"])
    assert "secret" not in str(refused.value)
    with pytest.raises(InputError, match="row 2 has an item"):
        Interactions.of_numbers(FRUIT, ["a", "a", "a"], [0, 1, 4])


def test_a_repeated_item_of_a_user_is_refused_or_the_last_one_kept():
    again = {"users": ["ann"] * 3, "items": ["fig", "plum", "fig"], "values": [1, 2, 5]}
    with pytest.raises(InputError, match="1 rows repeat an item"):
        rows(**again)
    kept = rows(**again, duplicates="last")
    assert kept.values.tolist() == [2, 5]


@pytest.mark.parametrize("column", ["values", "times"])
def test_nan_is_refused_and_the_column_named(column):
    with pytest.raises(InputError, match=f"{column} holds NaN"):
        rows(**{column: [1.0, np.nan, 2.0]})


@pytest.mark.parametrize("key", [None, float("nan")])
def test_a_missing_user_key_is_refused(key):
    with pytest.raises(InputError, match="key is missing"):
        rows(users=["a", key, "b"])


def test_a_company_without_interactions_is_refused():
    with pytest.raises(InputError, match="does not take part"):
        rows(users=[], items=[])
    with pytest.raises(InputError, match="no interaction is left"):
        rows(values=[1, 2, 3]).at_least(4)


def test_a_threshold_keeps_what_was_liked_and_numbers_users_anew():
    liked = rows(values=[1, 5, 2]).at_least(3)
    assert liked.user_keys == ("bob",)
    assert liked.users.tolist() == [0]


def test_a_user_of_two_companies_counts_as_two():
    pooled = merge([rows(), rows()])
    assert pooled.people == 4
    assert Histories.from_interactions(pooled).raters.max() == 4


def test_keys_of_users_are_neither_printed_nor_in_what_the_nodes_carry():
    table = rows()
    assert "ann" not in repr(table)
    assert "ann" not in repr(table.to_data())
    assert table.to_data().features.dtype == np.float64


# What the nodes carry


def test_interactions_survive_the_way_through_a_partys_file(tmp_path):
    path = tmp_path / "party.npz"
    save_party_data(path, rows().to_data())
    read = Histories.from_data(load_party_data(path), 4, FRUIT.tag, max_users=2)
    assert read.items.tolist() == Histories.from_interactions(rows()).items.tolist()
    assert read.sizes.tolist() == [2, 1]


def changed(column, value):
    features = rows().to_data().features.copy()
    features[0, column] = value
    return Data(features, rows().to_data().labels)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Data(np.ones((2, 3)), np.zeros(2)), "3 columns"),
        (changed(0, 4), "outside of the agreed catalogue"),
        (changed(0, 0.5), "items are no numbers"),
        (changed(0, -1), "items are no numbers"),
        (changed(0, 3), "an item twice"),
        (changed(3, 7), "another catalogue"),
        (Data(rows().to_data().features, np.array([0.0, 0.0, 5.0])), "max_users = 2"),
        (Data(rows().to_data().features, np.array([0.0, 0.0, -1.0])), "labels are no numbers"),
    ],
)
def test_rows_that_a_task_cannot_use_are_refused_before_anything_leaves(data, words):
    with pytest.raises(InputError, match=words):
        Histories.from_data(data, 4, FRUIT.tag, max_users=2)


def some_histories(seed=0, people=30, count=17):
    rng = np.random.default_rng(seed)
    picked = [rng.permutation(count)[: rng.integers(0, 9)] for _ in range(people)]
    return Histories.of(picked, count)


def test_sums_over_users_and_items_are_products_with_the_matrix():
    histories, rng = some_histories(), np.random.default_rng(1)
    matrix = histories.dense()
    by_item, by_user = rng.normal(size=(17, 3)), rng.normal(size=(30, 3))
    np.testing.assert_allclose(histories.sum_over_items(by_item), matrix @ by_item, atol=1e-12)
    np.testing.assert_allclose(histories.sum_over_users(by_user), matrix.T @ by_user, atol=1e-12)
    assert np.array_equal(histories.gram(), matrix.T @ matrix)


def test_sums_do_not_depend_on_how_they_are_cut_into_pieces(monkeypatch):
    histories, rows_ = some_histories(), np.random.default_rng(1).normal(size=(17, 3))
    whole, gram = histories.sum_over_items(rows_), histories.gram()
    monkeypatch.setattr("securefed.learning.recommend.histories._CHUNK_VALUES", 7)
    assert np.array_equal(histories.sum_over_items(rows_), whole)
    assert np.array_equal(histories.gram(), gram)


def test_a_restriction_keeps_users_and_numbers_items_anew():
    histories, chosen = some_histories(), np.array([2, 3, 11])
    assert np.array_equal(histories.restricted(chosen).dense(), histories.dense()[:, chosen])


def test_the_last_item_of_everybody_with_two_is_hidden():
    holdout = leave_last_out(rows(times=[2, 1, 1]))
    assert holdout.targets.tolist() == [FRUIT.index(["fig"])[0], -1]
    assert len(holdout.train) == 2
    assert holdout.train.people == 2
    with pytest.raises(InputError, match="no user has two"):
        leave_last_out(rows(users=["a", "b", "c"]))
