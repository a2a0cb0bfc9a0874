"""The time of a paper exchange that runs by itself: `speed` simulated seconds in each real one.

    now = t₀ + speed · (real time since t₀ was asked for), at most the end of its market

A trader lives in this time, so that bars, orders and stops have the age there that they would have at a real venue. Patience,
however, is real: answers take as long as they take. `in_real_seconds` multiplies the settings that wait for something.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from shared.domain.interval import Interval, format_ms
from shared.trading.execution_params import ExecutionParams
from shared.trading.trader_params import TraderParams

TOLERANCE_S = 0.25
"""Real seconds that the two clocks may be apart before this one is set again"""
_PATIENCE = (
    "stop_deadline_s", "resend_grace_s", "closing_grace_s", "query_backoff_s", "query_bound_s", "answer_patience_s",
)  # fmt: skip
_BETWEEN_BARS = (
    "tick_s", "silence_s", "reconcile_s", "rules_refresh_s", "heartbeat_s", "quote_fresh_s", "backoff_s", "backoff_max_s",
    "outage_pause_s", "operational_window_s", "stop_grace_s", "settle_s",
)  # fmt: skip
_LONGEST_PATIENCE = 0.1
"""Share of a bar that is waited for late symbols at most: beyond `max_decision_age` nothing is traded"""


class PaperClock:
    """Simulated time that goes by itself; `set` brings it to what the exchange says."""

    def __init__(self, now_ms: int, end_ms: int, speed: float) -> None:
        self.speed = speed
        self._end_ms = end_ms
        self._anchor_ms, self._anchor_s = now_ms, time.monotonic()

    def __repr__(self) -> str:
        return f"PaperClock({format_ms(self.now_ms())}, x{self.speed:g})"

    def now_ms(self) -> int:
        """Simulated time, ms UTC."""
        return min(self._end_ms, self._anchor_ms + int((time.monotonic() - self._anchor_s) * 1000 * self.speed))

    async def sleep(self, seconds: float) -> None:
        """Wait for simulated seconds; zero or less yields to other tasks."""
        await asyncio.sleep(max(seconds, 0.0) / self.speed)

    def follow(self, venue_ms: int) -> bool:
        """Take the exchange's time over where it is further off than `TOLERANCE_S`; whether it was (a restart, a stall)."""
        if abs(venue_ms - self.now_ms()) <= TOLERANCE_S * 1000 * self.speed:
            return False
        self._anchor_ms, self._anchor_s = venue_ms, time.monotonic()
        return True


class RealWaits:
    """The time of `clock`, waiting in real seconds: for a connection, whose other end is real."""

    def __init__(self, clock: PaperClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        """Simulated time, ms UTC."""
        return self._clock.now_ms()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(max(seconds, 0.0))


def in_real_seconds(params: TraderParams, interval: Interval, speed: float) -> TraderParams:
    """The trader's settings for a clock that goes `speed` times too fast: it waits as long as they say, in real time."""
    scaled = {name: getattr(params, name) * speed for name in _BETWEEN_BARS}
    patience_s = min(params.bar_patience_s * speed, _LONGEST_PATIENCE * interval.ms / 1000)
    return replace(params, **scaled, bar_patience_s=patience_s)


def patience_in_real_seconds(params: ExecutionParams, speed: float) -> ExecutionParams:
    """The same for what execution waits for; what is spread over market time (slices, pauses) stays."""
    return replace(params, **{name: getattr(params, name) * speed for name in _PATIENCE})
