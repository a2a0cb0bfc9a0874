"""Public market data of a venue through ccxt: the `MarketData` port.

Pages are joined by time, each starting right after the last bar of the one before. A bar is closed when the *venue's* clock,
asked before the first page, has passed its end: our own clock may be wrong, and the venue serves the open bar as the last row.
Prices are the venue's strings read as ccxt reads them (the nearest float64).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.adapters.exchange.connection import Connection
from shared.adapters.exchange.endpoints import FUNDING_RATES, KLINES, OPEN_INTEREST, Endpoint
from shared.adapters.exchange.payloads import well_formed
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import RateLimited, VenueRejected
from shared.domain.interval import DAY_MS, HOUR_MS, Interval

KLINE_PAGE = 1000  # cheapest per bar: 5 of weight, where 1500 bars cost 10
FUNDING_PAGE = 1000
OPEN_INTEREST_PAGE = 500
OPEN_INTEREST_DAYS = 30
"""Binance keeps the history of open interest for 30 days and refuses older start times."""


class CcxtMarketData:
    """Candles, funding and open interest of one venue."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        """Closed bars that open in [start_ms, end_ms)."""
        start_ms = interval.ceil(start_ms)
        if start_ms >= end_ms:
            return Candles.empty(interval)  # where only funding is due, the venue's time is not asked on the way to a decision
        end_ms = min(end_ms, interval.floor(await self._connection.now_up_to_ms(interval.ceil(end_ms))))
        rows: list[list[float]] = []
        while start_ms < end_ms:
            limit = min(KLINE_PAGE, -(-(end_ms - start_ms) // interval.ms))
            page = await self._connection.read(
                KLINES,
                {
                    "symbol": symbol,
                    "interval": interval.value,
                    "startTime": start_ms,
                    "endTime": end_ms - 1,
                    "limit": limit,
                },
            )
            with well_formed(f"candles of {symbol}"):
                fresh = [[float(value) for value in row[:6]] for row in page if start_ms <= int(row[0]) < end_ms]
            rows += fresh
            if len(page) < limit or not fresh:
                break
            start_ms = int(fresh[-1][0]) + interval.ms
        return Candles.from_rows(interval, rows)

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Settled funding that falls in [start_ms, end_ms)."""
        rates: dict[int, float] = {}
        while start_ms < end_ms:
            page = await self._connection.read(
                FUNDING_RATES, {"symbol": symbol, "startTime": start_ms, "endTime": end_ms - 1, "limit": FUNDING_PAGE}
            )
            with well_formed(f"funding rates of {symbol}"):
                fresh = {int(row["fundingTime"]): float(row["fundingRate"]) for row in page}
            rates |= {time_ms: rate for time_ms, rate in fresh.items() if start_ms <= time_ms < end_ms}
            if len(page) < FUNDING_PAGE or max(fresh) < start_ms:
                break
            start_ms = max(fresh) + 1
        return _series(rates)

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Hourly open interest in [start_ms, end_ms), as far back as the venue keeps it; empty where it keeps none."""
        now_ms = await self._connection.now_ms()
        end_ms = min(end_ms, now_ms)
        start_ms = max(start_ms, now_ms - OPEN_INTEREST_DAYS * DAY_MS + HOUR_MS)
        values: dict[int, float] = {}
        while start_ms < end_ms:
            until_ms = min(end_ms, start_ms + OPEN_INTEREST_PAGE * HOUR_MS)
            page = await self._offered(
                OPEN_INTEREST,
                {"symbol": symbol, "period": "1h", "startTime": start_ms, "endTime": until_ms - 1, "limit": OPEN_INTEREST_PAGE},
            )
            if page is None:
                break
            with well_formed(f"open interest of {symbol}"):
                fresh = {int(row["timestamp"]): float(row["sumOpenInterest"]) for row in page}
            values |= {time_ms: value for time_ms, value in fresh.items() if start_ms <= time_ms < until_ms}
            start_ms = until_ms
        return _series(values)

    async def close(self) -> None:
        """Release connections."""
        await self._connection.close()

    async def _offered(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> list[Any] | None:
        """The answer of a service that some venues do not have; `None` there."""
        try:
            return list(await self._connection.read(endpoint, parameters))
        except RateLimited:
            raise
        except VenueRejected as error:
            if error.code is None:  # no such path or service; a refusal with a code is about this request
                return None
            raise


def _series(values: Mapping[int, float]) -> tuple[IntArray, FloatArray]:
    times = sorted(values)
    return np.asarray(times, dtype=np.int64), np.asarray([values[time] for time in times], dtype=np.float64)
