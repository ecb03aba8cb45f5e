"""Which privacy an agreement may promise: noise that the proofs cover, within its budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from protocols.agreement.model import Agreement, Task
from protocols.agreement.noise import NoisePlan, noise_plan, planned_cost, planned_releases
from protocols.errors import AgreementError, PrivacyParameterError
from protocols.privacy.calibration import smallest_noise_multiplier
from protocols.privacy.releases import Release

FEW_COMPANIES: Final = 100
"""Below this, noise that hides a whole company drowns what the others say (measured)."""
WEAK_EPSILON: Final = 10.0
_KEYS: Final = {
    "noise_multiplier": "privacy.noise_multiplier",
    "clip_norm": "privacy.clip_norm",
    "sampling_rate": "privacy.sampling_rate",
    "dimension": "dimension",
}


def mechanism_problems(agreement: Agreement) -> Iterator[AgreementError]:
    """Check that noise, or its absence, is meant."""
    privacy = agreement.privacy
    if privacy.mechanism == "none":
        if not privacy.accept_no_differential_privacy:
            yield AgreementError(
                "privacy.accept_no_differential_privacy",
                'is false, but the mechanism is "none": nothing hides a person in the result',
                "set it to true only if every party accepts that",
            )
        return
    if privacy.accept_no_differential_privacy:
        yield AgreementError(
            "privacy.accept_no_differential_privacy",
            f'is true, but the mechanism is "{privacy.mechanism}"',
            "leave it out, or set it to false",
        )
    if not privacy.epsilon > 0:
        yield AgreementError(
            "privacy.epsilon",
            "is 0: nobody could take part in a single round",
            "set the most epsilon that a person may be charged over all rounds, such as 3.0",
        )


def noise_problems(agreement: Agreement, index: int, task: Task) -> Iterator[AgreementError]:
    """Check the noise of one task."""
    path, given = f"tasks[{index}]", task.privacy
    if agreement.privacy.mechanism == "none":
        if given is not None:
            yield AgreementError(
                f"{path}.privacy",
                'is given, but the mechanism is "none" and adds no noise',
                'remove the table, or set privacy.mechanism to "discrete-gaussian"',
            )
        return
    if given is None:
        yield AgreementError(
            f"{path}.privacy",
            "is missing: every sum must say how much noise it carries",
            f"add [tasks.privacy] with clip_norm, noise_multiplier and people to task {task.name}",
        )
        return
    largest = given.clip_norm if given.adaptive is None else given.adaptive.highest
    if task.bound != largest:
        yield AgreementError(
            f"{path}.bound",
            f"is {task.bound:g}, but no number of a person exceeds the clip norm, {largest:g}",
            f"set it to {largest!r}",
        )
    if given.adaptive is not None and not (
        given.adaptive.lowest <= given.clip_norm <= given.adaptive.highest
    ):
        yield AgreementError(
            f"{path}.privacy.clip_norm",
            f"is {given.clip_norm:g}, outside of the range in which it may move",
            f"set it from {given.adaptive.lowest:g} to {given.adaptive.highest:g}",
        )
        return
    if task.rounding != "stochastic":
        yield AgreementError(
            f"{path}.rounding",
            f"is {task.rounding!r}; a person's vector is rounded stochastically",
            'set it to "stochastic"',
        )
    yield from _plan_problems(agreement, path, task)


def _plan_problems(agreement: Agreement, path: str, task: Task) -> Iterator[AgreementError]:
    try:
        plan = noise_plan(agreement, task)
        if plan is None:
            return
        plan.release(task.rounds)
    except PrivacyParameterError as error:
        key = _KEYS.get(error.parameter, "scale")
        yield AgreementError(f"{path}.{key}", str(error), "change it as said")
        return
    if task.modulus_bits < plan.least_modulus_bits:
        yield AgreementError(
            f"{path}.modulus_bits",
            f"is {task.modulus_bits}, too few for {plan.people} people of norm "
            f"{plan.clip.sensitivity} on the grid, and their noise",
            f"set it to at least {plan.least_modulus_bits}",
        )


def budget_problems(agreement: Agreement) -> Iterator[AgreementError]:
    """Check that all rounds of all tasks stay within the budget."""
    cost = planned_cost(agreement)
    if cost is None or not cost.budget > 0 or cost.promised.epsilon_pld <= cost.budget:
        return
    spent = f"{cost.promised.epsilon_pld:.4g} at delta {cost.promised.delta:g}"
    factor = _more_noise(planned_releases(agreement), agreement)
    z = ", ".join(
        f"{task.name}: {task.privacy.noise_multiplier * factor:.4g}"
        for task in agreement.tasks
        if task.privacy is not None
    )
    yield AgreementError(
        "privacy.epsilon",
        f"is {cost.budget:g}, but all rounds together cost {spent}",
        f"set noise_multiplier to at least ({z}), plan fewer rounds, or allow more epsilon",
    )


def _more_noise(releases: tuple[Release, ...], agreement: Agreement) -> float:
    """Return the factor on every noise multiplier with which the plan fits, rounded up to 1 %."""

    def plan(factor: float) -> list[Release]:
        return [replace(one, noise_multiplier=one.noise_multiplier * factor) for one in releases]

    found = smallest_noise_multiplier(
        plan, target_epsilon=agreement.privacy.epsilon, delta=agreement.privacy.delta
    )
    return 1.01 * found


def privacy_warnings(agreement: Agreement) -> Iterator[str]:
    """Return what everybody who signs should know about privacy."""
    privacy, n = agreement.privacy, len(agreement.parties)
    cost = planned_cost(agreement)
    if cost is None:
        yield (
            "differential privacy is off: the sums and models that this federation publishes can "
            "reveal individual people in the data of any party; masking hides only which party a "
            "contribution came from, and sums over different survivors can be compared"
        )
        return
    if privacy.unit == "company" and n < FEW_COMPANIES:
        yield (
            f'the unit is "company" with {n} parties: below {FEW_COMPANIES}, noise that hides a '
            'whole company leaves models at chance level; "person" is what you probably want'
        )
    if cost.promised.epsilon_pld > WEAK_EPSILON:
        yield (
            f"epsilon is {cost.promised.epsilon_pld:.3g} over all rounds: above {WEAK_EPSILON:g} "
            "it promises a person little"
        )
    people = max(_people(agreement))
    if privacy.delta * people > 1:
        yield (
            f"delta {privacy.delta:g} is more than one over {people} people: it allows that some "
            "person's data are published whole"
        )
    worst = "without bound" if cost.worst_case == float("inf") else f"{cost.worst_case:.3g}"
    yield (
        f"if every other party sides with the coordinator, epsilon is {worst} instead of "
        f"{cost.promised.epsilon_pld:.3g}"
    )


def _people(agreement: Agreement) -> Iterator[int]:
    plans: Iterator[NoisePlan | None] = (noise_plan(agreement, task) for task in agreement.tasks)
    return (plan.people for plan in plans if plan is not None)
