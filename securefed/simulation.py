"""A whole federation in one process: real nodes and protocol over links in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from parties.coordinator.node import CoordinatorNode
from parties.coordinator.progress import RoundRecord
from parties.embedded import MemoryJournal, MemoryNetwork
from parties.party.node import PartyNode
from parties.reporting import Event, Report
from protocols.agreement import (
    Agreement,
    SignedAgreement,
    agreement_from,
    bring_into_force,
    sign_agreement,
)
from protocols.errors import InputError, MisuseError, NoResultError
from protocols.identity import Identity
from securefed.audit.sources import write_bundle
from securefed.clip_state import unpack_state
from securefed.complaints import Complaints
from securefed.data.table import Data
from securefed.extras import paillier_extra
from securefed.learning.curves import History, history
from securefed.learning.evaluation import Score, personalise, score
from securefed.learning.registry import build_task
from securefed.learning.state import State
from securefed.privacy_spent import PrivacySpent, privacy_spent
from securefed.runtime import LearningStrategy, LearningTrainer

if TYPE_CHECKING:
    from securefed.ciphers import MemoryCiphers, NodeKeys
    from securefed.federation import Federation

    Deal = Callable[[SignedAgreement, Mapping[str, Identity]], Mapping[str, NodeKeys]]

COORDINATOR: Final = "coordinator"
_DEADLINE_SECONDS: Final = 86_400.0
"""Nobody is lost in one process, however slow: a party is waited for as long as an agreement may.
"""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What came of a simulated run.

    Attributes:
        agreement: under which it ran.
        models: final state of each task, by name.
        records: every round, in order.
        bytes_up: bytes that each party sent.
        complaints: the first thing that went wrong at each party, such as a row on which the task
            fails. A deployed party tells its own operator alone.
        ledger: the signed record of the run, leaf by leaf.
    """

    agreement: Agreement
    models: dict[str, State] = field(repr=False)
    records: tuple[RoundRecord, ...]
    bytes_up: dict[str, int]
    complaints: tuple[str, ...] = ()
    ledger: tuple[bytes, ...] = field(default=(), repr=False)

    def write_bundle(self, path: Path) -> None:
        """Write the ledger to a file that :class:`securefed.Auditor` takes.

        Raises:
            InputError: the disk refuses.
        """
        write_bundle(path, self.ledger)

    @property
    def privacy(self) -> PrivacySpent | None:
        """What the run cost every person; ``None`` without noise."""
        return privacy_spent(self.agreement, self.records)

    def history(self, task: str) -> History:
        """What a task's metrics were; raises as :func:`securefed.learning.curves.history`."""
        return history(self.records, task)

    def score(self, task: str, test: Data, *, own: Data | None = None) -> Score:
        """Score a task's model on held-out rows.

        Args:
            task: its name.
            test: rows that were not trained on.
            own: rows of the company whose head is meant, where each has its own.

        Raises:
            MisuseError: no such task, one that predicts no classes, or a head is missing or one too
                many.
            InputError: the rows do not suit the task.
        """
        for agreed in self.agreement.tasks:
            if agreed.name == task:
                learner = build_task(agreed.kind, agreed.parameters, name=task)
                state = self.models[task]
                state = state if own is None else personalise(learner, state, own)
                return score(task, learner, state, test)
        raise MisuseError(f"no task {task!r}; there are {', '.join(self.models)}")


def simulate(
    federation: Federation,
    data: Mapping[str, Data],
    *,
    seed: int | None = None,
    report: Report | None = None,
    deal: Deal | None = None,
) -> SimulationResult:
    """Run a federation in this process; see :meth:`Federation.simulate`.

    Args:
        federation: its tasks are run.
        data: rows of each party, by name.
        seed: of the local training.
        report: told what happens at the coordinator.
        deal: makes the key where vectors are encrypted; by default a fresh one, which takes seconds
            to minutes.

    Raises:
        MisuseError: a party has no data.
        SecureFedError: as a deployed run would.
    """
    missing = [name for name in federation.parties if name not in data]
    if missing:
        raise MisuseError(f"no data of {', '.join(missing[:8])}; give rows for every party")
    identities = {
        name: Identity(name, secrets.token_bytes(32))
        for name in (COORDINATOR, *federation.parties, *federation.key_makers)
    }
    agreement = _patient(federation.agreement_for(identities))
    signed = bring_into_force(
        agreement, [sign_agreement(agreement, identities[name]) for name in federation.parties]
    )
    run = _Run(signed, identities, data, seed, _ciphers(signed, identities, deal))
    return run_apart(run.run(report or _silent))


