"""The n-gram model: what is counted, what is published, what the federation's model equals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed import Federation, PrivacyGoal
from securefed.data import Data
from securefed.data.table import concatenate
from securefed.learning import (
    DpNgram,
    FederatedNgram,
    Lexicon,
    PersonPrivacy,
    build_task,
    ngram_data,
)
from securefed.learning.language import split_words, word_cells
from securefed.learning.language.candidates import Candidates
from securefed.learning.language.person_ngrams import person_norm, person_texts

CELLS = 2**12
SMALL = {"cells": CELLS, "vocabulary": 40, "table": 300, "max_rows": 4000}
NAMES = ("north", "south", "west")


def generated(seed, people=8, texts=6, words=30):
    """Texts from a chain of words in which each word has a few likely followers."""
    rng = np.random.default_rng(seed)
    told, who = [], []
    for person in range(people):
        for _ in range(texts):
            word, line = int(rng.integers(words)), []
            for _ in range(int(rng.integers(1, 14))):
                line.append(f"w{chr(97 + word // 26)}{chr(97 + word % 26)}")
                word = (word * 7 + int(rng.choice([1, 2, 5], p=[0.7, 0.2, 0.1]))) % words
            told.append(" ".join(line))
            who.append(person)
    return who, told


def parts(order=3, companies=3):
    return [ngram_data(*generated(seed), order=order, cells=CELLS) for seed in range(companies)]


def by_hand(tables, order, support, per_person):
    """Supported n-grams of each length, as tuples of cells, counted with dictionaries."""
    found = {}
    for length in range(1, order + 1):
        own = Counter()
        for company, data in enumerate(tables):
            for row, word in zip(data.features.astype(int), data.labels.astype(int), strict=True):
                gram = (*row[:-1], word)[order - length :]
                own[company, row[-1], tuple(int(each) for each in gram)] += 1
        total = Counter()
        for (_, _, gram), count in own.items():
            total[gram] += min(count, per_person)
        found[length] = {gram: count for gram, count in total.items() if count >= support}
    # (begin, begin, w) says the same as (begin, w).
    return {
        length: {g: c for g, c in grams.items() if g[:2] != (0, 0)}
        for length, grams in found.items()
    }


def published(model_state, order, base):
    cells = model_state["vocabulary"].astype(int)
    told = {1: dict(zip(((int(c),) for c in cells if c), model_state["counts.1"], strict=False))}
    for length in range(2, order + 1):
        told[length] = {}
        keys, counts = model_state[f"keys.{length}"], model_state[f"counts.{length}"]
        for key, count in zip(keys.astype(int), counts, strict=True):
            numbers, rest = [], int(key)
            for _ in range(length):
                rest, number = divmod(rest, base)
                numbers.append(int(cells[number - 1]) if number else 0)
            if key:
                told[length][tuple(numbers[::-1])] = count
    return told


# Text


def test_words_keep_their_apostrophes_and_marks_stand_alone():
    assert split_words("Speak, 'tis O'Brien's: SPEAK!") == [
        "speak", ",", "'tis", "o'brien's", ":", "speak", "!",
    ]  # fmt: skip


def test_a_word_has_one_cell_everywhere():
    assert word_cells(["speak", "speak", ","], 2**20).tolist() == [650688, 650688, 303884]


def test_a_row_is_the_words_before_the_person_and_the_word_and_texts_do_not_touch():
    a, b, c = word_cells(["a", "b", "c"], 64)
    data = ngram_data(["ann", "bob", "ann"], ["a b", "c", "b"], order=3, cells=64)
    assert data.features.tolist() == [[0, 0, 0], [0, a, 0], [0, 0, 1], [0, 0, 0]]
    assert data.labels.tolist() == [a, b, c, b]


def test_texts_without_a_word_and_lists_of_two_lengths_are_refused():
    with pytest.raises(InputError, match="no word"):
        ngram_data(["a"], ["123 \n"], cells=64)
    with pytest.raises(InputError, match="2 people's names for 1 texts"):
        ngram_data(["a", "b"], ["x"], cells=64)


def test_a_lexicon_names_a_shared_cell_by_the_word_used_most():
    lexicon = Lexicon.of(["left right right"], cells=1)
    assert (lexicon.word(1), lexicon.word(2)) == ("right", None)


# Counts


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=12, deadline=None)
def test_the_model_has_every_ngram_with_enough_support_and_no_other(order, support, cap, seed):
    tables = [
        ngram_data(*generated(seed + k, people=3, texts=3), order=order, cells=CELLS)
        for k in range(2)
    ]
    task = build_task(
        "ngram",
        {"order": order, "cells": CELLS, "vocabulary": 40, "min_support": support,
         "per_person": cap, "table": 600},
    )  # fmt: skip
    state = task.initial_state()
    expected = by_hand(tables, order, support, cap)
    if not expected[1]:
        return
    done = False
    while not done:
        sums = [task.contribute(state, data, 1, np.random.default_rng(0)) for data in tables]
        step = task.combine(state, {"counts": sum(one["counts"] for one in sums)}, 1)
        state, done = step.state, step.done
    assert published(state, order, 41) == expected


def test_the_federations_model_is_the_pooled_one_bit_for_bit_over_real_nodes():
    tables = parts()
    lead = Federation("press", NAMES, privacy=None)
    model = FederatedNgram(**SMALL).fit(lead, dict(zip(NAMES, tables, strict=True)))
    for number, data in enumerate(tables):
        data.features[:, -1] += 100 * number  # people of different companies are different people
    pooled = FederatedNgram(**SMALL).fit_plain([concatenate(tables)])
    assert model.n_rounds_ == 3
    assert not model.complaints_
    assert model.ngrams_ == pooled.ngrams_
    windows = tables[0].features.astype(int)[:, :-1]
    assert (model.model_.scores(windows) == pooled.model_.scores(windows)).all()
    assert (model.predict(tables[1].features) == pooled.predict(tables[1].features)).all()


def test_more_joins_than_cells_leave_out_the_rarest_parts_and_nothing_else():
    task = build_task("ngram", {"cells": 30, "vocabulary": 5, "table": 30, "min_support": 1})
    state = {**task.initial_state(), "phase": np.array(3.0)}
    state["vocabulary"] = np.arange(1.0, 6.0)
    keys = [a * 6 + b for a in range(1, 6) for b in range(1, 6)]  # 125 joins for 30 cells
    state["keys.2"] = np.array([*keys, 0.0, 0.0, 0.0, 0.0, 0.0])
    state["counts.2"] = np.where(state["keys.2"] % 6 < 3, 9.0, 2.0)
    listed = Candidates.of(state, task.parameters, task.initial_state())
    assert 0 < listed.count <= 30
    assert set(listed.keys % 6) <= {1, 2}
    assert (np.diff(listed.keys) > 0).all()


# Hostile states and data


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("phase", 4.0, "phase"),
        ("phase", 1.5, "phase"),
        ("vocabulary", [3.0, 3.0, 0, 0, 0], "twice"),
        ("vocabulary", [3.5, 0, 0, 0, 0], "vocabulary holds"),
        ("vocabulary", [99.0, 0, 0, 0, 0], "vocabulary holds"),
        ("keys.2", [7.0, 7.0, 0, 0], "ascending"),
        ("keys.2", [-1.0, 0, 0, 0], "keys.2 holds"),
        ("keys.2", [36.0, 0, 0, 0], "keys.2 holds"),
        ("keys.2", [0.0, 0, 0], "see keys.2"),
    ],
)
def test_a_state_that_no_round_can_have_published_is_refused(name, values, told):
    task = build_task("ngram", {"cells": 30, "vocabulary": 5, "table": 4})
    state = {**task.initial_state(), "phase": np.array(3.0), name: np.array(values)}
    data = ngram_data([0], ["a b c"], cells=30)
    with pytest.raises(WireError, match=told):
        task.contribute(state, data, 1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [(0, 0.5, "column of words"), (1, 31.0, "column of words"), (2, -1.0, "column of people")],
)
def test_rows_that_are_no_words_are_refused_before_anything_is_sent(column, value, told):
    tables = {name: ngram_data([0], ["a b c"], cells=30) for name in NAMES}
    tables["south"].features[1, column] = value
    with pytest.raises(InputError, match=f"south: .*{told}"):
        FederatedNgram(cells=30, vocabulary=5).fit(Federation("p", NAMES, privacy=None), tables)


def test_a_label_that_is_no_word_and_a_table_of_another_order_are_refused():
    data = ngram_data([0], ["a b c"], cells=30)
    with pytest.raises(InputError, match="labels"):
        FederatedNgram(cells=30, vocabulary=5).fit_plain([Data(data.features, [0.0, 1.0, 2.0])])
    with pytest.raises(InputError, match="columns"):
        FederatedNgram(2, cells=30, vocabulary=5).fit_plain([data])


def test_parameters_that_do_not_fit_name_the_remedy():
    with pytest.raises(AgreementError, match="raise cells to vocabulary"):
        build_task("ngram", {"cells": 30, "vocabulary": 6})
    with pytest.raises(AgreementError, match="lower the order or the vocabulary"):
        build_task("ngram", {"cells": 2**26, "vocabulary": 8000, "order": 5})


def test_without_a_word_of_enough_support_there_is_no_model():
    with pytest.raises(NoResultError, match="lower min_support"):
        FederatedNgram(cells=30, vocabulary=5).fit_plain([ngram_data([0], ["a b c"], cells=30)])


# Predictions


def test_probabilities_add_up_and_a_known_context_decides():
    texts = ["the king is dead"] * 6 + ["the queen is here"] * 4 + ["a king was here"] * 5
    model = FederatedNgram(cells=4096, vocabulary=20, per_person=100)
    model.fit_plain([ngram_data(list(range(15)), texts, cells=4096)])
    lexicon = Lexicon.of(texts, cells=4096)
    assert model.next_words("the king", lexicon, 1) == ["is"]
    assert model.next_words("a king", lexicon, 1) == ["was"]
    assert model.next_words("", lexicon, 1) == ["the"]
    assert model.next_words("unheard of king", lexicon, 2) == ["is", "was"]
    scores = model.model_.scores(word_cells(["the", "king", "of", "of"], 4096).reshape(2, 2))
    np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_the_score_counts_hits_and_a_larger_list_has_more():
    tables = parts()
    model = FederatedNgram(**SMALL).fit_plain(tables[:2])
    held = tables[2]
    one, three = (model.score(held.features, held.labels, top=top) for top in (1, 3))
    assert one == np.mean(model.predict(held.features) == held.labels)
    assert 0.4 < one < three <= 1


def test_the_rest_of_a_published_run_can_be_loaded_and_asked_first_is_refused():
    lead = FederatedNgram(**SMALL).add_to(Federation("p", NAMES, privacy=None), "w", features=3)
    result = lead.simulate(dict(zip(NAMES, parts(), strict=True)))
    loaded = FederatedNgram(**SMALL).load(result.models, "w")
    assert loaded.ngrams_[1] > 25
    with pytest.raises(MisuseError, match="not fitted"):
        FederatedNgram().predict(np.zeros((1, 3)))
    with pytest.raises(MisuseError, match="at least one word"):
        loaded.predict_top(np.zeros((1, 3)), 0)


# Noise

PRIVATE = {"people": 600, "most": 12, "tokens": 60, "cells": 2048, "vocabulary": 30, "table": 200}


def crowd():
    return [ngram_data(*generated(seed, people=100), order=2, cells=2048) for seed in range(3)]


def test_a_persons_row_is_the_text_in_order_with_a_gap_before_each():
    a, b, c = word_cells(["a", "b", "c"], 64)
    data = ngram_data(["ann", "bob", "ann"], ["a b", "c", "b"], order=3, cells=64)
    assert person_texts(data, 6).features.tolist() == [[0, a, b, 0, b, 0], [0, c, 0, 0, 0, 0]]
    assert person_texts(data, 2).features.tolist() == [[0, a], [0, c]]


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_no_person_adds_more_than_the_clip_norm_and_odd_rows_add_nothing(seed, most, phase):
    rng = np.random.default_rng(seed)
    good = person_texts(ngram_data(*generated(seed), order=2, cells=2048), 60).features
    bad = rng.normal(size=(4, 60)) * 1000
    task = build_task(
        "dp-ngram",
        {"order": 2, "cells": 2048, "vocabulary": 30, "tokens": 60, "most": most, "table": 9},
    )
    state = {**task.initial_state(), "phase": np.array(float(phase))}
    words = np.unique(good[good > 0])[:30]
    state["vocabulary"][: len(words)] = words
    data = Data(np.concatenate([good, bad]), np.zeros(len(good) + 4))
    vectors = np.concatenate(list(task.per_person(state, data, 1, rng)))
    assert np.linalg.norm(vectors, axis=1).max() <= person_norm(most) + 1e-9
    assert vectors[: len(good)].any()
    assert not vectors[len(good) :].any()
    alone = np.concatenate(
        [v for k in range(len(data)) for v in task.per_person(state, data.take([k]), 1, rng)]
    )
    assert (alone == vectors).all()


def test_with_hardly_any_noise_the_counts_are_those_of_people():
    privacy = PersonPrivacy(person_norm(12), 0.3, 1.0, 3, 1e-6)
    model = DpNgram(**PRIVATE).fit_noised(crowd(), privacy)
    assert model.noise_ > 0
    assert model.n_rounds_ == 2
    assert model.ngrams_[2] > 20
    held = ngram_data(*generated(9), order=2, cells=2048)
    exact = FederatedNgram(2, cells=2048, vocabulary=30).fit_plain(crowd())
    best = exact.score(held.features, held.labels)
    assert best - 0.1 < model.score(held.features, held.labels) <= best + 0.05


def test_a_federation_with_a_goal_learns_words_within_it_and_exact_counts_are_refused():
    lead = Federation("press", NAMES, privacy=PrivacyGoal(epsilon=8.0, delta=1e-6))
    tables = dict(zip(NAMES, crowd(), strict=True))
    model = DpNgram(**PRIVATE).fit(lead, tables)
    assert 0 < model.privacy_.epsilon <= 8
    assert model.ngrams_[1] >= 5
    with pytest.raises(MisuseError, match="DpNgram is the form with noise"):
        FederatedNgram(2, cells=2048, vocabulary=30).fit(lead, tables)


def test_too_few_people_for_the_noise_give_no_model_rather_than_noise():
    privacy = PersonPrivacy(person_norm(12), 20.0, 1.0, 3, 1e-6)
    with pytest.raises(NoResultError, match="no word rises above the noise"):
        DpNgram(**PRIVATE).fit_noised(parts(order=2), privacy)


def test_a_persons_table_of_another_width_is_refused_even_for_a_row_of_zeros():
    task = build_task("dp-ngram", {"order": 2, "cells": 30, "vocabulary": 5, "tokens": 8})
    with pytest.raises(InputError, match="columns"):
        next(task.per_person(task.initial_state(), Data(np.zeros((1, 9)), [0.0]), 1, None))
    with pytest.raises(MisuseError, match="order of at least 2"):
        DpNgram(1, people=9).plan(1, 3)
