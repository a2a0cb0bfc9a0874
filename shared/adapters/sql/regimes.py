"""Regime states by book, asset and bar close."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select

from shared.adapters.sql import outbox
from shared.adapters.sql.models import RegimeRow
from shared.adapters.sql.statements import insert_or_replace, kept, table
from shared.domain.asset import Asset
from shared.domain.events import regime_changed
from shared.domain.records import RegimeState
from shared.domain.regime import Regime, RegimeProbabilities

_REGIMES = table(RegimeRow)
_OF_ASSET = select(_REGIMES).where(
    _REGIMES.c.book == bindparam("book_key"),
    _REGIMES.c.venue == bindparam("venue_key"),
    _REGIMES.c.symbol == bindparam("symbol_key"),
)
_SINCE = kept(_OF_ASSET.where(_REGIMES.c.bar_close_ms >= bindparam("since_ms")).order_by(_REGIMES.c.bar_close_ms))
_NEWEST = kept(_OF_ASSET.order_by(_REGIMES.c.bar_close_ms.desc()).limit(1))


def record(connection: Connection, book: str, states: Iterable[RegimeState]) -> None:
    """Store states, and an event for each asset whose newest state now holds another regime than its newest one before.

    The same key again replaces the old state.
    """
    given = sorted(states, key=lambda state: state.bar_close_ms)
    newest = {state.asset: last(connection, book, state.asset) for state in given}
    changes = []
    for state in given:
        before = newest[state.asset]
        if before is not None and before.bar_close_ms > state.bar_close_ms:
            continue
        if before is None or before.regime is not state.regime:
            changes.append(regime_changed(book, before, state))
        newest[state.asset] = state
    insert_or_replace(connection, RegimeRow, [_row(book, state) for state in given])
    outbox.add(connection, changes)


def listed(connection: Connection, book: str, asset: Asset, since_ms: int) -> list[RegimeState]:
    """States of an asset at or after `since_ms`, oldest first."""
    key = {"book_key": book, "venue_key": asset.venue, "symbol_key": asset.symbol, "since_ms": since_ms}
    return [_state(row) for row in connection.execute(_SINCE, key).mappings()]


def last(connection: Connection, book: str, asset: Asset) -> RegimeState | None:
    """The newest state of an asset."""
    key = {"book_key": book, "venue_key": asset.venue, "symbol_key": asset.symbol}
    row = connection.execute(_NEWEST, key).mappings().one_or_none()
    return None if row is None else _state(row)


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
