"""What the data of an asset leave out inside a period, one line each: missing bars, funding that is not there, an early end.

A backtest runs over all of them, and who reads its numbers has to know: funding that is not there counts as 0, an asset that
ends is closed at its last bar, and a position is held through a hole.
"""

from __future__ import annotations

import itertools

from shared.data.curation import Series
from shared.domain.candles import Candles
from shared.domain.errors import NotEnoughData
from shared.domain.interval import DAY_MS, format_ms

LEAST_SHARE = 0.5
"""share of a period's bars that have to be there"""
_SHOWN = 3  # stretches without funding that are named one by one


def missing_bars(symbol: str, candles: Candles, begin_ms: int, end_ms: int) -> list[str]:
    """A line where bars that close in (begin, end] are missing. Raises `NotEnoughData` where that is more than half of them."""
    expected = (end_ms - begin_ms) // candles.interval.ms
    found = len(candles.between(begin_ms, end_ms))
    if found < expected * LEAST_SHARE:
        raise NotEnoughData(
            f"{symbol}: {expected - found:,} of {expected:,} bars are missing between {format_ms(begin_ms)} and "
            f"{format_ms(end_ms)}; choose a period with more of them"
        )
    return [f"{symbol}: {expected - found:,} of {expected:,} bars are missing"] if found < expected else []


def missing_funding(symbol: str, funding: Series, begin_ms: int, end_ms: int) -> list[str]:
    """A line where stretches of more than a day have no funding rate (venues pay every 1 to 8 hours)."""
    inside = [stamp for stamp in funding[0].tolist() if begin_ms <= stamp <= end_ms]
    if not inside:
        return [f"{symbol}: no funding rates; counted as 0"]
    holes = [(left, right) for left, right in itertools.pairwise([begin_ms, *inside, end_ms]) if right - left > DAY_MS]
    parts = [_stretch(left, right, begin_ms, end_ms) for left, right in holes[:_SHOWN]]
    if len(holes) > _SHOWN:
        parts.append(f"and in {len(holes) - _SHOWN} other stretches")
    return [f"{symbol}: no funding rates {', '.join(parts)}; counted as 0"] if holes else []


def _stretch(left_ms: int, right_ms: int, begin_ms: int, end_ms: int) -> str:
    if left_ms == begin_ms:
        return f"before {format_ms(right_ms)}"
    if right_ms == end_ms:
        return f"after {format_ms(left_ms)}"
    return f"from {format_ms(left_ms)} to {format_ms(right_ms)}"


def early_end(symbol: str, newest_ms: int, end_ms: int) -> list[str]:
    """A line where the candles end before the period does."""
    return [f"{symbol}: candles end {format_ms(newest_ms)}: closed there"] if newest_ms < end_ms else []
