"""The session: one step per closed bar, from candle to ledger, on one book of one account.

    settle what is open -> equity row, breakers -> for each asset: analyse, decide, commit, send, book the fills

A step can be cut off anywhere and is then simply done again, to the same end: the equity row stands from its first time, so
that every size is computed from the same number; decisions that are committed stay; orders are looked up by their client id
and nothing is sent twice. A step that was finished changes nothing. A paper, a testnet and a live bot run this same step.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from shared.domain.asset import Universe
from shared.domain.decision import Decision
from shared.domain.errors import DataError, LeaseLost, ModelError, NotApproved, OstError
from shared.domain.interval import Interval
from shared.domain.money import ZERO, SymbolRules, to_decimal
from shared.domain.orders import Account, Fill, OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState
from shared.domain.records import EquityPoint, Lease
from shared.ports import Bucket, Clock, Exchange, Ledger, MarketData
from shared.risk.approval import ApprovedOrder, OrderContext, approve
from shared.risk.breakers import check_breakers
from shared.risk.kelly import kelly_cap
from shared.trading.analysis import Analysis, AssetMemory, analyse, remembered
from shared.trading.deciding import BookView, decide
from shared.trading.execution import Executor
from shared.trading.ml_models import AlphaModels
from shared.trading.models import RegimeModels
from shared.trading.params import SystemParams
from shared.trading.reconciliation import Reconciler
from shared.trading.track_record import TrackRecord
from shared.trading.window import MarketWindow, refreshed


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world of a session."""

    exchange: Exchange
    market: MarketData
    ledger: Ledger
    models: Bucket
    """where regime models are kept"""
    clock: Clock
    lease_clock: Clock
    """real time: a lease protects against another process, and that one does not live in simulated time"""


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a session trades."""

    book: str
    holder: str
    """who holds the lease: host and process"""
    universe: Universe
    interval: Interval
    params: SystemParams
    leverage: int
    code_version: str
    lease_ttl_ms: int = 45_000
    """how long a silent holder keeps the book: a standby takes over after it"""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did."""

    bar_close_ms: int
    equity: Decimal
    drawdown: float
    decisions: tuple[Decision, ...]
    fills: tuple[Fill, ...]
    regimes: Mapping[str, str]
    """held regime by symbol"""
    problems: tuple[str, ...] = ()
    """one line for each asset that could not be decided"""


