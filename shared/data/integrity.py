"""From raw rows to `Candles` and a list of what was wrong with them.

Rule: only what *cannot* be is kept out (impossible prices, instants off the grid, the open bar, one exactly defined kind of
broken first bar); everything that merely looks odd is listed and kept, for a filter that drops the extremes of a market drops
the bars on which money is made and lost. Order: stamps, order, grid, columns, possibility, duplicates, openness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.data.duplicates import keep_one
from shared.data.findings import Finding, FindingKind
from shared.data.raw_tables import NO_TIME, RawBars
from shared.domain.candles import PRICE_COLUMNS, BoolArray, Candles, FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval, format_ms

# Turnover divided by volume is the mean price of a bar; rounded volumes of vendors move it by up to this fraction.
_TURNOVER_TOLERANCE = 0.02
_FIRST_BAR_FACTOR = 2.0
_FIRST_BAR_SHARE = 0.05
_NAMED_BARS = 3


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Candles that hold every invariant, and the findings of the way there."""

    candles: Candles
    findings: tuple[Finding, ...]


def clean(raw: RawBars, interval: Interval, source: str, now_ms: int | None = None) -> Cleaned:
    """Candles of `interval` from raw rows.

    `now_ms` tells which bar is still open (`None`: all are closed). Raises `MalformedData` naming `source` where the rows are
    no candles of this interval at all: another spacing, or more than half of the rows impossible.
    """
    findings: list[Finding] = []
    if len(raw) == 0:
        return Cleaned(Candles.empty(interval), ())
    rows = _on_grid(_sorted(raw, findings), interval, source, findings)
    rows = _columns_in_place(rows, findings)
    rows = _possible(rows, source, findings)
    kept, duplicate_findings = keep_one(rows)
    findings.extend(duplicate_findings)
    rows = _without_broken_first(_take(rows, kept), findings)
    if now_ms is not None:
        rows = _closed(rows, interval, now_ms, findings)
    columns = (getattr(rows, name) for name in (*PRICE_COLUMNS, "volume"))
    return Cleaned(Candles(interval, rows.open_time, *columns), tuple(findings))


def _take(raw: RawBars, rows: IntArray | BoolArray) -> RawBars:
    names = ("open_time", *PRICE_COLUMNS, "volume", "quote_volume")
    return RawBars(*(getattr(raw, name)[rows] for name in names))


def _finding(kind: FindingKind, times: IntArray, detail: str = "") -> Finding:
    return Finding(kind, int(times.min()), int(times.max()), len(times), detail)


def _sorted(raw: RawBars, findings: list[Finding]) -> RawBars:
    """Rows oldest first (stable); rows without a readable instant come first."""
    if raw.mixed_stamps:
        times = raw.open_time[raw.open_time != NO_TIME]
        detail = f"{raw.mixed_stamps} stamps in another unit than most; all read as milliseconds"
        findings.append(Finding(FindingKind.MIXED_STAMPS, int(times.min()), int(times.max()), raw.mixed_stamps, detail))
    # Compared, not subtracted: the difference to NO_TIME overflows.
    backwards = raw.open_time[1:] < raw.open_time[:-1]
    if not backwards.any():
        return raw
    known = raw.open_time[raw.open_time != NO_TIME]
    if len(known):
        newest_first = bool(np.all(raw.open_time[1:] <= raw.open_time[:-1]))
        detail = "newest first" if newest_first else f"{int(backwards.sum())} rows are older than the one before them"
        findings.append(_finding(FindingKind.REORDERED, known, detail))
    return _take(raw, np.argsort(raw.open_time, kind="stable"))


def _on_grid(raw: RawBars, interval: Interval, source: str, findings: list[Finding]) -> RawBars:
    readable = raw.open_time != NO_TIME
    if not readable.any():
        raise MalformedData(f"{source}: no row has a readable date; expected milliseconds since 1970 or YYYY-MM-DD HH:MM:SS")
    if not readable.all():
        first = int(raw.open_time[readable][0])
        count = int((~readable).sum())
        findings.append(Finding(FindingKind.OFF_GRID, first, first, count, "rows without a readable instant"))
        raw = _take(raw, readable)
    _expect_spacing(raw.open_time, interval, source)
    off = (raw.open_time - interval.floor(0)) % interval.ms != 0
    if off.any():
        if off.mean() > 0.5:
            at = format_ms(int(raw.open_time[off][0]))
            raise MalformedData(f"{source}: {int(off.sum())} of {len(off)} rows are not on the {interval} grid (first: {at})")
        findings.append(_finding(FindingKind.OFF_GRID, raw.open_time[off], f"not on the {interval} grid"))
        raw = _take(raw, ~off)
    return raw


