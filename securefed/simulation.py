"""A whole federation in one process: real nodes and protocol over links in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parties.coordinator.node import CoordinatorNode
from parties.coordinator.progress import RoundRecord
from parties.embedded import MemoryJournal, MemoryNetwork
from parties.party.node import PartyNode
from parties.reporting import Event, Report
from protocols.agreement import Agreement, SignedAgreement, bring_into_force, sign_agreement
from protocols.errors import MisuseError
from protocols.identity import Identity
from securefed.data.table import Data
from securefed.learning.evaluation import Score, score
from securefed.learning.registry import build_task
from securefed.learning.state import State, state_from_bytes
from securefed.runtime import LearningStrategy, LearningTrainer

if TYPE_CHECKING:
    from securefed.federation import Federation

COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What came of a simulated run.

    Attributes:
        agreement: under which it ran.
        models: final state of each task, by name.
        records: every round, in order.
        bytes_up: bytes that each party sent.
    """

    agreement: Agreement
    models: dict[str, State] = field(repr=False)
    records: tuple[RoundRecord, ...]
    bytes_up: dict[str, int]

    def score(self, task: str, test: Data) -> Score:
        """Score a task's model on held-out rows.

        Raises:
            MisuseError: no such task, or one that predicts no classes.
            InputError: the rows do not suit the task.
        """
        for agreed in self.agreement.tasks:
            if agreed.name == task:
                learner = build_task(agreed.kind, agreed.parameters, name=task)
                return score(task, learner, self.models[task], test)
        raise MisuseError(f"no task {task!r}; there are {', '.join(self.models)}")


def simulate(
    federation: Federation,
    data: Mapping[str, Data],
    *,
    seed: int | None = None,
    report: Report | None = None,
) -> SimulationResult:
    """Run a federation in this process; see :meth:`Federation.simulate`.

    Raises:
        MisuseError: a party has no data.
        SecureFedError: as a deployed run would.
    """
    missing = [name for name in federation.parties if name not in data]
    if missing:
        raise MisuseError(f"no data of {', '.join(missing[:8])}; give rows for every party")
    identities = {
        name: Identity(name, secrets.token_bytes(32)) for name in (COORDINATOR, *federation.parties)
    }
    agreement = federation.agreement_for(identities)
    signed = bring_into_force(
        agreement, [sign_agreement(agreement, identities[name]) for name in federation.parties]
    )
    return asyncio.run(_run(signed, identities, data, seed, report or _silent))


def _silent(_event: Event) -> None:
    """Tell nobody."""


async def _run(
    signed: SignedAgreement,
    identities: Mapping[str, Identity],
    data: Mapping[str, Data],
    seed: int | None,
    report: Report,
) -> SimulationResult:
    network = MemoryNetwork(COORDINATOR)
    nodes = [
        PartyNode(
            signed,
            identities[party.name],
            network.spoke(party.name),
            MemoryJournal(),
            LearningTrainer(
                signed.agreement,
                data[party.name],
                keep=lambda _task, _model: None,
                seed=None if seed is None else seed + number,
            ),
            random=secrets.token_bytes,
            report=_silent,
        )
        for number, party in enumerate(signed.agreement.parties)
    ]
    hub = CoordinatorNode(
        signed,
        identities[COORDINATOR],
        network.hub(),
        MemoryJournal(),
        LearningStrategy(signed.agreement),
        report=report,
    )
    running = [asyncio.create_task(node.run()) for node in nodes]
    try:
        done = await hub.run()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    models = {name: state_from_bytes(model) for name, model in done.models.items()}
    return SimulationResult(signed.agreement, models, done.records, done.bytes_up)
