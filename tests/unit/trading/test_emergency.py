"""The emergency protocol: entries called back, the book closed, stops cancelled last; through errors, kills, a lost ledger."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudrun.simulation.loop import VirtualLoop, run_virtual
from shared.adapters.local.exit_journal import FileExitJournal
from shared.adapters.sql import SqlLedger, open_ledger
from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision
from shared.domain.errors import (
    LeaseLost,
    LedgerUnavailable,
    MalformedData,
    NothingToReduce,
    OutcomeUnknown,
    RateLimited,
    VenueRejected,
    VenueUnreachable,
)
from shared.domain.ids import client_order_id
from shared.domain.interval import Interval, parse_date_ms
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import Account, Fill, OrderIntent, OrderKind, OrderReport, OrderState, Side, VenuePosition
from shared.domain.records import EmergencyRecord, Halt, HaltKind, Lease
from shared.domain.regime import Regime, RegimeProbabilities
from shared.risk.approval import ApprovedOrder
from shared.trading.emergency import EmergencyProtocol
from shared.trading.execution_params import ExecutionParams
from shared.trading.own_position import OwnPosition

BOOK = "b"
START_MS = parse_date_ms("2025-07-01")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
RULES = SymbolRules("", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(5))
HALT = Halt(BOOK, "by hand", START_MS, None, kind=HaltKind.MANUAL)
LEASE = Lease(BOOK, "test", 1, 2**62)


class LoopClock:
    """The loop's simulated time."""

    def now_ms(self) -> int:
        return START_MS + round(asyncio.get_running_loop().time() * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


@dataclass
class Venue:
    """An account whose answers go wrong as told: the n-th request meets `faults[n]`. `done` is what changed the account."""

    faults: list[str] = field(default_factory=list)
    resting: dict[str, OrderIntent] = field(default_factory=dict)
    reports: dict[str, OrderReport] = field(default_factory=dict)
    executions: list[Fill] = field(default_factory=list)
    foreign: dict[str, Decimal] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    filled_share: Decimal = Decimal(1)
    requests: int = 0
    kill_at: int = 2**62
    unreadable: bool = False
    mute: bool = False
    """whether nothing is said about single orders"""
    swallows: int = 0
    """orders that are lost on the way, with their answers"""
    unknown_words: set[str] = field(default_factory=set)
    """client ids of orders whose answers cannot be read"""
    unseen: bool = False
    """whether the account is not answered for"""

    async def _asked(self) -> str:
        await asyncio.sleep(0.01)
        self.requests += 1
        if self.requests >= self.kill_at:
            raise asyncio.CancelledError
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "unreachable":
            raise VenueUnreachable("no route")
        if fault == "limited":
            raise RateLimited("slow down", -1003, 3.0)
        if fault == "refused":
            raise VenueRejected("internal error", -1000)
        return fault

    def held(self, symbol: str) -> Decimal:
        ours = sum((fill.signed_quantity for fill in self.executions if fill.symbol == symbol), ZERO)
        return ours + self.foreign.get(symbol, ZERO)

    async def server_time_ms(self) -> int:
        await self._asked()
        return 0

    async def account(self) -> Account:
        fault = await self._asked()
        if fault == "lost" or self.unseen:
            raise OutcomeUnknown("timeout")
        held = [(symbol, self.held(symbol)) for symbol in SYMBOLS]
        rows = tuple(VenuePosition(symbol, size, Decimal(100), Decimal(100), ZERO) for symbol, size in held if size)
        return Account(Decimal(10_000), Decimal(10_000), Decimal(10_000), rows)

    async def rules(self, symbols: Iterable[str]) -> Mapping[str, SymbolRules]:
        await self._asked()
        return {symbol: replace(RULES, symbol=symbol) for symbol in symbols}

    async def send(self, order: ApprovedOrder) -> OrderReport:
        intent, fault = order.intent, await self._asked()
        if self.swallows:
            self.swallows -= 1
            raise OutcomeUnknown("timeout")
        if intent.client_id not in self.reports:
            self._execute(intent)
        if fault == "lost":
            raise OutcomeUnknown("timeout")
        report = self.reports[intent.client_id]
        if report.state is OrderState.REJECTED:
            raise NothingToReduce("nothing to reduce", -2022)
        return report

    def _execute(self, intent: OrderIntent) -> None:
        assert intent.reduce_only
        assert intent.kind is OrderKind.MARKET
        held = self.held(intent.symbol)
        left = min(intent.quantity, abs(held)) if held * intent.side.sign < 0 else ZERO
        if not left:
            self.reports[intent.client_id] = report(intent, OrderState.REJECTED, ZERO)
            return
        size = max(Decimal("0.001"), (left * self.filled_share).quantize(Decimal("0.001")))
        self.fill(intent, size)
        state = OrderState.FILLED if size == intent.quantity else OrderState.EXPIRED
        self.reports[intent.client_id] = report(intent, state, size)
        self.done.append(f"close {intent.symbol}")

    def fill(self, intent: OrderIntent, size: Decimal) -> None:
        number = str(len(self.executions) + 1)
        now_ms = START_MS + len(self.executions)
        side = intent.side
        self.executions.append(Fill(intent.symbol, number, intent.client_id, "7", side, size, Decimal(100), ZERO, now_ms))

    async def find(self, intent: OrderIntent) -> OrderReport | None:
        await self._asked()
        if self.mute:
            raise VenueUnreachable("502")
        return self.reports.get(intent.client_id)

    async def cancel(self, intent: OrderIntent) -> OrderReport | None:
        fault = await self._asked()
        if intent.client_id in self.unknown_words:
            raise MalformedData("order: the venue's answer has an unknown state")
        if self.resting.pop(intent.client_id, None) is not None:
            self.done.append(f"cancel {intent.leg} {intent.symbol}")
            self.reports[intent.client_id] = report(intent, OrderState.CANCELLED, ZERO)
        if fault == "lost":
            raise OutcomeUnknown("timeout")
        return self.reports.get(intent.client_id)

    async def open_orders(self) -> Sequence[tuple[OrderReport, OrderKind]]:
        await self._asked()
        return [(report(intent, OrderState.OPEN, ZERO), intent.kind) for intent in self.resting.values()]

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        await self._asked()
        if self.unreadable:
            raise MalformedData("execution: the venue's answer is not as documented")
        return [fill for fill in self.executions if fill.symbol == symbol and fill.time_ms >= since_ms]


def report(intent: OrderIntent, state: OrderState, filled: Decimal) -> OrderReport:
    return OrderReport(intent.client_id, intent.symbol, state, filled, "7")


class Ledger:
    """A real ledger that can be taken away for a number of calls, or refuse every change."""

    def __init__(self, real: SqlLedger) -> None:
        self.real, self.down, self.full = real, 0, False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.real, name)
        changes = name.startswith(("add_", "advance_", "record_", "set_", "log"))

        def call(*arguments: Any, **named: Any) -> Any:
            if self.full and changes and arguments[-1] != []:
                raise LedgerUnavailable("the disk of the ledger is full")
            if self.down > 0:
                self.down -= 1
                raise LedgerUnavailable("the ledger is away")
            return method(*arguments, **named)

        return call


