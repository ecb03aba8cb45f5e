from __future__ import annotations

import math
from contextlib import suppress
from importlib import import_module

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import PrivacyParameterError
from protocols.privacy import calibration
from protocols.privacy.accounting import (
    choose_interval,
    epsilon,
    guarantee,
    guarantees,
)
from protocols.privacy.calibration import calibrate, smallest_noise_multiplier
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.releases import Release, merged
from protocols.privacy.renyi import ORDERS, _divergences

# z, q, T, delta; epsilon by privacy loss distributions and by Renyi divergences, as several
# libraries agree on them.
REFERENCE = [
    (1.0, 100 / 3400, 1500, 1 / 3400, 5.968, 6.697),
    (1.1, 256 / 60000, 14062, 1e-5, 2.382, 2.597),
    (8.0, 1.0, 60, 1e-6, 4.7105, 5.035),
    (2.0, 0.05, 500, 1e-6, 2.873, 3.102),
]

multipliers = st.floats(0.5, 20.0)
rates = st.one_of(st.floats(0.001, 0.9), st.just(1.0))


@pytest.mark.parametrize(("z", "q", "steps", "delta", "pld", "rdp"), REFERENCE)
def test_epsilon_is_that_of_the_reference_table(z, q, steps, delta, pld, rdp):
    cost = guarantee([Release(z, q, steps)], delta)
    assert cost.epsilon_pld == pytest.approx(pld, rel=2e-4)
    assert cost.epsilon_rdp == pytest.approx(rdp, abs=1e-3)
    assert cost.delta == delta


def analytic_gaussian_epsilon(z: float, delta: float) -> float:
    """Balle and Wang 2018, Theorem 8, solved for epsilon."""
    with mpmath.workdps(40):

        def excess(e: mpmath.mpf) -> mpmath.mpf:
            half, shift = mpmath.mpf(1) / (2 * mpmath.mpf(z)), e * mpmath.mpf(z)
            return mpmath.ncdf(half - shift) - mpmath.exp(e) * mpmath.ncdf(-half - shift) - delta

        low, high = mpmath.mpf(0), mpmath.mpf(1000)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return float(high)


@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-10, 1e-12])
@pytest.mark.parametrize(("z", "steps"), [(8.0, 60), (0.7, 1), (40.0, 1000), (1.0, 4)])
def test_without_sampling_epsilon_is_the_analytic_one_and_never_below(z, steps, delta):
    exact = analytic_gaussian_epsilon(z / math.sqrt(steps), delta)
    ours = epsilon([Release(z, 1.0, steps)], delta)
    assert exact * (1 - 1e-9) <= ours <= exact * (1 + 2e-4)


@settings(max_examples=10, deadline=None)
@given(z=st.floats(0.6, 20.0), q=rates, steps=st.integers(1, 300), delta=st.floats(1e-9, 1e-2))
def test_the_renyi_epsilon_is_never_below_the_tight_one(z, q, steps, delta):
    cost = guarantee([Release(z, q, steps)], delta)
    assert cost.epsilon_pld <= cost.epsilon_rdp * (1 + 2e-4) + 1e-6


@settings(max_examples=8, deadline=None)
@given(z=st.floats(0.6, 10.0), q=rates, steps=st.integers(1, 200))
def test_more_noise_fewer_steps_and_rarer_sampling_never_cost_more(z, q, steps):
    def cost(z: float, q: float, steps: int) -> float:
        return epsilon([Release(z, q, steps)], 1e-6, interval=1e-3)

    here = cost(z, q, steps)
    assert cost(1.2 * z, q, steps) <= here
    assert cost(z, 0.8 * q, steps) <= here
    assert cost(z, q, steps + 1) >= here