@dataclass(slots=True)
class _AssetDesk:
    """The mutable part of a session, one per asset."""

    window: MarketWindow
    memory: AssetMemory


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger holds of the book."""

    positions: Mapping[str, Decimal]
    """signed quantity by symbol"""
    open_stops: list[OrderRecord]


class Session:
    """Trades one book. Use `open`, then `step` once per closed bar, then `close`."""

    def __init__(self, ports: Ports, spec: SessionSpec, lease: Lease, rules: Mapping[str, SymbolRules], since_ms: int) -> None:
        self._ports = ports
        self._spec = spec
        self._lease = lease
        self._rules = rules
        self._executor = Executor(ports.exchange, ports.ledger, ports.clock, spec.book, spec.params.execution)
        self._reconciler = Reconciler(ports.exchange, ports.ledger, ports.clock, self._executor, spec.book, since_ms)
        self._models = RegimeModels(ports.models, ports.ledger, spec.book, spec.params)
        self._alpha_models = AlphaModels(ports.models, ports.ledger, spec.book, spec.params)
        self._book: _Known | None = None
        self._record = TrackRecord(ports.ledger.equity(spec.book))
        max_bars = spec.params.window_bars(spec.interval)
        self._desks = {
            asset: _AssetDesk(
                MarketWindow.empty(asset, spec.interval, max_bars),
                remembered(ports.ledger.last_regime(spec.book, asset)),
            )
            for asset in spec.universe
        }

    @classmethod
    async def open(cls, ports: Ports, spec: SessionSpec) -> Session:
        """Take the lease, verify the account's settings and reconcile before anything is traded.

        Raises `LeaseLost` where another process writes the book, `ReconciliationError` or the `VenueError` tree where the
        account is not as configured.
        """
        lease = ports.ledger.acquire_lease(spec.book, spec.holder, spec.lease_ttl_ms, ports.lease_clock.now_ms())
        if lease is None:
            raise LeaseLost(
                f"another process trades the book {spec.book}; stop it, or wait {spec.lease_ttl_ms // 1000} s for its lease"
            )
        symbols = [asset.symbol for asset in spec.universe]
        rules = await ports.exchange.rules(symbols)
        await ports.exchange.prepare(symbols, spec.leverage)
        created_ms = next((row.created_ms for row in ports.ledger.books() if row.book == spec.book), ports.clock.now_ms())
        session = cls(ports, spec, lease, rules, created_ms)
        await session._reconcile_at_start()
        return session

    async def close(self) -> None:
        """Give the lease up. Positions and their protective stops stay."""
        self._ports.ledger.release_lease(self._lease)

    async def step(self, bar_close_ms: int) -> StepReport:
        """Everything that follows from the bars that closed at `bar_close_ms`. Raises `LeaseLost` or the `VenueError` tree."""
        self._renew_lease()
        # The market data adapter tells closed bars from the open one by the venue's clock: one question serves every asset.
        await self._ports.exchange.server_time_ms()
        account = await self._settled_account()
        point = self._mark(bar_close_ms, account)
        problems = await self._refresh(bar_close_ms)
        decisions, fills = [], []
        for asset, desk in self._desks.items():
            if asset.symbol in problems:
                continue
            try:
                analysis = self._analyse(desk, bar_close_ms)
            except (DataError, ModelError) as error:
                problems[asset.symbol] = str(error)
                continue
            decision, booked = await self._trade(analysis, point)
            decisions.append(decision)
            fills += booked
        self._finish(point)
        return StepReport(
            bar_close_ms=bar_close_ms,
            equity=point.equity,
            drawdown=point.drawdown,
            decisions=tuple(decisions),
            fills=tuple(fills),
            regimes={decision.asset.symbol: decision.regime.value for decision in decisions},
            problems=tuple(f"{symbol}: {problem}" for symbol, problem in problems.items()),
        )

    async def _reconcile_at_start(self) -> None:
        """Orders first, then positions, then foreign orders: what nothing explains freezes its symbol."""
        await self._settle_orders(await self._ports.exchange.account(), resting=True)
        await self._settled_positions()
        await self._reconciler.book_funding()
        await self._reconciler.find_foreign_orders()

    async def _settled_account(self) -> Account:
        """The account, after everything that was open is settled and every position explained."""
        if self._unfinished(resting=False):
            await self._settle_orders(await self._ports.exchange.account(), resting=False)
        account = await self._settled_positions()
        if any(self._known().positions.values()):
            await self._reconciler.book_funding()
        await self._cancel_orphan_stops()
        return account

    async def _settled_positions(self) -> Account:
        account = await self._ports.exchange.account()
        if any(self._held(asset.symbol) != account.position(asset.symbol) for asset in self._spec.universe):
            await self._reconciler.settle_positions((asset.symbol for asset in self._spec.universe), account)
            self._changed()
        return account

    async def _settle_orders(self, account: Account, *, resting: bool) -> None:
        prices = {position.symbol: position.mark_price for position in account.positions}

        def again(intent: OrderIntent) -> ApprovedOrder:
            decision = self._ports.ledger.decision(intent.decision_id)
            price = prices.get(intent.symbol) or to_decimal(decision.price if decision else 0.0)
            return self._approved(intent, account.equity, price)

        await self._reconciler.settle_orders(again, resting=resting)
        self._changed()

    def _unfinished(self, *, resting: bool) -> bool:
        """Whether an order's fate is open; stops that rest at the venue count only where `resting` is set."""
        for record in self._ports.ledger.orders(self._spec.book, unfinished=True):
            if resting or record.intent.kind is not OrderKind.STOP or record.state is not OrderState.OPEN:
                return True
        return False

    async def _cancel_orphan_stops(self) -> None:
        """Cancel stops that protect nothing, or that a newer stop of the same symbol has replaced."""
        open_stops = self._known().open_stops
        newest = {record.intent.symbol: record.intent.client_id for record in open_stops}
        for record in open_stops:
            intent = record.intent
            protects = self._held(intent.symbol) * intent.side.sign < 0
            if not protects or newest[intent.symbol] != intent.client_id:
                await self._executor.cancel(record)
                self._changed()

    def _mark(self, bar_close_ms: int, account: Account) -> EquityPoint:
        """The equity point of this bar, stored, with the breakers that it trips."""
        ledger, book = self._ports.ledger, self._spec.book
        last = ledger.last_equity(book)
        if last is not None and last.time_ms == bar_close_ms:
            return last
        peak = max(account.equity, last.peak) if last else account.equity
        point = EquityPoint(bar_close_ms, account.equity, account.wallet, peak)
        for halt in check_breakers(book, point, last, ledger.halts(book, bar_close_ms), self._spec.params.risk):
            ledger.set_halt(halt)
            ledger.log(book, "breaker", "warning", halt.reason, bar_close_ms)
        ledger.record_equity(book, point)
        self._record.add(point)
        return point

    def _finish(self, point: EquityPoint) -> None:
        """What is known only after the step: the regimes counted, and the exposure that is held until the next bar closes."""
        ledger, book = self._ports.ledger, self._spec.book
        ledger.record_regimes(book, [desk.memory.state for desk in self._desks.values() if desk.memory.state is not None])
        exposure = sum((abs(self._held(symbol)) * price for symbol, price in self._closes().items()), ZERO)
        if exposure != point.exposure:
            ledger.record_equity(book, replace(point, exposure=exposure))
        self._record.add(replace(point, exposure=exposure))

    def _closes(self) -> dict[str, Decimal]:
        """Newest close by symbol."""
        windows = [desk.window for desk in self._desks.values() if len(desk.window.candles)]
        return {window.asset.symbol: to_decimal(float(window.candles.close[-1])) for window in windows}

    async def _refresh(self, bar_close_ms: int) -> dict[str, str]:
        """Bring every window up to date; what is wrong with an asset, by symbol. One bad asset never stops the others."""
        desks = list(self._desks.values())
        windows = await asyncio.gather(
            *(refreshed(desk.window, self._ports.market, bar_close_ms) for desk in desks), return_exceptions=True
        )
        problems = {}
        for desk, window in zip(desks, windows, strict=True):
            if isinstance(window, MarketWindow):
                desk.window = window
            elif isinstance(window, OstError):
                problems[desk.window.asset.symbol] = str(window)
            else:
                raise window
        return problems

    def _analyse(self, desk: _AssetDesk, bar_close_ms: int) -> Analysis:
        model = self._models.model_for(desk.window, bar_close_ms)
        ml = self._alpha_models.models_for(desk.window, bar_close_ms)
        analysis = analyse(desk.window, bar_close_ms, model, desk.memory, self._spec.params, ml)
        self._alpha_models.report(analysis)
        desk.memory = analysis.memory
        return analysis

    async def _trade(self, analysis: Analysis, point: EquityPoint) -> tuple[Decision, list[Fill]]:
        """Decide, commit, send and book one asset."""
        ledger, symbol = self._ports.ledger, analysis.asset.symbol
        decision, intents = decide(analysis, self._view(analysis, point), self._spec.params)
        if not ledger.commit_decision(decision, intents, self._lease):
            # A step that was cut off is done again: its decision stands, and its orders were settled before this line.
            return ledger.decision(decision.id) or decision, []
        fills: list[Fill] = []
        for intent in intents:
            record = await self._send(intent, point.equity, to_decimal(analysis.price))
            if intent.kind is OrderKind.STOP:
                continue
            if record.filled == 0:  # nothing to protect; what is still open is settled before the next decision
                for other in intents:
                    self._reconciler.abandon_orphan(OrderRecord(other, OrderState.INTENT))
                break
            fills += await self._reconciler.book_fills(symbol)
            self._changed()
        if intents:
            self._changed()
            await self._cancel_orphan_stops()
        return decision, fills

    async def _send(self, intent: OrderIntent, equity: Decimal, price: Decimal) -> OrderRecord:
        try:
            order = self._approved(intent, equity, price)
        except NotApproved as error:
            report = OrderReport(intent.client_id, intent.symbol, OrderState.ABANDONED, ZERO, reason=str(error))
            return self._ports.ledger.advance_order(report)
        return await self._executor.place(order)

    def _approved(self, intent: OrderIntent, equity: Decimal, price: Decimal) -> ApprovedOrder:
        """Risk control for one intent, with the book as the ledger knows it. Raises `NotApproved`."""
        now_ms = self._ports.clock.now_ms()
        age_ms = now_ms - intent.created_ms
        if age_ms > self._spec.params.max_decision_age * self._spec.interval.ms:
            raise NotApproved(f"{intent.client_id} was decided {age_ms / 1000:.0f} s ago, too long to be sent now")
        context = OrderContext(
            rules=self._rules[intent.symbol],
            held=self._held(intent.symbol),
            price=price,
            equity=equity,
            max_asset_exposure=to_decimal(self._spec.params.risk.max_asset_exposure),
            halts=self._ports.ledger.halts(self._spec.book, now_ms),
        )
        return approve(intent, context)

    def _view(self, analysis: Analysis, point: EquityPoint) -> BookView:
        """The book around the analysed asset."""
        ledger, book, symbol = self._ports.ledger, self._spec.book, analysis.asset.symbol
        held = self._known().positions
        others = sum(
            abs(float(held.get(desk.window.asset.symbol, ZERO))) * float(desk.window.candles.close[-1])
            for desk in self._desks.values()
            if desk.window.asset != analysis.asset and len(desk.window.candles)
        )
        return BookView(
            book=book,
            equity=point.equity,
            held=held.get(symbol, ZERO),
            protected=any(stop.intent.symbol == symbol for stop in self._known().open_stops),
            others_gross=others / float(point.equity) if point.equity > 0 else math.inf,
            kelly_cap=kelly_cap(self._record.returns(), self._spec.params.risk),
            halts=ledger.halts(book, point.time_ms),
            rules=self._rules[symbol],
            now_ms=self._ports.clock.now_ms(),
            code_version=self._spec.code_version,
        )

    def _held(self, symbol: str) -> Decimal:
        return self._known().positions.get(symbol, ZERO)

    def _known(self) -> _Known:
        """The book as the ledger has it. Only this process writes it (the lease), so it is read once and after each change."""
        if self._book is None:
            positions = self._ports.ledger.positions(self._spec.book)
            self._book = _Known({symbol: position.quantity for symbol, position in positions.items()}, self._open_stops())
        return self._book

    def _changed(self) -> None:
        """Orders or fills were written: read the book again."""
        self._book = None

    def _open_stops(self) -> list[OrderRecord]:
        unfinished = self._ports.ledger.orders(self._spec.book, unfinished=True)
        return [record for record in unfinished if record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN]

    def _renew_lease(self) -> None:
        now_ms = self._ports.lease_clock.now_ms()
        if self._lease.expires_ms - now_ms > self._spec.lease_ttl_ms / 2:
            return  # every order is checked against the lease's token anyway
        renewed = self._ports.ledger.acquire_lease(self._spec.book, self._spec.holder, self._spec.lease_ttl_ms, now_ms)
        if renewed is None or renewed.token != self._lease.token:
            raise LeaseLost(f"another process has taken over the book {self._spec.book}; this one stops")
        self._lease = renewed
