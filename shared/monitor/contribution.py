"""What one asset contributed to a book: the part of the account's return that its fills, fees and funding explain.

profit(t) = cash of its fills - fees + funding + position · close(t); return(t) = Δ profit / equity of the whole book before.
A champion belongs to one asset and was measured on an account of its own, where position / equity is the same number; so the
contribution is what its baseline can be compared with. Invariant: the contributions of all assets add up to the book's return
(bar by bar but for payments that the venue books a moment later).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.orders import Fill
from shared.domain.records import EquityPoint, FundingPayment


def contribution(
    points: Sequence[EquityPoint],
    closes: Sequence[tuple[int, float]],
    fills: Sequence[Fill],
    funding: Sequence[FundingPayment],
) -> tuple[IntArray, FloatArray]:
    """Instants (m,) and value (m,) of an account that earned only what this asset contributed; 1 at the first instant.

    `points`: the book's equity, `closes`: (bar close, price) of the asset, `fills` and `funding` of the asset alone, all oldest
    first. Instants are those that have both equity and a price. What is filled at an instant is marked at the next one, as the
    book's equity is. The curve ends where the book's equity is not positive.
    """
    prices = dict(closes)
    rows = [point for point in points if point.time_ms in prices]
    time_ms = np.array([point.time_ms for point in rows], dtype=np.int64)
    equity = np.array([float(point.equity) for point in rows], dtype=np.float64)
    price = np.array([prices[point.time_ms] for point in rows], dtype=np.float64)
    quantity, cash = _before(time_ms, fills)
    received = _sums(time_ms, [payment.time_ms for payment in funding], [float(payment.amount) for payment in funding], "right")
    profit = cash + received + quantity * price
    alive = len(equity) if np.all(equity > 0) else int(np.argmax(equity <= 0))
    gains = np.diff(profit)[: max(alive - 1, 0)] / equity[: max(alive - 1, 0)]
    curve = np.concatenate([np.ones(min(alive, 1)), np.cumprod(1.0 + gains)])
    return time_ms[: len(curve)], curve


def _before(time_ms: IntArray, fills: Sequence[Fill]) -> tuple[FloatArray, FloatArray]:
    """Position and cash (m,) of the fills before each instant."""
    instants = [fill.time_ms for fill in fills]
    signed = [float(fill.quantity) * fill.side.sign for fill in fills]
    spent = [-size * float(fill.price) - float(fill.fee) for size, fill in zip(signed, fills, strict=True)]
    return _sums(time_ms, instants, signed, "left"), _sums(time_ms, instants, spent, "left")


def _sums(time_ms: IntArray, instants: Sequence[int], amounts: Sequence[float], side: str) -> FloatArray:
    """Sum (m,) of the amounts before each instant ("left"), or up to and with it ("right")."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(amounts, dtype=np.float64))])
    places = np.searchsorted(np.asarray(instants, dtype=np.int64), time_ms, side="left" if side == "left" else "right")
    return np.asarray(total[places])
