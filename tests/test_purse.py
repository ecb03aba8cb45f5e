"""An account that cannot be read stops everything."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.private import private_federation

from parties.embedded import MemoryJournal
from parties.party.purse import SPENT_KEY, Purse
from protocols.errors import JournalError

_, _, AGREEMENT = private_federation()


def purse(stored: bytes) -> Purse:
    journal = MemoryJournal()
    journal.put(SPENT_KEY, stored)
    return Purse(AGREEMENT, "party-0", journal)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xc1",
        b"\x81\xa4risk",
        b"\x81\xa4\xff\xff\xff\xff\x01",
        *map(
            msgspec.msgpack.encode,
            (None, 3, ["risk"], {"risk": -1}, {"risk": 1.5}, {"risk": 2**40}, {"": 1}, {1: 1}),
        ),
        msgspec.msgpack.encode({"risk": 1, "another": 1}),
        msgspec.msgpack.encode({"risk": 1}) + b"\x00",
    ],
    ids=repr,
)
def test_an_account_that_cannot_be_read_stops_the_node_before_anything_is_spent(stored):
    with pytest.raises(JournalError, match="privacy account"):
        purse(stored)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_on_record_are_an_account_of_less_than_they_say(stored):
    try:
        charged = purse(stored).charged
    except JournalError:
        return
    assert charged == msgspec.msgpack.decode(stored)
    assert all(count >= 0 for count in charged.values())
