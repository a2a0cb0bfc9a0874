"""A start, a step and an emergency ask the ledger for as much of an old book as of a young one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from live_world import BOOK, CAPITAL, LONG, M1, START_MS, World

from shared.adapters.sql import SqlLedger, open_ledger
from shared.adapters.sql.direct import Answer
from shared.domain.ids import client_order_id, decision_id
from shared.domain.interval import HOUR_MS
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderReport, OrderState, Side
from shared.domain.records import Arrival, EquityPoint, FundingPayment, RegimeState, UnitReturns
from shared.trading.holdings import filled
from shared.trading.proven_rules import proven_rules
from shared.trading.session import Session

YOUNG, OLD = 30, 600
"""bars, an hour apart: what was sent within a day counts for the pace of orders, in both"""
PRICE, SIZE = Decimal(100), Decimal("0.5")


def lived_through(ledger: SqlLedger, bars: int, decision: Any) -> None:
    """A book that has bought and sold at every bar up to the start, each order in two executions, and is flat."""
    lease = ledger.acquire_lease(BOOK, "before", 60_000, START_MS)
    assert lease is not None
    for bar in range(bars):
        close_ms = START_MS + (bar - bars) * HOUR_MS
        made = replace(decision, id=decision_id(BOOK, decision.asset, close_ms, "p-1"), book=BOOK, bar_close_ms=close_ms)
        intents = [_intent(made.id, side, close_ms) for side in (Side.BUY, Side.SELL)]
        point = EquityPoint(close_ms, CAPITAL, CAPITAL, CAPITAL, PRICE, UnitReturns(bar, 0.0, 0.0))
        ledger.commit_decision(made, intents, lease, point)
        fills = []
        for number, intent in enumerate(intents):
            ledger.record_arrival(Arrival(intent.client_id, BOOK, intent.symbol, PRICE, PRICE, close_ms, close_ms + 50))
            ledger.advance_order(OrderReport(intent.client_id, intent.symbol, OrderState.FILLED, SIZE, "7", PRICE, close_ms))
            fills += [_fill(intent, f"{4 * bar + 2 * number + part:09}", close_ms + 100 + number) for part in (0, 1)]
        ledger.add_fills(BOOK, fills)
        state = RegimeState(made.asset, close_ms, made.probabilities, made.regime, "m-1", (0.3, 0.3, 0.4), bar, 0)
        ledger.record_regimes(BOOK, [state])
        if bar % 480 == 0:
            ledger.add_funding(BOOK, [FundingPayment(str(bar), "BTCUSDT", Decimal(0), close_ms)])
    ledger.release_lease(lease)


def _intent(decision: str, side: Side, close_ms: int) -> OrderIntent:
    client_id = client_order_id(BOOK, decision, side.value)
    return OrderIntent(client_id, BOOK, decision, side.value, "BTCUSDT", side, OrderKind.MARKET, SIZE, close_ms)


def _fill(intent: OrderIntent, trade_id: str, time_ms: int) -> Fill:
    return Fill(intent.symbol, trade_id, intent.client_id, "7", intent.side, SIZE / 2, PRICE, Decimal(0), time_ms)


class Reading:
    """What the ledger's connections give: rows by table, and how far the database had to walk for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows, self.work = 0, 0
        connect, made = sqlite3.connect, Answer.__init__

        def counted(answer: Answer, ready: Any, found: list[Any], rowcount: int) -> None:
            self.rows += len(found)
            made(answer, ready, found, rowcount)

        def watched(*arguments: Any, **named: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **named)
            connection.set_progress_handler(self._walked, 100)
            return connection

        monkeypatch.setattr(Answer, "__init__", counted)
        monkeypatch.setattr(sqlite3, "connect", watched)
        monkeypatch.setattr(sqlite3.dbapi2, "connect", watched)

    def _walked(self) -> int:
        self.work += 1
        return 0

    def taken(self) -> Counter[str]:
        """Since the last time: rows, and hundreds of the database's instructions."""
        found = Counter({"rows": self.rows, "work": self.work})
        self.rows = self.work = 0
        return found


@pytest.fixture
def measured(desk: Any, ledger: SqlLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Any], Any]:
    """What `story` returns of a world whose book has lived through a number of bars."""

    def lived(bars: int, story: Callable[[World, Reading], Awaitable[Any]]) -> Any:
        path = tmp_path / f"{bars}.db"
        with sqlite3.connect(tmp_path / "ledger.db") as template, sqlite3.connect(path) as copy:
            template.backup(copy)
        filling = open_ledger(f"sqlite:///{path}", migrate=False)
        filling.register_book(BOOK, START_MS - (bars + 1) * HOUR_MS, {})
        lived_through(filling, bars, desk.decision())
        filling.close()
        reading = Reading(monkeypatch)
        opened = open_ledger(f"sqlite:///{path}", migrate=False)
        try:
            return World(opened, tmp_path / str(bars)).lived(lambda world: story(world, reading), LONG, run=False)
        finally:
            opened.close()
            monkeypatch.undo()

    return lived


async def _day(world: World, reading: Reading) -> dict[str, Counter[str]]:
    """Of a start, two bars of which the first one opens a position, and a reconciliation."""
    found = {}
    reading.taken()
    session = await Session.open(world.ports(), world.spec(), LONG)
    found["start"] = reading.taken()
    for bar in (0, 1):
        await world.until(60.0 * bar)
        report = await session.step(START_MS + bar * M1.ms)
        assert report.decisions
        found[f"bar {bar}"] = reading.taken()
    assert world.held() != 0
    reading.taken()
    await session.reconcile(full=True)
    found["reconciliation"] = reading.taken()
    return found


def test_start_bars_and_reconciliation_read_as_much_of_an_old_book_as_of_a_young_one(measured: Any) -> None:
    young, old = measured(YOUNG, _day), measured(OLD, _day)
    for what, found in old.items():
        assert found["rows"] == young[what]["rows"], what
        assert found["work"] <= 1.5 * young[what]["work"] + 10, what


async def _emergency(world: World, reading: Reading) -> dict[str, Counter[str]]:
    ledger: Any = world.ledger
    assert filled(ledger, BOOK, "BTCUSDT") == 0
    held = reading.taken()
    proven_rules(ledger, BOOK, "BTCUSDT")
    return {"held": held, "rules": reading.taken()}


def test_an_emergency_reads_no_more_than_what_is_not_booked_and_the_newest_orders(measured: Any) -> None:
    young, old = measured(YOUNG, _emergency), measured(OLD, _emergency)
    assert old["held"]["rows"] == young["held"]["rows"] == 1  # the position
    assert (young["rules"]["rows"], old["rules"]["rows"]) == (2 * YOUNG, 1000)
