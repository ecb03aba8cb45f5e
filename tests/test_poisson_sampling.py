from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from support.seeded import seeded as seeded_random

from protocols.errors import MisuseError, PrivacyParameterError
from protocols.privacy.sampling import poisson_sample


@pytest.mark.parametrize("rate", [1e-4, 0.03, 0.5, 0.97])
def test_everybody_joins_with_the_agreed_probability(rate):
    people = 400_000
    sampled = poisson_sample(people, rate, seeded_random(1)).size
    assert stats.binomtest(sampled, people, rate).pvalue > 1e-6


def test_people_join_independently_of_each_other():
    rounds = np.zeros((400, 64))
    random = seeded_random(2)
    for row in rounds:
        row[poisson_sample(64, 0.5, random)] = 1
    correlations = np.corrcoef(rounds.T)[np.triu_indices(64, 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(400)
    sizes = rounds.sum(axis=1)
    # A fixed batch size would have no spread at all.
    assert 10 < sizes.var() < 24


def test_a_rate_of_one_takes_everybody_and_nobody_twice():
    np.testing.assert_array_equal(poisson_sample(70_001, 1.0, seeded_random(3)), np.arange(70_001))
    sampled = poisson_sample(200_000, 0.4, seeded_random(4))
    assert np.all(np.diff(sampled) > 0)
    assert sampled[-1] < 200_000


def test_no_people_give_an_empty_sample():
    assert poisson_sample(0, 0.5, seeded_random(5)).shape == (0,)
    assert poisson_sample(0, 1.0, seeded_random(5)).shape == (0,)


def test_impossible_arguments_are_refused():
    for rate in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(PrivacyParameterError, match="sampling_rate"):
            poisson_sample(10, rate, seeded_random(6))
    with pytest.raises(MisuseError):
        poisson_sample(-1, 0.5, seeded_random(6))


def test_another_seed_samples_other_people():
    first, second = (poisson_sample(1000, 0.5, seeded_random(seed)) for seed in (7, 8))
    assert first.tolist() != second.tolist()
    assert first.tolist() == poisson_sample(1000, 0.5, seeded_random(7)).tolist()
