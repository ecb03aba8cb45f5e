"""Which numbers are safe together. Refuses the rest, and says which value would do.

Sources: Bonawitz et al. 2017, section 6 (threshold and consistency round); Bell et al. 2020,
section 3 (neighbour graph). Why 2Q > n + c: two sets of Q confirmations out of n share at least
2Q - n > c parties, so an honest one is in both, and an honest party confirms one set only.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from typing import Final

from protocols.agreement.model import Agreement, Member, Task
from protocols.agreement.neighbours import (
    CORRECTNESS_BITS,
    SECURITY_BITS,
    safe_thresholds,
    suggest_graph,
)
from protocols.encoding import packed_size
from protocols.errors import AgreementError, EncodingOverflowError, SignatureError

MESSAGE_OVERHEAD: Final = 4096
"""Bytes beside the vector in the longest message of a party: envelope, digests, framing."""
EXACT: Final = 2**52
"""Most grid steps per number that float64 holds exactly, with one bit to spare."""


def validate(agreement: Agreement) -> list[str]:
    """Check the agreement's numbers against each other.

    Returns:
        Warnings: what is allowed but should be known to everyone who signs.

    Raises:
        AgreementError: the first unsafe or impossible combination; its text counts the others.
    """
    problems = list(_problems(agreement))
    if problems:
        first = problems[0]
        count = f" (the first of {len(problems)} problems)" if len(problems) > 1 else ""
        raise AgreementError(first.key, first.problem + count, first.remedy)
    return list(_warnings(agreement))


def _problems(agreement: Agreement) -> Iterator[AgreementError]:
    yield from _members(agreement)
    yield from _privacy(agreement)
    yield from _counts(agreement)
    names: set[str] = set()
    for index, task in enumerate(agreement.tasks):
        if task.name in names:
            yield AgreementError(
                f"tasks[{index}].name",
                f"a task is already called {task.name!r}",
                f"choose another name, such as {task.name[:60]}-2",
            )
        names.add(task.name)
        yield from _task(agreement, index, task)


def _members(agreement: Agreement) -> Iterator[AgreementError]:
    seen: dict[str, str] = {}
    members: list[tuple[str, Member]] = [("coordinator", agreement.coordinator)]
    members += [(f"parties[{i}]", party) for i, party in enumerate(agreement.parties)]
    members += [(f"auditors[{i}]", auditor) for i, auditor in enumerate(agreement.auditors)]
    for path, member in members:
        for field, value in member:
            if field == "address":
                continue
            first = seen.setdefault(f"{field} {value}", path)
            if first != path:
                yield AgreementError(
                    f"{path}.{field}",
                    f"is the same as that of {first}",
                    f"give {member.name} its own; "
                    f"`securefed keygen {member.name} --out DIR` makes keys",
                )
        try:
            agreement.verify_key(member.name)
        except SignatureError as error:
            yield AgreementError(
                f"{path}.public_key",
                error.reason,
                f"paste the key that `securefed keygen {member.name} --out DIR` printed",
            )


def _privacy(agreement: Agreement) -> Iterator[AgreementError]:
    if not agreement.privacy.accept_no_differential_privacy:
        yield AgreementError(
            "privacy.accept_no_differential_privacy",
            'is false, but the mechanism is "none": nothing hides a person in the result',
            "set it to true only if every party accepts that",
        )


def _counts(agreement: Agreement) -> Iterator[AgreementError]:
    """Colluders, dropouts, threshold and cohort; later rules assume that earlier ones hold."""
    n, rules = len(agreement.parties), agreement.aggregation
    c, d, quorum = rules.colluders, rules.max_dropouts, agreement.quorum
    if c > n - 2:
        yield AgreementError(
            "aggregation.colluders",
            f"is {c} of {n} parties, which leaves fewer than two honest ones to hide each other",
            f"set it to at most {n - 2}",
        )
        return
    if quorum > n - d:
        fewer = n - 2 * d - 1
        other = f", or aggregation.colluders to at most {fewer}" if fewer >= 0 else ""
        yield AgreementError(
            "aggregation.max_dropouts",
            f"is {d}, but {quorum} of {n} parties (half of parties and {c} colluders, and one "
            f"more) must confirm each sum and only {max(n - d, 0)} would be left",
            f"set it to at most {n - quorum}{other}",
        )
        return
    yield from _threshold(agreement)
    if not quorum <= rules.min_cohort <= n - d:
        yield AgreementError(
            "aggregation.min_cohort",
            f"is {rules.min_cohort}; at least {quorum} parties confirm each sum, and at most "
            f"{n - d} are sure to be left after {d} dropouts",
            f"set it from {quorum} to {n - d}, for example to {quorum}",
        )


def _threshold(agreement: Agreement) -> Iterator[AgreementError]:
    n, rules = len(agreement.parties), agreement.aggregation
    if rules.neighbours != "complete":
        yield from _graph(agreement, rules.neighbours)
        return
    low, high = rules.colluders + 1, n - 1 - rules.max_dropouts
    if rules.threshold < low:
        yield AgreementError(
            "aggregation.threshold",
            f"is {rules.threshold}, so {rules.colluders} colluders could open a mask alone",
            f"set it from {low} to {high}",
        )
    if rules.threshold > high:
        yield AgreementError(
            "aggregation.threshold",
            f"is {rules.threshold}, but of the {n - 1} parties that hold a party's shares only "
            f"{high} are sure to be left after {rules.max_dropouts} dropouts",
            f"set it from {low} to {high}",
        )


def _graph(agreement: Agreement, degree: int) -> Iterator[AgreementError]:
    n, rules = len(agreement.parties), agreement.aggregation
    safe = safe_thresholds(n, rules.colluders, rules.max_dropouts, degree)
    whom = f"{n} parties, {rules.colluders} colluders and {rules.max_dropouts} dropouts"
    if safe is None:
        plan = suggest_graph(n, rules.colluders, rules.max_dropouts)
        drawn = "" if plan is None else f"{plan.degree} with threshold = {plan.threshold}, or to "
        yield AgreementError(
            "aggregation.neighbours",
            f"is {degree}: with {whom} no threshold keeps privacy up to a chance of "
            f"2^-{SECURITY_BITS} and a round alive up to 2^-{CORRECTNESS_BITS}",
            f'set it to {drawn}"complete"',
        )
    elif not safe[0] <= rules.threshold <= safe[1]:
        yield AgreementError(
            "aggregation.threshold",
            f"is {rules.threshold}; with {degree} neighbours drawn among {whom}, fewer shares "
            f"lose privacy with more than 2^-{SECURITY_BITS}, more lose a round with more than "
            f"2^-{CORRECTNESS_BITS}",
            f"set it from {safe[0]} to {safe[1]}",
        )


def _task(agreement: Agreement, index: int, task: Task) -> Iterator[AgreementError]:
    path, n = f"tasks[{index}]", len(agreement.parties)
    steps = task.bound * task.scale
    if not steps < EXACT:
        yield AgreementError(
            f"{path}.scale",
            "bound x scale exceeds 2^52 grid steps, the most that a number holds exactly",
            f"set scale to at most {EXACT / 2 / task.bound:.6g}",
        )
        return
    need = (n * (floor(steps) + 1)).bit_length() + 1
    try:
        agreement.codec(task)
    except EncodingOverflowError:
        largest = 0.9999 * (2.0 ** (task.modulus_bits - 1) / n - 2) / task.bound
        choices = [f"set it to at least {need}"] if need <= 64 else []
        choices += [f"set scale to at most {largest:.5g}"] if largest > 0 else []
        yield AgreementError(
            f"{path}.modulus_bits",
            f"is {task.modulus_bits}, too few for a sum of {n} parties x {task.bound:g} x "
            f"{task.scale:g}",
            ", or ".join(choices),
        )
    size = packed_size(task.dimension, task.modulus_bits) + MESSAGE_OVERHEAD
    limit = agreement.aggregation.max_message_bytes
    if size > limit:
        yield AgreementError(
            "aggregation.max_message_bytes",
            f"is {limit}, but one masked vector of task {task.name} takes {size} bytes",
            f"set it to at least {size}",
        )


def _warnings(agreement: Agreement) -> Iterator[str]:
    n, rules = len(agreement.parties), agreement.aggregation
    if agreement.privacy.mechanism == "none":
        yield (
            "differential privacy is off: the sums and models that this federation publishes can "
            "reveal individual people in the data of any party; masking hides only which party a "
            "contribution came from"
        )
    if rules.colluders == 0:
        yield (
            "colluders is 0: a single party that sides with the coordinator can break the privacy "
            "of the others"
        )
    if rules.min_cohort - max(rules.colluders, 1) < 2:
        yield (
            f"a sum of {rules.min_cohort} parties may be revealed: each of these learns what the "
            "other one contributed by subtracting its own part"
        )
    if rules.max_dropouts == 0:
        yield f"max_dropouts is 0: if any of the {n} parties is missing, no round can finish"
