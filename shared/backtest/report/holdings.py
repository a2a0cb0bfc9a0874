"""What was held and what doing nothing would have earned, from fills and candles, at the instants of the equity curve."""

from __future__ import annotations

import numpy as np

from shared.backtest.report.record import AssetRecord, RunRecord
from shared.domain.candles import FloatArray, IntArray


def equity_curve(record: RunRecord) -> tuple[IntArray, FloatArray]:
    """Instants (n,) in ms and marked equity (n,) in quote currency."""
    times_ms = np.array([point.time_ms for point in record.equity], dtype=np.int64)
    return times_ms, np.array([float(point.equity) for point in record.equity])


def last_close(item: AssetRecord, times_ms: IntArray) -> FloatArray:
    """The newest close (n,) known at each instant; NaN before the first one."""
    if len(item.candles) == 0:
        return np.full(len(times_ms), np.nan)
    rows = np.searchsorted(item.candles.close_time, times_ms, side="right") - 1
    known: FloatArray = np.where(rows >= 0, item.candles.close[np.maximum(rows, 0)], np.nan)
    return known


def held_fraction(item: AssetRecord, times_ms: IntArray, equity: FloatArray) -> FloatArray:
    """Signed notional / equity (n,) after the fills up to each instant; NaN where the price or the equity says nothing."""
    fills = sorted(item.fills, key=lambda fill: fill.time_ms)
    held = np.concatenate([[0.0], np.cumsum([float(fill.signed_quantity) for fill in fills])])
    # Sums of decimals as floats: what is left of a closed position is rounding.
    held[np.abs(held) < 1e-9 * max(1.0, float(np.max(np.abs(held))))] = 0.0
    at = np.searchsorted(np.array([fill.time_ms for fill in fills], dtype=np.int64), times_ms, side="right")
    notional = held[at] * last_close(item, times_ms)
    fraction: FloatArray = np.divide(notional, equity, out=np.full(len(times_ms), np.nan), where=equity > 0)
    return fraction


def buy_and_hold(record: RunRecord) -> FloatArray:
    """Equity (n,) of the starting capital in equal parts in every asset, bought at the first instant and kept, free of cost.

    All NaN where an asset has no price at the first instant.
    """
    times_ms, _ = equity_curve(record)
    growth = [closes / closes[0] for closes in (last_close(item, times_ms) for item in record.assets)]
    parts: FloatArray = np.mean(np.stack(growth), axis=0)
    return parts * record.summary.start_equity
