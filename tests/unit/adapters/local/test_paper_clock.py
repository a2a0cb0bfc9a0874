"""Simulated time that goes by itself, and settings that wait in real time all the same."""

from __future__ import annotations

import asyncio
import time

from shared.adapters.local.paper_clock import PaperClock, RealWaits, in_real_seconds, patience_in_real_seconds
from shared.domain.interval import Interval
from shared.trading.execution_params import ExecutionParams
from shared.trading.trader_params import TraderParams

FAR_MS = 2**50


def test_time_goes_at_its_speed_up_to_the_end_of_the_market() -> None:
    clock = PaperClock(1_000_000, 1_002_000, speed=1e6)
    time.sleep(0.01)
    assert clock.now_ms() == 1_002_000


async def test_simulated_seconds_are_short_and_real_ones_are_not() -> None:
    clock = PaperClock(0, FAR_MS, speed=1000)
    before_ms, began_s = clock.now_ms(), time.monotonic()
    await clock.sleep(20)
    assert clock.now_ms() - before_ms >= 20_000
    assert time.monotonic() - began_s < 1
    began_s = time.monotonic()
    await RealWaits(clock).sleep(0.05)
    assert time.monotonic() - began_s >= 0.049


async def test_waiting_for_nothing_lets_others_run() -> None:
    clock, ran = PaperClock(0, FAR_MS, 1.0), asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await clock.sleep(-1)
    assert ran.is_set()


def test_it_follows_an_exchange_that_was_away_and_ignores_the_time_of_an_answer() -> None:
    clock = PaperClock(10_000_000, FAR_MS, speed=60)
    assert not clock.follow(10_000_000 + 10_000)
    assert clock.follow(9_000_000)
    assert abs(clock.now_ms() - 9_000_000) < 60_000


def test_patience_is_multiplied_by_the_speed_and_never_longer_than_a_part_of_a_bar() -> None:
    slow = TraderParams()
    fast = in_real_seconds(slow, Interval.H1, 60)
    assert (fast.tick_s, fast.silence_s, fast.backoff_max_s) == (60 * slow.tick_s, 60 * slow.silence_s, 60 * slow.backoff_max_s)
    assert fast.standby_poll_s == slow.standby_poll_s  # waited for on the clock of the lease, which is real
    assert in_real_seconds(slow, Interval.H1, 3600).bar_patience_s == 360


def test_what_is_spread_over_market_time_stays() -> None:
    slow = ExecutionParams()
    fast = patience_in_real_seconds(slow, 360)
    assert fast.stop_deadline_s == 360 * slow.stop_deadline_s
    assert (fast.twap_seconds, fast.unprotected_pause_s) == (slow.twap_seconds, slow.unprotected_pause_s)
