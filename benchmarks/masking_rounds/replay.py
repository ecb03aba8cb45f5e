"""One coordinator's round: every call to it is timed, whatever the parties do in between is not."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Collection
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np

from masking_rounds.crowd import Crowd
from masking_rounds.federation import MODEL
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.coordinator_states import Aggregate
from protocols.masking.unmasking import AddMasks
from protocols.prg import Words

T = TypeVar("T")

STEPS = ("advertise", "share", "submit", "confirm", "unmask", "finish")


class Server:
    """A :class:`MaskingCoordinator` and the seconds spent in it.

    Attributes:
        seconds: wall-clock seconds by step.
        cpu_seconds: seconds of all threads together, which other processes do not stretch.
    """

    def __init__(self, crowd: Crowd, add: AddMasks) -> None:
        """Begin a round of ``crowd``; ``add`` adds masks."""
        self._crowd = crowd
        self._hub = MaskingCoordinator(crowd.context, crowd.made.coordinator, add=add)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.cpu_seconds = 0.0

    def run(self, alive: frozenset[int], measured: Collection[int]) -> Aggregate:
        """Run the whole round.

        Args:
            alive: parties that submit and go on; the others fall silent after they dealt shares.
            measured: parties of which the last two steps are measured, the first time.
        """
        crowd, hub = self._crowd, self._hub
        for envelope in crowd.advertise().values():
            self._timed("advertise", lambda e=envelope: hub.receive_advertise(e))
        roster = self._timed("advertise", hub.close_advertise)
        for envelope in crowd.share(roster).values():
            self._timed("share", lambda e=envelope: hub.receive_shares(e))
        crowd.deliver(self._timed("share", hub.close_shares))
        for envelope, vector in crowd.submit(alive):
            self._timed(
                "submit", lambda e=envelope, v=vector: hub.receive_submission(e, v, model=MODEL)
            )
        survivors = self._timed("submit", hub.close_submissions)
        for envelope in crowd.confirm(alive, survivors, measured).values():
            self._timed("confirm", lambda e=envelope: hub.receive_confirmation(e))
        quorum = self._timed("confirm", hub.close_confirmations)
        for envelope in crowd.unmask(alive, quorum, measured).values():
            self._timed("unmask", lambda e=envelope: hub.receive_unmask(e))
        gc.collect()
        return self._timed("finish", hub.finish)

    def _timed(self, step: str, work: Callable[[], T]) -> T:
        start, start_cpu = perf_counter(), process_time()
        result = work()
        self.seconds[step] += perf_counter() - start
        self.cpu_seconds += process_time() - start_cpu
        return result


def plain_sum(crowd: Crowd, alive: Collection[int]) -> Words:
    """Add the updates of the parties in ``alive`` without any protocol."""
    total = np.zeros(crowd.context.count, crowd.context.word)
    for number in alive:
        total += crowd.values(number)
    return total
