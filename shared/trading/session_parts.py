"""What a session is made of, wired in one place: windows, book and account, orders and what looks after them, decisions.

Nothing here acts by itself. Everything that changes the venue goes through the fence (`exchange`), and everything that is
written to the ledger carries the lease as it is held now.
"""

from __future__ import annotations

from decimal import Decimal

from shared.domain.money import ZERO
from shared.trading.analyst import Analyst, SystemAnalyst
from shared.trading.balance import Balance
from shared.trading.board import MarketBoard
from shared.trading.book import AccountState, BookState
from shared.trading.decider import Decider
from shared.trading.execution import Executor
from shared.trading.fence import FencedExchange
from shared.trading.follow_up import FollowUp
from shared.trading.lease_holder import LeaseHolder
from shared.trading.marking import Marks
from shared.trading.order_desk import OrderDesk
from shared.trading.reconciliation import Reconciler
from shared.trading.session_types import LivePorts, Ports, Quote, SessionSpec
from shared.trading.settlement import Settlement


class SessionParts:
    """The parts of one session."""

    def __init__(
        self, ports: Ports, spec: SessionSpec, holder: LeaseHolder, since_ms: int, analyst: Analyst | None, quote: Quote | None
    ) -> None:
        """`since_ms` is when the book began. Raises what the ledger raises."""
        ledger, clock, book, params = ports.ledger, ports.clock, spec.book, spec.params
        self._spec = spec
        self.holder = holder
        self.analyst = analyst or SystemAnalyst(ports.models, ledger, book, spec.universe, params)
        self.board = MarketBoard(spec.universe, spec.interval, params.window_bars(spec.interval), ports.market)
        self.book = BookState(ledger, book)
        self.account = AccountState()
        self.marks = Marks(ledger, clock, book, params.risk)
        self.exchange = FencedExchange(ports.exchange, holder)
        self.executor = Executor(self.exchange, ledger, clock, book, params.execution, quote, lambda: holder.current)
        self.reconciler = Reconciler(
            self.exchange,
            ledger,
            clock,
            self.executor,
            book,
            since_ms,
            params.execution,
            ports.exits if isinstance(ports, LivePorts) else None,
        )
        self.desk = self._order_desk(ports)
        self.follow_up = FollowUp(
            ledger=ledger,
            clock=clock,
            book=self.book,
            executor=self.executor,
            reconciler=self.reconciler,
            desk=self.desk,
            params=params.execution,
        )
        self.settlement = Settlement(
            exchange=self.exchange,
            symbols=[asset.symbol for asset in spec.universe],
            book=self.book,
            account=self.account,
            desk=self.desk,
            follow_up=self.follow_up,
            reconciler=self.reconciler,
            balance=Balance(self.exchange, ledger, clock, self.reconciler, book, params.execution),
        )
        self.decider = self._made_decider(ports)

    def _order_desk(self, ports: Ports) -> OrderDesk:
        spec = self._spec
        return OrderDesk(
            ledger=ports.ledger,
            book=self.book,
            executor=self.executor,
            reconciler=self.reconciler,
            rules={},
            params=spec.params,
            max_age_ms=round(spec.params.max_decision_age * spec.interval.ms),
            clock=ports.clock,
            check_lease=self.holder.renew,
            lease=lambda: self.holder.current,
            equity=self._last_equity,
            price=self._last_price,
            name=spec.book,
            available=self._available,
            leverage=spec.leverage,
        )

    def _made_decider(self, ports: Ports) -> Decider:
        return Decider(
            spec=self._spec,
            ledger=ports.ledger,
            clock=ports.clock,
            lease=lambda: self.holder.current,
            analyst=self.analyst,
            board=self.board,
            book=self.book,
            account=self.account,
            marks=self.marks,
            desk=self.desk,
            price=self._last_price,
        )

    def _last_equity(self) -> Decimal:
        return self.marks.last.equity if self.marks.last is not None else self.account.wallet

    def _available(self) -> Decimal | None:
        """Free margin of the account at the newest closes, where it is known."""
        if not self.account.known:
            return None
        return self.account.marked(self.book, self.board.closes(), self._spec.leverage).available

    def _last_price(self, symbol: str) -> Decimal:
        """Newest close, else what the venue said last; 0 where neither is known."""
        close = self.board.closes().get(symbol)
        if close is None and symbol in self.account.positions:
            close = self.account.positions[symbol].mark_price
        return close or ZERO
