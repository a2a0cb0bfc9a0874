"""The market of `make up`: generated, of the past, and the same in every run, so that a first position is opened at once.

It is the same to the bar: prices come from one seed, and the bars lie on the same hours of the week (regime models are fitted
on Mondays, funding is settled on certain hours). In the first six bars that can be decided on every asset has a consensus above
the entry threshold of `SETTINGS`, so it does not matter for which of them a computer is ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from shared.data.generated import GeneratedMarket, generate_market
from shared.domain.interval import Interval

HISTORY_BARS, FUTURE_BARS = 1400, 5000
WEEK_BARS = 7 * 24
_SEED = 11
_BEGIN_WEEKDAY, _BEGIN_HOUR = 0, 21
"""Monday, 21:00 UTC"""

SETTINGS = {
    "OST_INTERVAL": "1h",
    "OST_INTERVALS": "1h",
    # Counted from today, and the market ends up to a week before.
    "OST_INGEST__DEFAULT_DAYS": str((HISTORY_BARS + FUTURE_BARS + WEEK_BARS) // 24 + 1),
    "OST_REGIME__TRAIN_BARS": "700",
    "OST_REGIME__BURN_IN_BARS": "200",
    "OST_STRATEGY__ENTRY_THRESHOLD": "0.1",
    "OST_STRATEGY__EXIT_THRESHOLD": "0.05",
}
"""A short history, quick models and a strategy that is easily convinced, so that it is worth looking at"""


def begin_of(now: datetime) -> datetime:
    """Where the exchange's clock starts: all of the market has closed by `now`.

    What has not closed by the clock of this computer is no closed bar to the functions.
    """
    latest = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=FUTURE_BARS)
    begin = latest.replace(hour=_BEGIN_HOUR) - timedelta(days=(latest.weekday() - _BEGIN_WEEKDAY) % 7)
    return begin if begin <= latest else begin - timedelta(days=7)


def market_around(begin: datetime, symbols: Sequence[str]) -> GeneratedMarket:
    """The history before `begin` and what comes after it."""
    start_ms = round((begin - timedelta(hours=HISTORY_BARS)).timestamp()) * 1000
    return generate_market(np.random.default_rng(_SEED), symbols, Interval.H1, start_ms, HISTORY_BARS + FUTURE_BARS)
