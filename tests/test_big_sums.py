"""How much memory a long vector takes: bytes for each value, beyond what was held before."""

from __future__ import annotations

import asyncio
import tracemalloc
import weakref
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masking import MODEL, federation, plain_sum, random_inputs
from support.nodes import GLM, NodeFederation, make_agreement, toy_data
from support.seeded import seeded

from parties.party.training import TrainingThread
from parties.transport.events import Message
from protocols import encoding
from protocols.encoding import FixedPoint, decode_centred, pack, word_bits_for
from protocols.masking import blinding
from protocols.masking.blinding import mask_and_pack
from protocols.prg import add_masks, expand
from securefed.learning.layout import Layout
from securefed.learning.state import state_to_bytes

VALUES = 1_000_000
BITS = 24
UPDATE, WORDS, WIRE = 8.0, 4.0, 3.0
"""Bytes of a value as float64, as a word and on the wire."""
SLACK = 2.5
"""For chunks, and for the spare room of a buffer that grows. A copy of the vector takes more."""

T = TypeVar("T")


def within(most: float, work: Callable[[], T]) -> T:
    """Check how many bytes a value ``work`` holds at its peak, what it returns included."""
    tracemalloc.start()
    try:
        result = work()
        peak = tracemalloc.get_traced_memory()[1] / VALUES
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak:.1f} bytes a value"
    return result


def test_no_step_of_a_masked_round_holds_another_copy_of_the_vector():
    made = federation(3, modulus_bits=BITS, count=VALUES)
    hub, nodes, inputs = made.hub(), made.nodes(), random_inputs(made)
    for node in nodes.values():
        hub.receive_advertise(node.advertise())
    for number, envelope in hub.close_advertise().items():
        hub.receive_shares(nodes[number].receive_roster(envelope))
    for number, envelope in within(WORDS + SLACK, hub.close_shares).items():
        nodes[number].receive_delivery(envelope)
    for number, node in nodes.items():
        with patch.object(blinding, "SPAN", 2**15):
            submit = partial(node.submit, inputs[number], model=MODEL)
            # Packed pieces, and those joined: less than the update was.
            envelope, vector = within(2 * WIRE + SLACK, submit)
        within(SLACK, partial(hub.receive_submission, envelope, vector, model=MODEL))
    for number, envelope in hub.close_submissions().items():
        hub.receive_confirmation(nodes[number].receive_survivors(envelope))
    for number, envelope in hub.close_confirmations().items():
        hub.receive_unmask(nodes[number].receive_confirmations(envelope))
    result = within(SLACK, hub.finish)
    assert np.array_equal(result.total, plain_sum(made, inputs, (0, 1, 2)))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_an_update_is_encoded_and_a_sum_decoded_without_another_copy(rounding):
    codec, values = FixedPoint(BITS, 2.0**12, 128.0, 3), np.linspace(-128, 128, VALUES)
    random = seeded("rounding")
    words = within(WORDS + SLACK, partial(codec.encode, values, rounding=rounding, random=random))
    decoded = within(UPDATE + SLACK, partial(codec.decode, words))
    assert np.abs(decoded - values).max() < 2.0**-12


def test_a_model_is_written_and_a_contribution_laid_out_without_another_copy():
    state = {"weights": np.zeros((1000, VALUES // 1000))}
    layout = Layout.of({"weights": (1000, VALUES // 1000)})
    assert len(within(UPDATE + SLACK, partial(state_to_bytes, state))) > VALUES * UPDATE
    assert within(UPDATE + 0.5, partial(layout.flatten, state)).shape == (VALUES,)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 64), st.integers(0, 200), st.integers(1, 9), st.integers(0, 3))
def test_a_vector_masked_in_pieces_is_the_vector_masked_whole(bits, count, eights, masks):
    width = word_bits_for(bits)
    values = expand(seeded("values")(32), count, width)
    random = seeded("masks")
    seeds = [(random(32), number % 2 == 0) for number in range(masks)]
    whole = values.copy()
    add_masks(whole, seeds)
    with patch.object(blinding, "SPAN", 8 * eights):
        assert mask_and_pack(values, seeds, bits) == pack(whole, bits)
    assert np.array_equal(values, expand(seeded("values")(32), count, width))


def test_pieces_of_the_real_length_join_without_a_seam():
    seeds = [(bytes(32), True), (b"\1" * 32, False)]
    for count in (blinding.SPAN - 1, blinding.SPAN, blinding.SPAN + 9):
        values = expand(b"\2" * 32, count, 32)
        whole = values.copy()
        add_masks(whole, seeds)
        assert mask_and_pack(values, seeds, BITS) == pack(whole, BITS)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 64), st.integers(0, 100), st.integers(1, 40), st.floats(1e-3, 1e12))
def test_a_sum_decoded_in_pieces_is_the_sum_decoded_whole(bits, count, piece, scale):
    words = expand(seeded("sum")(32), count, word_bits_for(bits))
    half, ring = 2 ** (bits - 1), 2**bits
    whole = [((word + half) % ring - half) / scale for word in words.tolist()]
    with patch.object(encoding, "_CHUNK", piece):
        decoded = decode_centred(words, bits, scale)
    np.testing.assert_allclose(decoded, whole, rtol=2e-16, atol=0)


def test_a_training_that_has_ended_is_not_held_while_the_next_one_is_waited_for():
    class Work:
        def __call__(self) -> tuple[bytes, ...]:
            return (b"update",)

    async def attempt() -> None:
        thread, work, forgotten = TrainingThread(), Work(), asyncio.Event()
        loop = asyncio.get_running_loop()
        gone = weakref.ref(work, lambda _: loop.call_soon_threadsafe(forgotten.set))
        job = thread.start(work, 10.0)
        del work
        await job.outcome
        await asyncio.wait_for(forgotten.wait(), 10.0)
        assert gone() is None
        thread.close()

    asyncio.run(attempt())


class Watched:
    """A link that notes which earlier messages are still held when the next one is waited for."""

    def __init__(self, link) -> None:
        self._link, self._bodies = link, []
        self.still_held = 0

    def __getattr__(self, name: str):
        return getattr(self._link, name)

    async def next_event(self):
        self.still_held += sum(body() is not None for body in self._bodies)
        event = await self._link.next_event()
        if isinstance(event, Message) and len(event.body) > 1000:
            self._bodies.append(weakref.ref(event.body))
        return event


def test_no_node_holds_a_large_message_while_it_waits_for_the_next_one():
    task = {**GLM, "rounds": 2, "parameters": {**GLM["parameters"], "features": 40}}
    signed, identities = make_agreement([task], 3)
    nodes = NodeFederation(signed, identities, toy_data(3, features=40))
    links = []

    def watched(make):
        def link(*arguments):
            links.append(Watched(make(*arguments)))
            return links[-1]

        return link

    nodes.net.hub, nodes.net.spoke = watched(nodes.net.hub), watched(nodes.net.spoke)
    report = asyncio.run(nodes.run())
    assert [record.outcome for record in report.records] == ["completed", "completed"]
    assert len(links) == 4
    assert all(link._bodies and link.still_held == 0 for link in links)
