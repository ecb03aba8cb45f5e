"""A party that deals shares which open nothing: named, left out, and the run goes on."""

from __future__ import annotations

import asyncio

import msgspec
from support.nodes import GLM, NodeFederation, make_agreement, toy_data

from parties.party import participation
from protocols.masking.messages import Shares
from protocols.masking.party import MaskingParty


class Spoiler(MaskingParty):
    """Commits to another self-mask seed than the one that it shares."""

    def receive_roster(self, envelope):
        honest = super().receive_roster(envelope)
        if self._identity.name != "party-1":
            return honest
        shares = msgspec.msgpack.decode(honest.payload, type=Shares)
        wrong = msgspec.structs.replace(shares, seed_digest=bytes(32))
        return self._context.seal(self._identity, wrong)


def test_a_party_that_spoils_a_round_at_its_end_is_named_and_not_invited_again(monkeypatch):
    monkeypatch.setattr(participation, "MaskingParty", Spoiler)
    signed, identities = make_agreement(
        [GLM], 5, colluders=1, max_dropouts=1, threshold=2, deadline_seconds=0.5
    )
    made = NodeFederation(signed, identities, toy_data(5))
    report = asyncio.run(made.run())
    assert [record.outcome for record in report.records[:2]] == ["aborted", "completed"]
    assert "party-1" in report.records[0].reason
    assert [event.detail["peer"] for event in made.told("coordinator", "barred")] == ["party-1"]
    assert all("party-1" not in record.survivors for record in report.records)
