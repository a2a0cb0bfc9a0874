"""Binance's JSON, read into our values. Pure; money stays in the venue's own decimal strings until it is a Decimal.

Sources: Binance USD-M REST documentation and the recorded payloads in the project's data. An order that a stop triggered is a
second order at the venue (`actualOrderId`): it is reported under the stop's client id. Raises `MalformedData` for a payload
that lacks what it must hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ContextDecorator
from decimal import Decimal
from typing import Any

from shared.domain.errors import MalformedData
from shared.domain.interval import format_ms
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import Account, Fill, OrderKind, OrderReport, OrderState, Side, VenuePosition
from shared.domain.records import FundingPayment

Json = Mapping[str, Any]

_STATES = {
    "NEW": OrderState.OPEN,
    "PARTIALLY_FILLED": OrderState.OPEN,
    "PENDING_CANCEL": OrderState.OPEN,
    "NEW_INSURANCE": OrderState.OPEN,
    "NEW_ADL": OrderState.OPEN,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
    # Algo orders; TRIGGERED and FINISHED are replaced by the state of the order that they placed.
    "TRIGGERING": OrderState.OPEN,
    "TRIGGERED": OrderState.OPEN,
    "FINISHED": OrderState.OPEN,
}
NEVER_MS = 4_102_444_800_000
"""2100-01-01: a delivery from then on is none"""
WALLET_CURRENCY = "USDT"
"""what the wallet is told in, whatever a generated market calls its symbols"""
_PRICE_DIGITS = Decimal("1e-8")


def well_formed(what: str) -> _WellFormed:
    """Turn the errors of reading JSON that is not as documented into `MalformedData`: for a block, or around a function."""
    return _WellFormed(what)


class _WellFormed(ContextDecorator):
    """Without a state of its own, so that one serves all calls of a function: every message of a stream comes through here."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, LookupError | TypeError | ValueError | ArithmeticError | AttributeError):
            told = f"{self._what}: the venue's answer is not as documented ({type(error).__name__}: {error})"
            raise MalformedData(told) from error


def decimal_text(value: Decimal) -> str:
    """The shortest plain decimal: `0.001`, `120`, never an exponent."""
    return format(value.normalize(), "f")