class World:
    """A book that is long BTC and short ETH, each with its stop, and an entry that rests."""

    def __init__(self, path: Path, venue: Venue, *, entry: bool = True) -> None:
        self.real = open_ledger(f"sqlite:///{path / 'ledger.db'}", migrate=False)
        self.ledger, self.venue, self.path = Ledger(self.real), venue, path
        self.heard: list[str] = []
        lease = self.real.acquire_lease(BOOK, "test", 60_000, START_MS)
        assert lease is not None
        self.lease = lease
        for symbol, size in zip(SYMBOLS, (Decimal("1.5"), Decimal("-2")), strict=True):
            market, stop = intent(symbol, "market", size), intent(symbol, "stop", -size)
            self.real.commit_decision(decision(symbol), (market, stop), self.lease)
            venue.fill(market, abs(size))
            venue.reports[market.client_id] = report(market, OrderState.FILLED, abs(size))
            venue.reports[stop.client_id] = report(stop, OrderState.OPEN, ZERO)
            venue.resting[stop.client_id] = stop
            for known in (market, stop):
                self.real.advance_order(venue.reports[known.client_id])
        self.real.add_fills(BOOK, venue.executions)
        if entry:
            limit = intent("BTCUSDT", "limit", Decimal(1), kind=OrderKind.LIMIT, price=Decimal(90))
            self.real.add_intents([limit], self.lease)
            venue.resting[limit.client_id] = limit
            venue.reports[limit.client_id] = report(limit, OrderState.OPEN, ZERO)
            self.real.advance_order(venue.reports[limit.client_id])

    def protocol(self, own: OwnPosition | None = None) -> EmergencyProtocol:
        ledger: Any = self.ledger
        venue: Any = self.venue
        return EmergencyProtocol(
            venue,
            ledger,
            LoopClock(),
            BOOK,
            SYMBOLS,
            START_MS,
            lease=lambda: self.lease,
            exits=FileExitJournal(self.path / "exits.jsonl"),
            params=ExecutionParams(query_bound_s=3.0, query_backoff_s=0.1, resend_grace_s=0.5),
            tell=self.heard.append,
            own=own,
        )

    def run(self, own: OwnPosition | None = None, **options: Any) -> EmergencyRecord:
        async def main() -> EmergencyRecord:
            return await self.protocol(own).run(HALT, **options)

        return run_virtual(main(), VirtualLoop())

    def held(self) -> list[Decimal]:
        return [self.real.positions(BOOK)[symbol].quantity for symbol in SYMBOLS]

    def texts(self) -> list[str]:
        return [step.split("  ", 1)[1] for step in self.real.emergencies(BOOK)[0].steps]


