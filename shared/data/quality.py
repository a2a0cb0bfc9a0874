"""The quality report of a stored series: what is there, what is missing, what was kept out, what looks odd.

It lies beside the data as `quality.json` and is rebuilt at each merge from the stored bars (gaps, frozen bars, outliers) and
from what ingestion noticed on the way (kept-out, repaired and revised bars), which it remembers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.data.anomalies import frozen_runs, frozen_since, outliers
from shared.data.findings import KEPT_OUT, Finding, FindingKind
from shared.data.gaps import Gap, inner_gaps
from shared.domain.candles import Candles
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval

# Found again from the bars themselves each time; the others are remembered from one report to the next.
_FROM_BARS = frozenset({FindingKind.GAP, FindingKind.FROZEN, FindingKind.OUTLIER})
MAX_REMEMBERED = 500
"""Findings of past ingestions that a report keeps, the newest."""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Quality of one asset at one interval. Instants are ms UTC; `None` where there are no bars."""

    interval: Interval
    rows: int
    first_open_ms: int | None
    last_open_ms: int | None
    frozen_since_ms: int | None
    """since when the series has been frozen up to its end: a halt or a delisting"""
    findings: tuple[Finding, ...]

    def of(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind is kind)

    def bars(self, kind: FindingKind) -> int:
        """Bars that findings of one kind concern."""
        return sum(finding.bars for finding in self.of(kind))

    @property
    def missing(self) -> int:
        """Bars that are missing between the first and the last one."""
        return self.bars(FindingKind.GAP)

    @property
    def kept_out(self) -> int:
        """Bars that are not in the data because they cannot be true or were not closed."""
        return sum(finding.bars for finding in self.findings if finding.kind in KEPT_OUT)

    def gaps(self, since_ms: int, now_ms: int) -> list[Gap]:
        """Runs of missing bars that end after `since_ms`, oldest first, up to the newest bar that is closed at `now_ms`."""
        found = [Gap(gap.start_ms, gap.end_ms + self.interval.ms, gap.bars) for gap in self.of(FindingKind.GAP)]
        if self.last_open_ms is not None and self.last_open_ms < self.interval.last_closed_open_ms(now_ms):
            start_ms, end_ms = self.last_open_ms + self.interval.ms, self.interval.floor(now_ms)
            found.append(Gap(start_ms, end_ms, (end_ms - start_ms) // self.interval.ms))
        return [gap for gap in found if gap.end_ms > since_ms]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, with the counts by kind first."""
        return {
            "interval": self.interval.value,
            "rows": self.rows,
            "first_open_ms": self.first_open_ms,
            "last_open_ms": self.last_open_ms,
            "frozen_since_ms": self.frozen_since_ms,
            "bars": {kind.value: self.bars(kind) for kind in FindingKind if self.of(kind)},
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def to_json(self) -> bytes:
        """What is stored."""
        return json.dumps(self.to_dict(), indent=1).encode()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> QualityReport:
        """The inverse of `to_dict`."""
        spans = (data["first_open_ms"], data["last_open_ms"], data["frozen_since_ms"])
        findings = tuple(Finding.from_dict(item) for item in data["findings"])
        return cls(Interval(data["interval"]), data["rows"], *spans, findings)

    @classmethod
    def from_json(cls, content: bytes, name: str) -> QualityReport:
        """The inverse of `to_json`. Raises `MalformedData` naming the object where it is none."""
        try:
            return cls.from_dict(json.loads(content))
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedData(f"{name} is no quality report ({error}); delete it, the next backfill writes it anew") from None


def assess(candles: Candles, noticed: Iterable[Finding] = (), previous: QualityReport | None = None) -> QualityReport:
    """The report on `candles`, with what ingestion `noticed` and what the `previous` report remembers of earlier ones."""
    remembered = [finding for finding in (previous.findings if previous else ()) if finding.kind not in _FROM_BARS]
    remembered += [finding for finding in noticed if finding.kind not in _FROM_BARS]
    unique = list(dict.fromkeys(remembered))[-MAX_REMEMBERED:]
    gaps = [gap.as_finding(candles.interval.ms) for gap in inner_gaps(candles)]
    return QualityReport(
        interval=candles.interval,
        rows=len(candles),
        first_open_ms=int(candles.open_time[0]) if len(candles) else None,
        last_open_ms=int(candles.open_time[-1]) if len(candles) else None,
        frozen_since_ms=frozen_since(candles),
        findings=(*unique, *gaps, *frozen_runs(candles), *outliers(candles)),
    )
