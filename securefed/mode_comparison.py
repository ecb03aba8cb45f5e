"""The price of each mode for one agreement: its own, and the others as variants of it.

Nothing here needs the extra ``paillier``. Sizes follow from the agreement, seconds are estimates
from the unit costs of :mod:`securefed.mode_prices`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from protocols.agreement import Agreement
from protocols.agreement.members import Dealer, KeyHolder
from protocols.agreement.model import Paillier
from protocols.paillier.messages import MAX_TRUSTEES
from securefed.collusion import Exposure, exposure
from securefed.forecast import UP, Forecast, TaskForecast, forecast
from securefed.round_seconds import RoundSeconds, round_seconds

_NAME: Final = "key-maker"
_BLANK: Final = "00" * 32


@dataclass(frozen=True, slots=True)
class TaskPrice:
    """One round of one task in one mode, with every party taking part.

    Attributes:
        task: its name.
        seconds: of arithmetic, estimated, on one thread.
        answers: how often the coordinator waits for the parties, or for the key holder.
        party_up: bytes that one party sends.
        party_down: bytes that one party receives.
        holder_down: bytes that the key holder receives; 0 where there is none.
        coordinator_in: bytes that the coordinator receives.
        coordinator_out: bytes that it sends.
        round_seconds: arithmetic and transfer together, without training.
    """

    task: str
    seconds: RoundSeconds
    answers: int
    party_up: int
    party_down: int
    holder_down: int
    coordinator_in: int
    coordinator_out: int
    round_seconds: float


@dataclass(frozen=True, slots=True)
class ModePrice:
    """What one mode costs, and whom it protects from.

    Attributes:
        mode: as in the agreement.
        opened_by: "quorum" or "key holder"; empty with "masking".
        agreed: whether it is what the agreement says.
        key_bits: length of the Paillier modulus; 0 with "masking".
        tasks: one price per task, in order; none where the mode cannot be agreed on.
        exposure: who could read one party's update.
        obstacle: why it cannot be agreed on; empty if it can.
    """

    mode: str
    opened_by: str
    agreed: bool
    key_bits: int
    tasks: tuple[TaskPrice, ...]
    exposure: Exposure
    obstacle: str = ""


def compare_modes(agreement: Agreement, cost: Forecast) -> tuple[ModePrice, ...]:
    """Price masking, paillier and layered, the last with a quorum and with a key holder.

    Args:
        agreement: a validated one.
        cost: its own forecast, which says what models and bandwidth to reckon with.
    """
    models = {one.name: one.model_bytes for one in cost.tasks}
    return tuple(
        _price(agreement, variant, cost.mbit_per_second, models) for variant in _variants(agreement)
    )


def slow_openings(agreement: Agreement) -> Iterator[str]:
    """Warn of tasks whose vectors take longer to open than the agreement waits."""
    wait = agreement.aggregation.deadline_seconds
    for task in agreement.tasks:
        needed = round_seconds(agreement, task).trustee
        if needed > wait:
            yield (
                f"opening a sum of task {task.name} takes each trustee about {needed:.0f} s on one "
                f"thread, and deadline_seconds is {wait:g}: set it to at least {2 * needed:.0f}"
            )


def _variants(agreement: Agreement) -> Iterator[Agreement]:
    rules = agreement.paillier
    key_bits = Paillier().key_bits if rules is None else rules.key_bits
    dealer, holder = (None, None) if rules is None else (rules.dealer, rules.key_holder)
    dealer = dealer or Dealer(name=_NAME, public_key=_BLANK)
    holder = holder or KeyHolder(name=_NAME, public_key=_BLANK, tls_fingerprint=_BLANK)
    dealt = Paillier(key_bits=key_bits, dealer=dealer)
    held = Paillier(key_bits=key_bits, key_holder=holder)
    for mode, table in (
        ("masking", None),
        ("paillier", dealt),
        ("layered", dealt),
        ("layered", held),
    ):
        chosen = agreement.aggregation.model_copy(update={"mode": mode})
        yield agreement.model_copy(update={"aggregation": chosen, "paillier": table})


def _price(
    agreement: Agreement, variant: Agreement, mbit: float, models: Mapping[str, int]
) -> ModePrice:
    rules, mode = variant.paillier, variant.aggregation.mode
    crowded = rules is not None and len(variant.parties) > MAX_TRUSTEES
    obstacle = f"for at most {MAX_TRUSTEES} parties" if crowded else ""
    tasks: tuple[TaskPrice, ...] = ()
    if not obstacle:
        priced = forecast(variant, mbit_per_second=mbit, model_bytes=models)
        tasks = tuple(
            _price_task(variant, one, round_seconds(variant, task))
            for one, task in zip(priced.tasks, variant.tasks, strict=True)
        )
    opened_by = ""
    if rules is not None:
        opened_by = "quorum" if rules.key_holder is None else "key holder"
    return ModePrice(
        mode,
        opened_by,
        agreed=(mode, rules) == (agreement.aggregation.mode, agreement.paillier),
        key_bits=0 if rules is None else rules.key_bits,
        tasks=tasks,
        exposure=exposure(variant),
        obstacle=obstacle,
    )


def _price_task(variant: Agreement, one: TaskForecast, seconds: RoundSeconds) -> TaskPrice:
    n, held = len(variant.parties), one.holder_messages
    holder_up = held.get("decrypt", 0)
    holder_down = sum(held.values()) - holder_up
    # An encrypted vector and its statement are waited for together.
    answers = {step for step in (*one.messages, *held) if step in UP} - {"encrypt"}
    return TaskPrice(
        one.name,
        seconds,
        len(answers),
        one.up_per_round,
        one.down_per_round,
        holder_down,
        n * one.up_per_round + holder_up,
        n * one.down_per_round + holder_down,
        one.seconds_per_round,
    )
