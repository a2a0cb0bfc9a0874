"""From request parameters to a checked order, or the refusal that Binance gives.

The checks and their codes follow the exchange-info filters PRICE_FILTER, LOT_SIZE, MIN_NOTIONAL. A check looks at the
parameters and at the symbol's rules only; margin and position are the engine's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from cloudrun.exchange.refusal import Refusal, malformed, missing, refusal
from shared.backtest.venue_rules import SymbolSpec
from shared.domain.money import ZERO

Params = Mapping[str, str]

MAX_PRICE = Decimal(10_000_000)
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX")
ALGO_KINDS = ("STOP_MARKET", "TAKE_PROFIT_MARKET")
_OTHER_ALGO_KINDS = ("STOP", "TAKE_PROFIT", "TRAILING_STOP_MARKET")


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A regular order that passed the filters."""

    sign: int
    kind: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    client_id: str | None


@dataclass(frozen=True, slots=True)
class AlgoRequest:
    """A conditional order that passed the filters; `quantity` is 0 with `close_position`."""

    sign: int
    kind: str
    quantity: Decimal
    trigger: Decimal
    reduce_only: bool
    close_position: bool
    working_type: str
    client_id: str | None


def order_request(params: Params, spec: SymbolSpec, last_price: Decimal) -> OrderRequest:
    """Check the parameters of POST /fapi/v1/order. Raises `Refusal`."""
    kind = params.get("type") or _raise(missing("type"))
    if kind in ALGO_KINDS or kind in _OTHER_ALGO_KINDS:
        raise refusal(-4120)
    if kind not in ("MARKET", "LIMIT"):
        raise refusal(-1116)
    sign = _sign(params)
    _check_one_way(params)
    quantity = _quantity(params, spec)
    reduce_only = flag(params, "reduceOnly")
    price, time_in_force = ZERO, "GTC"
    if kind == "LIMIT":
        time_in_force = params.get("timeInForce") or _raise(missing("timeInForce"))
        if time_in_force not in _TIMES_IN_FORCE:
            raise refusal(-1115)
        price = _price(params, "price", spec)
    if not reduce_only and quantity * (price or last_price) < spec.min_notional:
        raise Refusal(-4164, f"Order's notional must be no smaller than {spec.min_notional} (unless you choose reduce only).")
    return OrderRequest(sign, kind, time_in_force, quantity, price, reduce_only, _client_id(params, "newClientOrderId"))


def algo_request(params: Params, spec: SymbolSpec, last_price: Decimal) -> AlgoRequest:
    """Check the parameters of POST /fapi/v1/algoOrder. Raises `Refusal`."""
    if (params.get("algoType") or _raise(missing("algoType"))) != "CONDITIONAL":
        raise malformed("algoType")
    kind = params.get("type") or _raise(missing("type"))
    if kind not in ALGO_KINDS:
        raise refusal(-1116)
    sign = _sign(params)
    _check_one_way(params)
    close_position, reduce_only = flag(params, "closePosition"), flag(params, "reduceOnly")
    if close_position and params.get("quantity"):
        raise refusal(-4136, kind)
    quantity = ZERO if close_position else _quantity(params, spec)
    trigger = _price(params, "triggerPrice", spec)
    if not (reduce_only or close_position) and quantity * trigger < spec.min_notional:
        raise Refusal(-4164, f"Order's notional must be no smaller than {spec.min_notional} (unless you choose reduce only).")
    working_type = params.get("workingType") or "CONTRACT_PRICE"
    if working_type not in ("CONTRACT_PRICE", "MARK_PRICE"):
        raise malformed("workingType")
    direction = sign if kind == "STOP_MARKET" else -sign
    if direction * (last_price - trigger) >= 0:
        raise refusal(-2021)
    client_id = _client_id(params, "clientAlgoId")
    return AlgoRequest(sign, kind, quantity, trigger, reduce_only, close_position, working_type, client_id)


def integer(params: Params, name: str, default: int | None = None) -> int:
    """An integer parameter. Raises -1102 where it is missing or no number."""
    text = params.get(name)
    if text is None or text == "":
        if default is None:
            raise missing(name)
        return default
    try:
        return int(text)
    except ValueError:
        raise missing(name) from None


def flag(params: Params, name: str) -> bool:
    """A boolean parameter as Binance spells it; absent is false. Raises -1130 for another word."""
    text = (params.get(name) or "false").lower()
    if text not in ("true", "false"):
        raise malformed(name)
    return text == "true"


def _raise(error: Refusal) -> str:
    raise error


def _decimal(params: Params, name: str) -> Decimal:
    text = params.get(name) or _raise(missing(name))
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise missing(name) from None
    if not value.is_finite():
        raise missing(name)
    return value


def _sign(params: Params) -> int:
    side = params.get("side") or _raise(missing("side"))
    if side not in ("BUY", "SELL"):
        raise refusal(-1117)
    return 1 if side == "BUY" else -1


def _check_one_way(params: Params) -> None:
    if (params.get("positionSide") or "BOTH") != "BOTH":
        raise refusal(-4061)


def _quantity(params: Params, spec: SymbolSpec) -> Decimal:
    value = _decimal(params, "quantity")
    if value <= 0:
        raise refusal(-4003)
    if value % spec.step:
        raise refusal(-1111)
    if value > spec.max_quantity:
        raise refusal(-4005)
    return value


def _price(params: Params, name: str, spec: SymbolSpec) -> Decimal:
    value = _decimal(params, name)
    if value <= 0:
        raise Refusal(-4001, "Price less than 0.")
    if value > MAX_PRICE:
        raise Refusal(-4002, "Price greater than max price.")
    if value % spec.tick:
        exponents = (value.normalize().as_tuple().exponent, spec.tick.normalize().as_tuple().exponent)
        raise refusal(-1111) if int(exponents[0]) < int(exponents[1]) else refusal(-4014)
    return value


def _client_id(params: Params, name: str) -> str | None:
    text = params.get(name)
    if text is not None and not _CLIENT_ID.fullmatch(text):
        raise Refusal(-4015, "Client order id is not valid.")
    return text
