"""Coordinator and party as objects: everything a process needs, then one call to run it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parties.coordinator.node import CoordinatorNode
from parties.coordinator.progress import RunReport
from parties.coordinator.runbook import Runbook
from parties.core_files import forbid_core_file
from parties.keys import KeyRing
from parties.parallel import add_masks_parallel
from parties.party.node import PartyNode
from parties.reporting import BackgroundReport, Report, log_event
from parties.store import Journal
from parties.transport.client import Client
from parties.transport.server import Server
from protocols.errors import KeyFileError, NoResultError
from protocols.prg import Words
from securefed.data.table import Data
from securefed.deployment import Deployment
from securefed.learning.torch_parameters import limit_threads
from securefed.node_ciphers import coordinator_cipher, party_cipher
from securefed.run_files import write_checkpoints, write_histories, write_model
from securefed.runtime import LearningStrategy, LearningTrainer

if TYPE_CHECKING:
    from securefed.ciphers import NodeKeys

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Coordinator:
    """A coordinator ready to run.

    Attributes:
        deployment: agreement in force and pinned certificates.
        keys: the coordinator's keys.
        state: directory of its durable state; the same one after a restart.
        out: directory for the final models, ``<task>.safetensors``, and for the tasks' metrics,
            ``<task>.history.json`` and ``<task>.curve.svg``.
        listen: ``host:port`` to bind; by default the agreement's address.
        patience_seconds: how long to wait for enough parties.
        workers: threads that expand masks.
        keep_every: every so many-th model of a task is kept, and written to ``out`` as
            ``<task>.round-<n>.safetensors`` when the run ends, well or not; 0 for none.
    """

    deployment: Deployment
    keys: KeyRing
    state: Path
    out: Path | None = None
    listen: str | None = None
    patience_seconds: float = 300.0
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    keep_every: int = 0

    def run(self, report: Report = log_event) -> RunReport:
        """Run every task of the agreement, write the models and what their metrics were.

        Raises:
            NoResultError: a task has no model in the end.
            SecureFedError: anything else that ends the run; its text says what to do.
        """
        return run_until_done(self.start(report))

    async def start(self, report: Report = log_event) -> RunReport:
        """Do the same inside a running event loop."""
        agreement = self.deployment.agreement
        check_keys(self.deployment, self.keys, agreement.coordinator.name)
        strategy = LearningStrategy(agreement)
        cipher = await asyncio.to_thread(
            coordinator_cipher, self.deployment, self.keys.identity, self.workers
        )
        owner = owner_of(self.deployment, agreement.coordinator.name)
        # The journal claims the state directory before anything else is put there.
        with BackgroundReport(report) as tell, Journal(self.state, owner=owner) as journal:
            server = Server(
                address=self.listen or agreement.coordinator.address,
                tls=self.keys.tls,
                peers=_others(self.deployment, agreement.coordinator.name),
                agreement_digest=self.deployment.signed.digest,
                max_message_bytes=agreement.aggregation.max_message_bytes,
                spool=spool_of(self.state),
            )
            node = CoordinatorNode(
                self.deployment.signed,
                self.keys.identity,
                server,
                journal,
                strategy,
                add=self._add,
                cipher=cipher,
                report=tell,
                patience_seconds=self.patience_seconds,
                keep_every=self.keep_every,
            )
            try:
                done = await node.run()
            finally:
                if cipher is not None:
                    cipher.close()
                if self.out is not None:
                    write_checkpoints(self.out, Runbook(journal).checkpoints())
        if self.out is not None:
            for name, model in done.models.items():
                write_model(self.out, name, model)
            write_histories(self.out, done.records)
        return done

    def _add(self, target: Words, masks: Any) -> None:
        add_masks_parallel(target, masks, self.workers)


@dataclass(frozen=True, slots=True)
class Party:
    """A party ready to run.

    Attributes:
        deployment: agreement in force and pinned certificates.
        keys: the party's keys.
        data: its rows, for all tasks or by task name; they never leave this process.
        state: directory of its durable state; the same one after a restart.
        out: directory for the final models, ``<task>.safetensors``.
        address: where the coordinator is, if not at the agreement's address.
        patience_seconds: how long to wait for a silent coordinator.
        epsilon_ceiling: our own limit on epsilon, if it is lower than the agreed one.
        answer_after_seconds: least time from the start of a training to its answer, which then does
            not show how long the training took.
        node_keys: where vectors are encrypted and the parties open sums: our share, as
            :func:`securefed.ciphers.load_node_keys` reads it.
    """

    deployment: Deployment
    keys: KeyRing
    data: Data | Mapping[str, Data] = field(repr=False)
    state: Path
    out: Path | None = None
    address: str | None = None
    patience_seconds: float = 3600.0
    epsilon_ceiling: float | None = None
    answer_after_seconds: float = 0.0
    node_keys: NodeKeys | None = None

    def run(self, report: Report = log_event) -> dict[str, bytes]:
        """Take part until the run ends; return the final models by task, safetensors bytes.

        Raises:
            NoResultError: the coordinator ended the run without a result.
            SecureFedError: anything else that ends it; its text says what to do.
        """
        return run_until_done(self.start(report))

    async def start(self, report: Report = log_event) -> dict[str, bytes]:
        """Do the same inside a running event loop."""
        agreement = self.deployment.agreement
        models: dict[str, bytes] = {}

        def keep(name: str, model: bytes) -> None:
            models[name] = model
            if self.out is not None:
                write_model(self.out, name, model)

        name = self.keys.identity.name
        check_keys(self.deployment, self.keys, name)
        trainer = LearningTrainer(agreement, self.data, keep=keep)
        cipher = await asyncio.to_thread(
            party_cipher, self.deployment, self.keys.identity, self.node_keys
        )
        # Several parties on one machine would fight for its cores.
        limit_threads(1)
        owner = owner_of(self.deployment, name)
        with BackgroundReport(report) as tell, Journal(self.state, owner=owner) as journal:
            client = Client(
                address=self.address or agreement.coordinator.address,
                server=self.deployment.pins[agreement.coordinator.name],
                tls=self.keys.tls,
                agreement_digest=self.deployment.signed.digest,
                max_message_bytes=agreement.aggregation.max_message_bytes,
                spool=spool_of(self.state),
            )
            node = PartyNode(
                self.deployment.signed,
                self.keys.identity,
                client,
                journal,
                trainer,
                random=secrets.token_bytes,
                cipher=cipher,
                report=tell,
                patience_seconds=self.patience_seconds,
                epsilon_ceiling=self.epsilon_ceiling,
                answer_after_seconds=self.answer_after_seconds,
            )
            try:
                ended = await node.run()
            finally:
                if cipher is not None:
                    cipher.close()
            missing = node.missing_models
        if ended.outcome != "completed":
            raise NoResultError(f"the coordinator ended the run without a result: {ended.reason}")
        if missing:
            raise NoResultError(
                f"the run ended, but no model of {', '.join(missing)} reached us; "
                "start the coordinator again with its state, then this node"
            )
        return models


def _others(deployment: Deployment, own: str) -> dict[str, Any]:
    return {name: pin for name, pin in deployment.pins.items() if name != own}


def check_keys(deployment: Deployment, keys: KeyRing, name: str) -> None:
    """Check that a node's keys are those that the agreement names.

    Raises:
        KeyFileError: they are not.
    """
    agreement, pin = deployment.agreement, deployment.pins.get(name)
    public = agreement.verify_key(name)
    if keys.identity.public.raw != public.raw or pin is None:
        raise KeyFileError(f"the key of {name} is not the one that the agreement names")
    if keys.tls.fingerprint != pin.fingerprint:
        raise KeyFileError(
            f"the TLS certificate of {name} is not the one that the agreement pins; use the keys "
            "that were made for it"
        )


def owner_of(deployment: Deployment, name: str) -> bytes:
    """Return what tells this node's state from that of another node or agreement, 32 bytes."""
    return hashlib.sha256(deployment.signed.digest + name.encode()).digest()


def spool_of(state: Path) -> Path:
    """Return the directory of a node for messages on their way; it is made."""
    spool = state / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    return spool


def run_until_done(work: Coroutine[Any, Any, R]) -> R:
    """Run a node; SIGTERM and Ctrl-C end it in order, so that its peers are told.

    The process writes no core file: it would hold keys and masks.
    """
    forbid_core_file()

    async def guarded() -> R:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, task.cancel)
        return await task

    return asyncio.run(guarded())
