"""How the data commands report: one JSON-able row per asset and interval, and the lines that people read."""

from __future__ import annotations

from typing import Any

from shared.data.anomalies import frozen_since
from shared.data.findings import KEPT_OUT
from shared.data.gaps import missing_ranges
from shared.data.ingestion import AssetReport
from shared.data.store import load_candles, require_candles
from shared.domain.asset import Asset
from shared.domain.errors import OstError
from shared.domain.interval import Interval, format_ms
from shared.ports import Bucket

Row = dict[str, Any]


def ingest_row(report: AssetReport) -> Row:
    """What `ost backfill` says about one asset at one interval."""
    quality = report.quality
    return {
        "asset": str(report.asset),
        "interval": report.interval.value,
        "added": report.added,
        "revised": report.revised,
        "rows": quality.rows if quality else 0,
        "first_open_ms": quality.first_open_ms if quality else None,
        "last_open_ms": quality.last_open_ms if quality else None,
        "missing": quality.missing if quality else 0,
        "kept_out": quality.kept_out if quality else 0,
        "findings": [str(finding) for finding in quality.findings if finding.kind in KEPT_OUT] if quality else [],
        "frozen_since_ms": quality.frozen_since_ms if quality else None,
        "error": report.error,
    }


def ingest_lines(rows: list[Row]) -> list[str]:
    """The rows of `ost backfill` as text, with the failed ones named again at the end."""
    lines = []
    for row in rows:
        if row["error"]:
            lines.append(f"{_name(row)}: failed: {row['error']}")
            continue
        notes = [f"{row[key]} {key.replace('_', ' ')}" for key in ("missing", "kept_out", "revised") if row[key]]
        if row["frozen_since_ms"] is not None:
            notes.append(f"frozen since {format_ms(row['frozen_since_ms'])}")
        lines.append(f"{_name(row)}: " + ", ".join([f"{row['added']} new", f"{row['rows']} stored", *notes]))
        lines += [f"  kept out: {finding}" for finding in row["findings"]]
    failed = [_name(row) for row in rows if row["error"]]
    return [*lines, f"{len(failed)} of {len(rows)} failed: {', '.join(failed)}"] if failed else lines


def gap_row(bucket: Bucket, asset: Asset, interval: Interval, since_ms: int, now_ms: int, *, skip_absent: bool) -> Row | None:
    """What `ost check-gaps` says about one asset; `None` where nothing is stored and that is no problem."""
    row: Row = {"asset": str(asset), "interval": interval.value, "missing": 0, "gaps": []}
    row |= {"frozen_since_ms": None, "error": ""}
    try:
        candles = load_candles(bucket, asset, interval) if skip_absent else require_candles(bucket, asset, interval)
    except OstError as error:
        return row | {"error": str(error)}
    if candles is None:
        return None
    # Before its first stored bar an asset may not have existed.
    first_ms = int(candles.open_time[0]) if len(candles) else since_ms
    gaps = missing_ranges(candles, max(since_ms, first_ms), interval.floor(now_ms))
    row["missing"] = sum(gap.missing for gap in gaps)
    row["gaps"] = [{"start_ms": gap.start_ms, "end_ms": gap.end_ms, "missing": gap.missing} for gap in gaps]
    row["frozen_since_ms"] = frozen_since(candles)
    return row


def gap_lines(rows: list[Row]) -> list[str]:
    """The rows of `ost check-gaps` as text."""
    lines = []
    for row in rows:
        if row["error"]:
            lines.append(f"{_name(row)}: {row['error']}")
            continue
        state = f"{row['missing']} bars missing" if row["missing"] else "complete"
        if row["frozen_since_ms"] is not None:
            state += f"; frozen since {format_ms(row['frozen_since_ms'])}"
        lines.append(f"{_name(row)}: {state}")
        lines += [f"  {g['missing']} from {format_ms(g['start_ms'])} to {format_ms(g['end_ms'])}" for g in row["gaps"]]
    return lines


def curate_lines(rows: list[Row]) -> list[str]:
    """The rows of `ost curate` as text."""
    lines = []
    for row in rows:
        done = f"{row['rows']} rows" if row["changed"] else f"{row['rows']} rows, unchanged"
        lines.append(f"{_name(row)}: {row['error'] or done}")
    return lines


def _name(row: Row) -> str:
    return f"{row['asset']} {row['interval']}"
