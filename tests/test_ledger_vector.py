"""A run that was recorded once, and must verify with every later release."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.ledger.bundle import read_leaves
from securefed import Auditor

HERE = Path(__file__).parent / "vectors" / "ledger"
BUNDLE, AGREEMENT = HERE / "bundle", HERE / "agreement.toml"
HEADS = (HERE / "head.note", HERE / "head-of-a-party-that-left.note")


def test_the_recorded_run_verifies_for_ever():
    found = Auditor(AGREEMENT).audit(BUNDLE, HEADS)
    result = found.result
    assert found.verdict == "verified"
    assert result.warnings == ()
    assert (result.heads_checked, result.closed, result.anchored) == (2, True, True)
    assert result.root.hex() == "0ab32c8ae40a7061cd654cfea54f9ff2dd72f64c4b84888ed212c7a6ce30d809"
    assert len(result.rounds) == 60
    assert [one.task for one in result.rounds] == ["private-score"] * 30 + ["private-network"] * 30
    assert result.total.epsilon_pld == pytest.approx(2.9977, rel=1e-3)
    assert result.total.epsilon_rdp == pytest.approx(3.3341, rel=1e-3)
    assert result.worst_case == pytest.approx(6.227, rel=1e-3)


def test_the_party_that_was_killed_is_charged_for_the_rounds_that_it_was_invited_to():
    spending = {one.party: one for one in Auditor(AGREEMENT).audit(BUNDLE).result.spending}
    assert spending["north"].invited == spending["north"].committed == 60
    assert spending["south"].invited == 35
    assert spending["south"].committed == 34


@pytest.mark.parametrize("position", range(0, 240_000, 9_973))
def test_a_flipped_bit_in_the_recorded_run_is_found(position, tmp_path):
    data = bytearray(BUNDLE.read_bytes())
    data[position % len(data)] ^= 1
    (tmp_path / "bundle").write_bytes(data)
    assert Auditor(AGREEMENT).audit(tmp_path / "bundle").verdict == "failed"


def test_the_recorded_run_is_read_leaf_by_leaf():
    with BUNDLE.open("rb") as stream:
        assert sum(1 for _ in read_leaves(stream.read)) == 732
