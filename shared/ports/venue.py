"""The venue: history and rules, orders and account, and the two streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.interval import Interval
from shared.domain.money import SymbolRules
from shared.domain.orders import Account, Fill, OrderIntent, OrderKind, OrderReport
from shared.domain.records import FundingPayment
from shared.domain.stream import Channel, MarketMessage, UserMessage
from shared.risk.approval import ApprovedOrder


class MarketData(Protocol):
    """Public market data of one venue. All methods raise the `VenueError` tree."""

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        """Closed bars that open in [start_ms, end_ms). The open bar is never among them; pages are joined."""
        ...

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Settled funding: instants (ms) and rates (fraction of notional, long pays when positive)."""
        ...

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Open interest: instants (ms) and base units; empty where the venue keeps none."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Exchange(Protocol):
    """Trading on one account of one venue. All methods raise the `VenueError` tree: unreachable, unknown or rejected."""

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        ...

    async def rules(self, symbols: Iterable[str]) -> Mapping[str, SymbolRules]:
        """What the venue accepts, by symbol. Raises `UsageError` naming symbols that it does not list."""
        ...

    async def prepare(self, symbols: Iterable[str], leverage: int) -> None:
        """One-way mode, cross margin and `leverage`, set where needed and verified by reading back; fees in quote currency.

        Raises `ReconciliationError` where the venue still says otherwise.
        """
        ...

    async def account(self) -> Account:
        """Balances and positions now."""
        ...

    async def send(self, order: ApprovedOrder) -> OrderReport:
        """Place an order, in one request that is never repeated. A duplicate client id is success: the order is looked up.

        Raises `VenueRejected` (final), `VenueUnreachable` (not sent; `ClockRefused`: not taken because of its time) or
        `OutcomeUnknown` (query with `find`).
        """
        ...

    async def find(self, intent: OrderIntent) -> OrderReport | None:
        """The order with the intent's client id; `None` where the venue says that it does not exist."""
        ...

    async def cancel(self, intent: OrderIntent) -> OrderReport | None:
        """Cancel by client id and report the final state; `None` where there is no such order."""
        ...

    async def open_orders(self) -> Sequence[tuple[OrderReport, OrderKind]]:
        """Every resting order of the account, stops included, ours or not."""
        ...

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Executions of `symbol` at or after `since_ms`, oldest first, pages joined."""
        ...

    async def funding_paid(self, since_ms: int) -> list[FundingPayment]:
        """Funding entries of the account at or after `since_ms`, oldest first."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class MarketStream(Protocol):
    """Live market data of several symbols on one connection. Reconnecting with back-off and rotation happen inside."""

    async def open(self, symbols: Sequence[str], interval: Interval) -> None:
        """Subscribe to bars, quotes and mark prices. Raises the `VenueError` tree where the venue refuses for good."""
        ...

    async def next(self) -> MarketMessage:
        """The next message, in the order of arrival; waits for one. One consumer.

        Closed bars and notices are never left out; of open bars, quotes and mark prices that were not taken in time, the newest
        comes. Raises `VenueUnreachable` once the stream was closed.
        """
        ...

    async def reconnect(self, reason: str, channel: Channel | None = None) -> None:
        """Drop the connection that serves `channel` (default: all) and make a new one: the watchdog does not believe it."""
        ...

    async def close(self) -> None:
        """Release the connection."""
        ...


class UserStream(Protocol):
    """What happens on the account, as it happens; keys are renewed and connections rotated inside."""

    async def open(self) -> None:
        """Take a key and connect. Raises `VenueRejected` where the venue refuses the account's key."""
        ...

    async def next(self) -> UserMessage:
        """The next message, in the order of arrival; waits for one. One consumer. Raises `VenueUnreachable` once closed."""
        ...

    async def reconnect(self, reason: str) -> None:
        """Drop the connection and make a new one."""
        ...

    async def close(self) -> None:
        """Release the connection. The key belongs to the account, whose other processes may be using it, and ends by itself."""
        ...
