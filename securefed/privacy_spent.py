"""What a run cost every person, from the record of its rounds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parties.coordinator.progress import RoundRecord
from protocols.agreement import Agreement
from protocols.agreement.noise import composed_epsilon


@dataclass(frozen=True, slots=True)
class PrivacySpent:
    """The bill.

    Attributes:
        epsilon: within the agreed colluders and dropouts; aborted rounds are charged.
        epsilon_worst_case: if all other parties collude; ``inf`` where no bound is left.
        delta: of both.
        noise_meter: mean over the rounds of measured over promised noise.
        noise_alarms: rounds whose noise was not as promised.
    """

    epsilon: float
    epsilon_worst_case: float
    delta: float
    noise_meter: float
    noise_alarms: int

    def to_plain(self) -> dict[str, Any]:
        """Return plain numbers; what is infinite or unknown is ``None``, which JSON can say."""
        return {
            "epsilon": _sayable(self.epsilon),
            "epsilon_worst_case": _sayable(self.epsilon_worst_case),
            "delta": self.delta,
            "noise_meter": _sayable(self.noise_meter),
            "noise_alarms": self.noise_alarms,
        }


def _sayable(value: float) -> float | None:
    return value if math.isfinite(value) else None


def privacy_spent(agreement: Agreement, records: Sequence[RoundRecord]) -> PrivacySpent | None:
    """Return the bill of a run; ``None`` where the agreement adds no noise."""
    if agreement.privacy.mechanism == "none":
        return None
    rounds = Counter(record.task for record in records)
    read = [record.noise_meter for record in records if record.noise_meter is not None]
    alarms = [record for record in records if record.noise_verdict not in {"", "as promised"}]
    return PrivacySpent(
        epsilon=composed_epsilon(agreement, rounds),
        epsilon_worst_case=composed_epsilon(agreement, rounds, sharers=1),
        delta=agreement.privacy.delta,
        noise_meter=sum(read) / len(read) if read else math.nan,
        noise_alarms=len(alarms),
    )
