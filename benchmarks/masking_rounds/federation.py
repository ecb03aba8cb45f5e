"""The round that is measured: who takes part, and what the agreement says about it."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from typing import Final

from protocols.graph import COMPLETE_UP_TO, plan_graph
from protocols.identity import Identity
from protocols.masking.context import RoundContext

COMPLETE_UP_TO_HERE: Final = 100
"""Parties up to which all of them mask with each other, as in Bonawitz et al. 2017."""

COLLUDERS: Final = 0.05
MAX_DROPOUTS: Final = 0.3
MODULUS_BITS: Final = 32
MODEL: Final = bytes(32)
"""Digest of the global model; no model takes part in the measurements."""


@dataclass(frozen=True, slots=True)
class Federation:
    """Identities and the context of one round, in which so many parties may be corrupt."""

    context: RoundContext
    coordinator: Identity = field(repr=False)
    parties: tuple[Identity, ...] = field(repr=False)
    colluders: int


def federation(parties: int, count: int, colluders: float = COLLUDERS) -> Federation:
    """Make a federation that tolerates 30 % dropouts.

    Args:
        parties: n.
        count: values in the summed vector (d), ``uint32``.
        colluders: share of the parties that may work with the coordinator.
    """
    coordinator = Identity("coordinator", secrets.token_bytes(32))
    people = tuple(Identity(f"party-{n}", secrets.token_bytes(32)) for n in range(parties))
    corrupt, dropouts = math.ceil(colluders * parties), int(MAX_DROPOUTS * parties)
    if parties <= max(COMPLETE_UP_TO, COMPLETE_UP_TO_HERE):
        degree, threshold = None, min((parties - 1 + corrupt) // 2 + 1, parties - 1 - dropouts)
    else:
        plan = plan_graph(parties, colluders=corrupt, max_dropouts=dropouts)
        degree, threshold = plan.degree, plan.threshold
    context = RoundContext(
        agreement=secrets.token_bytes(32),
        round=1,
        coordinator=coordinator.public,
        parties=tuple(one.public for one in people),
        threshold=threshold,
        quorum=(parties + corrupt) // 2 + 1,
        min_cohort=2 + corrupt,
        max_dropouts=dropouts,
        degree=degree,
        modulus_bits=MODULUS_BITS,
        count=count,
        max_message_bytes=1 << 26,
    )
    return Federation(context, coordinator, people, corrupt)
