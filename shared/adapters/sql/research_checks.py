"""Is the memory of research sound? What references and the partial unique index cannot hold by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from shared.adapters.sql.research_models import CampaignRow, ChampionRow, RecalibrationRow
from shared.adapters.sql.statements import table

_CAMPAIGNS = table(CampaignRow)
_CHAMPIONS = table(ChampionRow)
_EVENTS = table(RecalibrationRow)


def research_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """(check, what is wrong in one sentence) of champions, recalibrations and campaigns; nothing where they are sound."""
    yield from _champions(connection)
    yield from _recalibrations(connection)
    half = select(_CAMPAIGNS.c.id).where(_CAMPAIGNS.c.finished_ms.is_not(None), _CAMPAIGNS.c.outcome.is_(None))
    for campaign_id in connection.execute(half.order_by(_CAMPAIGNS.c.id)).scalars():
        yield "campaigns", f"{campaign_id} is finished and has no verdict; run it again"


def _champions(connection: Connection) -> Iterator[tuple[str, str]]:
    rows = connection.execute(select(_CHAMPIONS).order_by(_CHAMPIONS.c.id)).mappings().all()
    known = {row["id"] for row in rows}
    for row in rows:
        if row["active"] == (row["deactivated_ms"] is not None):
            state = "active, but was deactivated" if row["active"] else "not active, but was never deactivated"
            yield "champions", f"{row['id']} is {state}; promote the right one again"
        predecessor = row["lineage"].get("predecessor")
        if predecessor is not None and predecessor not in known:
            yield "champions", f"{row['id']} names the predecessor {predecessor}, which is not there; restore a backup"


def _recalibrations(connection: Connection) -> Iterator[tuple[str, str]]:
    crowned = set(connection.execute(select(_CHAMPIONS.c.recalibration_id)).scalars())
    for row in connection.execute(select(_EVENTS).order_by(_EVENTS.c.id)).mappings():
        ended = row["status"] in ("champion", "no_improvement", "failed")
        if ended == (row["finished_ms"] is None):
            yield "recalibrations", f"{row['id']} is {row['status']}, but its end is {row['finished_ms']}; run it again"
        if row["status"] == "champion" and row["id"] not in crowned:
            yield "recalibrations", f"{row['id']} says that it made a champion, but none names it; restore a backup"
