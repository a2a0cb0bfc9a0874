"""Small markets and a driver for the paper exchange's engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.market import Market
from cloudrun.exchange.refusal import Refusal
from shared.backtest.params import CostParams
from shared.domain.candles import Candles
from shared.domain.interval import HOUR_MS, Interval

START_MS = 1_751_328_000_000  # 2025-07-01 00:00 UTC
FREE = CostParams(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Bench:
    """Builds markets out of (open, high, low, close) rows and drives an engine on them."""

    start_ms = START_MS
    hour_ms = HOUR_MS
    free = FREE

    def candles(self, bars: Sequence[tuple[float, float, float, float]], volume: float = 1000.0) -> Candles:
        """Hourly candles from `START_MS`."""
        rows = [(START_MS + i * HOUR_MS, *bar, volume) for i, bar in enumerate(bars)]
        return Candles.from_rows(Interval.H1, rows)

    def market(
        self,
        bars: Sequence[tuple[float, float, float, float]],
        funding: Sequence[tuple[int, float]] = (),
        symbol: str = "BTCUSDT",
    ) -> Market:
        """A market of one symbol; funding as (hours after the start, rate)."""
        times = np.array([START_MS + hours * HOUR_MS for hours, _ in funding], dtype=np.int64)
        rates = np.array([rate for _, rate in funding], dtype=np.float64)
        return Market({symbol: self.candles(bars)}, {symbol: (times, rates)})

    def walk(self, seed: int, bars: int = 60, symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT")) -> Market:
        """A random market with funding every eight hours."""
        rng = np.random.default_rng(seed)
        candles, funding = {}, {}
        for number, symbol in enumerate(symbols):
            close = np.round(50_000 / (10 * number + 1) * np.exp(np.cumsum(rng.normal(0, 0.02, bars))), 1)
            first = np.concatenate([close[:1], close[:-1]])
            high = np.round(np.maximum(first, close) * (1 + rng.uniform(0, 0.01, bars)), 1)
            low = np.round(np.minimum(first, close) * (1 - rng.uniform(0, 0.01, bars)), 1)
            high, low = np.maximum(high, np.maximum(first, close)), np.minimum(low, np.minimum(first, close))
            candles[symbol] = self.candles(list(zip(first, high, low, close, strict=True)))
            stamps = START_MS + np.arange(0, bars, 8, dtype=np.int64) * HOUR_MS
            funding[symbol] = (stamps, np.round(rng.normal(0, 0.0005, len(stamps)), 8))
        return Market(candles, funding)

    def engine(self, market: Market, costs: CostParams = FREE, capital: str = "10000") -> Engine:
        """An engine at the start of `market`."""
        return Engine(market, EngineConfig(START_MS, Decimal(capital), costs))

    def at(self, hours: float) -> dict[str, str]:
        """Parameters of `advance` to `hours` after the start."""
        return {"to_ms": str(START_MS + int(hours * HOUR_MS))}

    def refused(self, engine: Engine, command: str, **params: Any) -> int | None:
        """The code with which a command is refused, `None` where it is accepted."""
        try:
            engine.execute(command, {name: str(value) for name, value in params.items()})
        except Refusal as error:
            return error.code
        return None


def _order(kind: str, side: str, quantity: str, **more: str) -> dict[str, str]:
    return {"symbol": "BTCUSDT", "side": side, "type": kind, "quantity": quantity, **more}


@pytest.fixture
def bench() -> Bench:
    """Markets and engines."""
    return Bench()


@pytest.fixture
def requests() -> SimpleNamespace:
    """Builders of request parameters."""

    def market(side: str, quantity: str = "1", **more: str) -> dict[str, str]:
        return _order("MARKET", side, quantity, **more)

    def limit(side: str, price: str, quantity: str = "1", **more: str) -> dict[str, str]:
        return _order("LIMIT", side, quantity, **{"price": price, "timeInForce": "GTC", **more})

    def stop(side: str, trigger: str, quantity: str = "1", **more: str) -> dict[str, str]:
        return _order("STOP_MARKET", side, quantity, **{"algoType": "CONDITIONAL", "triggerPrice": trigger, **more})

    builders: dict[str, Callable[..., dict[str, str]]] = {"market": market, "limit": limit, "stop": stop}
    return SimpleNamespace(**builders)
