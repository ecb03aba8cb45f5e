from __future__ import annotations

import numpy as np
import pytest

from securefed.learning.recommend import Catalogue, DpEase, Histories
from securefed.learning.recommend.bias import gini
from securefed.learning.recommend.demo import crowd
from securefed.learning.recommend.gram import ease_weights

ITEMS, LENGTH = 80, 9


@pytest.fixture(scope="module")
def people():
    return crowd(4_000, items=ITEMS, length=LENGTH, seed=3)


def divided(whole):
    """Who is learnt from, and the last thousand people without their last item, and those items."""
    count = whole.people - 1_000
    tested = whole.slice(count, whole.people)
    last = tested.starts[1:] - 1
    rest = Histories(tested.starts - np.arange(1_001), np.delete(tested.items, last), tested.count)
    return whole.slice(0, count), rest, tested.items[last]


def hits(scores, known, hidden):
    scores = np.where(known.dense() > 0, -np.inf, scores)
    own = scores[np.arange(len(hidden)), hidden][:, np.newaxis]
    return ((scores >= own).sum(axis=1) <= 10).mean()


def test_everybody_has_a_few_items_up_to_three_times_the_average_each_once(people):
    assert people.people == 4_000
    assert people.sizes.min() == 5
    assert people.sizes.max() == 3 * LENGTH
    assert LENGTH - 1 < people.sizes.mean() < LENGTH + 1
    assert people.dense().sum() == len(people.items)


def test_the_same_seed_gives_the_same_people_and_fewer_are_the_first_ones_of_more(people):
    fewer = crowd(1_500, items=ITEMS, length=LENGTH, seed=3)
    first = people.slice(0, 1_500)
    assert np.array_equal(fewer.starts, first.starts)
    assert np.array_equal(fewer.items, first.items)
    other = crowd(1_500, items=ITEMS, length=LENGTH, seed=4)
    assert not np.array_equal(other.raters, fewer.raters)


def test_popularity_has_a_long_tail(people):
    flat = crowd(4_000, items=ITEMS, length=LENGTH, seed=3, skew=0.0, strength=0.0)
    assert gini(people.raters.astype(float)) > 0.25
    assert gini(flat.raters.astype(float)) < 0.05


def test_tastes_can_be_learnt_and_without_any_popularity_is_all_there_is():
    found = []
    for strength in (2.0, 0.0):
        train, rest, hidden = divided(
            crowd(4_000, items=ITEMS, length=LENGTH, seed=3, strength=strength)
        )
        weights = ease_weights(train.gram().astype(float), 100.0)
        personal = hits(rest.dense() @ weights, rest, hidden)
        popular = hits(np.tile(train.raters, (1_000, 1)), rest, hidden)
        found.append(personal / popular)
    assert found[0] > 1.2
    assert found[1] < 1.05


def test_noised_pairs_keep_most_hits_where_noise_cuts_off_half_of_the_spectrum():
    train, rest, hidden = divided(crowd(20_000, items=ITEMS, length=LENGTH, seed=3))
    gram = train.gram().astype(float)
    exact = hits(rest.dense() @ ease_weights(gram, 100.0), rest, hidden)
    noise = np.triu(np.random.default_rng(0).normal(0, 40.0, gram.shape))
    model = DpEase(Catalogue.numbered(ITEMS), chosen=range(ITEMS), people=20_000)
    model.noise_ = 40.0
    weights = model.weights(gram + noise + np.triu(noise, 1).T)
    assert hits(rest.dense() @ weights, rest, hidden) > 0.8 * exact
