"""The account of the paper exchange: orders, positions, trades and the book of income.

Money is Decimal. Invariants: wallet = starting capital + Σ income; position = Σ signed trade quantities; realised profit is
taken out of `cost` exactly (the part of the cost that a reduction closes is rounded once, to 1e-8, and the rest stays).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from shared.domain.money import ZERO

CENT = Decimal("0.00000001")
OPEN_STATES = ("NEW", "PARTIALLY_FILLED")


def quantised(amount: Decimal) -> Decimal:
    """`amount` to the venue's eight decimals."""
    return amount.quantize(CENT, rounding=ROUND_HALF_EVEN)


@dataclass(slots=True)
class Order:
    """A regular order. `sign` is +1 for a purchase; quantities are positive base units."""

    id: int
    client_id: str
    symbol: str
    sign: int
    kind: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    """Σ price · quantity of its fills"""
    close_position: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status in OPEN_STATES

    @property
    def remaining(self) -> Decimal:
        """Not yet filled."""
        return self.quantity - self.executed


@dataclass(slots=True)
class AlgoOrder:
    """A conditional order that rests until the price crosses `trigger`, then places a market order."""

    id: int
    client_id: str
    symbol: str
    sign: int
    kind: str
    """STOP_MARKET or TAKE_PROFIT_MARKET"""
    quantity: Decimal
    trigger: Decimal
    reduce_only: bool
    close_position: bool
    working_type: str
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    trigger_ms: int = 0
    order_id: int | None = None
    """the order that it placed"""

    @property
    def is_open(self) -> bool:
        """Whether it may still trigger."""
        return self.status == "NEW"

    @property
    def direction(self) -> int:
        """+1 where it triggers at or above `trigger`, -1 where at or below."""
        return self.sign if self.kind == "STOP_MARKET" else -self.sign


@dataclass(frozen=True, slots=True)
class TradeRow:
    """An execution."""

    id: int
    order_id: int
    symbol: str
    sign: int
    price: Decimal
    quantity: Decimal
    commission: Decimal
    realised: Decimal
    maker: bool
    time_ms: int
    commission_asset: str = "USDT"
    """another one is not the wallet's: it leaves no trace in wallet and income"""


@dataclass(frozen=True, slots=True)
class IncomeRow:
    """One change of the wallet."""

    id: int
    symbol: str
    kind: str
    amount: Decimal
    time_ms: int
    trade_id: int | None = None


@dataclass(slots=True)
class PositionState:
    """The net position of a symbol; `cost` is the signed quote amount that was paid for what is held."""

    symbol: str
    leverage: int
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    updated_ms: int = 0

    @property
    def entry_price(self) -> Decimal:
        """Average price of what is held; zero when flat."""
        return self.cost / self.quantity if self.quantity else ZERO

    def unrealised(self, price: Decimal) -> Decimal:
        """Open profit at `price`, quote currency."""
        return self.quantity * price - self.cost

    def apply(self, signed_quantity: Decimal, price: Decimal, time_ms: int) -> Decimal:
        """Change the position by a fill and return the realised profit, quote currency, exact to 1e-8."""
        self.updated_ms = time_ms
        held = self.quantity
        if held == 0 or (held > 0) == (signed_quantity > 0):
            self.quantity, self.cost = held + signed_quantity, self.cost + signed_quantity * price
            return ZERO
        closed = min(abs(signed_quantity), abs(held)).copy_sign(held)
        released = self.cost if closed == held else quantised(self.cost * closed / held)
        realised = quantised(closed * price - released)
        opened = signed_quantity + closed
        self.quantity = held + signed_quantity
        # What rounding kept back stays in the cost, so that cost and income add up exactly.
        self.cost = self.cost - (closed * price - realised) if closed != held else opened * price
        return realised


@dataclass(slots=True)
class Account:
    """Everything that a restart has to bring back."""

    now_ms: int
    capital: Decimal
    wallet: Decimal
    positions: dict[str, PositionState]
    orders: dict[int, Order] = field(default_factory=dict)
    algos: dict[int, AlgoOrder] = field(default_factory=dict)
    open_orders: dict[int, Order] = field(default_factory=dict)
    open_algos: dict[int, AlgoOrder] = field(default_factory=dict)
    by_client: dict[str, int] = field(default_factory=dict)
    algo_by_client: dict[str, int] = field(default_factory=dict)
    trades: list[TradeRow] = field(default_factory=list)
    income: list[IncomeRow] = field(default_factory=list)
    next_id: int = 1_000_001
    fee_burn: bool = False
    """whether fees are paid in BNB"""

    def take_id(self) -> int:
        """The next identifier; ids are unique over orders, algo orders, trades and income, and increase."""
        self.next_id += 1
        return self.next_id - 1

    def record_income(self, symbol: str, kind: str, amount: Decimal, time_ms: int, trade_id: int | None = None) -> None:
        """Change the wallet and write down why; zero amounts change nothing."""
        if amount:
            self.wallet += amount
            self.income.append(IncomeRow(self.take_id(), symbol, kind, amount, time_ms, trade_id))