def decision(symbol: str) -> Decision:
    return Decision(
        id=f"d-{symbol}",
        book=BOOK,
        asset=Asset("binanceusdm", symbol),
        interval=Interval.H1,
        bar_close_ms=START_MS,
        params_version="p-1",
        code_version="0",
        data_hash="c-1",
        window_start_ms=START_MS,
        regime_model_id="m-1",
        probabilities=RegimeProbabilities(0.7, 0.2, 0.1),
        regime=Regime.CALM,
        alphas={},
        votes=(),
        score=0.5,
        price=100.0,
        target_fraction=0.1,
        approved_fraction=0.1,
        action=Action.OPEN,
    )


def intent(symbol: str, leg: str, size: Decimal, *, kind: OrderKind | None = None, price: Decimal | None = None) -> OrderIntent:
    stop = leg == "stop"
    return OrderIntent(
        client_id=client_order_id(BOOK, f"d-{symbol}", leg),
        book=BOOK,
        decision_id=f"d-{symbol}",
        leg=leg,
        symbol=symbol,
        side=Side.of(size),
        kind=kind or (OrderKind.STOP if stop else OrderKind.MARKET),
        quantity=abs(size),
        created_ms=START_MS,
        price=price,
        stop_price=Decimal(90) if stop else None,
        reduce_only=stop,
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("emergency") / "ledger.db"
    open_ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copy(template, tmp_path / "ledger.db")
    return tmp_path


def test_entries_are_called_back_then_positions_closed_and_stops_cancelled_last(folder: Path) -> None:
    world = World(folder, Venue())
    record = world.run()
    assert world.venue.done == [
        "cancel limit BTCUSDT",
        "close BTCUSDT",
        "close ETHUSDT",
        "cancel stop BTCUSDT",
        "cancel stop ETHUSDT",
    ]
    assert world.held() == [ZERO, ZERO]
    assert record.finished_ms is not None
    assert record.closed == SYMBOLS
    assert (record.wallet, record.equity) == (Decimal(10_000), Decimal(10_000))
    assert world.real.emergencies(BOOK) == [record]
    assert not world.real.orders(BOOK, unfinished=True)
    assert world.texts()[0] == "manual: by hand"
    assert world.texts()[-1] == "the book is flat and nothing of it rests"
    assert tuple(world.heard) == record.steps


@pytest.mark.parametrize("away", [False, True])
def test_an_exit_that_nobody_answers_for_does_not_keep_the_next_one_back(folder: Path, away: bool) -> None:
    world = World(folder, Venue(mute=True, swallows=2), entry=False)
    world.ledger.down = 10**6 if away else 0
    own = OwnPosition(world.venue, BOOK, START_MS)  # type: ignore[arg-type]

    async def closed_after_s() -> float:
        protocol, loop = world.protocol(own), asyncio.get_running_loop()
        while any(world.venue.held(symbol) for symbol in SYMBOLS):
            await protocol.run(HALT, patience_s=2.0)
            await asyncio.sleep(1.0)
            assert loop.time() < 60
        return loop.time()

    assert 6.5 < run_virtual(closed_after_s(), VirtualLoop()) < 40
    assert len(world.venue.done) == len(set(world.venue.done)) == 2


def test_run_again_it_changes_nothing(folder: Path) -> None:
    world = World(folder, Venue())
    first = world.run()
    requests = world.venue.requests
    assert world.run() == first
    assert world.venue.requests == requests


def test_a_book_that_is_flat_only_loses_what_rests(folder: Path) -> None:
    world = World(folder, Venue())
    for symbol, size in zip(SYMBOLS, (Decimal("-1.5"), Decimal(2)), strict=True):
        world.venue.fill(intent(symbol, "stop", size), abs(size))
    assert world.run().closed == ()
    assert not any(text.startswith("close") for text in world.venue.done)
    assert not world.venue.resting


def test_partial_fills_are_followed_until_nothing_is_left(folder: Path) -> None:
    world = World(folder, Venue(filled_share=Decimal("0.4")))
    world.run()
    assert world.held() == [ZERO, ZERO]
    assert world.venue.done.count("close BTCUSDT") > 3


def test_only_what_is_ours_is_closed_and_the_rest_is_reported(folder: Path) -> None:
    world = World(folder, Venue(foreign={"BTCUSDT": Decimal(7), "ETHUSDT": Decimal("1.5")}))
    world.run()
    assert world.venue.held("BTCUSDT") == 7
    assert world.venue.held("ETHUSDT") == ZERO  # 0.5 short lay there: no more can be reduced
    assert "BTCUSDT: the account holds 7, this book 0; what is not the book's is left alone" in world.texts()
    assert any(text.startswith("ETHUSDT: the account holds 0") for text in world.texts())


def test_dust_that_the_venue_does_not_take_stays_and_is_named(folder: Path) -> None:
    world = World(folder, Venue())
    world.venue.fill(intent("BTCUSDT", "market", Decimal(1)), Decimal("0.0004"))
    assert world.run().finished_ms is not None
    assert world.held() == [Decimal("0.0004"), ZERO]
    assert "BTCUSDT: 0.0004 is below what the venue accepts and stays as dust" in world.texts()
    assert not world.venue.resting


def test_a_foreign_order_is_reported_and_left_alone(folder: Path) -> None:
    world = World(folder, Venue())
    world.venue.resting["web-1"] = replace(intent("BTCUSDT", "stop", Decimal(-1)), client_id="web-1")
    world.run()
    assert list(world.venue.resting) == ["web-1"]
    assert "BTCUSDT: the order web-1 is not this book's and is left alone" in world.texts()


def test_a_lost_lease_ends_it_before_anything_is_sent(folder: Path) -> None:
    world = World(folder, Venue(), entry=False)
    assert world.real.acquire_lease(BOOK, "other", 60_000, START_MS + 120_000) is not None
    with pytest.raises(LeaseLost):
        world.run()
    assert not world.venue.done


def test_patience_lets_the_caller_go_on_and_the_next_run_continues(folder: Path) -> None:
    world = World(folder, Venue(faults=["unreachable"] * 40))

    async def main() -> list[EmergencyRecord]:
        protocol = world.protocol()
        first = await protocol.run(HALT, patience_s=2.0)
        assert first.finished_ms is None
        return [first, await protocol.run(HALT)]

    first, last = run_virtual(main(), VirtualLoop())
    assert first.id == last.id
    assert last.finished_ms is not None
    assert "continued" not in " ".join(last.steps)


def test_a_book_whose_executions_cannot_be_read_is_flattened_by_what_its_orders_have_filled(folder: Path) -> None:
    world = World(folder, Venue(unreadable=True, foreign={"BTCUSDT": Decimal(7)}), entry=False)
    more = intent("BTCUSDT", "more", Decimal("0.5"))
    world.real.add_intents([more], world.lease)
    world.venue.fill(more, more.quantity)
    world.real.advance_order(report(more, OrderState.FILLED, more.quantity))
    assert world.held() == [Decimal("1.5"), Decimal(-2)]  # the last fill could not be booked
    record = world.run()
    assert record.finished_ms is not None
    assert [world.venue.held(symbol) for symbol in SYMBOLS] == [Decimal(7), ZERO]
    assert not world.venue.resting
    assert any("the executions of BTCUSDT: execution" in text for text in world.texts())


def test_a_stop_whose_answers_cannot_be_read_is_left_over_only_while_it_is_listed(folder: Path) -> None:
    world = World(folder, Venue())
    gone, rests = [stop.client_id for stop in world.venue.resting.values() if stop.leg == "stop"]
    del world.venue.resting[gone]
    world.venue.unknown_words |= {gone, rests}

    async def main() -> EmergencyRecord:
        protocol = world.protocol()
        assert (await protocol.run(HALT, patience_s=5.0)).finished_ms is None
        assert [record.intent.client_id for record in world.real.orders(BOOK, unfinished=True)] == [rests]
        world.venue.unknown_words.discard(rests)
        return await protocol.run(HALT)

    assert run_virtual(main(), VirtualLoop()).finished_ms is not None
    assert not world.venue.resting


def test_a_stop_that_rests_although_the_ledger_calls_it_cancelled_is_cancelled_before_the_end(folder: Path) -> None:
    world = World(folder, Venue())
    first = intent("BTCUSDT", "stop", Decimal("-1.5"))
    ghost = replace(first, client_id=client_order_id(BOOK, "d-BTCUSDT", "stop-2"), leg="stop-2")
    world.real.add_intents([ghost], world.lease)
    world.real.advance_order(report(ghost, OrderState.CANCELLED, ZERO))
    world.venue.resting[ghost.client_id] = ghost
    assert world.run().finished_ms is not None
    assert not world.venue.resting
    assert world.venue.done[-1] == "cancel stop-2 BTCUSDT"


def test_an_account_that_is_not_answered_for_holds_no_exit_up_and_nothing_is_called_flat_before_it_is(folder: Path) -> None:
    world = World(folder, Venue(unseen=True, foreign={"BTCUSDT": Decimal(7)}), entry=False)

    async def main() -> EmergencyRecord:
        protocol = world.protocol()
        assert (await protocol.run(HALT, patience_s=2.0)).finished_ms is None
        assert not world.venue.done  # it may answer in a moment
        await asyncio.sleep(5.0)
        assert (await protocol.run(HALT, patience_s=15.0)).finished_ms is None
        assert [world.venue.held(symbol) for symbol in SYMBOLS] == [Decimal(7), ZERO]
        assert world.venue.done == ["close BTCUSDT", "close ETHUSDT"]
        world.venue.unseen = False
        return await protocol.run(HALT)

    assert run_virtual(main(), VirtualLoop()).finished_ms is not None
    assert not world.venue.resting


def test_without_ledger_and_executions_what_was_noted_last_is_closed_and_it_is_not_called_flat_before_the_ledger_is_back(
    folder: Path,
) -> None:
    world = World(folder, Venue(unreadable=True), entry=False)
    venue: Any = world.venue
    own = OwnPosition(venue, BOOK, START_MS)
    own.note(world.real, START_MS)
    world.ledger.down = 2**62
    record = world.run(patience_s=3.0, own=own)
    assert record.finished_ms is None
    assert [world.venue.held(symbol) for symbol in SYMBOLS] == [ZERO, ZERO]
    assert len(world.venue.resting) == 2
    assert len(FileExitJournal(folder / "exits.jsonl").pending()) == 2


def test_a_venue_that_asks_to_be_left_alone_is_not_waited_for_beyond_the_patience_and_not_asked_before(folder: Path) -> None:
    world = World(folder, Venue(faults=["limited"]), entry=False)

    async def main() -> list[float]:
        protocol, loop = world.protocol(), asyncio.get_running_loop()
        await protocol.run(HALT, patience_s=2.0)
        ended, requests = loop.time(), world.venue.requests
        await protocol.run(HALT, patience_s=2.0)
        assert world.venue.requests == requests
        await asyncio.sleep(3.0)
        record = await protocol.run(HALT, patience_s=2.0)
        assert record.finished_ms is not None
        return [ended, loop.time()]

    ended, _ = run_virtual(main(), VirtualLoop())
    assert ended < 1.0


def test_while_the_ledger_is_away_exits_go_through_the_journal(folder: Path) -> None:
    world = World(folder, Venue())
    world.ledger.down = 60
    record = world.run()
    assert record.finished_ms is not None
    assert any("journalled" in text for text in world.texts())
    assert world.held() == [ZERO, ZERO]
    assert not FileExitJournal(folder / "exits.jsonl").pending()
    exits = [order for order in world.real.orders(BOOK) if order.intent.leg.startswith("emergency")]
    assert {order.intent.symbol: order.intent.decision_id for order in exits} == {s: f"d-{s}" for s in SYMBOLS}
    assert all(order.state is OrderState.FILLED for order in exits)


def test_a_ledger_that_refuses_what_became_of_an_entry_holds_no_exit_up(folder: Path) -> None:
    world = World(folder, Venue())
    slice_ = replace(intent("ETHUSDT", "slice", Decimal(-1)), due_ms=START_MS + 600_000)
    world.real.add_intents([slice_], world.lease)
    world.ledger.full = True

    async def main() -> EmergencyRecord:
        protocol = world.protocol()
        assert (await protocol.run(HALT, patience_s=5.0)).finished_ms is None
        assert [world.venue.held(symbol) for symbol in SYMBOLS] == [ZERO, ZERO]
        assert len(world.venue.resting) == 2  # the stops, until the ledger knows of it
        world.ledger.full = False
        return await protocol.run(HALT)

    record = run_virtual(main(), VirtualLoop())
    assert record.finished_ms is not None
    assert world.held() == [ZERO, ZERO]
    assert not world.venue.resting
    assert not world.real.orders(BOOK, unfinished=True)


def test_a_journal_that_cannot_be_read_holds_no_exit_up_and_the_book_is_not_called_flat_before_it_can(folder: Path) -> None:
    world, journal = World(folder, Venue()), folder / "exits.jsonl"
    journal.write_text("this is no intent\n")

    async def main() -> EmergencyRecord:
        protocol = world.protocol()
        assert (await protocol.run(HALT, patience_s=5.0)).finished_ms is None
        assert world.held() == [ZERO, ZERO]
        journal.unlink()
        return await protocol.run(HALT)

    assert run_virtual(main(), VirtualLoop()).finished_ms is not None
    assert any("exits.jsonl, line 1 is no order intent" in text for text in world.texts())


@settings(max_examples=60, deadline=None)
@given(
    faults=st.lists(st.sampled_from(["", "unreachable", "lost", "limited", "refused"]), max_size=40),
    kills=st.lists(st.integers(1, 25), max_size=4),
    away=st.sampled_from([0, 0, 1, 5, 30]),
    share=st.sampled_from([Decimal(1), Decimal("0.5")]),
)
def test_whatever_the_venue_does_the_book_ends_flat_with_its_stops_cancelled_last(
    template: Path, faults: list[str], kills: list[int], away: int, share: Decimal
) -> None:
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(template, Path(name) / "ledger.db")
        venue = Venue(faults=list(faults), filled_share=share)
        world = World(Path(name), venue)
        world.ledger.down = away
        for after in kills:
            venue.kill_at = venue.requests + after
            try:
                world.run()
            except asyncio.CancelledError:
                world.ledger.down = 0  # a process starts only with its ledger
        venue.kill_at = 2**62
        record = world.run()
        assert record.finished_ms is not None
        assert world.held() == [ZERO, ZERO] == [venue.held(symbol) for symbol in SYMBOLS]
        assert not venue.resting
        assert not world.real.orders(BOOK, unfinished=True)
        assert len(world.real.emergencies(BOOK)) == 1
        first_stop = min(n for n, text in enumerate(venue.done) if text.startswith("cancel stop"))
        assert not [text for text in venue.done[first_stop:] if not text.startswith("cancel stop")]
        world.real.close()


def test_an_entry_whose_answer_cannot_be_read_keeps_no_position_from_being_closed(folder: Path) -> None:
    venue = Venue()
    world = World(folder, venue)
    [limit] = [client_id for client_id, known in venue.resting.items() if known.kind is OrderKind.LIMIT]
    venue.unknown_words.add(limit)
    assert world.run(patience_s=5.0).finished_ms is None
    assert [venue.held(symbol) for symbol in SYMBOLS] == [0, 0]
    venue.unknown_words.clear()
    assert world.run().finished_ms is not None
