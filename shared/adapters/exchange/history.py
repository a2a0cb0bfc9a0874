"""What happened on the account: executions with the client ids of their orders, and funding payments.

Binance's trade list names the venue's order id only. The client id is remembered when an order is sent or found; after a
restart, or many orders later, it is looked up once in the venue's order lists, where a stop's client id is joined through the
order that it placed (`actualOrderId`). Invariant: an execution without a client id here has none that the venue would tell (a
foreign order's id is reported as it is, so that reconciliation can see that it is foreign).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.adapters.exchange import payloads
from shared.adapters.exchange.connection import Connection
from shared.adapters.exchange.endpoints import ALL_ORDERS, ALL_STOPS, INCOME, TRADES
from shared.domain.interval import DAY_MS
from shared.domain.orders import Fill, OrderReport
from shared.domain.records import FundingPayment

PAGE = 1000
REMEMBERED = 2_000
"""orders whose client id is kept"""
WINDOW_MS = 7 * DAY_MS
"""Binance answers at most seven days of executions or orders at once."""
LONG_AGO_MS = 183 * DAY_MS
"""Binance keeps half a year of executions: from further back they are listed from the first one on, not week by week."""


class AccountHistory:
    """Reads executions and funding of one account."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client_ids: dict[str, str] = {}

    def remember(self, report: OrderReport, order: Mapping[str, Any]) -> None:
        """Keep the client id under which `order`, an answer of the venue, was sent."""
        if "orderId" in order:
            self._keep({str(order["orderId"]): report.client_id})

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Executions of `symbol` at or after `since_ms`, oldest first. Raises `MalformedData` for what cannot be read."""
        with payloads.well_formed(TRADES.action):
            return await self._fills(symbol, since_ms)

    async def _fills(self, symbol: str, since_ms: int) -> list[Fill]:
        trades = await self._trades(symbol, since_ms)
        numbers = dict.fromkeys(str(trade["orderId"]) for trade in trades)
        client_ids = {number: self._client_ids[number] for number in numbers if number in self._client_ids}
        if len(client_ids) < len(numbers):
            client_ids |= await self._look_up(symbol, [trade for trade in trades if str(trade["orderId"]) not in client_ids])
            self._keep(client_ids)
        return [payloads.read_fill(trade, client_ids.get(str(trade["orderId"]))) for trade in trades]

    async def funding_paid(self, since_ms: int) -> list[FundingPayment]:
        """Funding payments at or after `since_ms`, oldest first."""
        payments: dict[str, FundingPayment] = {}
        while True:
            page = await self._connection.read(INCOME, {"incomeType": "FUNDING_FEE", "startTime": since_ms, "limit": PAGE})
            fresh = [payment for payment in map(payloads.read_funding, page) if payment.id not in payments]
            payments |= {payment.id: payment for payment in fresh}
            if len(page) < PAGE or not fresh:
                break
            since_ms = max(payment.time_ms for payment in fresh)
        return sorted(payments.values(), key=lambda payment: (payment.time_ms, payment.id))

    def _keep(self, client_ids: Mapping[str, str]) -> None:
        self._client_ids |= client_ids
        while len(self._client_ids) > REMEMBERED:
            del self._client_ids[next(iter(self._client_ids))]

    async def _trades(self, symbol: str, since_ms: int) -> list[Mapping[str, Any]]:
        """Raw executions: the first page by time, what follows by trade id."""
        now_ms = self._connection.estimated_now_ms()
        page, complete = await self._first_trades(symbol, since_ms, now_ms)
        trades = {int(trade["id"]): trade for trade in page}
        while not complete:
            page = await self._connection.read(TRADES, {"symbol": symbol, "fromId": max(trades) + 1, "limit": PAGE})
            trades |= {int(trade["id"]): trade for trade in page}
            complete = len(page) < PAGE
        return [trades[number] for number in sorted(trades) if int(trades[number]["time"]) >= since_ms]

    async def _first_trades(self, symbol: str, since_ms: int, now_ms: int) -> tuple[list[Mapping[str, Any]], bool]:
        """The first page of executions from `since_ms` on, and whether none can follow it."""
        if now_ms - since_ms > LONG_AGO_MS:
            page = await self._connection.read(TRADES, {"symbol": symbol, "fromId": 1, "limit": PAGE})
            return page, len(page) < PAGE
        while True:
            window = {"symbol": symbol, "startTime": since_ms, "endTime": since_ms + WINDOW_MS - 1, "limit": PAGE}
            page = await self._connection.read(TRADES, window)
            since_ms += WINDOW_MS
            if page or since_ms > now_ms:
                return page, len(page) < PAGE and since_ms > now_ms

    async def _look_up(self, symbol: str, trades: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """The client ids of the orders behind `trades`, from the venue's order lists, by order id."""
        client_ids: dict[str, str] = {}
        wanted = {str(trade["orderId"]) for trade in trades}
        order_id = min(int(trade["orderId"]) for trade in trades)
        newest = max(int(trade["orderId"]) for trade in trades)
        while order_id <= newest:
            page = await self._connection.read(ALL_ORDERS, {"symbol": symbol, "orderId": order_id, "limit": PAGE})
            found = {str(entry["orderId"]): str(entry["clientOrderId"]) for entry in page}
            client_ids |= {number: client_id for number, client_id in found.items() if number in wanted}
            if len(page) < PAGE:
                break
            order_id = max(int(number) for number in found) + 1
        # A stop can rest long before it triggers: the list is asked from a week before the first of these executions.
        since_ms = min(int(trade["time"]) for trade in trades) - WINDOW_MS
        return client_ids | await self._look_up_stops(symbol, wanted, since_ms)

    async def _look_up_stops(self, symbol: str, wanted: set[str], since_ms: int) -> dict[str, str]:
        client_ids: dict[str, str] = {}
        now_ms = self._connection.estimated_now_ms()
        while since_ms <= now_ms:
            window = {"symbol": symbol, "startTime": since_ms, "endTime": since_ms + WINDOW_MS - 1, "limit": PAGE}
            for entry in await self._connection.read(ALL_STOPS, window):
                order_id = payloads.triggered_order_id(entry)
                if order_id in wanted and order_id is not None:
                    client_ids[order_id] = str(entry["clientAlgoId"])
            since_ms += WINDOW_MS
        return client_ids
