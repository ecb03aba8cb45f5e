from __future__ import annotations

import threading

from parties.reporting import (
    MOST_PER_WINDOW,
    MOST_WAITING,
    WINDOW_SECONDS,
    BackgroundReport,
    CalmReport,
    Event,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_peer_fills_no_log_and_what_was_left_out_is_counted():
    clock, told = Clock(), []
    report = CalmReport(told.append, clock=clock)
    for _ in range(5 * MOST_PER_WINDOW):
        report(Event("refused", 1, {"peer": "east", "reason": "garbage"}))
    report(Event("refused", 1, {"peer": "west", "reason": "garbage"}))
    assert len(told) == MOST_PER_WINDOW + 1
    clock.now = WINDOW_SECONDS
    report(Event("refused", 2, {"peer": "east", "reason": "garbage"}))
    hidden = [event.detail for event in told if event.name == "not-shown"]
    assert hidden == [{"kind": "refused", "peer": "east", "events": 4 * MOST_PER_WINDOW}]


def test_what_our_own_rounds_cause_is_never_left_out():
    told = []
    report = CalmReport(told.append, clock=Clock())
    for number in range(1000):
        report(Event("round-completed", number))
    assert len(told) == 1000


def test_texts_are_made_printable_and_numbers_stay_what_they_are():
    told = []
    detail = {"reason": "\x1b[31mred\n", "left": ["a\x07"], "seconds": 1.5, "resumed": True}
    CalmReport(told.append)(Event("disconnected", 0, detail))
    assert told[0].detail == {
        "reason": "?[31mred?",
        "left": ["a?"],
        "seconds": 1.5,
        "resumed": True,
    }


def test_events_are_told_in_order_and_all_of_them_before_the_end():
    told = []
    with BackgroundReport(told.append) as report:
        for number in range(1000):
            report(Event("step", number))
    assert [event.round for event in told] == list(range(1000))


def test_a_screen_that_takes_nothing_holds_up_nobody():
    go, told = threading.Event(), []

    def blocked(event: Event) -> None:
        go.wait(20)
        told.append(event)

    report = BackgroundReport(blocked)
    with report:
        for number in range(MOST_WAITING + 100):
            report(Event("step", number))
        go.set()
        report.close()
    lost = [event.detail["events"] for event in told if event.name == "not-shown"]
    assert len(lost) == 1
    assert sum(event.name == "step" for event in told) + lost[0] == MOST_WAITING + 100


def test_a_screen_that_fails_ends_nothing(caplog):
    def broken(event: Event) -> None:
        raise BrokenPipeError("secret of the pipe")

    with BackgroundReport(broken) as report:
        report(Event("step"))
    assert "BrokenPipeError" in caplog.text
    assert "secret" not in caplog.text