@pytest.mark.parametrize(("z", "q"), [(0.3, 0.05), (1.0, 0.03), (2.0, 0.5), (20.0, 0.01)])
def test_our_renyi_divergences_are_the_exact_integrals(z, q):
    found = _divergences(Release(z, q))
    with mpmath.workdps(20):
        for order in (1.5, 8.5, 32):
            shift = mpmath.mpf(1) / z

            def ratio(x: mpmath.mpf, shift: mpmath.mpf = shift) -> mpmath.mpf:
                return 1 - q + q * mpmath.exp(shift * x - shift**2 / 2)

            cuts = mpmath.linspace(-order * shift - 12, order * shift + 12, 40)
            exact = max(
                mpmath.log(mpmath.quad(lambda x, p=power: mpmath.npdf(x) * ratio(x) ** p, cuts))
                / (order - 1)
                for power in (order, 1 - order)
            )
            ours = found[ORDERS.index(order)]
            assert float(exact) <= ours <= float(exact) * (1 + 1e-6) + 1e-12


def test_our_renyi_divergences_of_whole_orders_are_the_library_s():
    library = import_module("dp_accounting.rdp.rdp_privacy_accountant")
    whole = [order for order in ORDERS if order == int(order) and order <= 64]
    for z, q in ((0.8, 0.01), (2.0, 0.05), (5.0, 0.3)):
        theirs = library._compute_rdp_poisson_subsampled_gaussian(q, z, whole)
        ours = _divergences(Release(z, q))[[ORDERS.index(order) for order in whole]]
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("companies", "expected"), [(1, 2.873), (2, 6.292), (3, 10.14)])
def test_a_person_in_several_companies_is_charged_by_the_mixture(companies, expected):
    cost = guarantee([Release(2.0, 0.05, 500, companies)], 1e-6)
    assert cost.epsilon_pld == pytest.approx(expected, rel=1e-3)
    assert cost.epsilon_pld < cost.epsilon_rdp < 1.1 * cost.epsilon_pld


def test_a_person_in_several_companies_that_do_not_sample_adds_up():
    assert epsilon([Release(4.0, 1.0, 10, 2)], 1e-6) == epsilon([Release(2.0, 1.0, 10)], 1e-6)


@settings(max_examples=4, deadline=None)
@given(z=st.floats(1.0, 5.0), q=st.floats(0.01, 0.5), companies=st.integers(2, 4))
def test_several_companies_cost_more_than_one_and_less_than_the_naive_bound(z, q, companies):
    def cost(release: Release) -> float:
        return epsilon([release], 1e-5, interval=5e-3)

    several = cost(Release(z, q, 20, companies))
    union = 1 - (1 - q) ** companies
    assert cost(Release(z, q, 20)) <= several <= cost(Release(z / companies, union, 20))


def test_rounds_with_different_parameters_compose_in_any_order():
    rounds = [
        Release(2.0, 0.05, 100),
        Release(8.0, 1.0, 3),
        Release(1.5, 0.01, 200),
        Release(3.0, 0.1, 10, 2),
        Release(2.0, 0.05, 50),
    ]
    forth, back = epsilon(rounds, 1e-6), epsilon(rounds[::-1], 1e-6)
    assert forth == back
    parts = [epsilon([each], 1e-6 / len(rounds)) for each in rounds]
    assert max(epsilon([each], 1e-6) for each in rounds) < forth < sum(parts)
    assert epsilon(rounds, 1e-6, accountant="rdp") > forth


def test_equal_rounds_compose_as_one_of_them_many_times():
    assert epsilon([Release(2.0, 0.05)] * 40, 1e-6) == epsilon([Release(2.0, 0.05, 40)], 1e-6)
    assert merged([Release(2.0, 0.05, 2), Release(1.0, 0.05), Release(2.0, 0.05)]) == (
        Release(1.0, 0.05),
        Release(2.0, 0.05, 3),
    )


