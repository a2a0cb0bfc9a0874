"""What was noticed about market data: the vocabulary of every quality report.

A finding never changes data by itself; where bars were kept out or repaired, its kind says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.domain.interval import format_ms


class FindingKind(StrEnum):
    """What was noticed, and what was done about it."""

    REORDERED = "reordered"
    """rows were not oldest first; sorted"""
    MIXED_STAMPS = "mixed_stamps"
    """stamps in seconds and milliseconds in one source; all read as ms"""
    DUPLICATE = "duplicate"
    """the same bar again, perhaps rounded; one copy kept, the most precise"""
    CONFLICT = "conflict"
    """two different bars for one instant; the most precise kept, on a tie the first of the source"""
    SWAPPED_COLUMNS = "swapped_columns"
    """base and quote volume had changed places; put back, because only so the turnover fits the bar's prices"""
    OFF_GRID = "off_grid"
    """a bar between two grid points, or without a readable instant; kept out"""
    IMPOSSIBLE = "impossible"
    """missing or non-positive prices, high below low …, negative or missing volume; kept out"""
    FIRST_BAR = "first_bar"
    """the first bar opens far away from where its own turnover and the next bars are; kept out"""
    OPEN_BAR = "open_bar"
    """not closed yet; kept out"""
    FROZEN = "frozen"
    """flat bars without volume: an outage or a delisting; kept, but no evidence of a market"""
    OUTLIER = "outlier"
    """far outside of its month; kept, because extremes are true more often than not"""
    GAP = "gap"
    """bars that the source does not have"""
    REVISED = "revised"
    """differs from the stored closed bar; the stored one stays"""
    RESAMPLED = "resampled"
    """made from finer bars, because the source has none of this interval"""


KEPT_OUT = frozenset({FindingKind.OFF_GRID, FindingKind.IMPOSSIBLE, FindingKind.FIRST_BAR, FindingKind.OPEN_BAR})
"""Findings whose bars are not in the data."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`bars` bars between the open times `start_ms` and `end_ms` (inclusive)."""

    kind: FindingKind
    start_ms: int
    end_ms: int
    bars: int
    detail: str = ""

    def __str__(self) -> str:
        span = format_ms(self.start_ms)
        if self.end_ms != self.start_ms:
            span += f" to {format_ms(self.end_ms)}"
        return f"{self.kind.value}: {self.bars} bar{'s' * (self.bars != 1)}, {span}{': ' * bool(self.detail)}{self.detail}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "kind": self.kind.value,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "bars": self.bars,
            "detail": self.detail,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """The inverse of `to_dict`."""
        return cls(FindingKind(data["kind"]), data["start_ms"], data["end_ms"], data["bars"], data["detail"])
