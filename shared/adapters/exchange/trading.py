"""Trading on one Binance USD-M account through ccxt: the `Exchange` port.

One order is one request. Stops go through the venue's algo-order service under the same deterministic client ids; a triggered
stop is reported with the state and fills of the order that it placed. Invariants: quantities and prices leave as exact decimal
strings; a change is sent once (`Connection.change`) and ends in one of three outcomes; an order is signed with the time of its
approval, so that it dies at the venue where its sender was held up on the way, sooner where it opens anything than where it can
only close; a duplicate client id means that the order is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.adapters.exchange import payloads
from shared.adapters.exchange.connection import Connection
from shared.adapters.exchange.endpoints import (
    ACCOUNT,
    CANCEL_ORDER,
    CANCEL_STOP,
    EXCHANGE_INFO,
    OPEN_ORDERS,
    OPEN_STOPS,
    ORDER,
    SEND_ORDER,
    SEND_STOP,
    STOP,
)
from shared.adapters.exchange.errors import DUPLICATE_ORDER, UNKNOWN_ORDER
from shared.adapters.exchange.history import AccountHistory
from shared.adapters.exchange.setup import prepare_account
from shared.domain.errors import MalformedData, OutcomeUnknown, UsageError, VenueError, VenueRejected
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import Account, Fill, OrderIntent, OrderKind, OrderReport, OrderState
from shared.domain.records import FundingPayment
from shared.risk.approval import ApprovedOrder


class CcxtExchange:
    """One account of one venue."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._history = AccountHistory(connection)

    async def server_time_ms(self) -> int:
        """The venue's clock; signatures use it from then on."""
        return await self._connection.now_ms()

    async def rules(self, symbols: Iterable[str]) -> Mapping[str, SymbolRules]:
        """What the venue accepts, by symbol. Raises `UsageError` naming symbols that it does not list."""
        answer = await self._connection.read(EXCHANGE_INFO)
        with payloads.well_formed(EXCHANGE_INFO.action):
            listed = {entry["symbol"]: entry for entry in answer["symbols"]}
        wanted = list(symbols)
        unlisted = [symbol for symbol in wanted if symbol not in listed]
        if unlisted:
            raise UsageError(
                f"the venue does not list {' '.join(unlisted)}; it lists {len(listed)} symbols, e.g. {_some(listed)}"
            )
        return {symbol: payloads.read_rules(listed[symbol]) for symbol in wanted}

    async def prepare(self, symbols: Iterable[str], leverage: int) -> None:
        """One-way mode, cross margin and `leverage` where they are not set, verified by reading back."""
        await self._connection.now_ms()
        await prepare_account(self._connection, list(symbols), leverage)

    async def account(self) -> Account:
        """Balances and positions now, in one request."""
        return payloads.read_account(await self._connection.read(ACCOUNT))

    async def send(self, order: ApprovedOrder) -> OrderReport:
        """Place an order in one request; a duplicate client id is looked up and reported."""
        intent = order.intent
        parameters = _order_parameters(intent)
        if order.approved_ms is not None:
            parameters["timestamp"] = str(self._connection.venue_ms(order.approved_ms))
        try:
            endpoint = SEND_STOP if intent.kind is OrderKind.STOP else SEND_ORDER
            answer = await self._connection.change(endpoint, parameters, may_be_late=intent.reduce_only)
        except VenueRejected as error:
            if not _is_duplicate(error):
                raise
            return await self._existing(intent, error)
        try:
            report = self._read(intent, answer)
        except MalformedData as error:  # it was sent: what the answer does not say has to be looked up
            raise OutcomeUnknown(f"{intent.client_id}: {error}") from error
        self._history.remember(report, answer)
        return report

    async def find(self, intent: OrderIntent) -> OrderReport | None:
        """The order with the intent's client id; of a triggered stop, the order that it placed."""
        try:
            if intent.kind is OrderKind.STOP:
                return await self._find_stop(intent)
            answer = await self._connection.read(ORDER, {"symbol": intent.symbol, "origClientOrderId": intent.client_id})
        except VenueRejected as error:
            if error.code in UNKNOWN_ORDER:
                return None
            raise
        report = self._read(intent, answer)
        self._history.remember(report, answer)
        return report

    async def cancel(self, intent: OrderIntent) -> OrderReport | None:
        """Cancel by client id; an order that is no longer open is looked up.

        It bears the time of the call, as an order that of its approval: from a process that slept on the way the venue does not
        take it any more.
        """
        is_stop = intent.kind is OrderKind.STOP
        parameters = {"clientAlgoId": intent.client_id} if is_stop else {"origClientOrderId": intent.client_id}
        parameters["timestamp"] = str(self._connection.estimated_now_ms())
        try:
            answer = await self._connection.change(
                CANCEL_STOP if is_stop else CANCEL_ORDER,
                {"symbol": intent.symbol, **parameters},
                may_be_late=not intent.reduce_only,
            )
        except VenueRejected as error:
            if error.code not in UNKNOWN_ORDER:
                raise
            return await self.find(intent)
        if is_stop:  # the answer names the stop and says "success": it was open, so nothing of it was filled
            now_ms = self._connection.estimated_now_ms()
            number = str(answer["algoId"]) if "algoId" in answer else None
            return OrderReport(intent.client_id, intent.symbol, OrderState.CANCELLED, ZERO, number, updated_ms=now_ms)
        return self._read(intent, answer)

    async def open_orders(self) -> Sequence[tuple[OrderReport, OrderKind]]:
        """Every resting order of the account, stops included, ours or not."""
        orders = await self._connection.read(OPEN_ORDERS)
        stops = await self._connection.read(OPEN_STOPS)
        return [
            *((payloads.read_order(entry), payloads.read_kind(entry)) for entry in orders),
            *((payloads.read_stop(entry), payloads.read_kind(entry)) for entry in stops),
        ]

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Executions of `symbol` at or after `since_ms`, oldest first."""
        return await self._history.fills(symbol, since_ms)

    async def funding_paid(self, since_ms: int) -> list[FundingPayment]:
        """Funding entries at or after `since_ms`, oldest first."""
        return await self._history.funding_paid(since_ms)

    async def close(self) -> None:
        """Release connections."""
        await self._connection.close()

    async def _existing(self, intent: OrderIntent, refusal: VenueRejected) -> OrderReport:
        """The order that already has the intent's client id."""
        try:
            report = await self.find(intent)
        except VenueError as error:  # the id is taken: whatever the look-up says, the order may rest there
            raise OutcomeUnknown(f"{intent.client_id}: the venue calls the client id a duplicate, and {error}") from error
        if report is not None:
            return report
        if refusal.code == -4015:  # the id itself was refused, not its repetition
            raise refusal
        raise OutcomeUnknown(f"{intent.client_id}: the venue calls the client id a duplicate but does not find the order yet")

    async def _find_stop(self, intent: OrderIntent) -> OrderReport:
        stop = await self._connection.read(STOP, {"symbol": intent.symbol, "clientAlgoId": intent.client_id})
        order_id = payloads.triggered_order_id(stop)
        if order_id is None:
            return payloads.read_stop(stop)
        try:
            order = await self._connection.read(ORDER, {"symbol": intent.symbol, "orderId": order_id})
        except VenueRejected as error:
            if error.code not in UNKNOWN_ORDER:
                raise
            return payloads.read_stop(stop)  # triggered a moment ago: the stop exists, its order is not listed yet
        report = payloads.read_order(order, intent.client_id)
        self._history.remember(report, order)
        return report

    def _read(self, intent: OrderIntent, answer: Mapping[str, Any]) -> OrderReport:
        return payloads.read_stop(answer) if intent.kind is OrderKind.STOP else payloads.read_order(answer)


def _order_parameters(intent: OrderIntent) -> dict[str, str]:
    """What the venue is sent for `intent`."""
    parameters = {
        "symbol": intent.symbol,
        "side": intent.side.value.upper(),
        "quantity": payloads.decimal_text(intent.quantity),
    }
    if intent.reduce_only:
        parameters["reduceOnly"] = "true"
    if intent.stop_price is not None:
        return parameters | {
            "algoType": "CONDITIONAL",
            "type": "STOP_MARKET",
            "triggerPrice": payloads.decimal_text(intent.stop_price),
            "workingType": "MARK_PRICE",
            "clientAlgoId": intent.client_id,
        }
    if intent.price is not None:
        parameters |= {"price": payloads.decimal_text(intent.price), "timeInForce": "GTC"}
    return parameters | {
        "type": intent.kind.value.upper(),
        "newClientOrderId": intent.client_id,
        "newOrderRespType": "RESULT",
    }


def _is_duplicate(error: VenueRejected) -> bool:
    return error.code in DUPLICATE_ORDER or (error.code == -2010 and "duplicate" in str(error).lower())


def _some(listed: Iterable[str]) -> str:
    return " ".join(sorted(listed)[:5])