def test_gaussians_of_different_width_compose_to_the_analytic_one():
    rounds = [Release(3.0, 1.0, 2), Release(5.0, 1.0, 7), Release(10.0, 1.0)]
    z = (2 / 9 + 7 / 25 + 1 / 100) ** -0.5
    exact = analytic_gaussian_epsilon(z, 1e-6)
    assert exact <= epsilon(rounds, 1e-6) <= exact * (1 + 2e-4)


def test_no_release_costs_nothing():
    assert epsilon([], 1e-6) == 0
    assert guarantee([], 1e-6).epsilon_rdp == 0


def test_each_party_is_accounted_with_its_own_sampling_rate():
    noise = SummedNoise(2.0, 2**14, honest=3, dimension=1000)
    rates_of = {"north": 0.05, "south": 0.02, "east": 0.08}
    costs = guarantees(
        {name: [noise.release(sampling_rate=q, count=500)] for name, q in rates_of.items()}, 1e-6
    )
    assert costs["south"].epsilon_pld < costs["north"].epsilon_pld < costs["east"].epsilon_pld
    assert costs["north"].epsilon_pld == pytest.approx(2.873, rel=1e-3)


def test_the_worst_case_of_shared_noise_is_one_share():
    promised = Release(2.0, 0.05, 500)
    assert epsilon([promised.alone(3)], 1e-6) == pytest.approx(6.513, rel=1e-3)
    assert epsilon([promised.alone(51)], 1e-6) == pytest.approx(215, rel=5e-3)
    assert promised.alone(1) == promised


@pytest.mark.parametrize("name", ["gdp", "GDP", "clt"])
def test_accountants_by_gaussian_differential_privacy_are_refused_by_name(name):
    with pytest.raises(PrivacyParameterError, match="less than what is certainly lost"):
        epsilon([Release(1.0, 0.1)], 1e-6, accountant=name)
    with pytest.raises(PrivacyParameterError, match=name):
        calibrate(1.0, sampling_rate=0.1, steps=1, delta=1e-6, accountant=name)


def test_an_unknown_accountant_is_refused():
    with pytest.raises(PrivacyParameterError, match="'prv' is not one of pld, rdp"):
        epsilon([Release(1.0, 0.1)], 1e-6, accountant="prv")


@pytest.mark.parametrize("delta", [0.0, -1e-6, 1e-13, 1.0, 2.0, math.nan])
def test_a_delta_that_the_accountants_cannot_hold_is_refused(delta):
    for accountant in ("pld", "rdp"):
        with pytest.raises(PrivacyParameterError, match="delta"):
            epsilon([Release(1.0, 0.1)], delta, accountant=accountant)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ((0.0, 0.1), "noise_multiplier"),
        ((-1.0, 0.1), "noise_multiplier"),
        ((0.019, 0.1), "noise_multiplier"),
        ((math.nan, 0.1), "noise_multiplier"),
        ((math.inf, 0.1), "noise_multiplier"),
        ((1.0, 0.0), "sampling_rate"),
        ((1.0, 1.1), "sampling_rate"),
        ((1.0, math.nan), "sampling_rate"),
        ((1.0, 0.1, 0), "count"),
        ((1.0, 0.1, 10**6 + 1), "count"),
        ((1.0, 0.1, 1, 0), "companies"),
        ((1.0, 0.1, 1, 101), "companies"),
        ((1.0, 0.1, 1, 1, -1), "integer_values"),
    ],
)
def test_a_release_that_makes_no_sense_is_refused_by_name(fields, name):
    with pytest.raises(PrivacyParameterError) as caught:
        Release(*fields)
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    "release",
    [Release(0.02, 1.0, 10**6), Release(0.02, 0.5, 10**6), Release(0.05, 0.3, 1000, 5)],
)
def test_a_plan_without_any_privacy_costs_a_huge_epsilon_quickly_instead_of_overflowing(release):
    assert epsilon([release], 1e-6) > 1000


