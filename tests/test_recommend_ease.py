from __future__ import annotations

import copy

import numpy as np
import pytest

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError
from securefed import Federation
from securefed.learning import build_task, recommend, suggest
from securefed.learning.recommend import (
    Calibration,
    Catalogue,
    Ease,
    Histories,
    Interactions,
    ItemCosine,
    Popularity,
    leave_last_out,
    merge,
)
from securefed.learning.recommend.demo import shops
from securefed.learning.recommend.evaluation import Evaluator, evaluate
from securefed.learning.recommend.gram import full_gram
from securefed.learning.reference import fit, fixed_point_sum

SHOPS = shops(4, users=40, items=60)
NAMES = ["east", "north", "south", "west"]
BY_NAME = dict(zip(NAMES, SHOPS.parts, strict=True))
POOLED = merge(SHOPS.parts)


def lead():
    return Federation("shops", NAMES, privacy=None)


@pytest.fixture(scope="module")
def federated():
    return Ease(SHOPS.catalogue, regularization=20, max_users=100).fit(lead(), BY_NAME)


@pytest.fixture(scope="module")
def pooled():
    return Ease(SHOPS.catalogue, regularization=20, max_users=400).fit_plain([POOLED])


# Exactness and the ring


def test_the_federated_gram_matrix_is_the_pooled_one_bit_for_bit(federated, pooled):
    assert federated.gram_.tobytes() == pooled.gram_.tobytes()
    assert federated.weights_.tobytes() == pooled.weights_.tobytes()
    dense = Histories.from_interactions(POOLED).dense()[:, federated.chosen_]
    assert np.array_equal(federated.gram_, dense.T @ dense)


def test_both_runs_take_one_round_each(federated):
    assert {name: len(run.records) for name, run in federated.runs_.items()} == {
        "item-support": 1,
        "ease": 1,
    }
    assert federated.n_rounds_ == 2
    assert set(federated.bytes_up_) == set(NAMES)


def test_the_ring_is_as_small_as_the_counts_allow(federated):
    task = federated.runs_["ease"].agreement.tasks[0]
    assert task.modulus_bits == 7 + 2 + 2
    assert task.dimension == len(federated.chosen_) * (len(federated.chosen_) + 1) // 2


