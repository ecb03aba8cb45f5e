"""The consortium lead's view: who takes part, what is computed, and the agreement that follows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from protocols.agreement import Agreement, agreement_from, validate
from protocols.errors import MisuseError
from protocols.identity import Identity
from protocols.privacy.noise_meter import METER_VALUES
from securefed.data.table import Data
from securefed.learning.registry import build_task, suggest
from securefed.learning.state import state_to_bytes
from securefed.privacy_goal import NoisedTask, PrivacyGoal, choose_noise, noised_task
from securefed.resilience import Resilience
from securefed.runtime import build_tasks
from securefed.simulation import COORDINATOR, SimulationResult, simulate
from securefed.sum_mode import DEFAULT_KEY_BITS, Mode, SumMode

_MESSAGE_ROOM: Final = 2**20
"""Bytes beside the vector in the longest message, by far enough for 1000 parties' signatures."""


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """Public keys of one member, as ``securefed keygen`` prints them.

    Attributes:
        public_key: Ed25519, 64 hexadecimal digits.
        tls_fingerprint: SHA-256 of the certificate, 64 hexadecimal digits.
    """

    public_key: str
    tls_fingerprint: str


class Federation:
    """Builds an agreement step by step.

    >>> goal = PrivacyGoal(epsilon=3.0, delta=1e-6)
    >>> lead = Federation("credit", ["north", "south", "west"], privacy=goal)
    >>> told = {"clip_norm": 1.0, "people": 5000}
    >>> lead.add_task("risk", "dp-logistic", rounds=10, features=4, privacy=told).tasks
    ('risk',)
    """

    def __init__(
        self,
        name: str,
        parties: Sequence[str],
        *,
        privacy: PrivacyGoal | None,
        colluders: int | None = None,
        max_dropouts: int | None = None,
        deadline_seconds: float = 60.0,
        mode: Mode = "masking",
        key_bits: int = DEFAULT_KEY_BITS,
        dealer: str | None = None,
        key_holder: str | None = None,
    ) -> None:
        """Begin a federation.

        Args:
            name: a-z, 0-9 and inner hyphens.
            parties: names of the companies, 2 to 1000, same alphabet.
            privacy: what every person is promised. It has to be said: ``None`` is no differential
                privacy at all, and sums and models may then reveal people in the data.
            colluders: parties that may secretly side with the coordinator.
            max_dropouts: parties that may be missing in a round that still succeeds.
            deadline_seconds: how long the coordinator waits at each step.
            mode: how sums are formed; see ``docs/paillier.md`` for when to choose which.
            key_bits: length of the Paillier modulus, where vectors are encrypted.
            dealer: name of who deals the Paillier key to the parties, a quorum of whom opens a sum.
            key_holder: name of who holds it alone instead, with "layered" only.
        """
        self._name, self.parties = name, tuple(parties)
        self._colluders, self._max_dropouts = colluders, max_dropouts
        self._deadline, self._goal = deadline_seconds, privacy
        self._sums = SumMode(mode, key_bits, dealer, key_holder)
        self._tasks: list[dict[str, Any]] = []
        self._noised: list[NoisedTask] = []
        self._largest_model = 0

    @property
    def _resilience(self) -> Resilience:
        return Resilience.for_parties(
            len(self.parties),
            rounds=sum(task["rounds"] for task in self._tasks),
            colluders=self._colluders,
            max_dropouts=self._max_dropouts,
        )

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(task["name"] for task in self._tasks)

    @property
    def key_makers(self) -> tuple[str, ...]:
        """Name of the dealer or key holder; empty where nothing is encrypted."""
        return self._sums.names

    def add_task(
        self,
        name: str,
        kind: str,
        *,
        rounds: int,
        privacy: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> Self:
        """Add a task; its ring is chosen so that the sum of all parties cannot wrap.

        Args:
            name: unique here.
            kind: a registered kind, such as ``"glm-logistic"`` or ``"torch"``.
            rounds: most rounds it may take.
            privacy: where the federation has a privacy goal: ``clip_norm``, ``people`` (most of
                all parties together), ``sampling_rate`` (1 unless given), ``noise_multiplier``
                (chosen to meet the goal unless given) and ``adaptive`` (quantile, rate, lowest and
                highest; a fixed clip norm unless given).
            parameters: of the kind; see ``docs/tasks.md``.

        Raises:
            AgreementError: unknown kind or parameter; names it and the nearest one.
            MisuseError: noise without a goal, or a goal without noise.
        """
        if (privacy is None) != (self._goal is None):
            raise MisuseError(
                f"task {name}: give privacy=... to the task exactly where the federation has a "
                "privacy goal"
            )
        learner = build_task(kind, parameters, name=name)
        state = learner.initial_state()
        self._largest_model = max(self._largest_model, len(state_to_bytes(state)))
        entry: dict[str, Any] = {"name": name, "kind": kind, "rounds": rounds}
        if privacy is None:
            ring = suggest(kind, parameters, len(self.parties))
            entry |= {
                "dimension": ring.dimension,
                "bound": ring.bound,
                "scale": ring.scale,
                "modulus_bits": ring.modulus_bits,
                "rounding": ring.rounding,
            }
        else:
            dimension = learner.layout().size
            entry |= {"dimension": dimension, "rounding": "stochastic"}
            self._noised.append(noised_task(dimension, rounds, privacy, name=name))
        self._tasks.append({**entry, "parameters": dict(parameters)})
        return self

    def agreement(
        self,
        members: Mapping[str, MemberKeys],
        *,
        coordinator: str,
        address: str,
        auditors: Mapping[str, str] | None = None,
    ) -> Agreement:
        """Return the validated agreement, ready to be circulated and signed.

        Args:
            members: keys of the coordinator, of every party and of the dealer or key holder, by
                name. A dealer is in no round, and its fingerprint not in the agreement.
            coordinator: name of the coordinator.
            address: its ``host:port``.
            auditors: public keys of those who may sign a report on the ledger, 64 hexadecimal
                digits, by name.

        Raises:
            AgreementError: names the key and what to change.
            MisuseError: somebody's keys are missing, or no task was added.
        """
        named = (coordinator, *self.parties, *self.key_makers)
        missing = [name for name in named if name not in members]
        if missing:
            raise MisuseError(f"no keys of {', '.join(missing[:8])}; run securefed keygen NAME")
        if not self._tasks:
            raise MisuseError("a federation computes at least one task; call add_task")
        plain = self._plain(members, coordinator, address)
        checking = (auditors or {}).items()
        plain["auditors"] = [{"name": name, "public_key": key} for name, key in checking]
        agreement = agreement_from(plain)
        validate(agreement)
        build_tasks(agreement)
        return agreement

    def agreement_for(self, identities: Mapping[str, Identity]) -> Agreement:
        """Return an agreement for nodes in this process, which need no TLS certificates.

        Args:
            identities: of ``"coordinator"``, of every party and of the dealer or key holder.

        Raises:
            AgreementError: names the key and what to change.
        """
        members = {
            name: MemberKeys(
                who.public.raw.hex(), hashlib.sha256(b"no certificate" + who.public.raw).hexdigest()
            )
            for name, who in identities.items()
        }
        return self.agreement(members, coordinator=COORDINATOR, address="localhost:1")

    def draft(
        self, members: Mapping[str, MemberKeys], *, coordinator: str, address: str
    ) -> dict[str, Any]:
        """Return the agreement as plain dicts, not validated: keys may still be placeholders."""
        return self._plain(members, coordinator, address)

    def _plain(
        self, members: Mapping[str, MemberKeys], coordinator: str, address: str
    ) -> dict[str, Any]:
        def entry(name: str) -> dict[str, str]:
            keys = members[name]
            return {
                "name": name,
                "public_key": keys.public_key,
                "tls_fingerprint": keys.tls_fingerprint,
            }

        rules, tasks = self._resilience, self._planned_tasks()
        largest = max(
            self._sums.vector_bytes(
                one["dimension"] + METER_VALUES, one["modulus_bits"], len(self.parties)
            )
            for one in tasks
        )
        return {
            "version": 1,
            "federation": self._name,
            "coordinator": {**entry(coordinator), "address": address},
            "parties": [entry(name) for name in self.parties],
            "tasks": tasks,
            "aggregation": {
                "mode": self._sums.mode,
                "colluders": rules.colluders,
                "max_dropouts": rules.max_dropouts,
                "threshold": rules.threshold,
                "min_cohort": rules.min_cohort,
                "neighbours": rules.neighbours,
                "deadline_seconds": self._deadline,
                "max_message_bytes": _MESSAGE_ROOM + max(largest, self._largest_model),
            },
            "privacy": {"mechanism": "none", "accept_no_differential_privacy": True}
            if self._goal is None
            else self._goal.to_plain(),
            **self._sums.to_plain({name: entry(name) for name in self.key_makers}),
        }

    def _planned_tasks(self) -> list[dict[str, Any]]:
        """Return the tasks with the noise that meets the goal, and the ring that holds it."""
        if self._goal is None:
            return self._tasks
        rules, n = self._resilience, len(self.parties)
        # Too many colluders and dropouts are for validate to refuse, which says what would do.
        honest = max(1, n - rules.colluders - rules.max_dropouts)
        plans = choose_noise(self._goal, self._noised, parties=n, honest=honest)
        return [
            {
                **task,
                "bound": noised.bound,
                "scale": plan.clip.scale,
                "modulus_bits": plan.least_modulus_bits,
                "privacy": noised.to_plain(plan.noise.noise_multiplier),
            }
            for task, plan, noised in zip(self._tasks, plans, self._noised, strict=True)
        ]

    def simulate(self, data: Mapping[str, Data], *, seed: int | None = None) -> SimulationResult:
        """Run every task in this process, with every key, share, mask and signature for real.

        Args:
            data: rows of each party, by name.
            seed: makes the local training reproducible; keys and masks stay random.

        Raises:
            MisuseError: a party has no data.
            SecureFedError: as a deployed run would.
        """
        return simulate(self, data, seed=seed)
