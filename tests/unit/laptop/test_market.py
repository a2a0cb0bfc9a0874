"""The market of `make up`: the same to the bar whenever it starts, and the first bars open a position."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from cloudrun.laptop.market import FUTURE_BARS, HISTORY_BARS, SETTINGS, begin_of, market_around
from shared.adapters.local.bucket import FolderBucket
from shared.config.load import load
from shared.domain.asset import Universe
from shared.domain.decision import Action
from shared.domain.interval import Interval
from shared.trading.signals import recommend_for, regime_history
from shared.trading.window import MarketWindow

SYMBOLS = ("BTCUSDT", "ETHUSDT")
FIRST_STEPS = 6
NOW = datetime(2026, 11, 22, 5, 42, 46, tzinfo=UTC)


@pytest.mark.parametrize("later_h", [0, 1, 15, 16, 17, 24, 100, 167, 168])
def test_it_begins_at_the_same_hour_of_the_week_and_has_ended_by_now(later_h: int) -> None:
    now = NOW + timedelta(hours=later_h)
    begin = begin_of(now)
    assert (begin.weekday(), begin.hour, begin.minute) == (0, 21, 0)
    assert timedelta(0) <= now - begin - timedelta(hours=FUTURE_BARS) < timedelta(days=7, hours=1)
    history_begin = begin - timedelta(hours=HISTORY_BARS)
    assert now - history_begin <= timedelta(days=int(SETTINGS["OST_INGEST__DEFAULT_DAYS"]))  # all of it is fetched


def test_each_of_the_first_steps_would_open_a_position_of_every_asset(tmp_path: Path) -> None:
    settings = load(None, environment=SETTINGS).settings
    begin = begin_of(NOW)
    made = market_around(begin, SYMBOLS)
    for asset in Universe.of("generated", SYMBOLS):
        times, rates = made.funding[asset.symbol]
        for step in range(FIRST_STEPS):
            candles = made.history[asset.symbol][: HISTORY_BARS + step]
            close_ms = int(candles.close_time[-1])
            known = int(np.searchsorted(times, close_ms, side="right"))
            window = MarketWindow.empty(asset, Interval.H1, settings.system.window_bars(Interval.H1)).extended(
                candles, (times[:known], rates[:known]), (np.empty(0, dtype=np.int64), np.empty(0))
            )
            history = regime_history(FolderBucket(tmp_path), window, None, 48, settings.system)
            decision, _ = recommend_for(history, Decimal(10_000), "code", settings.system)
            assert decision.action is Action.OPEN, (asset.symbol, step, decision.reasons)
