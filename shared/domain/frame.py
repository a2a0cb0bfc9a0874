"""The curated frame: named float64 columns over the bars of one asset, each value depending only on bars up to its own.

It is what every feature, alpha and agent reads. Missing values (warm-up, no source) are NaN. The column names and their
meaning are listed in `shared/data/curation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Self

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval


@dataclass(frozen=True, eq=False)
class Frame:
    """`n` bars, oldest first; `open_time` is int64 ms UTC, each column float64 of shape (n,)."""

    interval: Interval
    open_time: IntArray
    columns: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        wrong = {name: len(values) for name, values in self.columns.items() if len(values) != len(self)}
        if wrong:
            raise MalformedData(f"frame columns must have {len(self)} rows, found {wrong}")

    def __len__(self) -> int:
        return len(self.open_time)

    def __getitem__(self, name: str) -> FloatArray:
        try:
            return self.columns[name]
        except KeyError:
            raise MalformedData(f"the frame has no column {name!r}; it has {' '.join(self.columns)}") from None

    @property
    def close_time(self) -> IntArray:
        """Instant at which each bar was closed (ms): the first at which its row may be used."""
        return self.open_time + self.interval.ms

    def rows(self, rows: slice) -> Self:
        """The same columns over a slice of the bars."""
        return type(self)(self.interval, self.open_time[rows], {name: values[rows] for name, values in self.columns.items()})

    def derived(self, key: Hashable, compute: Callable[[], FloatArray]) -> FloatArray:
        """What `compute` gives (n,): a column made from these, named by `key`. A sweep's frame keeps it for later variants."""
        return compute()

    def last(self) -> dict[str, float]:
        """The newest row, without its missing values."""
        return {name: float(values[-1]) for name, values in self.columns.items() if values[-1] == values[-1]}
