"""Which numbers are safe together. Refuses the rest, and says which value would do."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from typing import Final

from protocols.agreement.ciphertexts import key_problems, key_warnings
from protocols.agreement.counts import count_problems
from protocols.agreement.ledger_sizes import EXTENSION_OVERHEAD, largest_leaf
from protocols.agreement.model import Agreement, Task
from protocols.agreement.privacy_rules import (
    budget_problems,
    mechanism_problems,
    noise_problems,
    privacy_warnings,
)
from protocols.agreement.sizes import step_sizes
from protocols.errors import AgreementError, EncodingOverflowError, SignatureError

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
    yield from mechanism_problems(agreement)
    yield from key_problems(agreement)
    counts = list(
        count_problems(len(agreement.parties), agreement.aggregation, agreement.max_rounds)
    )
    yield from counts
    names: set[str] = set()
    noised = True
    for index, task in enumerate(agreement.tasks):
        if task.name in names:
            yield AgreementError(
                f"tasks[{index}].name",
                f"a task is already called {task.name!r}",
                f"choose another name, such as {task.name[:60]}-2",
            )
        names.add(task.name)
        wrong = [] if counts else list(noise_problems(agreement, index, task))
        yield from wrong
        noised = noised and not wrong
        # Without a sound plan for the noise nobody knows how long the vector is.
        if not wrong and (not counts or agreement.privacy.mechanism == "none"):
            yield from _task(agreement, index, task)
    if noised and not counts:
        yield from budget_problems(agreement)


def _members(agreement: Agreement) -> Iterator[AgreementError]:
    seen: dict[str, str] = {}
    for path, member in agreement.members():
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
            member.verify_key()
        except SignatureError as error:
            yield AgreementError(
                f"{path}.public_key",
                error.reason,
                f"paste the key that `securefed keygen {member.name} --out DIR` printed",
            )


def _task(agreement: Agreement, index: int, task: Task) -> Iterator[AgreementError]:
    path = f"tasks[{index}]"
    steps = task.bound * task.scale
    if not steps < EXACT:
        yield AgreementError(
            f"{path}.scale",
            "bound x scale exceeds 2^52 grid steps, the most that a number holds exactly",
            f"set scale to at most {EXACT / 2 / task.bound:.5g}",
        )
        return
    if agreement.privacy.mechanism == "none":
        yield from _ring(agreement, path, task, steps)
    yield from _messages(agreement, task)


def _ring(agreement: Agreement, path: str, task: Task, steps: float) -> Iterator[AgreementError]:
    n = len(agreement.parties)
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


def _messages(agreement: Agreement, task: Task) -> Iterator[AgreementError]:
    # A party may be drawn by more dealers than it draws holders; that many practically never.
    held = min(2 * agreement.holders + 64, len(agreement.parties) - 1)
    sizes, limit = step_sizes(agreement, task, held), agreement.aggregation.max_message_bytes
    sizes["extend"] = largest_leaf(agreement) + EXTENSION_OVERHEAD
    step = max(sizes, key=lambda one: sizes[one])
    if sizes[step] > limit:
        yield AgreementError(
            "aggregation.max_message_bytes",
            f"is {limit}, but the longest message of task {task.name} ({step}) has {sizes[step]} "
            "bytes",
            f"set it to at least {sizes[step]}",
        )


def _warnings(agreement: Agreement) -> Iterator[str]:
    n, rules = len(agreement.parties), agreement.aggregation
    yield from privacy_warnings(agreement)
    yield from key_warnings(agreement)
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
