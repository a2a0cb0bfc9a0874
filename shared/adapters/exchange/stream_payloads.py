"""Binance's stream messages, read into the values of `shared/domain/stream.py`. Pure but for one short memory.

Sources: the USD-M stream documentation and the messages in the project's data (recorded from the venue where there are any).
An order that a stop has placed is told under the stop's client id, as `AccountHistory` does for REST: the venue names the order
(`ai`) when it says TRIGGERED, before the order trades. TRADE_LITE comes first but names no fee: it proves that the order
is there and partly filled, and is never booked as a fill. Raises `MalformedData`; `None` where there is nothing to tell.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Any

import orjson

from shared.adapters.exchange.payloads import Json, read_fee, read_state, well_formed
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval
from shared.domain.money import ZERO
from shared.domain.orders import Fill, OrderReport, OrderState, Side
from shared.domain.stream import AccountMessage, BarMessage, MarkMessage, OrderMessage, QuoteMessage

KEY_EXPIRED = "listenKeyExpired"
UNUSED = frozenset(
    {"ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL", "GRID_UPDATE", "STRATEGY_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT", KEY_EXPIRED}
)
"""User events that are known and not told: settings are read back at start, margin and equity are watched by risk control."""
TOLD = frozenset({"ORDER_TRADE_UPDATE", "TRADE_LITE", "ALGO_UPDATE", "ACCOUNT_UPDATE"})
"""User events that are told"""
STOPS_REMEMBERED = 1_000

_INTERVALS = {interval.value: interval for interval in Interval}
_EXECUTIONS = frozenset({"TRADE", "CALCULATED"})
"""Execution types with a fill; CALCULATED is a liquidation or a settlement."""


def decode(text: str | bytes) -> Json:
    """The event in a message, out of the envelope of combined streams."""
    try:
        message: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedData(f"stream: the message is no JSON ({error})") from None
    if isinstance(message, dict) and "stream" in message:
        message = message.get("data")
    if not isinstance(message, dict):
        raise MalformedData(f"stream: expected an object, found {type(message).__name__}")
    return message


def kind_of(event: Json) -> str:
    """The venue's word for the kind of an event; empty where it has none, as in the answer to a subscription."""
    return str(event.get("e") or "")


@well_formed("market stream")
def read_market(event: Json) -> BarMessage | QuoteMessage | MarkMessage | None:
    """A bar, a quote or a mark price; `None` for an answer to a subscription and for what nobody subscribed to."""
    kind = kind_of(event)
    if kind == "kline":
        return _read_bar(event)
    if kind == "bookTicker":
        return QuoteMessage(event["s"], Decimal(event["b"]), Decimal(event["a"]), int(event["E"]))
    if kind == "markPriceUpdate":
        return MarkMessage(event["s"], Decimal(event["p"]), int(event["E"]))
    return None


def _read_bar(event: Json) -> BarMessage:
    bar = event["k"]
    closed = bar["x"]
    if not isinstance(closed, bool):
        raise MalformedData(f"market stream: whether the bar of {bar['s']} is closed is {closed!r}, expected true or false")
    return BarMessage(
        symbol=bar["s"],
        interval=_INTERVALS[bar["i"]],
        open_ms=int(bar["t"]),
        open=float(bar["o"]),
        high=float(bar["h"]),
        low=float(bar["l"]),
        close=float(bar["c"]),
        volume=float(bar["v"]),
        closed=closed,
        time_ms=int(event["E"]),
    )


