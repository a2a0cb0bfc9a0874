"""Orders of the last minute and of the last day."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.interval import DAY_MS, MINUTE_MS
from shared.risk.pace import OrderPace

instants = st.integers(0, 2 * DAY_MS)


@given(earlier=st.lists(instants), later=st.lists(instants))
def test_orders_are_counted_for_a_minute_and_for_a_day(earlier: list[int], later: list[int]) -> None:
    pace = OrderPace(earlier)
    now_ms = max(earlier, default=0)
    seen = list(earlier)
    for step in sorted(later):
        now_ms = max(now_ms, step)
        pace.sent(now_ms)
        seen.append(now_ms)
        minute, day = pace.recent(now_ms)
        assert minute == sum(now_ms - MINUTE_MS < at <= now_ms for at in seen)
        assert day == sum(now_ms - DAY_MS < at <= now_ms for at in seen)


def test_what_never_reached_the_venue_is_no_order() -> None:
    pace = OrderPace([1_000])
    for now_ms in (2_000, 2_000, 3_000):
        pace.sent(now_ms)
    pace.not_sent(2_000)
    pace.not_sent(500)  # another process counted it, or nobody does any more
    assert pace.recent(3_000) == (3, 3)
