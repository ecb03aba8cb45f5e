from __future__ import annotations

import math
from fractions import Fraction

import pytest
from scipy import stats
from support.seeded import seeded

from protocols.errors import MisuseError, PrivacyParameterError
from protocols.privacy.canary_bound import epsilon_lower_bound, p_value
from protocols.privacy.mechanisms import DiscreteGaussian
from securefed.privacy import audit_canaries

SIZE = {"canaries": 60_000, "guesses": 600, "delta": 1e-6}


def test_the_attack_never_refutes_the_proven_epsilon():
    audit = audit_canaries(1.0, random=seeded("honest"), **SIZE)
    assert audit.passed
    # An attack that finds nothing would prove nothing.
    assert audit.epsilon_lower > 0.4 * audit.epsilon_proven


def test_the_attack_refutes_the_proven_epsilon_when_the_noise_is_halved():
    def halved(share: DiscreteGaussian) -> DiscreteGaussian:
        return DiscreteGaussian(share.variance / Fraction(4))

    audit = audit_canaries(1.0, random=seeded("halved"), tamper=halved, **SIZE)
    assert not audit.passed


def test_the_attack_refutes_the_proven_epsilon_when_noise_is_switched_off():
    audit = audit_canaries(1.0, random=seeded("off"), tamper=lambda _share: None, **SIZE)
    assert audit.right == audit.guesses
    assert audit.epsilon_lower > audit.epsilon_proven


def test_sampling_and_composition_are_attacked_as_well():
    audit = audit_canaries(
        0.7, sampling_rate=0.5, rounds=3, random=seeded("rounds"), canaries=6_400, guesses=200
    )
    assert audit.passed
    assert audit.epsilon_lower > 0


@pytest.mark.parametrize(("epsilon", "right"), [(0.0, 60), (1.0, 80), (3.0, 97)])
def test_without_delta_the_bound_is_the_tail_of_a_binomial(epsilon, right):
    q = 1 / (1 + math.exp(-epsilon))
    expected = stats.binom.sf(right - 1, 100, q)
    found = p_value(epsilon, canaries=500, guesses=100, right=right, delta=0.0)
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_published_procedure_gives_the_same_bound_with_delta():
    m, r, v, epsilon, delta = 1000, 200, 180, 1.5, 1e-5
    q = 1 / (1 + math.exp(-epsilon))
    beta, alpha, total = stats.binom.sf(v - 1, r, q), 0.0, 0.0
    for i in range(1, v + 1):
        total += stats.binom.pmf(v - i, r, q)
        alpha = max(alpha, total / i)
    expected = min(1.0, beta + alpha * delta * 2 * m)
    found = p_value(epsilon, canaries=m, guesses=r, right=v, delta=delta)
    assert found == pytest.approx(expected, rel=1e-9)


def test_guesses_at_chance_level_refute_nothing():
    assert (
        epsilon_lower_bound(canaries=1000, guesses=100, right=52, delta=1e-6, confidence=0.95) == 0
    )


def test_impossible_audits_are_refused():
    with pytest.raises(MisuseError, match="even number"):
        audit_canaries(1.0, canaries=64, guesses=101)
    with pytest.raises(PrivacyParameterError):
        p_value(1.0, canaries=10, guesses=20, right=5, delta=0.0)
    with pytest.raises(PrivacyParameterError):
        epsilon_lower_bound(canaries=10, guesses=10, right=5, delta=0.0, confidence=1.0)
