"""Privacy accounts of real processes, real SIGKILL."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

from support.processes import HUB, Running, Site

from parties.party.purse import Purse
from parties.store import Journal
from protocols.agreement.noise import composed_epsilon
from securefed.cli.exit_codes import ExitCode
from securefed.federation import Federation
from securefed.privacy_goal import PrivacyGoal

VICTIM = "party-1"
ROUNDS = 8


class PrivateSite(Site):
    """A site whose sums carry noise."""

    def plan(self, deadline_seconds: float) -> Federation:
        lead = Federation(
            "private",
            self.names,
            privacy=PrivacyGoal(epsilon=3.0, delta=1e-4),
            colluders=0,
            max_dropouts=0,
            deadline_seconds=deadline_seconds,
        )
        told = {"clip_norm": 1.0, "people": 1000}
        return lead.add_task("risk", "dp-logistic", rounds=ROUNDS, features=3, privacy=told)

    def charged(self, name: str) -> int:
        """What the account of a party that does not run says, read from its disk."""
        owner = hashlib.sha256(self.agreement.digest() + name.encode()).digest()
        with Journal(self.home / "state" / name, owner=owner) as journal:
            return Purse(self.agreement, name, journal).charged.get("risk", 0)

    def epsilon(self, rounds: int) -> float:
        return composed_epsilon(self.agreement, {"risk": rounds})


def test_a_party_process_killed_after_its_charge_still_owes_it_and_never_passes_its_ceiling(
    tmp_path: Path,
):
    site = PrivateSite(tmp_path)
    with Running(site) as run:
        for name in [HUB, *site.names]:
            run.start(name)
        run.until(VICTIM, "round-opened")
        run.nodes.kill(VICTIM)
        assert run.code(VICTIM) == -signal.SIGKILL
        owed = site.charged(VICTIM)
        assert 1 <= owed < ROUNDS - 1
        # Room for a single round more: it has to count what the killed process began.
        ceiling = site.epsilon(owed + 1) + 1e-6
        again = run.start(VICTIM, "--epsilon-ceiling", f"{ceiling!r}")
        run.until(
            again, "refused", where=lambda event: f"ceiling of {ceiling:g}" in event["reason"]
        )
        codes = [run.code(name) for name in (HUB, "party-0", again, "party-2")]
        # Nobody may be missing, so without this party there are no further sums.
        assert codes == [ExitCode.NO_RESULT] * 4
        assert len(run.told(again, "round-opened")) == 1
    assert site.charged(VICTIM) == owed + 1
    assert site.epsilon(owed + 1) <= ceiling < site.epsilon(owed + 2)
