"""Circuit breakers on marked equity, open loss included: pauses at 5, 10 and 15 % drawdown, a latch at 20 %, the loss of a day.

A level fires when the drawdown crosses it from below, once; it is armed again when the drawdown has come back under it. A
pause ends by itself; the latch stays in the ledger until a person resumes (corrections 10 and 18 of the design).
The daily loss is measured from the equity at the start of the UTC day and pauses until the next one; it, too, fires when it is
crossed. `crossed_level` and `day_start_equity` are compiled by the backtest kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from shared.domain.candles import FloatArray
from shared.domain.interval import DAY_MS, HOUR_MS
from shared.domain.records import EquityPoint, Halt, HaltKind
from shared.risk.params import RiskParams

Amount = TypeVar("Amount", float, Decimal)


def check_breakers(
    book: str,
    point: EquityPoint,
    previous: EquityPoint | None,
    in_force: Sequence[Halt],
    params: RiskParams,
    day_equity: Decimal | None = None,
) -> list[Halt]:
    """Halts that `point` trips: the latch, or the strongest level that was crossed since `previous` and the daily loss.

    `in_force` are the book's halts; one that closes the whole book silences every breaker: there is nothing left to protect. A
    latch that only freezes it does not, for its positions go on losing. `day_equity` is the equity at the start of the
    point's UTC day (`None`: not known, no daily limit).
    """
    if any(halt.kind.flattens and halt.symbol is None for halt in in_force):
        return []
    drawdown, before = point.drawdown, previous.drawdown if previous else 0.0
    if drawdown > params.max_drawdown:
        reason = f"max drawdown: {drawdown:.1%} is beyond {params.max_drawdown:.0%} of the peak {point.peak:.2f}"
        return [Halt(book, reason, point.time_ms, None, kind=HaltKind.DRAWDOWN)]
    halts = []
    tripped = crossed_level(drawdown, before, params.pause_drawdowns)
    if tripped >= 0:
        level, hours = params.pause_drawdowns[tripped], params.pause_hours[tripped]
        reason = f"drawdown {drawdown:.1%} is beyond {level:.0%}: no new risk for {hours:g} h"
        halts.append(Halt(book, reason, point.time_ms, point.time_ms + pause_ms(hours), kind=HaltKind.PAUSE))
    if day_equity:
        lost = float(1 - point.equity / day_equity)
        lost_before = float(1 - previous.equity / day_equity) if previous else 0.0
        if crossed_level(lost, lost_before, (params.max_daily_loss,)) == 0:
            reason = f"loss of the day {lost:.1%} is beyond {params.max_daily_loss:.0%}: no new risk until the next UTC day"
            halts.append(Halt(book, reason, point.time_ms, next_day_ms(point.time_ms), kind=HaltKind.PAUSE))
    return halts


def day_start_equity(now_ms: int, equity: Amount, last_ms: int, last_equity: Amount, day_equity: Amount) -> Amount:
    """Equity at the start of the UTC day of a mark, from the mark and the one before with its own day's start.

    The mark at midnight is the start of its day; else it is the newest mark before midnight.
    """
    if now_ms // DAY_MS == last_ms // DAY_MS:
        return day_equity
    return equity if now_ms % DAY_MS == 0 else last_equity


def next_day_ms(now_ms: int) -> int:
    """The midnight (UTC) after an instant."""
    return (now_ms // DAY_MS + 1) * DAY_MS


def crossed_level(drawdown: float, before: float, levels: Sequence[float] | FloatArray) -> int:
    """Position of the deepest of the rising `levels` that the drawdown crossed since it was `before`; -1 for none."""
    for position in range(len(levels) - 1, -1, -1):
        if drawdown > levels[position] >= before:
            return position
    return -1


def pause_ms(hours: float) -> int:
    """Length of a pause."""
    return round(hours * HOUR_MS)