def test_the_interval_is_a_round_number_that_depends_on_the_plan_alone():
    plan = [Release(2.0, 0.05, 500)]
    assert choose_interval(plan, 1e-6) == choose_interval(iter(plan), 1e-6) == 5e-4
    finer = epsilon(plan, 1e-6, interval=1e-4)
    assert finer < epsilon(plan, 1e-6) < finer * (1 + 1e-4)


@pytest.mark.parametrize(
    ("target", "q", "steps", "delta", "accountant"),
    [
        (5.968, 100 / 3400, 1500, 1 / 3400, "rdp"),
        (4.7105, 1.0, 60, 1e-6, "pld"),
        (2.873, 0.05, 500, 1e-6, "pld"),
        (0.5, 0.01, 100, 1e-5, "pld"),
        (50.0, 0.5, 20, 1e-6, "pld"),
    ],
)
def test_calibration_is_never_past_its_target_and_never_wastes_a_thousandth(
    target, q, steps, delta, accountant
):
    z = calibrate(target, sampling_rate=q, steps=steps, delta=delta, accountant=accountant)

    def cost(z: float) -> float:
        return epsilon([Release(z, q, steps)], delta, accountant=accountant)

    assert cost(z) <= target < cost(z * (1 - 1e-3))


@pytest.mark.parametrize(
    ("target", "q", "steps", "delta", "companies"),
    [
        (3.0, 1e-9, 10, 1e-6, 1),
        (400.0, 1e-6, 1, 1e-9, 1),
        (1e-3, 0.01, 10**6, 1e-6, 1),
        (1e-300, 0.5, 1000, 1e-6, 1),
        (1000.0, 1.0, 10**6, 1e-12, 100),
    ],
)
def test_calibration_asks_a_few_times_whatever_it_is_asked(target, q, steps, delta, companies):
    fine, asked = [], []

    def counted(releases: object, *arguments: object, **options: object) -> float:
        asked.append(options)
        fine.append(options.get("accountant") == "pld")
        # Losses of so fine a grid cost seconds; here they may cost nothing.
        return epsilon(releases, *arguments, accountant="rdp")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "epsilon", counted)
        with suppress(PrivacyParameterError):
            calibrate(target, sampling_rate=q, steps=steps, delta=delta, companies=companies)
    assert len(asked) <= 60
    assert sum(fine) <= 2


def test_a_small_sample_is_calibrated_without_a_thousandth_of_waste():
    z = calibrate(2.0, sampling_rate=5e-3, steps=10, delta=1e-4)

    def cost(z: float) -> float:
        return epsilon([Release(z, 5e-3, 10)], 1e-4)

    assert cost(z) <= 2.0 < cost(z * (1 - 1e-3))


def test_calibration_covers_integer_noise_and_mixed_rounds():
    def plan(z: float) -> list[Release]:
        sums = SummedNoise(z, 50, honest=4, dimension=10**5)
        return [sums.release(sampling_rate=0.02, count=200), Release(5 * z, 1.0, 3)]

    z = smallest_noise_multiplier(plan, target_epsilon=3.0, delta=1e-6)
    assert epsilon(plan(z), 1e-6) <= 3.0 < epsilon(plan(z * (1 - 1e-3)), 1e-6)


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf, 1001.0])
def test_a_target_that_is_no_epsilon_is_refused(target):
    with pytest.raises(PrivacyParameterError, match="target_epsilon"):
        calibrate(target, sampling_rate=0.1, steps=10, delta=1e-6)


def test_a_target_that_no_noise_meets_is_refused():
    fixed = Release(1.0, 1.0, 10)
    with pytest.raises(PrivacyParameterError, match="no noise is enough"):
        smallest_noise_multiplier(lambda _: [fixed], target_epsilon=0.1, delta=1e-6)


def test_a_plan_that_is_wrong_at_any_noise_is_refused_with_its_own_reason():
    with pytest.raises(PrivacyParameterError, match="sampling_rate"):
        calibrate(1.0, sampling_rate=2.0, steps=10, delta=1e-6)