class UserReader:
    """Reads the events of one account; remembers which orders were placed by stops."""

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._stops: OrderedDict[str, str] = OrderedDict()

    @well_formed("user stream")
    def read(self, event: Json) -> OrderMessage | AccountMessage | None:
        """An order's or the account's change; `None` for events that are not told."""
        kind = kind_of(event)
        if kind == "ORDER_TRADE_UPDATE":
            return self._read_order(event)
        if kind == "TRADE_LITE":
            return self._read_trade_lite(event)
        if kind == "ALGO_UPDATE":
            return self._read_stop(event)
        if kind == "ACCOUNT_UPDATE":
            return self._read_account(event)
        if kind and kind not in UNUSED:
            raise MalformedData(f"user stream: the event {kind!r} is not known")
        return None

    def _read_order(self, event: Json) -> OrderMessage:
        order = event["o"]
        number, venue_client_id = str(order["i"]), str(order["c"])
        client_id = self._stops.get(number, venue_client_id)
        state = read_state(order["X"], venue_client_id)
        average = Decimal(order.get("ap") or 0)
        expiry = str(order.get("er") or "0")
        report = OrderReport(
            client_id=client_id,
            symbol=order["s"],
            state=state,
            filled=Decimal(order["z"]),
            venue_id=number,
            average_price=average if average > 0 else None,
            updated_ms=int(order["T"]),
            reason=f"expiry reason {expiry}" if state is OrderState.EXPIRED and expiry != "0" else "",
            fill_client_id=venue_client_id if client_id != venue_client_id else None,
        )
        executed = order["x"] in _EXECUTIONS and Decimal(order["l"]) > 0
        return OrderMessage(report, _read_fill(order, client_id) if executed else None, int(event["E"]))

    def _read_trade_lite(self, event: Json) -> OrderMessage:
        number, venue_client_id = str(event["i"]), str(event["c"])
        client_id = self._stops.get(number, venue_client_id)
        report = OrderReport(
            client_id=client_id,
            symbol=event["s"],
            state=OrderState.OPEN,
            filled=Decimal(event["l"]),
            venue_id=number,
            updated_ms=int(event["T"]),
            fill_client_id=venue_client_id if client_id != venue_client_id else None,
        )
        return OrderMessage(report, None, int(event["E"]))

    def _read_stop(self, event: Json) -> OrderMessage:
        stop = event["o"]
        client_id, placed = str(stop["caid"]), str(stop.get("ai") or "")
        if placed not in ("", "0"):
            self._remember(placed, client_id)
        average = Decimal(stop.get("ap") or 0)
        report = OrderReport(
            client_id=client_id,
            symbol=stop["s"],
            state=read_state(stop["X"], client_id),
            filled=Decimal(stop.get("aq") or 0),
            venue_id=str(stop["aid"]),
            average_price=average if average > 0 else None,
            updated_ms=int(event["T"]),
            reason=str(stop.get("rm") or ""),
        )
        return OrderMessage(report, None, int(event["E"]))

    def _read_account(self, event: Json) -> AccountMessage:
        change = event["a"]
        wallets = {entry["a"]: Decimal(entry["wb"]) for entry in change.get("B") or ()}
        positions = change.get("P") or ()
        for entry in positions:
            if entry.get("ps", "BOTH") != "BOTH" and Decimal(entry["pa"]) != ZERO:
                raise MalformedData(
                    f"{entry['s']} has a {entry['ps']} position (hedge mode); close it and switch to one-way mode"
                )
        return AccountMessage(
            wallet=wallets.get(self._currency),
            positions=tuple(
                (entry["s"], Decimal(entry["pa"]), Decimal(entry["ep"]))
                for entry in positions
                if entry.get("ps", "BOTH") == "BOTH"
            ),
            reason=str(change["m"]),
            time_ms=int(event["E"]),
        )

    def _remember(self, order_id: str, client_id: str) -> None:
        self._stops[order_id] = client_id
        if len(self._stops) > STOPS_REMEMBERED:
            self._stops.popitem(last=False)


def _read_fill(order: Json, client_id: str) -> Fill:
    symbol = order["s"]
    fee, foreign_fee = read_fee(symbol, order.get("n") or "0", order.get("N"))
    return Fill(
        symbol=symbol,
        trade_id=str(order["t"]),
        client_id=client_id,
        venue_order_id=str(order["i"]),
        side=Side(order["S"].lower()),
        quantity=Decimal(order["l"]),
        price=Decimal(order["L"]),
        fee=fee,
        time_ms=int(order["T"]),
        maker=bool(order["m"]),
        foreign_fee=foreign_fee,
    )
