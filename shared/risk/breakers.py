"""Circuit breakers on marked equity, open loss included: pauses at 5, 10 and 15 % drawdown, a latch at 20 %.

A level fires when the drawdown crosses it from below, once; it is armed again when the drawdown has come back under it. A
pause ends by itself; the latch stays in the ledger until a person resumes (corrections 10 and 18 of the design).
`crossed_level` is compiled by the backtest kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.domain.candles import FloatArray
from shared.domain.interval import HOUR_MS
from shared.domain.records import EquityPoint, Halt, HaltKind
from shared.risk.params import RiskParams


def check_breakers(
    book: str, point: EquityPoint, previous: EquityPoint | None, in_force: Sequence[Halt], params: RiskParams
) -> list[Halt]:
    """Halts that `point` trips, at most one: the strongest level that was crossed since `previous`.

    `in_force` are the book's halts; a latch among them silences every breaker.
    """
    if any(halt.until_ms is None and halt.symbol is None for halt in in_force):
        return []
    drawdown, before = point.drawdown, previous.drawdown if previous else 0.0
    if drawdown > params.max_drawdown:
        reason = f"max drawdown: {drawdown:.1%} is beyond {params.max_drawdown:.0%} of the peak {point.peak:.2f}"
        return [Halt(book, reason, point.time_ms, None, kind=HaltKind.DRAWDOWN)]
    tripped = crossed_level(drawdown, before, params.pause_drawdowns)
    if tripped < 0:
        return []
    level, hours = params.pause_drawdowns[tripped], params.pause_hours[tripped]
    reason = f"drawdown {drawdown:.1%} is beyond {level:.0%}: no new risk for {hours:g} h"
    return [Halt(book, reason, point.time_ms, point.time_ms + pause_ms(hours), kind=HaltKind.PAUSE)]


def crossed_level(drawdown: float, before: float, levels: Sequence[float] | FloatArray) -> int:
    """Position of the deepest of the rising `levels` that the drawdown crossed since it was `before`; -1 for none."""
    for position in range(len(levels) - 1, -1, -1):
        if drawdown > levels[position] >= before:
            return position
    return -1


def pause_ms(hours: float) -> int:
    """Length of a pause."""
    return round(hours * HOUR_MS)
