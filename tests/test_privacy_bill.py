"""The bill of a run, for machines."""

from __future__ import annotations

import json
import math

from support.private import private_federation

from parties.coordinator.progress import RoundRecord
from protocols.agreement.noise import composed_epsilon
from securefed.privacy_spent import PrivacySpent, privacy_spent


def test_aborted_rounds_are_on_the_bill():
    _, _, agreement = private_federation()
    rounds = [
        RoundRecord(1, "risk", 1, "completed", noise_meter=1.02, noise_verdict="as promised"),
        RoundRecord(2, "risk", 2, "aborted", step="submit", reason="too few"),
    ]
    bill = privacy_spent(agreement, rounds)
    assert bill.epsilon == composed_epsilon(agreement, {"risk": 2})
    assert (bill.noise_meter, bill.noise_alarms) == (1.02, 0)


def test_what_is_infinite_or_unknown_is_null_for_machines():
    bill = PrivacySpent(math.inf, math.inf, 1e-6, math.nan, 0)
    plain = json.loads(json.dumps(bill.to_plain(), allow_nan=False))
    assert plain["epsilon"] is plain["epsilon_worst_case"] is plain["noise_meter"] is None