def _expect_spacing(times: IntArray, interval: Interval, source: str) -> None:
    steps = np.diff(np.unique(times))
    if len(steps) < 2:
        return
    values, counts = np.unique(steps, return_counts=True)
    usual, share = int(values[np.argmax(counts)]), float(counts.max() / len(steps))
    finer = usual < interval.ms and share > 0.5
    coarser = usual > interval.ms and share > 0.5 and len(steps) >= 10
    if finer or coarser:
        raise MalformedData(f"{source}: rows are {usual / 60_000:g} minutes apart, expected {interval} bars")


def _columns_in_place(raw: RawBars, findings: list[Finding]) -> RawBars:
    """Put `volume` and `quote_volume` back where their ratio only fits the bar's prices the other way round."""
    with np.errstate(divide="ignore", invalid="ignore"):
        straight = _fits(raw.quote_volume / raw.volume, raw)
        crossed = _fits(raw.volume / raw.quote_volume, raw)
    swapped = crossed & ~straight
    if not swapped.any():
        return raw
    findings.append(_finding(FindingKind.SWAPPED_COLUMNS, raw.open_time[swapped], "volume and quote volume put back"))
    volume = np.where(swapped, raw.quote_volume, raw.volume)
    quote = np.where(swapped, raw.volume, raw.quote_volume)
    return RawBars(raw.open_time, raw.open, raw.high, raw.low, raw.close, volume, quote)


def _fits(price: FloatArray, raw: RawBars) -> BoolArray:
    fits: BoolArray = (price >= raw.low * (1 - _TURNOVER_TOLERANCE)) & (price <= raw.high * (1 + _TURNOVER_TOLERANCE))
    return fits


def _possible(raw: RawBars, source: str, findings: list[Finding]) -> RawBars:
    prices = np.stack([raw.open, raw.high, raw.low, raw.close])
    faults = {
        "missing price": ~np.isfinite(prices).all(axis=0),
        "price not positive": (prices <= 0).any(axis=0),
        "high is not the highest": raw.high < np.max(prices, axis=0),
        "low is not the lowest": raw.low > np.min(prices, axis=0),
        "missing volume": ~np.isfinite(raw.volume),
        "negative volume": raw.volume < 0,
    }
    bad = np.logical_or.reduce(list(faults.values()))
    if not bad.any():
        return raw
    worst = max(faults, key=lambda name: int(faults[name].sum()))
    if bad.mean() > 0.5:
        raise MalformedData(f"{source}: {int(bad.sum())} of {len(bad)} rows are impossible candles ({worst}); wrong columns?")
    for name, rows in faults.items():
        if rows.any():
            times = raw.open_time[rows]
            named = ", ".join(format_ms(int(time)) for time in times[:_NAMED_BARS])
            findings.append(_finding(FindingKind.IMPOSSIBLE, times, f"{name} at {named}{' …' * (len(times) > _NAMED_BARS)}"))
    return _take(raw, ~bad)


def _without_broken_first(raw: RawBars, findings: list[Finding]) -> RawBars:
    """Keep a first bar out whose open is refuted by its own turnover.

    No bar before the first one vouches for its open. It goes only where all of this holds: open and close differ by more than
    a factor of 2, the open is the bar's extreme, the next bar lies on the side of the close, and the mean traded price
    (turnover / volume) lies within 5 % of the bar's range from the opposite end, so that next to nothing was traded up there.
    A bar without known turnover always stays.
    """
    if len(raw) < 2 or not raw.volume[0] > 0 or not np.isfinite(raw.quote_volume[0]):
        return raw
    first, high, low, close = (float(getattr(raw, name)[0]) for name in PRICE_COLUMNS)
    mean_price = float(raw.quote_volume[0] / raw.volume[0])
    extreme = first in (high, low) and max(first / close, close / first) > _FIRST_BAR_FACTOR
    if not extreme:
        return raw
    opposite = low if first == high else high
    untraded = abs(mean_price - opposite) < _FIRST_BAR_SHARE * (high - low)
    following = abs(np.log(raw.open[1] / close)) < abs(np.log(raw.open[1] / first))
    if not (untraded and following):
        return raw
    detail = f"opens at {first:g}, but was traded at {mean_price:g} and closes at {close:g}"
    findings.append(_finding(FindingKind.FIRST_BAR, raw.open_time[:1], detail))
    return _take(raw, np.arange(1, len(raw)))


def _closed(raw: RawBars, interval: Interval, now_ms: int, findings: list[Finding]) -> RawBars:
    is_open = raw.open_time + interval.ms > now_ms
    if not is_open.any():
        return raw
    findings.append(_finding(FindingKind.OPEN_BAR, raw.open_time[is_open], f"not closed at {format_ms(now_ms)}"))
    return _take(raw, ~is_open)