@pytest.mark.parametrize("parties", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("max_users", [1, 2, 170, 2**20])
def test_counts_lie_on_the_grid_of_every_federation(parties, max_users):
    model = Popularity(SHOPS.catalogue, max_users=max_users)
    plan = model.plan(parties)
    ring = suggest(plan.kind, plan.parameters, parties)
    unit = 2.0 ** np.ceil(np.log2(max_users))
    assert (ring.scale / unit) % 1 == 0
    assert ring.modulus_bits <= np.ceil(np.log2(max(2, max_users))) + np.log2(parties) + 3


def test_weights_minimise_the_published_objective():
    model = Ease(SHOPS.catalogue, regularization=20, min_support=1).fit_plain([POOLED])
    x = Histories.from_interactions(POOLED).dense()[:, model.chosen_]
    for item in (0, 7):
        others = np.delete(np.arange(x.shape[1]), item)
        system = x[:, others].T @ x[:, others] + 20 * np.eye(len(others))
        expected = np.linalg.solve(system, x[:, others].T @ x[:, item])
        np.testing.assert_allclose(model.weights_[others, item], expected, atol=1e-10)


def test_another_regularisation_needs_no_round(pooled):
    other = copy.deepcopy(pooled).reweight(50.0)
    fresh = Ease(SHOPS.catalogue, regularization=50.0, max_users=400).fit_plain([POOLED])
    assert np.array_equal(other.weights_, fresh.weights_)
    with pytest.raises(MisuseError, match="above 0"):
        copy.deepcopy(pooled).reweight(0.0)


# Support


def test_an_item_below_the_support_is_neither_trained_on_nor_published():
    counts = Histories.from_interactions(POOLED).raters
    least = int(np.median(counts))
    model = Ease(SHOPS.catalogue, min_support=least).fit_plain(SHOPS.parts)
    assert model.chosen_.tolist() == np.flatnonzero(counts >= least).tolist()
    assert not model.popularity_[counts < least].any()
    rare = int(np.argmin(counts))
    everything = model.recommend([rare, *model.chosen_[:2]], k=60)
    assert {one.item for one in everything} <= set(model.chosen_.tolist())
    without = model.scores(Histories.of([model.chosen_[:2]], 60))
    with_rare = model.scores(Histories.of([np.append(model.chosen_[:2], rare)], 60))
    assert np.array_equal(without, with_rare)


def test_an_item_that_loses_its_support_to_a_dropout_is_left_out_of_the_result():
    model = Ease(
        SHOPS.catalogue, max_users=100, support=Popularity(SHOPS.catalogue).fit_plain(SHOPS.parts)
    )
    plan = model.plan(4)
    task = build_task(plan.kind, {**plan.parameters, "min_support": 12})
    state = fit(task, [SHOPS.parts[0].to_data()], rounds=1).state
    gram = full_gram(state["gram"], len(model.chosen_))
    counts = Histories.from_interactions(SHOPS.parts[0]).raters[model.chosen_]
    assert (counts < 12).any()
    assert not gram[counts < 12].any()
    assert np.array_equal(np.diagonal(gram), np.where(counts < 12, 0, counts))
    assert np.isinf(model.load({"ease": state}).scores(SHOPS.parts[1])[0]).any()


def test_nobody_having_anything_in_common_is_no_result():
    with pytest.raises(NoResultError, match="min_support"):
        Popularity(SHOPS.catalogue, min_support=1000).fit_plain(SHOPS.parts)


def test_pairs_are_not_summed_before_items_are_counted():
    with pytest.raises(MisuseError, match="run Popularity first"):
        Ease(SHOPS.catalogue).add_to(lead())


def test_a_deployed_run_takes_its_items_from_an_earlier_one(federated):
    counted = Popularity(SHOPS.catalogue, max_users=100)
    first = counted.add_to(lead()).simulate(
        {name: part.to_data() for name, part in BY_NAME.items()}
    )
    model = Ease(
        SHOPS.catalogue, regularization=20, max_users=100, support=counted.load(first.models)
    )
    second = model.add_to(lead(), "pairs").simulate(
        {name: part.to_data() for name, part in BY_NAME.items()}
    )
    several = {**second.models, "other": {"gram": np.zeros(3)}}
    assert model.load(several, "pairs").weights_.tobytes() == federated.weights_.tobytes()


# Bad input


def test_another_catalogue_is_refused_before_and_at_the_party():
    other = Interactions.of_numbers(Catalogue.numbered(60), ["a"], [3])
    with pytest.raises(InputError, match="another catalogue"):
        Popularity(SHOPS.catalogue).fit_plain([other])
    plan = Popularity(SHOPS.catalogue).plan(2)
    with pytest.raises(InputError, match="another catalogue"):
        fit(build_task(plan.kind, plan.parameters), [other.to_data()], rounds=1)


def test_a_party_whose_rows_cannot_be_used_is_named_before_anything_is_sent():
    largest = max(BY_NAME, key=lambda name: BY_NAME[name].people)
    limit = BY_NAME[largest].people - 1
    model = Popularity(SHOPS.catalogue, max_users=limit)
    with pytest.raises(InputError, match=f"{largest}: .* max_users = {limit}"):
        model.fit(lead(), BY_NAME)
    assert not model.runs_
    with pytest.raises(MisuseError, match="no data of west"):
        model.fit(lead(), {name: BY_NAME[name] for name in NAMES[:3]})


def test_every_public_name_is_there():
    for name in recommend.__all__:
        assert getattr(recommend, name) is not None
    assert sorted(recommend.__all__) == recommend.__all__ == dir(recommend)
    assert set(recommend._HOME) == set(recommend.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        _ = recommend.Svd


def test_more_users_than_agreed_are_refused_by_name_of_the_limit():
    with pytest.raises(InputError, match="max_users = 10"):
        Popularity(SHOPS.catalogue, max_users=10).fit_plain(SHOPS.parts)


def test_a_gram_matrix_of_too_many_items_is_refused_with_the_agreement():
    with pytest.raises(AgreementError, match="20001 items") as refused:
        build_task("ease", {"items": 20_001})
    assert refused.value.key == "tasks.task.parameters.chosen"


@pytest.mark.parametrize("chosen", [["zz"], ["ffff"], ["00" * 8]])
def test_a_list_of_items_that_does_not_suit_the_catalogue_is_refused(chosen):
    for kind in ("ease", "item-support"):
        with pytest.raises(AgreementError, match=r"parameters\.chosen"):
            build_task(kind, {"items": 60, "chosen": chosen})


def test_a_federation_with_tasks_or_a_state_of_other_items_is_refused(pooled):
    busy = lead().add_task("counts", "item-support", rounds=1, items=60)
    with pytest.raises(MisuseError, match="without tasks"):
        Popularity(SHOPS.catalogue).fit(busy, BY_NAME)
    with pytest.raises(MisuseError, match="other items"):
        copy.deepcopy(pooled).load({"ease": {"gram": np.zeros(3)}})
    with pytest.raises(MisuseError, match="no model"):
        pooled.load({"a": {}, "b": {}})


def test_a_recommender_that_was_not_fitted_says_so():
    with pytest.raises(MisuseError, match="not fitted"):
        Ease(SHOPS.catalogue).recommend([1])


# Use


def test_federated_lists_are_better_than_a_companys_own():
    holdouts = [leave_last_out(part) for part in SHOPS.parts]
    trained = [each.train for each in holdouts]
    counts = Histories.from_interactions(merge(trained)).raters.astype(float)
    options = {"regularization": 20, "min_support": 2}
    together = Ease(SHOPS.catalogue, **options).fit_plain(trained)
    both, alone = Evaluator(counts, negatives=20), Evaluator(counts, negatives=20)
    for each in holdouts:
        both.add(together.scores, each)
        alone.add(Ease(SHOPS.catalogue, **options).fit_plain([each.train]).scores, each)
    assert both.result().ndcg > alone.result().ndcg


def test_lists_leave_known_items_out_unless_asked(pooled):
    history = SHOPS.parts[0].items[:5]
    listed = pooled.recommend(history, k=50)
    assert not {one.item for one in listed} & set(history.tolist())
    assert [one.score for one in listed] == sorted((one.score for one in listed), reverse=True)
    assert listed[0].key == SHOPS.catalogue.keys[listed[0].item]
    everything = pooled.recommend(history, k=60, with_known=True)
    assert {one.item for one in everything} >= set(history.tolist()) & set(pooled.chosen_.tolist())


@pytest.mark.parametrize("model", [Ease, ItemCosine])
def test_reasons_sum_to_the_score(model):
    fitted = model(SHOPS.catalogue).fit_plain(SHOPS.parts)
    history = SHOPS.parts[0].items[:6]
    best = fitted.recommend(history, k=1)[0]
    reasons = fitted.explain(history, best.item)
    assert {one.item for one in reasons} == set(history.tolist())
    assert sum(one.score for one in reasons) == pytest.approx(best.score)
    assert reasons[0].score == max(one.score for one in reasons)


@pytest.mark.parametrize("model", [Ease, ItemCosine])
def test_similar_items_share_kinds_more_often_than_chance(model):
    fitted = model(SHOPS.catalogue).fit_plain(SHOPS.parts)
    shared = [
        bool(SHOPS.kinds[item] @ SHOPS.kinds[one.item])
        for item in fitted.chosen_[:30]
        for one in fitted.similar(int(item), k=5)
    ]
    chance = (SHOPS.kinds @ SHOPS.kinds.T > 0).mean()
    assert np.mean(shared) > 1.3 * chance


def test_lists_can_be_discounted_and_calibrated(pooled):
    history = SHOPS.parts[0].items[:6]
    plain = pooled.recommend(history, k=8)
    rarer = pooled.recommend(history, k=8, popularity_discount=1.0)
    popularity = pooled.popularity_
    assert sum(popularity[one.item] for one in rarer) < sum(popularity[one.item] for one in plain)
    mixed = pooled.recommend(history, k=8, calibration=Calibration(SHOPS.kinds, weight=0.8))
    assert len({one.item for one in mixed}) == 8


def test_an_empty_history_gets_a_list_and_a_repeated_item_is_refused(pooled):
    assert len(pooled.recommend([], k=5)) == 5
    with pytest.raises(InputError, match="twice"):
        pooled.recommend([1, 1])
    with pytest.raises(InputError, match="outside"):
        pooled.recommend([60])
    with pytest.raises(InputError, match="item numbers"):
        pooled.recommend(["item-0001"])
    with pytest.raises(InputError, match="outside"):
        pooled.similar(60)


def test_popularity_is_a_floor_without_similarity():
    model = Popularity(SHOPS.catalogue).fit_plain(SHOPS.parts)
    first = model.recommend([], k=1)[0]
    counts = Histories.from_interactions(POOLED).raters
    assert (first.item, first.score) == (int(counts.argmax()), 1)
    assert model.popularity_.max() == counts.max()
    assert not model.contributions(np.array([1, 2]), 3).any()
    with pytest.raises(MisuseError, match="ItemCosine"):
        model.similar(1)
    assert evaluate(model.scores, leave_last_out(POOLED), negatives=20).users == POOLED.people


def test_parameters_read_and_write_as_in_scikit_learn():
    model = Ease(SHOPS.catalogue, regularization=7.0)
    assert type(model)(**model.get_params()).get_params() == model.get_params()
    assert model.set_params(min_support=3).min_support == 3
    assert "regularization=7.0" in repr(model)
    with pytest.raises(MisuseError, match="no lambda"):
        model.set_params(**{"lambda": 1})


def test_a_fixed_point_sum_changes_no_bit():
    plan = Popularity(SHOPS.catalogue, max_users=100).plan(4)
    ring = suggest(plan.kind, plan.parameters, 4)
    task, rows = build_task(plan.kind, plan.parameters), [part.to_data() for part in SHOPS.parts]
    add = fixed_point_sum(ring, parties=4, random=bytes)
    assert np.array_equal(
        fit(task, rows, rounds=1, add=add).state["users"], fit(task, rows, rounds=1).state["users"]
    )
