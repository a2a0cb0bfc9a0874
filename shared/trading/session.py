"""The session: one step per closed bar, from candle to ledger, on one book of one account.

    windows -> settle what is open -> equity row, breakers -> for each asset: analyse, decide, commit, send -> book, protect

A step can be cut off anywhere and is then simply done again, to the same end: the equity row stands from its first time, so
that every size is computed from the same number; decisions that are committed stay; orders are looked up by their client id
and nothing is sent twice. A step that was finished changes nothing. The step is the same in every mode: bars and account come
by REST, or from streams that were checked against REST (`receive`, `on_user`, `follow_streams`), and give the same decisions.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from shared.domain.errors import LedgerError, LedgerUnavailable, OstError, UsageError
from shared.domain.interval import Interval
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import Fill
from shared.domain.records import EquityPoint, Lease
from shared.domain.stream import AccountMessage, BarMessage, OrderMessage
from shared.trading.analyst import Analyst
from shared.trading.lease_holder import LeaseHolder
from shared.trading.proven_rules import proven_rules
from shared.trading.session_parts import SessionParts
from shared.trading.session_types import LivePorts, Ports, Quote, SessionSpec, StepReport

__all__ = ["LivePorts", "Ports", "Quote", "Session", "SessionSpec", "StepReport"]


class Session:
    """Trades one book. Use `open`, then `step` once per closed bar, then `close`."""

    def __init__(self, ports: Ports, spec: SessionSpec, parts: SessionParts, since_ms: int) -> None:
        self._ports = ports
        self._spec = spec
        self._holder = parts.holder
        self._settlement = parts.settlement
        self._decider = parts.decider
        self.analyst = parts.analyst
        self.board = parts.board
        self.book = parts.book
        self.account = parts.account
        self.marks = parts.marks
        self.exchange = parts.exchange
        self.executor = parts.executor
        self.reconciler = parts.reconciler
        self.desk = parts.desk
        self.follow_up = parts.follow_up
        self._streaming = False
        self._ending = ""
        self.since_ms = since_ms
        """when the book began: nothing older at the venue is its business"""
        self.unfit: OstError | None = None
        """what keeps account, rules or policy from being traded with; looked at by `prepare`"""
        self.reconciled_ms = 0
        """when the last full reconciliation was begun"""

    @classmethod
    def take(cls, ports: Ports, spec: SessionSpec, analyst: Analyst | None = None, quote: Quote | None = None) -> Session:
        """Take the lease of the book; `prepare` comes next. Raises `LeaseLost` where another process writes it."""
        ledger = ports.ledger
        holder = LeaseHolder.take(ledger, ports.lease_clock, spec.book, spec.holder, spec.lease_ttl_ms)
        try:
            since_ms = next((row.created_ms for row in ledger.books() if row.book == spec.book), ports.clock.now_ms())
            return cls(ports, spec, SessionParts(ports, spec, holder, since_ms, analyst, quote), since_ms)
        except BaseException:  # the next start must not wait for a lease that nobody uses
            with suppress(LedgerUnavailable):
                holder.release()
            raise

    async def prepare(self) -> None:
        """Verify the account's settings and reconcile before anything is traded.

        Raises `UsageError` for unknown symbols, `ModelError` for a policy that cannot be used, `ReconciliationError` or the
        `VenueError` tree where the account is not as configured; a book that is not idle is reconciled before that, as far as
        possible, and takes no new risk.
        """
        self.unfit = None
        try:
            await self.refresh_rules()
            await self.exchange.prepare(self.symbols, self._spec.leverage)
            self.analyst.prepare()
        except LedgerError:
            raise
        except OstError as error:
            if self.is_idle:
                raise
            self.unfit = error
            self._make_do()
            self.hold_back(str(error))
        await self.reconcile(full=True)
        if self.unfit is not None:
            raise self.unfit

    @property
    def is_idle(self) -> bool:
        """Whether the book holds nothing and no order of it is open: nobody has to look after it."""
        return not (self.book.held_symbols() or self.book.unfinished())

    def _make_do(self) -> None:
        """Where the venue has not said what it accepts: what it has accepted before, enough to protect and to close."""
        for symbol in self.symbols:
            if symbol not in self.desk.rules:
                self.desk.rules[symbol] = proven_rules(self._ports.ledger, self._spec.book, symbol)

    @classmethod
    async def open(cls, ports: Ports, spec: SessionSpec, analyst: Analyst | None = None, quote: Quote | None = None) -> Session:
        """`take` and `prepare`; raises what they raise."""
        session = cls.take(ports, spec, analyst, quote)
        await session.prepare()
        return session

    @property
    def symbols(self) -> list[str]:
        """Symbols of the universe."""
        return [asset.symbol for asset in self._spec.universe]

    @property
    def interval(self) -> Interval:
        """Bars that are traded on."""
        return self._spec.interval

    @property
    def lease(self) -> Lease:
        """The lease as it was last renewed."""
        return self._holder.current

    async def close(self) -> None:
        """Give the lease up, unless a change was cut off on its way. Positions and their protective stops stay."""
        self._holder.release()

    async def refresh_rules(self) -> None:
        """Ask the venue again what it accepts: ticks, steps and the state of a symbol do change."""
        known = self.desk.rules
        try:
            self.desk.rules = dict(await self.exchange.rules(self.symbols))
        except UsageError as error:
            if not known:
                raise
            # A contract that has ended is listed no more: it is not traded, and nothing else stops for it.
            self._ports.ledger.log(self._spec.book, "session", "warning", str(error), self._ports.clock.now_ms())
            for symbol in self.symbols:
                self.desk.rules[symbol] = await self._rules_of(symbol, known[symbol])

    async def _rules_of(self, symbol: str, before: SymbolRules) -> SymbolRules:
        try:
            return (await self.exchange.rules([symbol]))[symbol]
        except UsageError:
            return replace(before, trading=False)

    def follow_streams(self, *, trusted: bool) -> None:
        """Whether messages keep account and bars up to date from now on; without it every step asks by REST."""
        self._streaming = trusted
        self.reconciler.listen(trusted=trusted)
        if not trusted:
            self.account.forget()

    def hold_back(self, reason: str) -> None:
        """Take no new risk for `reason` until it is called with an empty one. Exits go on."""
        self.desk.held_back = self._ending or reason

    def end(self, reason: str) -> None:
        """Nothing that opens or increases is sent from now on, not even what was decided before. Stops and exits go on."""
        self._ending = self.desk.held_back = f"the trader stops: {reason}"
        self.desk.is_ending = True

    def receive(self, bar: BarMessage) -> str:
        """A bar of the stream; what is wrong with it, empty where nothing is. The next step takes it."""
        return self.board.receive(bar)

    async def on_user(self, message: OrderMessage | AccountMessage) -> list[Fill]:
        """Something happened on the account: orders advance, executions are booked exactly once; returns the new ones.

        The same message again, or one that comes late, changes nothing.
        """
        if isinstance(message, AccountMessage):
            self.account.update(message)
            return []
        ledger, report = self._ports.ledger, message.report
        record = ledger.order(report.client_id)
        booked: list[Fill] = []
        try:
            if record is None:
                booked = await self.reconciler.told_of_unknown(report, message.fill)
            else:
                ledger.advance_order(report)
                if message.fill is not None:
                    booked = self.reconciler.booked(message.fill.symbol, [message.fill])
            if message.fill is not None:
                self.reconciler.heard(message.fill)  # last: by REST it would count as one that the stream has not told
        finally:
            self.book.changed()
        return booked

    async def step(self, bar_close_ms: int, only: Collection[str] | None = None) -> StepReport:
        """Everything that follows from the bars that closed at `bar_close_ms`; with `only`, for these symbols.

        Raises `LeaseLost` or `LedgerUnavailable`, or the `VenueError` tree.
        """
        self.renew_lease()
        if not self._streaming:
            # The market data adapter tells closed bars from the open one by the venue's clock: one question serves all.
            await self.exchange.server_time_ms()
        problems = await self.board.advance(bar_close_ms)
        await self.follow_up.supersede(bar_close_ms)  # first: what is settled below goes on with slices that are due
        await self._settlement.before_step(trusted=self._streaming)
        closes = self.board.closes()
        held_before = bool(self.book.held_symbols())
        point, halts = self.marks.at_close(bar_close_ms, self.account.marked(self.book, closes, self._spec.leverage))
        decisions, fills = await self._decider.decide(point, halts, problems, only)
        await self._finish(point, held_before)
        return StepReport(
            bar_close_ms=bar_close_ms,
            equity=point.equity,
            drawdown=point.drawdown,
            decisions=tuple(decisions),
            fills=tuple(fills),
            regimes={decision.asset.symbol: decision.regime.value for decision in decisions},
            problems=tuple(f"{symbol}: {problem}" for symbol, problem in problems.items()),
            undecided=tuple(problems),
        )

    def is_finished(self, bar_close_ms: int) -> bool:
        """Whether the step of that bar came to its end, in this process or an earlier one."""
        states = [self._ports.ledger.last_regime(self._spec.book, asset) for asset in self._spec.universe]
        return any(state is not None and state.bar_close_ms >= bar_close_ms for state in states)

    async def reconcile(self, *, full: bool) -> None:
        """Orders first, then positions, funding and foreign orders; what nothing explains freezes its symbol.

        With `full` also the stops that rest at the venue are asked for, one by one. The account is known from then on.
        """
        began_ms = self._ports.clock.now_ms()
        await self._settlement.reconcile(full=full)
        if full:
            self.reconciled_ms = began_ms

    async def confirm_stops(self) -> None:
        """Ask whether the stops do rest that are taken for resting. Raises the `VenueError` tree, what the ledger raises."""
        await self._settlement.confirm_stops()

    @property
    def unsettled(self) -> dict[str, str]:
        """Parts of the last reconciliation that have failed and decide about nothing that is traded now, and why."""
        return self._settlement.unsettled

    async def settle_rest(self) -> None:
        """Try them again. Raises what the ledger raises."""
        await self._settlement.settle_rest()

    async def book_funding(self) -> None:
        """Bring new funding into the ledger, now or with `settle_rest`. Raises what the ledger raises."""
        await self._settlement.book_funding()

    async def check_account(self) -> None:
        """Compare the account by REST with what the streams have told; what they have not is booked. Raises as `reconcile`."""
        await self._settlement.positions()

    async def resolve_doubts(self) -> None:
        """Ask again about what refusals have called into question: account, positions, rules. Raises the `VenueError` tree."""
        doubts = self.executor.doubts
        if not doubts:
            return
        if doubts.rules:
            await self.refresh_rules()
            doubts.rules = False
        await self._settlement.positions()
        doubts.account = False
        doubts.positions.clear()

    def renew_lease(self, *, force: bool = False) -> None:
        """Renew the lease where half of it is over, or in any case. Raises `LeaseLost`, `LedgerUnavailable`."""
        self._holder.renew(force=force)

    async def _finish(self, point: EquityPoint, held_before: bool) -> None:
        """What is known only after the step: regimes counted, exposure until the next close, funding paid meanwhile."""
        exposure = sum((abs(self.book.held(symbol)) * close for symbol, close in self.board.closes().items()), ZERO)
        self.marks.exposed(replace(point, exposure=exposure))
        if not self._streaming and (held_before or exposure):
            await self.book_funding()
        # Last: a regime row of a bar says that its step came to the end (`is_finished`).
        self._ports.ledger.record_regimes(self._spec.book, self.analyst.states())
