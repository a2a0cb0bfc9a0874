"""What is raised where several orders of one bar fail at the same time."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from live_world import LONG, Venue, World

from shared.adapters.sql import SqlLedger
from shared.domain.errors import LeaseLost, LedgerUnavailable, NotApproved, OutcomeUnknown, VenueUnreachable
from shared.domain.orders import Fill, OrderReport
from shared.risk.approval import ApprovedOrder
from shared.trading.decider import gravest

BY_GRAVITY = (
    KeyboardInterrupt(),
    ValueError("nobody expected this"),
    LeaseLost("another process has taken over"),
    LedgerUnavailable("the ledger is down"),
    NotApproved("halted"),
    OutcomeUnknown("timeout"),
)


def test_the_gravest_error_decides_whatever_came_first() -> None:
    for errors in permutations(BY_GRAVITY, 2):
        assert gravest(errors) is min(errors, key=BY_GRAVITY.index)


def test_no_error_is_dropped() -> None:
    worst = gravest((OutcomeUnknown("timeout"), VenueUnreachable("refused"), LeaseLost("lost")))
    assert isinstance(worst, LeaseLost)
    notes = "\n".join(worst.__notes__)
    assert "OutcomeUnknown: timeout" in notes
    assert "VenueUnreachable: refused" in notes


def test_a_bug_behind_a_venue_that_does_not_answer_ends_the_trader(
    ledger: SqlLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(ledger, tmp_path, ("BTCUSDT", "ETHUSDT"))
    fills, send = Venue.fills, Venue.send

    async def no_fills(venue: Venue, symbol: str, since_ms: int) -> list[Fill]:
        if symbol == "BTCUSDT" and venue.executions:
            raise VenueUnreachable("refused")
        return await fills(venue, symbol, since_ms)

    async def broken_send(venue: Venue, order: ApprovedOrder) -> OrderReport:
        if order.intent.symbol == "ETHUSDT":
            raise ValueError("a bug")
        return await send(venue, order)

    monkeypatch.setattr(Venue, "fills", no_fills)
    monkeypatch.setattr(Venue, "send", broken_send)

    async def story(world: World) -> Any:
        await world.until(65)

    world.lived(story, LONG)
    assert "the trader ended: ValueError: a bug" in world.said()