@well_formed("trading rules")
def read_rules(symbol: Json) -> SymbolRules:
    """The rules of one `exchangeInfo` symbol; orders of every kind must fit, so the stricter lot size counts."""
    filters = {entry["filterType"]: entry for entry in symbol["filters"]}
    try:
        lots = [filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE", filters["LOT_SIZE"])]
        steps = [Decimal(lot["stepSize"]) for lot in lots]
        return SymbolRules(
            symbol=symbol["symbol"],
            tick=Decimal(filters["PRICE_FILTER"]["tickSize"]),
            step=max(steps),
            min_quantity=max(Decimal(lot["minQty"]) for lot in lots),
            max_quantity=min(Decimal(lot["maxQty"]) for lot in lots),
            min_notional=Decimal(filters["MIN_NOTIONAL"]["notional"]),
            trading=symbol["status"] == "TRADING",
            delivery_ms=_delivery_ms(symbol),
        )
    except KeyError as missing:
        raise MalformedData(f"the trading rules of {symbol.get('symbol')} lack {missing}") from None


def _delivery_ms(symbol: Json) -> int | None:
    """When the contract ends: Binance dates the end of a perpetual one to the year 2100 until it is delisted."""
    delivery_ms = int(symbol.get("deliveryDate") or NEVER_MS)
    return None if delivery_ms >= NEVER_MS else delivery_ms


@well_formed("account")
def read_account(payload: Json) -> Account:
    """`/fapi/v3/account`; the prices of a position follow from its notional and open profit (8 digits)."""
    return Account(
        wallet=Decimal(payload["totalWalletBalance"]),
        equity=Decimal(payload["totalMarginBalance"]),
        available=Decimal(payload["availableBalance"]),
        positions=tuple(_read_position(entry) for entry in payload["positions"] if Decimal(entry["positionAmt"]) != 0),
    )


def _read_position(entry: Json) -> VenuePosition:
    if entry.get("positionSide", "BOTH") != "BOTH":
        raise MalformedData(
            f"{entry['symbol']} has a {entry['positionSide']} position (hedge mode); close it and switch to one-way mode"
        )
    quantity, unrealised = Decimal(entry["positionAmt"]), Decimal(entry["unrealizedProfit"])
    mark = Decimal(entry["notional"]) / quantity
    entry_price = Decimal(entry["entryPrice"]) if "entryPrice" in entry else mark - unrealised / quantity
    return VenuePosition(
        symbol=entry["symbol"],
        quantity=quantity,
        entry_price=entry_price.quantize(_PRICE_DIGITS),
        mark_price=mark.quantize(_PRICE_DIGITS),
        unrealised=unrealised,
    )


@well_formed("order")
def read_order(payload: Json, client_id: str | None = None) -> OrderReport:
    """An order; `client_id` is the stop that placed it, where one did."""
    venue_client_id = str(payload["clientOrderId"])
    average, filled = Decimal(payload.get("avgPrice") or 0), Decimal(payload["executedQty"])
    state = read_state(payload["status"], venue_client_id)
    return OrderReport(
        client_id=client_id or venue_client_id,
        symbol=payload["symbol"],
        state=state,
        filled=filled,
        venue_id=str(payload["orderId"]),
        average_price=average if average > 0 else None,
        updated_ms=int(payload.get("updateTime") or 0),
        fill_client_id=venue_client_id if client_id not in (None, venue_client_id) else None,
        left=_left(payload, "origQty", filled, state),
    )


def _left(payload: Json, size: str, filled: Decimal, state: OrderState) -> Decimal | None:
    """What the order may still execute, signed; `None` where the answer does not name its side or size."""
    if not (payload.get("side") and payload.get(size)):
        return None
    return ZERO if state.is_final else (Decimal(payload[size]) - filled) * Side(payload["side"].lower()).sign


@well_formed("stop")
def read_stop(payload: Json) -> OrderReport:
    """An algo order that has not placed its order, or whose order is not known yet."""
    client_id = str(payload["clientAlgoId"])
    state = read_state(payload["algoStatus"], client_id)
    return OrderReport(
        client_id=client_id,
        symbol=payload["symbol"],
        state=state,
        filled=ZERO,
        venue_id=str(payload["algoId"]),
        updated_ms=int(payload.get("updateTime") or payload.get("createTime") or 0),
        reason=str(payload.get("failReason") or ""),
        left=_left(payload, "quantity", ZERO, state),
    )


def triggered_order_id(payload: Json) -> str | None:
    """Venue id of the order that an algo order has placed; `None` before it did."""
    order_id = str(payload.get("actualOrderId") or "")
    return order_id if order_id not in ("", "0") else None


@well_formed("order")
def read_kind(payload: Json) -> OrderKind:
    """The kind of a resting order."""
    kind = str(payload.get("orderType") or payload.get("type"))
    if kind in ("LIMIT", "MARKET"):
        return OrderKind(kind.lower())
    return OrderKind.STOP


@well_formed("execution")
def read_fill(payload: Json, client_id: str | None) -> Fill:
    """A `userTrades` entry."""
    symbol = payload["symbol"]
    fee, foreign_fee = read_fee(symbol, payload["commission"], payload.get("commissionAsset"))
    return Fill(
        symbol=symbol,
        trade_id=str(payload["id"]),
        client_id=client_id,
        venue_order_id=str(payload["orderId"]),
        side=Side(payload["side"].lower()),
        quantity=Decimal(payload["qty"]),
        price=Decimal(payload["price"]),
        fee=fee,
        time_ms=int(payload["time"]),
        maker=_truth(payload["maker"]),
        foreign_fee=foreign_fee,
    )


def read_fee(symbol: str, amount: str, currency: str | None) -> tuple[Decimal, str]:
    """(fee in the quote currency of `symbol` or the wallet's, fee in another one in words): one of the two is nothing.

    The execution itself is read in either case: what is held, protected and closed does not depend on who was paid for it.
    """
    fee = Decimal(amount)
    if currency and fee and currency != WALLET_CURRENCY and not symbol.split("_")[0].endswith(currency):
        return ZERO, f"{decimal_text(fee)} {currency}"
    return fee, ""


@well_formed("funding payment")
def read_funding(payload: Json) -> FundingPayment:
    """An `income` entry of type FUNDING_FEE."""
    if payload["incomeType"] != "FUNDING_FEE":
        raise MalformedData(f"asked for funding, the venue sent {payload['incomeType']} of {format_ms(int(payload['time']))}")
    return FundingPayment(
        id=f"{payload['symbol']}-{payload['tranId']}",
        symbol=payload["symbol"],
        amount=Decimal(payload["income"]),
        time_ms=int(payload["time"]),
    )


@well_formed("symbol settings")
def read_settings(entries: Sequence[Json], symbol: str) -> tuple[str, int]:
    """(margin type, leverage) of `symbol` in a `symbolConfig` answer."""
    entry = next((entry for entry in entries if entry["symbol"] == symbol), None)
    if entry is None:
        raise MalformedData(f"the venue's settings do not mention {symbol}")
    return str(entry["marginType"]), int(entry["leverage"])


def read_state(status: str, client_id: str) -> OrderState:
    """The state that the venue calls `status`. Raises `MalformedData` for a word that is not known."""
    try:
        return _STATES[status]
    except KeyError:
        raise MalformedData(f"order {client_id} has the unknown state {status!r}; known: {' '.join(_STATES)}") from None


def _truth(value: object) -> bool:
    return value is True or str(value).lower() == "true"