def _ciphers(
    signed: SignedAgreement, identities: Mapping[str, Identity], deal: Deal | None
) -> MemoryCiphers | None:
    if signed.agreement.paillier is None:
        return None
    with paillier_extra():
        from securefed.ciphers import MemoryCiphers, deal_here  # noqa: PLC0415 - an extra
    return MemoryCiphers(signed, identities, (deal or deal_here)(signed, identities))


def _silent(_event: Event) -> None:
    """Tell nobody."""


def _patient(agreement: Agreement) -> Agreement:
    plain = agreement.to_plain()
    plain["aggregation"]["deadline_seconds"] = _DEADLINE_SECONDS
    return agreement_from(plain)


def run_apart(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end, also from within a running event loop such as a notebook's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="securefed-simulation") as pool:
        return pool.submit(asyncio.run, work).result()


@dataclass(frozen=True, slots=True)
class _Run:
    """One run over nodes in this process."""

    signed: SignedAgreement
    identities: Mapping[str, Identity] = field(repr=False)
    data: Mapping[str, Data] = field(repr=False)
    seed: int | None
    ciphers: MemoryCiphers | None

    async def run(self, report: Report) -> SimulationResult:
        network, complaints, agreement = (
            MemoryNetwork(COORDINATOR),
            Complaints(),
            self.signed.agreement,
        )
        ciphers, journal = self.ciphers, MemoryJournal()
        hub = CoordinatorNode(
            self.signed,
            self.identities[COORDINATOR],
            network.hub(),
            journal,
            LearningStrategy(agreement),
            cipher=None if ciphers is None else ciphers.coordinator,
            report=report,
        )
        nodes = [
            self._party(number, network, complaints) for number in range(len(agreement.parties))
        ]
        running = [asyncio.create_task(node.run()) for node in nodes]
        for name, make in () if ciphers is None else ciphers.holders.items():
            holder = make(network.spoke(name), MemoryJournal(), report=complaints.listener(name))
            running.append(asyncio.create_task(holder.run()))
        ended: list[BaseException | Any] = []
        try:
            done = await _run_beside(hub.run(), running)
        except NoResultError as error:
            ended += await _end(running)
            raise complaints.explain(error, ended) from error
        finally:
            await _end(running)
            if ciphers is not None:
                ciphers.close()
        models = {
            task.name: unpack_state(task, done.models[task.name])[0] for task in agreement.tasks
        }
        return SimulationResult(
            agreement,
            models,
            done.records,
            done.bytes_up,
            complaints.told,
            tuple(journal.ledger.leaves()),
        )

    def _party(self, number: int, network: MemoryNetwork, complaints: Complaints) -> PartyNode:
        name = self.signed.agreement.parties[number].name
        return PartyNode(
            self.signed,
            self.identities[name],
            network.spoke(name),
            MemoryJournal(),
            _trainer(
                self.signed.agreement,
                name,
                self.data[name],
                None if self.seed is None else self.seed + number,
            ),
            random=secrets.token_bytes,
            cipher=None if self.ciphers is None else self.ciphers.parties[name],
            report=complaints.listener(name),
        )


def _trainer(agreement: Agreement, party: str, data: Data, seed: int | None) -> LearningTrainer:
    try:
        return LearningTrainer(agreement, data, keep=lambda _task, _model: None, seed=seed)
    except InputError as error:
        raise InputError(f"{party}: {error}") from error


async def _run_beside(work: Coroutine[Any, Any, R], running: list[asyncio.Task[Any]]) -> R:
    """Await ``work``, but not for a party that died: raise what it died of."""
    main = asyncio.create_task(work)
    try:
        pending: set[asyncio.Task[Any]] = {main, *running}
        while not main.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for each in done - {main}:
                each.result()
        return main.result()
    finally:
        main.cancel()
        await asyncio.gather(main, return_exceptions=True)


async def _end(running: list[asyncio.Task[Any]]) -> list[BaseException | Any]:
    for task in running:
        task.cancel()
    return await asyncio.gather(*running, return_exceptions=True)
