"""A real ledger on SQLite, simulated time, and an exchange that answers by script."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shared.adapters.local.clock import VirtualClock
from shared.adapters.sql import SqlLedger, open_ledger
from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision
from shared.domain.ids import client_order_id, decision_id
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import (
    Account,
    Fill,
    OrderIntent,
    OrderKind,
    OrderRecord,
    OrderReport,
    OrderState,
    Side,
    VenuePosition,
)
from shared.domain.records import FundingPayment
from shared.domain.regime import Regime, RegimeProbabilities
from shared.risk.approval import ApprovedOrder, OrderContext, approve
from shared.trading.execution import ExecutionParams, Executor
from shared.trading.reconciliation import Reconciler

sys.path.append(str(Path(__file__).parent))  # for `live_world.py`: importlib mode does not look here

T = TypeVar("T")
BOOK = "b"
ASSET = Asset("binanceusdm", "BTCUSDT")
START_MS = parse_date_ms("2025-07-01")
RULES = SymbolRules("BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(5))


@dataclass
class ScriptedExchange:
    """Answers `send`, `find` and `cancel` from scripts (an exception is raised); the rest from its fields.

    What no script speaks of goes well: a market order fills at 100, a stop rests, and is cancelled when it is asked to be.
    """

    on_send: deque[OrderReport | Exception] = field(default_factory=deque)
    on_find: deque[OrderReport | Exception | None] = field(default_factory=deque)
    on_cancel: deque[OrderReport | Exception | None] = field(default_factory=deque)
    executions: list[Fill] = field(default_factory=list)
    payments: list[FundingPayment] = field(default_factory=list)
    resting: list[tuple[OrderReport, OrderKind]] = field(default_factory=list)
    holding: Decimal | None = None
    """what the account is said to hold; `None`: the sum of the executions"""
    sent: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)

    async def server_time_ms(self) -> int:
        return START_MS

    async def rules(self, symbols: Iterable[str]) -> Mapping[str, SymbolRules]:
        return {symbol: replace(RULES, symbol=symbol) for symbol in symbols}

    async def prepare(self, symbols: Iterable[str], leverage: int) -> None:
        return None

    async def account(self) -> Account:
        held = sum((fill.signed_quantity for fill in self.executions), ZERO) if self.holding is None else self.holding
        return account(held)

    async def send(self, order: ApprovedOrder) -> OrderReport:
        self.sent.append(order.intent.client_id)
        if self.on_send:
            return _said(self.on_send.popleft())
        intent = order.intent
        if intent.kind is OrderKind.STOP:
            return OrderReport(intent.client_id, intent.symbol, OrderState.OPEN, ZERO, "7", updated_ms=START_MS)
        number = str(1000 + len(self.executions))
        time_ms = START_MS + 1000 * len(self.executions)
        price, fee = Decimal(100), Decimal("0.05")
        self.executions.append(
            Fill(intent.symbol, number, intent.client_id, "7", intent.side, intent.quantity, price, fee, time_ms)
        )
        return OrderReport(intent.client_id, intent.symbol, OrderState.FILLED, intent.quantity, "7", price, time_ms)

    async def find(self, intent: OrderIntent) -> OrderReport | None:
        self.looked_up.append(intent.client_id)
        if not self.on_find:
            return OrderReport(intent.client_id, intent.symbol, OrderState.OPEN, ZERO)
        return _said(self.on_find.popleft())

    async def cancel(self, intent: OrderIntent) -> OrderReport | None:
        self.cancelled.append(intent.client_id)
        if self.on_cancel:
            return _said(self.on_cancel.popleft())
        return OrderReport(intent.client_id, intent.symbol, OrderState.CANCELLED, ZERO)

    async def open_orders(self) -> Sequence[tuple[OrderReport, OrderKind]]:
        return self.resting

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        return [fill for fill in self.executions if fill.symbol == symbol and fill.time_ms >= since_ms]

    async def funding_paid(self, since_ms: int) -> list[FundingPayment]:
        return [payment for payment in self.payments if payment.time_ms >= since_ms]

    async def close(self) -> None:
        return None


def _said(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer


def account(held: Decimal) -> Account:
    position = VenuePosition("BTCUSDT", held, Decimal(100), Decimal(100), ZERO)
    return Account(Decimal(10_000), Decimal(10_000), Decimal(10_000), (position,) if held else ())


@dataclass
class Desk:
    """Everything that a test of sending and settling needs, on one book."""

    exchange: ScriptedExchange
    ledger: SqlLedger
    clock: VirtualClock
    params: ExecutionParams = field(default_factory=lambda: ExecutionParams(query_bound_s=3.0))
    book: str = BOOK
    asset: Asset = ASSET
    start_ms: int = START_MS

    @property
    def executor(self) -> Executor:
        return Executor(self.exchange, self.ledger, self.clock, BOOK, self.params)

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.exchange, self.ledger, self.clock, self.executor, BOOK, START_MS)

    async def finished(self, work: Awaitable[T]) -> T:
        """The result of `work`, with simulated time moving on whenever it waits."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0)
            wake_ms = self.clock.next_wake_ms
            if wake_ms is not None:
                await self.clock.advance_to(wake_ms)
        return task.result()

    def decision(self, bar: int = 0) -> Decision:
        close_ms = START_MS + bar * HOUR_MS
        return Decision(
            id=decision_id(BOOK, ASSET, close_ms, "p-1"),
            book=BOOK,
            asset=ASSET,
            interval=Interval.H1,
            bar_close_ms=close_ms,
            params_version="p-1",
            code_version="0",
            data_hash="c-1",
            window_start_ms=close_ms - HOUR_MS,
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

    def intent(self, leg: str = "market", quantity: str = "1", bar: int = 0, **changes: Any) -> OrderIntent:
        """The intent of a signed quantity (a stop: of the position that it protects)."""
        decision, stop, size = self.decision(bar), leg == "stop", Decimal(quantity)
        made = OrderIntent(
            client_id=client_order_id(BOOK, decision.id, leg),
            book=BOOK,
            decision_id=decision.id,
            leg=leg,
            symbol="BTCUSDT",
            side=Side.of(-size if stop else size),
            kind=OrderKind.STOP if stop else OrderKind.MARKET,
            quantity=abs(size),
            created_ms=decision.bar_close_ms,
            stop_price=Decimal(90) if stop else None,
            reduce_only=stop,
        )
        return replace(made, **changes)

    def committed(self, *intents: OrderIntent, bar: int = 0) -> OrderRecord:
        """Commit intents with their decision; the record of the first one."""
        lease = self.ledger.acquire_lease(BOOK, "test", 60_000, self.clock.now_ms())
        assert lease is not None
        assert self.ledger.commit_decision(self.decision(bar), intents, lease)
        record = self.ledger.order(intents[0].client_id)
        assert record is not None
        return record

    def approved(self, intent: OrderIntent, held: str = "0") -> ApprovedOrder:
        """Let an intent through, for an account that holds `held`."""
        return approve(intent, OrderContext(RULES, Decimal(held), Decimal(100), Decimal(10_000), Decimal(1)))

    def report(self, intent: OrderIntent, state: OrderState = OrderState.FILLED, **changes: Any) -> OrderReport:
        filled = intent.quantity if state is OrderState.FILLED else ZERO
        made = OrderReport(intent.client_id, intent.symbol, state, filled, venue_id="7", average_price=Decimal(100))
        return replace(made, **changes)

    def fill(self, trade_id: int, quantity: str, client_id: str | None, **changes: Any) -> Fill:
        """A fill of a signed quantity, `trade_id` seconds after the start."""
        size = Decimal(quantity)
        made = Fill(
            symbol="BTCUSDT",
            trade_id=str(trade_id),
            client_id=client_id,
            venue_order_id="7",
            side=Side.of(size),
            quantity=abs(size),
            price=Decimal(100),
            fee=Decimal("0.05"),
            time_ms=START_MS + trade_id * 1000,
        )
        return replace(made, **changes)

    def halted(self) -> list[tuple[str | None, str]]:
        """Symbol and reason of every halt in force."""
        return [(halt.symbol, halt.reason) for halt in self.ledger.halts(BOOK, self.clock.now_ms())]

    def held(self) -> Decimal:
        """The ledger's position."""
        position = self.ledger.positions(BOOK).get("BTCUSDT")
        return position.quantity if position else ZERO

    @staticmethod
    def account(held: str) -> Account:
        """The account as the venue reports it, holding `held`."""
        return account(Decimal(held))


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    open_ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def ledger(_template: Path, tmp_path: Path) -> Iterator[SqlLedger]:
    """A migrated, empty ledger."""
    opened = open_ledger(f"sqlite:///{shutil.copy(_template, tmp_path / 'ledger.db')}", migrate=False)
    yield opened
    opened.close()


@pytest.fixture
def desk(ledger: SqlLedger) -> Desk:
    return Desk(ScriptedExchange(), ledger, VirtualClock(START_MS))


@pytest.fixture
def rules() -> Callable[..., SymbolRules]:
    """Venue rules of BTCUSDT with changes."""
    return lambda **changes: replace(RULES, **changes)


@pytest.fixture
def world(ledger: SqlLedger, tmp_path: Path) -> Any:
    """A live trader of BTCUSDT on a scripted venue, in virtual time."""
    return _live_world(ledger, tmp_path)


@pytest.fixture
def pair(ledger: SqlLedger, tmp_path: Path) -> Any:
    """The same with BTCUSDT and ETHUSDT."""
    return _live_world(ledger, tmp_path, ("BTCUSDT", "ETHUSDT"))


def _live_world(ledger: SqlLedger, folder: Path, *symbols: tuple[str, ...]) -> Any:
    import live_world  # beside this file, on the path since the line above; it imports from here

    ledger.register_book(live_world.BOOK, live_world.START_MS, {})
    return live_world.World(ledger, folder, *symbols)
