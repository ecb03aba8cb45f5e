"""What an agreement will cost, computed before anybody signs it.

Message sizes come from encoding messages of the shape that will be sent; a test compares them with
a real round. Not counted: TLS and framing, about one percent; repeats after a lost connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from protocols.agreement import Agreement, Task
from protocols.agreement.ciphertexts import encrypted_bytes
from protocols.agreement.ledger_sizes import round_sizes
from protocols.agreement.noise import summed_values
from protocols.agreement.sizes import blank_envelope, packet_size, step_sizes
from protocols.encoding import packed_size, word_bits_for
from protocols.intent import outputs_of, terms_of
from protocols.rounds import RoundOpen, RoundResult
from securefed.round_seconds import masks_per_party, round_seconds

UP: Final = ("advertise", "share", "encrypt", "submit", "confirm", "decrypt", "unmask", "cosign")
ORDER: Final = (
    "open",
    "advertise",
    "roster",
    "share",
    "deliver",
    "encrypt",
    "submit",
    "relay",
    "survivors",
    "confirm",
    "open-product",
    "decrypt",
    "confirmations",
    "unmask",
    "result",
    "extend",
    "cosign",
)
"""Steps of all modes; "relay" is the others' encrypted vectors, as every trustee gets them."""
OPENING: Final = ("relay", "open-product", "decrypt")
"""What a trustee has to do with, and a party beside a key holder has not."""

