"""A trader's world in one process: simulated time, a venue that fills at once, streams that say what they are told to say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cloudrun.simulation.analyst import Habits, ScriptedAnalyst, SimulatedParams
from cloudrun.simulation.loop import VirtualLoop, run_virtual
from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.exit_journal import FileExitJournal
from shared.adapters.sql import SqlLedger
from shared.domain.asset import Universe
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import BusUnavailable, LedgerUnavailable, VenueRejected
from shared.domain.events import Event
from shared.domain.interval import Interval, parse_date_ms
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import (
    Account,
    Fill,
    OrderIntent,
    OrderKind,
    OrderReport,
    OrderState,
    Position,
    Side,
    VenuePosition,
)
from shared.domain.records import FundingPayment
from shared.domain.stream import (
    AccountMessage,
    BarMessage,
    Channel,
    MarketMessage,
    MarkMessage,
    OrderMessage,
    QuoteMessage,
    StreamNotice,
    StreamState,
    UserMessage,
    channel_of,
)
from shared.risk.approval import ApprovedOrder
from shared.strategy.params import StrategyParams
from shared.trading.session import LivePorts, SessionSpec
from shared.trading.trader import Trader
from shared.trading.trader_params import TraderParams

T = TypeVar("T")
BOOK = "live"
START_MS = parse_date_ms("2025-07-01")
CAPITAL = Decimal(10_000)
M1 = Interval.M1
LATENCY_S = 0.005
PARAMS = SimulatedParams(strategy=StrategyParams(minimum_stop=0.004))
LONG = ScriptedAnalyst(1, Habits(always=0.9, size=0.5), PARAMS, 2**62)
FLAT = ScriptedAnalyst(1, Habits(always=0.0), PARAMS, 2**62)
RULES = SymbolRules("BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(5))


class LoopClock:
    """The loop's simulated time, which can be set back."""

    offset_ms = 0

    def now_ms(self) -> int:
        return START_MS + self.offset_ms + round(asyncio.get_running_loop().time() * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


@dataclass
class Stream:
    """A stream that is fed by hand; connected from the start."""

    clock: LoopClock
    reconnects: list[str] = field(default_factory=list)
    channels: list[Channel | None] = field(default_factory=list)
    """what each of them was about"""
    queue: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    opened: bool = False
    closed: bool = False
    silent: bool = False
    muted: set[tuple[Channel, str]] = field(default_factory=set)
    """of these channels and symbols nothing is told"""

    async def open(self, *_: Any) -> None:
        self.opened = True
        self.notice(StreamState.CONNECTED)

    async def next(self) -> Any:
        return await self.queue.get()

    async def reconnect(self, reason: str, channel: Channel | None = None) -> None:
        self.reconnects.append(reason)
        self.channels.append(channel)
        self.notice(StreamState.LOST, reason)

    async def close(self) -> None:
        self.closed = True

    def say(self, message: MarketMessage | UserMessage) -> None:
        is_price = isinstance(message, BarMessage | QuoteMessage | MarkMessage)
        if self.opened and not self.silent and not (is_price and (channel_of(message), message.symbol) in self.muted):
            self.queue.put_nowait(message)

    def notice(self, state: StreamState, detail: str = "") -> None:
        self.queue.put_nowait(StreamNotice(state, detail, self.clock.now_ms()))


class Venue:
    """Exchange and market data of one account. Market orders fill at once, stops rest; `calls` are what it was asked."""

    def __init__(self, clock: LoopClock, symbols: Sequence[str]) -> None:
        self.clock, self.symbols = clock, symbols
        self.market, self.user = Stream(clock), Stream(clock)
        self.calls: list[str] = []
        self.trouble: Exception | None = None
        self.wallet = CAPITAL
        self.prices = dict.fromkeys(symbols, Decimal(100))
        self.positions: dict[str, Position] = {}
        self.executions: list[Fill] = []
        self.orders: dict[str, OrderReport] = {}
        self.stops: dict[str, OrderIntent] = {}
        self.bars: dict[str, list[list[float]]] = {symbol: [] for symbol in symbols}
        self.funding: list[FundingPayment] = []

    async def _asked(self, what: str) -> None:
        self.calls.append(what)
        await asyncio.sleep(LATENCY_S)
        if self.trouble is not None:
            raise self.trouble

    # --- market data -------------------------------------------------------------------------------------------------------

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        await self._asked(f"candles {symbol}")
        if interval is not M1:
            raise VenueRejected("no such interval", -1120)
        now_ms = self.clock.now_ms()
        rows = [row for row in self.bars[symbol] if start_ms <= row[0] < end_ms and row[0] + M1.ms <= now_ms]
        return Candles.from_rows(M1, rows)

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        await self._asked(f"funding rates {symbol}")
        return np.empty(0, dtype=np.int64), np.empty(0)

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        await self._asked(f"open interest {symbol}")
        return np.empty(0, dtype=np.int64), np.empty(0)

    # --- trading -----------------------------------------------------------------------------------------------------------

    async def server_time_ms(self) -> int:
        await self._asked("time")
        return self.clock.now_ms()

    async def rules(self, symbols: Iterable[str]) -> Mapping[str, SymbolRules]:
        await self._asked("rules")
        return {symbol: replace(RULES, symbol=symbol) for symbol in symbols}

    async def prepare(self, symbols: Iterable[str], leverage: int) -> None:
        await self._asked("prepare")

    async def account(self) -> Account:
        await self._asked("account")
        held = [position for position in self.positions.values() if position.quantity]
        rows = tuple(
            VenuePosition(p.symbol, p.quantity, p.entry_price, self.prices[p.symbol], p.unrealised(self.prices[p.symbol]))
            for p in held
        )
        equity = self.wallet + sum((row.unrealised for row in rows), ZERO)
        return Account(self.wallet, equity, equity, rows)

    async def send(self, order: ApprovedOrder) -> OrderReport:
        intent = order.intent
        await self._asked(f"send {intent.leg} {intent.symbol}")
        if intent.client_id in self.orders:
            return self.orders[intent.client_id]
        if intent.kind is OrderKind.STOP:
            self.stops[intent.client_id] = intent
            return self._told(OrderReport(intent.client_id, intent.symbol, OrderState.OPEN, ZERO, "7"), None)
        return self._filled(intent)

    def _filled(self, intent: OrderIntent) -> OrderReport:
        price, number, now_ms = self.prices[intent.symbol], len(self.executions) + 1, self.clock.now_ms()
        fill = Fill(
            intent.symbol,
            str(number),
            intent.client_id,
            "7",
            intent.side,
            intent.quantity,
            price,
            intent.quantity * price * Decimal("0.0005"),
            now_ms,
        )
        before = self.positions.get(intent.symbol, Position(intent.symbol))
        after = self.positions[intent.symbol] = before.after(fill)
        self.wallet += after.realised - before.realised - fill.fee
        self.executions.append(fill)
        report = self._told(
            OrderReport(intent.client_id, intent.symbol, OrderState.FILLED, intent.quantity, "7", price, now_ms), fill
        )
        row = (intent.symbol, after.quantity, after.entry_price)
        self.user.say(AccountMessage(self.wallet, (row,), "ORDER", now_ms))
        return report

    def trigger(self, client_id: str) -> None:
        """A resting stop is executed."""
        self._filled(self.stops.pop(client_id))

    def _told(self, report: OrderReport, fill: Fill | None) -> OrderReport:
        self.orders[report.client_id] = report
        self.user.say(OrderMessage(report, fill, self.clock.now_ms()))
        return report

    async def find(self, intent: OrderIntent) -> OrderReport | None:
        await self._asked(f"find {intent.leg} {intent.symbol}")
        return self.orders.get(intent.client_id)

    async def cancel(self, intent: OrderIntent) -> OrderReport | None:
        await self._asked(f"cancel {intent.leg} {intent.symbol}")
        if self.stops.pop(intent.client_id, None) is None:
            return self.orders.get(intent.client_id)
        return self._told(OrderReport(intent.client_id, intent.symbol, OrderState.CANCELLED, ZERO, "7"), None)

    async def open_orders(self) -> Sequence[tuple[OrderReport, OrderKind]]:
        await self._asked("open orders")
        return [
            (replace(self.orders[client_id], left=intent.quantity * intent.side.sign), OrderKind.STOP)
            for client_id, intent in self.stops.items()
        ]

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        await self._asked(f"fills {symbol}")
        return [fill for fill in self.executions if fill.symbol == symbol and fill.time_ms >= since_ms]

    async def funding_paid(self, since_ms: int) -> list[FundingPayment]:
        await self._asked("funding paid")
        return [payment for payment in self.funding if payment.time_ms >= since_ms]

    async def close(self) -> None:
        return None


@dataclass
class Bus:
    """Remembers what was published; refuses while `down`."""

    published: list[Event] = field(default_factory=list)
    down: bool = False

    async def publish(self, event: Event) -> None:
        if self.down:
            raise BusUnavailable("the bus is down")
        self.published.append(event)


class Ledger:
    """A real ledger that can be taken away."""

    def __init__(self, real: SqlLedger) -> None:
        self.real, self.down = real, False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.real, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if self.down:
                raise LedgerUnavailable("the ledger is down")
            return method(*arguments, **named)

        return call


class World:
    """Everything that a test of the trader needs. Run it with `lived`."""

    def __init__(self, real: SqlLedger, folder: Path, symbols: Sequence[str] = ("BTCUSDT",)) -> None:
        self.clock = LoopClock()
        self.symbols, self.folder = tuple(symbols), folder
        self.ledger = Ledger(real)
        self.bus = Bus()
        self.venue: Venue
        self.trader: Trader
        self.params = TraderParams(bar_patience_s=1.0)

    def ports(self) -> LivePorts:
        ledger: Any = self.ledger
        return LivePorts(
            exchange=self.venue,
            market=self.venue,
            ledger=ledger,
            models=FolderBucket(self.folder / "models"),
            clock=self.clock,
            lease_clock=self.clock,
            market_stream=self.venue.market,
            user_stream=self.venue.user,
            bus=self.bus,
            exits=FileExitJournal(self.folder / "exits.jsonl"),
        )

    def spec(self, holder: str = "test", **changes: Any) -> SessionSpec:
        universe = Universe.of("binanceusdm", self.symbols)
        return replace(SessionSpec(BOOK, holder, universe, M1, PARAMS, 3, "0"), **changes)

    def lived(self, story: Callable[[World], Awaitable[T]], analyst: ScriptedAnalyst = LONG, **options: Any) -> T:
        """What `story` returns, told beside a running trader (`run=False`: beside none)."""

        async def main() -> T:
            self.venue = Venue(self.clock, self.symbols)
            for symbol in self.symbols:
                for minute in range(-20, 0):
                    self.bar(symbol, START_MS + minute * M1.ms, silent=True)
            run = options.pop("run", True)
            await asyncio.sleep(20.0)  # the bar of the start is too old to trade on
            self.trader = Trader(self.ports(), self.spec(), self.params, analyst, **options)
            running = asyncio.create_task(self.trader.run()) if run else None
            try:
                return await story(self)
            finally:
                if running is not None:
                    self.trader.stop("the test is over")
                    await asyncio.gather(running, return_exceptions=True)

        return run_virtual(main(), VirtualLoop())

    def bar(
        self,
        symbol: str,
        open_ms: int,
        price: float = 100.0,
        *,
        silent: bool = False,
        closed: bool = True,
        volume: float = 10.0,
    ) -> BarMessage:
        """A bar that closes at `price`, kept by the venue and told by the stream."""
        row = [float(open_ms), 100.0, max(100.0, price) + 1, min(100.0, price) - 1, price, volume]
        self.venue.bars[symbol].append(row)
        message = BarMessage(symbol, M1, open_ms, *row[1:], closed, open_ms + M1.ms)  # type: ignore[arg-type]
        if not silent:
            self.venue.market.say(message)
        return message

    async def until(self, seconds: float, *, tell: bool = True) -> None:
        """Live up to `seconds` after the start: bars close on the minute, quotes and marks come each second."""
        loop = asyncio.get_running_loop()
        while loop.time() < seconds:
            to_next_s = 1.0 - loop.time() % 1.0
            await asyncio.sleep(max(0.001, min(to_next_s, seconds - loop.time())))  # less would not move the clock
            now_ms = self.clock.now_ms()
            for symbol in self.symbols:
                price = self.venue.prices[symbol]
                if tell:
                    self.venue.market.say(QuoteMessage(symbol, price, price, now_ms))
                    self.venue.market.say(MarkMessage(symbol, price, now_ms))
                if now_ms % M1.ms == 0:
                    self.bar(symbol, now_ms - M1.ms, float(price), silent=not tell)
        await asyncio.sleep(0.2)

    def held(self, symbol: str = "BTCUSDT") -> Decimal:
        position = self.ledger.real.positions(BOOK).get(symbol)
        return position.quantity if position else ZERO

    def sent(self) -> list[str]:
        return [call for call in self.venue.calls if call.startswith(("send", "cancel"))]

    def said(self) -> str:
        return "\n".join(entry["message"] for entry in self.ledger.real.agent_log(BOOK))


__all__ = ["BOOK", "FLAT", "LONG", "M1", "START_MS", "Side", "World"]
