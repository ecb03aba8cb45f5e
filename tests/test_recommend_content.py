from __future__ import annotations

import numpy as np
import pytest

from protocols.errors import InputError, MisuseError
from securefed.learning.recommend import (
    Catalogue,
    ContentBased,
    Ease,
    Histories,
    Hybrid,
    ItemFeatures,
    merge,
)
from securefed.learning.recommend.demo import shops

SHOPS = shops(3, users=40, items=60)
FEATURES = ItemFeatures(SHOPS.kinds, tuple("abcdef"))


@pytest.fixture(scope="module")
def content():
    return ContentBased(SHOPS.catalogue, FEATURES).fit_plain(SHOPS.parts)


@pytest.fixture(scope="module")
def ease():
    return Ease(SHOPS.catalogue, regularization=20).fit_plain(SHOPS.parts)


# Features


def test_kinds_become_one_column_each():
    found = ItemFeatures.of_kinds([["b", "a"], [], ["b"]])
    assert found.names == ("a", "b")
    assert found.matrix.tolist() == [[1, 1], [0, 0], [0, 1]]


def test_texts_are_weighted_by_rarity_and_have_length_one():
    found = ItemFeatures.of_texts(["Red red wine", "white wine", "white", "", "lonely"])
    assert found.names == ("white", "wine")
    assert np.linalg.norm(found.matrix, axis=1).tolist() == pytest.approx([1, 1, 1, 0, 0])
    many = ItemFeatures.of_texts(["a b", "a b", "a c"], min_items=1)
    assert many.matrix[2, many.names.index("c")] > many.matrix[2, many.names.index("a")]


def test_numbers_are_standardised_and_nan_is_refused():
    found = ItemFeatures.of_numbers([[1.0, 5], [3.0, 5]], ["price", "constant"])
    assert found.matrix.tolist() == [[-1, 0], [1, 0]]
    with pytest.raises(InputError, match="NaN"):
        ItemFeatures.of_numbers([[np.nan]], ["price"])
    with pytest.raises(InputError, match="names"):
        ItemFeatures.of_numbers([[1.0]], [])


def test_blocks_are_put_side_by_side_with_the_weights_given():
    kinds = ItemFeatures.of_kinds([["a", "b"], ["a"]])
    both = ItemFeatures.beside([kinds, kinds], [1, 3])
    assert np.linalg.norm(both.matrix[0, 2:]) == pytest.approx(3)
    assert both.names == ("a", "b", "a", "b")
    for blocks, weights in (([], None), ([kinds], [1, 2])):
        with pytest.raises(InputError, match="blocks"):
            ItemFeatures.beside(blocks, weights)


def test_features_without_a_column_are_refused():
    with pytest.raises(InputError, match="0 columns"):
        ItemFeatures.of_texts(["", ""])


# Content


def test_content_recommends_the_users_kinds_and_items_that_nobody_has(content):
    only = np.flatnonzero(SHOPS.kinds[:, 2] * (SHOPS.kinds.sum(axis=1) == 1))
    listed = content.recommend(only[:2], k=3)
    assert all(SHOPS.kinds[one.item, 2] for one in listed)
    counts = Histories.from_interactions(merge(SHOPS.parts)).raters
    assert np.isfinite(content.scores(SHOPS.parts[0])[:, counts == 0]).all()


def test_reasons_of_content_and_hybrid_sum_to_the_score(content, ease):
    history = SHOPS.parts[0].items[:6]
    for fitted in (content, Hybrid(ease, content, weight=0.4)):
        best = fitted.recommend(history, k=1)[0]
        reasons = fitted.explain(history, best.item)
        assert sum(one.score for one in reasons) == pytest.approx(best.score)
        assert fitted.similar(3, k=2)[0].item != 3


def test_a_hybrid_lies_between_its_two(content, ease):
    users = SHOPS.parts[0]
    known = np.zeros(60, dtype=bool)
    known[ease.chosen_] = True
    for weight, alone in ((0.0, ease), (1.0, content)):
        mixed = Hybrid(ease, content, weight=weight).scores(users)[:, known]
        single = alone.scores(users)[:, known]
        assert np.array_equal(np.argsort(mixed, axis=1)[:, -5:], np.argsort(single, axis=1)[:, -5:])


def test_a_hybrid_scores_items_that_only_content_knows(content):
    strict = Ease(SHOPS.catalogue, min_support=25).fit_plain(SHOPS.parts)
    cold = np.setdiff1d(np.arange(60), strict.chosen_)
    assert cold.size
    assert np.isinf(strict.scores(SHOPS.parts[0])[:, cold]).all()
    assert np.isfinite(Hybrid(strict, content).scores(SHOPS.parts[0])[:, cold]).all()


def test_what_cannot_be_combined_or_trained_is_refused(content, ease):
    other = ContentBased(Catalogue.numbered(60), FEATURES)
    for first, second, weight in ((ease, other, 0.5), (ease, content, 2.0)):
        with pytest.raises(MisuseError, match="one catalogue"):
            Hybrid(first, second, weight=weight)
    with pytest.raises(MisuseError, match="fit both"):
        Hybrid(Ease(SHOPS.catalogue), content)
    with pytest.raises(MisuseError, match="not trained itself"):
        Hybrid(ease, content).fit_plain(SHOPS.parts)
    with pytest.raises(InputError, match="one row of item features"):
        ContentBased(SHOPS.catalogue, ItemFeatures(SHOPS.kinds[1:], ())).fit_plain(SHOPS.parts)
