"""What every part of the engine works on: the market, the costs, the account and the events that it emits.

Also the small questions that several parts ask: the price now, equity, margins. Cross margin, one-way positions:
equity = wallet + Σ open profit; initial margin of a symbol = largest position that its orders could build · price / leverage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cloudrun.exchange.depth import Depth
from cloudrun.exchange.market import Market, SymbolMarket
from cloudrun.exchange.refusal import missing, refusal
from cloudrun.exchange.state import Account, PositionState
from shared.backtest.params import CostParams
from shared.backtest.venue_rules import SymbolSpec
from shared.domain.money import ZERO

Event = dict[str, Any]


@dataclass(slots=True)
class Core:
    """The engine's world; only the engine's own modules change it."""

    market: Market
    costs: CostParams
    account: Account
    events: list[Event] = field(default_factory=list)
    """user-data events since they were last taken"""
    depth: Depth | None = None
    """how much a market order can take at once; `None`: everything"""

    @property
    def now_ms(self) -> int:
        """Simulated time."""
        return self.account.now_ms

    def symbol(self, params: Mapping[str, str]) -> SymbolMarket:
        """The symbol that a request names. Raises -1102 or -1121."""
        name = params.get("symbol")
        if not name:
            raise missing("symbol")
        if name not in self.market.symbols:
            raise refusal(-1121)
        return self.market.symbols[name]

    def spec(self, symbol: str) -> SymbolSpec:
        """The rules of a symbol."""
        return self.market.symbols[symbol].spec

    def price(self, symbol: str) -> Decimal:
        """Last price now."""
        return self.market.price(symbol, self.account.now_ms)

    def held(self) -> Iterator[PositionState]:
        """Positions that are not flat."""
        return (position for position in self.account.positions.values() if position.quantity)

    def unrealised(self) -> Decimal:
        """Open profit of all positions now."""
        return sum((position.unrealised(self.price(position.symbol)) for position in self.held()), ZERO)

    def initial_margin(self, extra: Mapping[str, Decimal] | None = None) -> Decimal:
        """Initial margin of positions and resting orders; `extra` adds signed quantities by symbol."""
        bought: dict[str, Decimal] = {}
        sold: dict[str, Decimal] = {}
        for order in self.account.open_orders.values():
            if not order.reduce_only:
                book = bought if order.sign > 0 else sold
                book[order.symbol] = book.get(order.symbol, ZERO) + order.remaining
        for symbol, quantity in (extra or {}).items():
            book = bought if quantity > 0 else sold
            book[symbol] = book.get(symbol, ZERO) + abs(quantity)
        total = ZERO
        for position in self.account.positions.values():
            symbol = position.symbol
            worst = max(
                abs(position.quantity + bought.get(symbol, ZERO)),
                abs(position.quantity - sold.get(symbol, ZERO)),
            )
            if worst:
                total += worst * self.price(symbol) / position.leverage
        return total

    def position_margin(self, position: PositionState) -> Decimal:
        """Initial margin of what is held, without orders."""
        return abs(position.quantity) * self.price(position.symbol) / position.leverage

    def maintenance_margin(self, marks: Mapping[str, Decimal] | None = None) -> Decimal:
        """Maintenance margin of all positions at `marks`, else at the prices now."""
        total = ZERO
        for position in self.held():
            mark = marks[position.symbol] if marks is not None else self.price(position.symbol)
            total += self.spec(position.symbol).maintenance(abs(position.quantity) * mark)
        return total
