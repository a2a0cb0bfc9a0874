"""Regime states by book, asset and bar close."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select

from shared.adapters.sql.models import RegimeRow
from shared.adapters.sql.statements import insert_or_replace, table
from shared.domain.asset import Asset
from shared.domain.records import RegimeState
from shared.domain.regime import Regime, RegimeProbabilities

_REGIMES = table(RegimeRow)


def record(connection: Connection, book: str, states: Iterable[RegimeState]) -> None:
    """Store states; the same key again replaces the old one."""
    insert_or_replace(connection, RegimeRow, [_row(book, state) for state in states])


def listed(connection: Connection, book: str, asset: Asset) -> list[RegimeState]:
    """States of an asset, oldest first."""
    query = _of(book, asset).order_by(_REGIMES.c.bar_close_ms)
    return [_state(row) for row in connection.execute(query).mappings()]


def last(connection: Connection, book: str, asset: Asset) -> RegimeState | None:
    """The newest state of an asset."""
    query = _of(book, asset).order_by(_REGIMES.c.bar_close_ms.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _state(row)


def _of(book: str, asset: Asset) -> Select[Any]:
    return select(_REGIMES).where(_REGIMES.c.book == book, _REGIMES.c.venue == asset.venue, _REGIMES.c.symbol == asset.symbol)


def _row(book: str, state: RegimeState) -> dict[str, Any]:
    calm, balanced, stress = (float(value) for value in state.ema)
    return {
        "book": book,
        "venue": state.asset.venue,
        "symbol": state.asset.symbol,
        "bar_close_ms": state.bar_close_ms,
        **state.probabilities.as_dict(),
        "regime": state.regime.value,
        "model_id": state.model_id,
        "ema_calm": calm,
        "ema_balanced": balanced,
        "ema_stress": stress,
        "observations": state.observations,
        "stress_bars": state.stress_bars,
    }


def _state(row: RowMapping) -> RegimeState:
    return RegimeState(
        asset=Asset(row["venue"], row["symbol"]),
        bar_close_ms=row["bar_close_ms"],
        probabilities=RegimeProbabilities(row["calm"], row["balanced"], row["stress"]),
        regime=Regime(row["regime"]),
        model_id=row["model_id"],
        ema=(row["ema_calm"], row["ema_balanced"], row["ema_stress"]),
        observations=row["observations"],
        stress_bars=row["stress_bars"],
    )
