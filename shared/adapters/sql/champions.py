"""Champions: at most one active per asset, which a partial unique index holds whoever writes.

A promotion names in its lineage the champion that it was compared with (`predecessor`, `None` for none). Where another one is
active by then the comparison says nothing any more, and the promotion is refused: of two promotions at once, one wins.
A reign is a record of its own: one that has ended is not activated again, its parameters come back under another id.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from shared.adapters.sql.research_models import ChampionRow
from shared.adapters.sql.statements import asset_columns, insert_missing, row_by_id, table, with_asset
from shared.domain.asset import Asset
from shared.domain.errors import Conflict, UsageError
from shared.domain.research import Champion
from shared.domain.text import storable

_CHAMPIONS = table(ChampionRow)
_LISTING = "ost champions list"


def find(connection: Connection, champion_id: str) -> Champion | None:
    """One champion by its id or a unique prefix of it."""
    row = row_by_id(connection, ChampionRow, champion_id, noun="champion", listing=_LISTING)
    return None if row is None else _champion(row)


def listed(connection: Connection, asset: Asset | None, *, active: bool) -> list[Champion]:
    """Champions, oldest first; with `active` only those in force."""
    query = select(_CHAMPIONS).order_by(_CHAMPIONS.c.created_ms, _CHAMPIONS.c.activated_ms, _CHAMPIONS.c.id)
    if asset is not None:
        query = query.where(_CHAMPIONS.c.venue == asset.venue, _CHAMPIONS.c.symbol == asset.symbol)
    if active:
        query = query.where(_CHAMPIONS.c.active)
    return [_champion(row) for row in connection.execute(query).mappings()]


def promote(connection: Connection, champion: Champion, now_ms: int) -> Champion | None:
    """Activate a champion and deactivate the one before; return that one. Raises `Conflict`; see the port."""
    asset = champion.asset
    of_asset = _CHAMPIONS.c.venue == asset.venue, _CHAMPIONS.c.symbol == asset.symbol
    query = select(_CHAMPIONS).where(*of_asset, _CHAMPIONS.c.active).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    before = None if row is None else _champion(row)
    if before is not None and before.id == champion.id:
        return None
    _check_predecessor(champion, before)
    if connection.execute(select(_CHAMPIONS.c.id).where(_CHAMPIONS.c.id == champion.id)).first() is not None:
        raise Conflict(
            f"{asset.symbol}: {champion.id} is in the ledger already and not active any more; promote it again under an id of "
            f"its own, as `ost champions promote {champion.id}` does"
        )
    if before is not None:
        retired = update(_CHAMPIONS).where(_CHAMPIONS.c.id == before.id)
        connection.execute(retired.values(active=False, deactivated_ms=now_ms))
    if not insert_missing(connection, ChampionRow, _row(champion, now_ms)):
        raise Conflict(f"{asset.symbol}: another promotion was faster; look at `{_LISTING}` and decide again")
    return before


def _check_predecessor(champion: Champion, active: Champion | None) -> None:
    if "predecessor" not in champion.lineage:
        raise UsageError(
            f"{champion.asset.symbol}: the lineage of {champion.id} does not name the champion that it was compared with; "
            "expected `predecessor` (None where there was none)"
        )
    expected, found = champion.lineage["predecessor"], None if active is None else active.id
    if expected != found:
        raise Conflict(
            f"{champion.asset.symbol}: {champion.id} was compared with {expected or 'no champion'}, but "
            f"{found or 'none'} is active now; look at `{_LISTING}` and compare again"
        )


def _row(champion: Champion, now_ms: int) -> dict[str, Any]:
    return {
        "id": champion.id,
        **asset_columns(champion.asset),
        "interval": champion.interval.value,
        "params_version": champion.params_version,
        "params": dict(champion.params),
        "metrics": dict(champion.metrics),
        "trained_on_regime": dict(champion.trained_on_regime),
        "statistical_test": dict(champion.statistical_test),
        "lineage": dict(champion.lineage),
        "reason": storable(champion.reason),
        "recalibration_id": champion.lineage.get("recalibration"),
        "active": True,
        "created_ms": champion.created_ms,
        "activated_ms": now_ms,
        "deactivated_ms": None,
    }


def _champion(row: RowMapping) -> Champion:
    values = with_asset(row)
    del values["recalibration_id"]  # the lineage says it too
    return Champion(**values)
