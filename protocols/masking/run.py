"""One whole masking round in memory: the protocol on one page, and the oracle of its tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocols.identity import Envelope, Identity
from protocols.masking.context import RoundContext
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.coordinator_states import Aggregate
from protocols.masking.party import MaskingParty
from protocols.prg import RandomBytes, Words


def run_round(
    context: RoundContext,
    coordinator: Identity,
    parties: Mapping[int, Identity],
    inputs: Mapping[int, Words],
    *,
    model: bytes,
    random: RandomBytes,
    silent_from: Mapping[int, str] | None = None,
) -> Aggregate:
    """Run the five steps of ``docs/protocol.md`` between honest roles.

    Args:
        context: public facts of the round.
        coordinator: the coordinator's identity.
        parties: identity of each party, by number.
        inputs: encoded update of each party, shape ``(count,)``.
        model: digest of the global model, 32 bytes.
        random: source of every party's secrets.
        silent_from: step name (``"advertise"``, ``"share"``, ``"submit"``, ``"confirm"`` or
            ``"unmask"``) from which on a party says nothing more.

    Raises:
        BelowThresholdError: too few parties were left at some step.
    """
    hub = MaskingCoordinator(context, coordinator)
    nodes = {number: MaskingParty(context, who, random) for number, who in parties.items()}

    def speaking(step: str) -> dict[int, MaskingParty]:
        for number in [number for number in nodes if (silent_from or {}).get(number) == step]:
            del nodes[number]
        return nodes

    def answer(
        step: str, mail: Mapping[int, Envelope], reply: Callable[[MaskingParty, Envelope], Envelope]
    ) -> list[Envelope]:
        return [reply(node, mail[number]) for number, node in speaking(step).items()]

    for node in speaking("advertise").values():
        hub.receive_advertise(node.advertise())
    for envelope in answer("share", hub.close_advertise(), MaskingParty.receive_roster):
        hub.receive_shares(envelope)
    deliveries = hub.close_shares()
    for number, node in speaking("submit").items():
        node.receive_delivery(deliveries[number])
        envelope, vector = node.submit(inputs[number], model=model)
        hub.receive_submission(envelope, vector, model=model)
    for envelope in answer("confirm", hub.close_submissions(), MaskingParty.receive_survivors):
        hub.receive_confirmation(envelope)
    quorum = hub.close_confirmations()
    for envelope in answer("unmask", quorum, MaskingParty.receive_confirmations):
        hub.receive_unmask(envelope)
    return hub.finish()