DEFAULT_MBIT: Final = 100.0
LATENCY_SECONDS: Final = 0.025
"""Assumed one-way delay of a message between companies."""
_FLOAT_BYTES: Final = 8
_DIGEST: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """One round of one task, with every party taking part; sizes in bytes.

    Attributes:
        name: of the task.
        rounds: at most.
        dimension: summed values.
        vector_bytes: one packed masked vector, or one encrypted vector.
        model_bytes: the global model, handed out in every round.
        model_is_a_guess: the model's size is not known here and taken as 8 bytes a value.
        messages: bytes of each message of a round by step, as one party sends or receives it.
        up_per_round: what one party sends.
        down_per_round: what one party receives.
        holder_messages: the same of the key holder; empty where there is none.
        masks_per_party: mask vectors that one party expands, on average.
        party_memory: at a party, without its own training.
        coordinator_memory: at the coordinator; with masks alone the same for any number of parties.
        seconds_per_round: of transfer, masking, encrypting and opening, without training, at the
            stated bandwidth.
    """

    name: str
    rounds: int
    dimension: int
    vector_bytes: int
    model_bytes: int
    model_is_a_guess: bool
    messages: dict[str, int]
    up_per_round: int
    down_per_round: int
    holder_messages: dict[str, int]
    masks_per_party: float
    party_memory: int
    coordinator_memory: int
    seconds_per_round: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """A whole run in which every round is used and every party stays.

    Attributes:
        parties: how many.
        mbit_per_second: assumed bandwidth of every node in each direction.
        tasks: one forecast per task, in order.
        rounds: at most.
        party_up: bytes that one party sends in all.
        party_down: bytes that one party receives in all.
        holder_up: bytes that the key holder sends in all; 0 where there is none.
        holder_down: bytes that the key holder receives in all.
        coordinator_in: bytes that the coordinator receives in all.
        coordinator_out: bytes that it sends in all.
        seconds: transfer, masking, encrypting and opening, without training.
    """

    parties: int
    mbit_per_second: float
    tasks: tuple[TaskForecast, ...]
    rounds: int
    party_up: int
    party_down: int
    holder_up: int
    holder_down: int
    coordinator_in: int
    coordinator_out: int
    seconds: float

    def to_plain(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return asdict(self)


def forecast(
    agreement: Agreement,
    *,
    mbit_per_second: float = DEFAULT_MBIT,
    model_bytes: Mapping[str, int] | None = None,
) -> Forecast:
    """Forecast the cost of a validated agreement.

    Args:
        agreement: the one to be signed.
        mbit_per_second: bandwidth of every node in each direction, 10^6 bits per second.
        model_bytes: size of each task's global model by task name, where it is known.
    """
    known = model_bytes or {}
    tasks = tuple(
        _forecast_task(agreement, task, mbit_per_second, known.get(task.name))
        for task in agreement.tasks
    )
    up = sum(one.rounds * one.up_per_round for one in tasks)
    # The final model of a task comes with its last result.
    down = sum(one.rounds * one.down_per_round + one.model_bytes for one in tasks)
    n = len(agreement.parties)
    holder_up = sum(one.rounds * one.holder_messages.get("decrypt", 0) for one in tasks)
    holder_all = sum(one.rounds * sum(one.holder_messages.values()) for one in tasks)
    holder_down = holder_all - holder_up
    return Forecast(
        parties=n,
        mbit_per_second=mbit_per_second,
        tasks=tasks,
        rounds=agreement.max_rounds,
        party_up=up,
        party_down=down,
        holder_up=holder_up,
        holder_down=holder_down,
        coordinator_in=n * up + holder_up,
        coordinator_out=n * down + holder_down,
        seconds=sum(one.rounds * one.seconds_per_round for one in tasks),
    )


def opening_bytes(agreement: Agreement, task: Task, model: int) -> int:
    """Return the bytes of the message that opens a round with a model of ``model`` bytes."""
    hub, round_ = agreement.coordinator.name, agreement.max_rounds
    terms = terms_of(agreement, task)
    spent = None if terms is None else agreement.privacy.epsilon
    # A log of this many rounds has about as many leaves as its parties said things.
    leaves = round_ * (2 * len(agreement.parties) + 3)
    opened = RoundOpen(
        task.name,
        task.rounds,
        _DIGEST,
        leaves,
        _DIGEST,
        tuple(range(len(agreement.parties))),
        terms,
        outputs_of(agreement, task),
        spent,
        spent,
    )
    return packet_size(blank_envelope(round_, "open", hub, opened), model)


def _forecast_task(
    agreement: Agreement, task: Task, mbit: float, model: int | None
) -> TaskForecast:
    d = summed_values(agreement, task)
    masked = packed_size(d, task.modulus_bits)
    encrypted = encrypted_bytes(agreement, task)
    words = d * word_bits_for(task.modulus_bits) // 8
    model_size = _FLOAT_BYTES * d if model is None else model
    messages = _messages(agreement, task, model_size)
    holder = _holder_messages(agreement, messages, model_size)
    if holder:
        messages = {step: size for step, size in messages.items() if step not in OPENING}
    up = sum(size for step, size in messages.items() if step in UP)
    # Update in float64, words before and after masking, packed and on its way.
    party = _FLOAT_BYTES * d + 2 * words + 2 * (masked + encrypted) + 2 * model_size
    # Running sum, one vector in transit and unpacked, the sum as float64.
    coordinator = 2 * words + 2 * (masked + encrypted) + _FLOAT_BYTES * d + 2 * model_size
    if encrypted:
        # A running product and partial decryptions, of which the coordinator has everybody's.
        party += 0 if holder else encrypted + encrypted // 2
        coordinator += len(agreement.trustees) * encrypted // 2
    return TaskForecast(
        name=task.name,
        rounds=task.rounds,
        dimension=d,
        vector_bytes=encrypted or masked,
        model_bytes=model_size,
        model_is_a_guess=model is None,
        messages=messages,
        up_per_round=up,
        down_per_round=sum(messages.values()) - up,
        holder_messages=holder,
        masks_per_party=masks_per_party(agreement),
        party_memory=party,
        coordinator_memory=coordinator,
        seconds_per_round=_transfer_seconds(agreement, messages, holder, mbit)
        + round_seconds(agreement, task).waited_for,
    )


def _messages(agreement: Agreement, task: Task, model: int) -> dict[str, int]:
    hub, round_ = agreement.coordinator.name, agreement.max_rounds
    meter = None if agreement.privacy.mechanism == "none" else 1.0
    everybody = tuple(range(len(agreement.parties)))
    result = RoundResult(_DIGEST, _DIGEST, everybody, (), meter, done=False)
    sizes = step_sizes(agreement, task)
    sizes["open"] = opening_bytes(agreement, task, model)
    sizes["result"] = packet_size(blank_envelope(round_, "result", hub, result))
    bare = {"open": sizes["open"] - model}
    if agreement.paillier is None:
        vector = packed_size(summed_values(agreement, task), task.modulus_bits)
        bare["submit"] = sizes["submit"] - vector
    else:
        sizes["relay"] = (len(everybody) - 1) * sizes["encrypt"]
    sizes |= round_sizes(agreement, task, {**sizes, **bare})
    return {step: sizes[step] for step in ORDER if step in sizes}


def _holder_messages(
    agreement: Agreement, messages: Mapping[str, int], model: int
) -> dict[str, int]:
    """Return what the key holder is sent and sends: every party's vector, and no model."""
    if agreement.paillier is None or agreement.paillier.key_holder is None:
        return {}
    sizes = {step: messages[step] for step in ("open", *OPENING)}
    relayed = len(agreement.parties) * messages["encrypt"]
    return sizes | {"open": messages["open"] - model, "relay": relayed}


def _transfer_seconds(
    agreement: Agreement, messages: Mapping[str, int], holder: Mapping[str, int], mbit: float
) -> float:
    # Steps wait for each other, and the coordinator's line carries every party's share of them.
    bits = 8.0 * (len(agreement.parties) * sum(messages.values()) + sum(holder.values()))
    return bits / (mbit * 1e6) + len({*messages, *holder}) * LATENCY_SECONDS
