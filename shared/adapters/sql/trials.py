"""Every parameter variant that was evaluated, and the patterns that detectors recognised: rows that are only ever added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, select

from shared.adapters.sql.base import Base
from shared.adapters.sql.research_models import BacktestRow, PatternRow
from shared.adapters.sql.statements import asset_columns, insert_missing, table, with_asset
from shared.domain.asset import Asset
from shared.domain.research import Pattern, Trial

_TRIALS = table(BacktestRow)
_PATTERNS = table(PatternRow)


def record(connection: Connection, trials: Iterable[Trial]) -> int:
    """Store trials; return how many were new."""
    return _add(connection, BacktestRow, [_row(trial) for trial in trials])


def listed(connection: Connection, asset: Asset, campaign_id: str | None) -> list[Trial]:
    """Trials of an asset, oldest first."""
    query = select(_TRIALS).where(_TRIALS.c.venue == asset.venue, _TRIALS.c.symbol == asset.symbol)
    if campaign_id is not None:
        query = query.where(_TRIALS.c.campaign_id == campaign_id)
    rows = connection.execute(query.order_by(_TRIALS.c.created_ms, _TRIALS.c.id)).mappings()
    return [Trial(**with_asset(row)) for row in rows]


def record_patterns(connection: Connection, patterns: Iterable[Pattern]) -> int:
    """Store patterns; return how many were new."""
    return _add(connection, PatternRow, [_row(pattern) for pattern in patterns])


def patterns(connection: Connection, asset: Asset, since_ms: int) -> list[Pattern]:
    """Patterns of an asset by the instant at which they became known."""
    query = select(_PATTERNS).where(
        _PATTERNS.c.venue == asset.venue, _PATTERNS.c.symbol == asset.symbol, _PATTERNS.c.end_ms >= since_ms
    )
    rows = connection.execute(query.order_by(_PATTERNS.c.end_ms, _PATTERNS.c.id)).mappings()
    return [Pattern(**with_asset(row)) for row in rows]


def _add(connection: Connection, model: type[Base], rows: list[dict[str, Any]]) -> int:
    # In the order of the ids: two writers of the same rows wait for each other instead of locking each other out.
    return sum(insert_missing(connection, model, row) for row in sorted(rows, key=lambda row: row["id"]))


def _row(value: Trial | Pattern) -> dict[str, Any]:
    row = {field.name: getattr(value, field.name) for field in fields(value)}
    return {**asset_columns(row.pop("asset")), **row, "interval": value.interval.value}
