"""A run of closed candles as parallel arrays.

Invariants, checked on construction: equal lengths, open times strictly increasing on the interval's grid, prices finite and
positive, volume finite and not negative, high the highest and low the lowest of the four prices. Gaps are allowed: an
exchange outage is a fact. Research arrays are float64; money at the venue is Decimal (`shared/domain/money.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.domain.errors import MalformedData
from shared.domain.interval import Interval, format_ms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS = ("open_time", *PRICE_COLUMNS, "volume")


@dataclass(frozen=True, eq=False)
class Candles:
    """`n` closed bars, oldest first. `open_time` is int64 milliseconds UTC, the rest float64, each of shape (n,)."""

    interval: Interval
    open_time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise MalformedData(f"candle columns differ in length: {lengths}")
        if len(self) == 0:
            return
        self._check_times()
        self._check_values()

    def _check_times(self) -> None:
        steps = np.diff(self.open_time)
        if np.any(steps <= 0):
            at = int(self.open_time[int(np.argmax(steps <= 0)) + 1])
            raise MalformedData(f"candle times must increase; {format_ms(at)} does not follow its predecessor")
        off_grid = (self.open_time - self.interval.floor(0)) % self.interval.ms != 0
        if np.any(off_grid):
            at = int(self.open_time[int(np.argmax(off_grid))])
            raise MalformedData(f"{format_ms(at)} is not on the {self.interval} grid")

    def _check_values(self) -> None:
        prices = np.stack([self.open, self.high, self.low, self.close])
        bad = ~np.isfinite(prices).all(axis=0) | (prices <= 0).any(axis=0)
        bad |= (self.high < prices.max(axis=0)) | (self.low > prices.min(axis=0))
        bad |= ~np.isfinite(self.volume) | (self.volume < 0)
        if np.any(bad):
            row = int(np.argmax(bad))
            values = ", ".join(f"{name} {float(getattr(self, name)[row])}" for name in COLUMNS[1:])
            raise MalformedData(
                f"impossible candle at {format_ms(int(self.open_time[row]))}: {values} ({int(bad.sum())} such bars)"
            )

    def __len__(self) -> int:
        return len(self.open_time)

    def __getitem__(self, rows: slice) -> Self:
        if not isinstance(rows, slice) or (rows.step is not None and rows.step < 1):
            raise TypeError("index candles with a slice that goes forward")
        return self._trusted([getattr(self, name)[rows] for name in COLUMNS])

    @property
    def close_time(self) -> IntArray:
        """Instant at which each bar was closed (ms): the first at which its values may be used."""
        return self.open_time + self.interval.ms

    @classmethod
    def empty(cls, interval: Interval) -> Self:
        """No bars."""
        nothing = np.empty(0, dtype=np.float64)
        return cls(interval, np.empty(0, dtype=np.int64), nothing, nothing, nothing, nothing, nothing)

    @classmethod
    def from_rows(cls, interval: Interval, rows: Sequence[Sequence[float]]) -> Self:
        """From `[open_time_ms, open, high, low, close, volume]` rows, as ccxt returns them."""
        if not rows:
            return cls.empty(interval)
        table = np.asarray([row[:6] for row in rows], dtype=np.float64)
        return cls(interval, table[:, 0].astype(np.int64), *(np.ascontiguousarray(table[:, i]) for i in range(1, 6)))

    def between(self, start_ms: int | None = None, end_ms: int | None = None) -> Self:
        """Bars that open in [start_ms, end_ms)."""
        first = 0 if start_ms is None else int(np.searchsorted(self.open_time, start_ms))
        last = len(self) if end_ms is None else int(np.searchsorted(self.open_time, end_ms))
        return self[first:last]

    def followed_by(self, newer: Candles) -> Self:
        """These bars and then those of `newer` that open after the last one of these."""
        if newer.interval is not self.interval:
            raise MalformedData(f"cannot join {self.interval} and {newer.interval} candles")
        fresh = newer.between(int(self.open_time[-1]) + 1) if len(self) else newer
        if len(fresh) == 0:
            return self
        return self._trusted([np.concatenate([getattr(self, name), getattr(fresh, name)]) for name in COLUMNS])

    def followed_by_rows(self, rows: Sequence[Sequence[float]]) -> Self:
        """These bars and then `rows` as `from_rows` takes them, which are newer and were checked one by one as they came in."""
        times, *values = np.array(rows, dtype=np.float64).T
        newer = (times.astype(np.int64), *values)
        return self._trusted([np.concatenate([getattr(self, name), new]) for name, new in zip(COLUMNS, newer, strict=True)])

    def _trusted(self, columns: Sequence[IntArray | FloatArray]) -> Self:
        """Candles made of parts that were checked before: a slice with a positive step, a run continued by a newer one."""
        made = object.__new__(type(self))
        for name, values in zip(("interval", *COLUMNS), (self.interval, *columns), strict=True):
            object.__setattr__(made, name, values)
        return made
