"""What looks odd in valid candles, listed and never removed: frozen bars and outliers.

Frozen: open = high = low = close and volume 0, as during outages and after a delisting. Such bars are no evidence of a market;
readers ask `frozen_rows`. Outlier: a bar's range, |log return| or volume beyond a multiple of the median of its own 30-day
block (without frozen bars). Medians, so that the outliers do not hide themselves; blocks, because volatility of 2017 and
of 2025 do not share a scale. True extremes are outliers by this rule, and that is all that it says.
"""

from __future__ import annotations

import numpy as np

from shared.data.findings import Finding, FindingKind
from shared.domain.candles import BoolArray, Candles, FloatArray
from shared.domain.interval import DAY_MS

BLOCK_DAYS = 30
RANGE_MULTIPLE = 8.0
RETURN_MULTIPLE = 25.0
VOLUME_MULTIPLE = 20.0
MAX_LISTED = 200
"""Outliers listed one by one, the largest first; the rest is one summary."""


def frozen_rows(candles: Candles) -> BoolArray:
    """True where a bar is flat and without volume, shape (n,)."""
    flat = (candles.open == candles.high) & (candles.high == candles.low) & (candles.low == candles.close)
    rows: BoolArray = flat & (candles.volume == 0)
    return rows


def frozen_since(candles: Candles) -> int | None:
    """Open time of the first bar of the frozen run that ends the series (a halt or a delisting); `None` where it trades."""
    rows = frozen_rows(candles)
    if len(rows) == 0 or not rows[-1]:
        return None
    alive = np.flatnonzero(~rows)
    first = int(alive[-1]) + 1 if len(alive) else 0
    return int(candles.open_time[first])


def frozen_runs(candles: Candles) -> list[Finding]:
    """Each run of frozen bars, oldest first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], frozen_rows(candles), [False]]).astype(np.int8)))
    return [
        Finding(
            FindingKind.FROZEN,
            int(candles.open_time[start]),
            int(candles.open_time[end - 1]),
            int(end - start),
            f"flat at {candles.close[start]:g} without volume",
        )
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def outliers(candles: Candles) -> list[Finding]:
    """Bars far outside of their month, oldest first; beyond `MAX_LISTED` the mildest are summed up in one finding."""
    if len(candles) < 3:
        return []
    returns = np.zeros(len(candles))
    returns[1:] = np.abs(np.diff(np.log(candles.close)))
    measures = {
        "range": (np.log(candles.high / candles.low), RANGE_MULTIPLE),
        "return": (returns, RETURN_MULTIPLE),
        "volume": (candles.volume, VOLUME_MULTIPLE),
    }
    ratios = {name: _over_median(values, candles) / multiple for name, (values, multiple) in measures.items()}
    severity = np.max(list(ratios.values()), axis=0)
    rows = np.flatnonzero(severity > 1)
    listed = np.sort(rows[np.argsort(-severity[rows], kind="stable")][:MAX_LISTED])
    found = []
    for row in listed:
        named = [
            f"{name} {ratio[row] * measures[name][1]:.0f} times its {BLOCK_DAYS}-day median"
            for name, ratio in ratios.items()
            if ratio[row] > 1
        ]
        at = int(candles.open_time[row])
        found.append(Finding(FindingKind.OUTLIER, at, at, 1, ", ".join(named)))
    rest = np.setdiff1d(rows, listed)
    if len(rest):
        first, last = int(candles.open_time[rest[0]]), int(candles.open_time[rest[-1]])
        found.append(Finding(FindingKind.OUTLIER, first, last, len(rest), "milder ones, not listed"))
    return found


def _over_median(values: FloatArray, candles: Candles) -> FloatArray:
    """Each value over the median of its block, 0 in blocks without a positive median."""
    alive = ~frozen_rows(candles)
    blocks = candles.open_time // (BLOCK_DAYS * DAY_MS)
    starts = np.flatnonzero(np.diff(blocks, prepend=blocks[0] - 1))
    ratio = np.zeros(len(values))
    for start, end in zip(starts, np.append(starts[1:], len(values)), strict=True):
        block = slice(int(start), int(end))
        living = values[block][alive[block]]
        median = float(np.median(living)) if len(living) else 0.0
        if median > 0:
            ratio[block] = values[block] / median
    return ratio
