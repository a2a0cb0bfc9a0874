"""Assets of one bar are decided one after the other, and what is raised where several orders of it fail at the same time."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from live_world import BOOK, LONG, M1, PARAMS, START_MS, Venue, World

from cloudrun.simulation.analyst import ScriptedAnalyst
from shared.adapters.sql import SqlLedger
from shared.domain.errors import (
    LeaseLost,
    LedgerUnavailable,
    ModelError,
    NotApproved,
    OutcomeUnknown,
    StorageError,
    VenueUnreachable,
)
from shared.domain.orders import Fill, OrderReport
from shared.risk.approval import ApprovedOrder
from shared.trading.side_by_side import gravest

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


@pytest.mark.parametrize("error", [StorageError("the bucket does not answer"), ModelError("no such model")])
def test_an_asset_whose_model_cannot_be_had_keeps_no_other_from_being_decided(
    pair: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    analyse = ScriptedAnalyst.analyse

    def without_a_model(analyst: ScriptedAnalyst, window: Any, bar_close_ms: int) -> Any:
        if window.asset.symbol == "BTCUSDT":
            raise error
        return analyse(analyst, window, bar_close_ms)

    monkeypatch.setattr(ScriptedAnalyst, "analyse", without_a_model)

    async def story(w: World) -> None:
        await w.until(70)
        assert w.held("ETHUSDT") > 0
        assert w.held("BTCUSDT") == 0

    pair.lived(story)


def test_an_asset_is_decided_with_what_the_others_have_on_their_way(pair: World) -> None:
    tight, spec = replace(PARAMS, risk=replace(PARAMS.risk, stress_loss_limit=0.2, stress_shock=0.3)), pair.spec
    pair.spec = lambda **changes: spec(params=tight, **changes)  # type: ignore[method-assign,misc]

    async def story(w: World) -> None:
        await w.until(65)

    pair.lived(story)
    first = [row for row in pair.ledger.real.decisions(BOOK) if row.bar_close_ms == START_MS + M1.ms]
    bitcoin, ether = sorted(first, key=lambda row: row.asset.symbol)
    assert bitcoin.approved_fraction == bitcoin.target_fraction
    assert [approval.rule for approval in ether.approvals if not approval.passed] == ["stress loss"]
    assert ether.approved_fraction == pytest.approx(0.2 / 0.3 - bitcoin.approved_fraction, abs=0.01)
