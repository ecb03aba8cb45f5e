"""A whole federation of nodes in one process over memory links."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import numpy as np

from parties.coordinator.node import CoordinatorNode
from parties.embedded import Hook, MemoryJournal, MemoryNetwork
from parties.party.node import PartyNode
from parties.party.ports import PartyCipher
from protocols.agreement import SignedAgreement, agreement_from, bring_into_force, sign_agreement
from protocols.identity import Identity
from securefed.data.table import Data
from securefed.learning.registry import suggest
from securefed.runtime import LearningStrategy, LearningTrainer
from support.masking import seeded_random


def make_agreement(
    tasks: list[Mapping[str, object]],
    n: int = 3,
    *,
    colluders: int = 0,
    max_dropouts: int = 0,
    threshold: int | None = None,
    deadline_seconds: float = 5.0,
    keys: Mapping[str, tuple[str, str]] | None = None,
    address: str = "127.0.0.1:9",
    bend: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> tuple[SignedAgreement, dict[str, Identity]]:
    """tasks: name, kind, rounds, parameters; keys: name -> (public key hex, TLS fingerprint).

    ``bend`` changes the plain agreement.
    """
    random = seeded_random(11)
    names = [f"party-{i}" for i in range(n)]
    identities = {name: Identity(name, random(32)) for name in ["coordinator", *names]}
    keys = keys or {
        name: (who.public.raw.hex(), random(32).hex()) for name, who in identities.items()
    }

    def member(name: str) -> dict[str, str]:
        return {"name": name, "public_key": keys[name][0], "tls_fingerprint": keys[name][1]}

    planned = []
    for task in tasks:
        ring = suggest(task["kind"], task["parameters"], n)
        planned.append(
            {
                **task,
                "dimension": ring.dimension,
                "bound": ring.bound,
                "scale": ring.scale,
                "modulus_bits": ring.modulus_bits,
                "rounding": ring.rounding,
            }
        )
    plain = {
        "version": 1,
        "federation": "test",
        "coordinator": {**member("coordinator"), "address": address},
        "parties": [member(name) for name in names],
        "tasks": planned,
        "aggregation": {
            "mode": "masking",
            "colluders": colluders,
            "max_dropouts": max_dropouts,
            "threshold": threshold or colluders + 1,
            "min_cohort": (n + colluders) // 2 + 1,
            "neighbours": "complete",
            "deadline_seconds": deadline_seconds,
            "max_message_bytes": 1 << 24,
        },
        "privacy": {"mechanism": "none", "accept_no_differential_privacy": True},
    }
    agreement = agreement_from(bend(plain))
    signatures = [sign_agreement(agreement, identities[name]) for name in names]
    return bring_into_force(agreement, signatures), identities


GLM = {
    "name": "risk",
    "kind": "glm-logistic",
    "rounds": 15,
    "parameters": {"features": 3, "max_rows": 1000, "ridge": 1.0},
}


def toy_data(n: int, rows: int = 60, features: int = 3, seed: int = 0) -> dict[str, Data]:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=features)
    made = {}
    for i in range(n):
        x = rng.normal(size=(rows, features)) + 0.3 * i
        y = (rng.random(rows) < 1 / (1 + np.exp(-x @ weights))).astype(float)
        made[f"party-{i}"] = Data(x, y)
    return made


class NodeFederation:
    """Runs a coordinator and parties as tasks of one event loop."""

    def __init__(
        self,
        signed: SignedAgreement,
        identities: Mapping[str, Identity],
        data: Mapping[str, Data],
        hook: Hook | None = None,
        **coordinator_options: object,
    ) -> None:
        self.signed, self.identities, self.data = signed, identities, data
        self.net = MemoryNetwork("coordinator", hook)
        self.events: list[tuple[str, object]] = []
        self._told = asyncio.Event()
        self._lives: Counter[str] = Counter()
        self.journals = {name: MemoryJournal() for name in identities}
        self.models: dict[str, dict[str, bytes]] = {name: {} for name in data}
        self.ciphers: dict[str, PartyCipher] = {}
        self.options = {"patience_seconds": 5.0, "grace_seconds": 0.2, **coordinator_options}
        self.strategy = LearningStrategy(signed.agreement)
        self.trainers = {
            name: LearningTrainer(
                signed.agreement, rows, keep=self.models[name].__setitem__, seed=i
            )
            for i, (name, rows) in enumerate(data.items())
        }

    def coordinator(self) -> CoordinatorNode:
        return CoordinatorNode(
            self.signed,
            self.identities["coordinator"],
            self.net.hub(),
            self.journals["coordinator"],
            self.strategy,
            report=lambda event: self._note("coordinator", event),
            **self.options,
        )

    def party(self, name: str) -> PartyNode:
        self._lives[name] += 1
        return PartyNode(
            self.signed,
            self.identities[name],
            self.net.spoke(name),
            self.journals[name],
            self.trainers[name],
            # A node that is started again draws other keys, as a real one does.
            random=seeded_random(zlib.crc32(name.encode()) + self._lives[name]),
            cipher=self.ciphers.get(name),
            report=lambda event: self._note(name, event),
            patience_seconds=30.0,
        )

    def others(self) -> dict[str, Coroutine[Any, Any, object]]:
        """What runs beside coordinator and parties, by name."""
        return {}

    async def run(self, names: list[str] | None = None):
        work = {name: self.party(name).run() for name in names or self.data} | self.others()
        self.tasks = {name: asyncio.create_task(one) for name, one in work.items()}
        try:
            return await asyncio.wait_for(self.coordinator().run(), 60)
        finally:
            running = list(self.tasks.values())
            for task in running:
                task.cancel()
            self.outcomes = await asyncio.gather(*running, return_exceptions=True)

    def _note(self, who: str, event: object) -> None:
        self.events.append((who, event))
        self._told.set()

    async def until(self, who: str, name: str, count: int = 1) -> list:
        """Wait until a node has told so many events of this name; return them."""
        async with asyncio.timeout(20):
            while len(found := self.told(who, name)) < count:
                self._told.clear()
                await self._told.wait()
        return found

    def told(self, who: str, name: str) -> list:
        return [event for teller, event in self.events if teller == who and event.name == name]
