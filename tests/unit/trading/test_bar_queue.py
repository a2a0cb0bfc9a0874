"""Which bar is stepped, and when."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.interval import Interval
from shared.trading.bar_queue import BarQueue

M1 = Interval.M1
BTC = frozenset({"BTCUSDT"})


def queue(done_ms: int = 0) -> BarQueue:
    return BarQueue(M1, patience_ms=2_000, done_ms=done_ms)


def test_a_bar_is_due_when_patience_is_over() -> None:
    bars = queue()
    assert bars.next_due(61_999) is None
    assert bars.next_due(62_000) == 60_000


def test_bars_are_due_in_their_order() -> None:
    bars, stepped = queue(), []
    while (due := bars.next_due(250_000)) is not None:
        stepped.append(due)
        bars.finished(due, frozenset(), 250_000)
    assert stepped == [60_000, 120_000, 180_000, 240_000]


def test_what_cannot_be_had_is_asked_for_after_growing_pauses() -> None:
    bars, now_ms, asked = queue(), 62_000, []
    for _ in range(7):
        while bars.next_due(now_ms) is None:
            now_ms += 1_000
        asked.append(now_ms)
        bars.postpone(now_ms)
    assert [b - a for a, b in pairwise(asked)] == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]


def test_a_pause_that_a_wrong_clock_has_begun_is_over_when_it_is_set_back() -> None:
    bars = queue()
    bars.postpone(3_662_000)
    assert bars.next_due(62_000) == 60_000
    bars.finished(60_000, BTC, 3_663_000)
    assert bars.to_repeat(64_000) == 60_000


def test_a_late_symbol_is_stepped_again_until_the_next_bar_is() -> None:
    bars = queue()
    bars.finished(60_000, BTC, 61_000)
    assert bars.came_late("BTCUSDT", 60_000)
    assert not bars.came_late("ETHUSDT", 60_000)
    assert not bars.came_late("BTCUSDT", 0)
    assert (bars.to_repeat(62_999), bars.to_repeat(63_000), bars.to_repeat(118_000)) == (None, 60_000, 60_000)
    bars.finished(120_000, frozenset(), 121_000)
    assert bars.to_repeat(123_000) is None
    assert not bars.came_late("BTCUSDT", 60_000)


def test_a_symbol_that_is_lacking_is_never_in_the_way_of_the_next_bar() -> None:
    bars = queue()
    for now_ms in (61_000, 63_000, 67_000, 75_000, 91_000, 117_000):
        bars.finished(60_000, BTC, now_ms)
    assert bars.to_repeat(118_001) is None
    assert bars.next_due(122_000) == 120_000


def test_a_bar_that_is_decided_is_not_repeated() -> None:
    bars = queue()
    bars.finished(60_000, BTC, 61_000)
    bars.finished(60_000, frozenset(), 64_000)
    assert bars.to_repeat(70_000) is None
    assert not bars.came_late("BTCUSDT", 60_000)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30))
def test_progress_never_goes_back(events: list[tuple[int, bool]]) -> None:
    bars, highest, now_ms = queue(), 0, 0
    for bar, decided in events:
        now_ms += 1_000
        bars.finished(bar * M1.ms, frozenset() if decided else BTC, now_ms)
        highest = max(highest, bar * M1.ms)
        assert bars.done_ms == highest
        assert bars.next_due(now_ms) in (None, highest + M1.ms)
