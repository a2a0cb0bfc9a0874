"""Orders as they arrive: checks against account and position, immediate execution, cancellation.

A market order fills at once at the last price (at a bar's open: the open) plus slippage of the shared cost model. A client
id that any order of the last 24 hours used is refused, so that a repeated request can never trade twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

from cloudrun.exchange import clearing, stream_payloads
from cloudrun.exchange.core import Core
from cloudrun.exchange.filters import OrderRequest, Params, algo_request, order_request
from cloudrun.exchange.market import SymbolMarket
from cloudrun.exchange.refusal import Refusal, missing, refusal
from cloudrun.exchange.state import AlgoOrder, Order
from shared.backtest.costs import fee, fee_bps, slippage_bps, venue_price
from shared.domain.interval import DAY_MS
from shared.domain.money import ZERO, to_decimal

Row = TypeVar("Row", Order, AlgoOrder)


def place(core: Core, params: Params) -> Order:
    """POST /fapi/v1/order. Raises `Refusal`."""
    market = core.symbol(params)
    symbol, price = market.symbol, core.price(market.symbol)
    _check_client_id(core, params.get("newClientOrderId"))  # first: a repetition must say so, whatever else is wrong with it
    request = order_request(params, market.spec, price)
    _check_tradable(core, market, opening=not request.reduce_only)
    quantity = request.quantity
    if request.reduce_only:
        quantity = _reducible(core, symbol, request.sign, quantity)
    expected = _taker_price(core, market, request.sign, quantity, is_stop=False)
    crossing = request.kind == "MARKET" or request.sign * (request.price - _touch(core, market, request.sign)) >= 0
    if crossing and request.time_in_force == "GTX":
        raise refusal(-5022)
    if not crossing and request.time_in_force == "FOK":
        raise refusal(-5021)
    if request.kind == "LIMIT":
        expected = min(expected, request.price) if request.sign > 0 else max(expected, request.price)
    if not request.reduce_only:
        _check_margin(core, market, request.sign * quantity, expected)
    order = _new_order(core, symbol, request, quantity)
    clearing.register(core, order)
    if crossing:
        at_once = _at_once(core, market, quantity, expected)
        clearing.fill(core, order, at_once, expected, maker=False, time_ms=core.now_ms)
    elif request.time_in_force == "IOC":
        clearing.finish(core, order, "EXPIRED", core.now_ms)
    return order


def market_fill(core: Core, algo: AlgoOrder, quantity: Decimal, reference: Decimal, time_ms: int) -> Order:
    """The market order that a triggered conditional order places, filled at `reference` plus slippage."""
    market = core.market.symbols[algo.symbol]
    price = _taker_price(core, market, algo.sign, quantity, is_stop=True, reference=reference)
    order = Order(
        core.account.take_id(),
        algo.client_id,
        algo.symbol,
        algo.sign,
        "MARKET",
        "GTC",
        quantity,
        ZERO,
        algo.reduce_only or algo.close_position,
        time_ms,
        time_ms,
        close_position=algo.close_position,
    )
    clearing.register(core, order)
    clearing.fill(core, order, _at_once(core, market, quantity, price), price, maker=False, time_ms=time_ms)
    return order


def fill_further(core: Core, order: Order, start_ms: int, end_ms: int, reference: Decimal | None) -> None:
    """The rest of a market order, where the market is not deep: what (start, end] offers around `reference`, then its end.

    `reference` is `None` in a gap, where nothing is traded.
    """
    depth = core.depth
    if depth is None:
        return
    market = core.market.symbols[order.symbol]
    helpings = depth.helpings(order.created_ms, start_ms, end_ms)
    if reference is not None and helpings:
        wanted = order.remaining
        if order.reduce_only:
            held = core.account.positions[order.symbol].quantity
            wanted = min(wanted, max(-held * order.sign, ZERO))
        size = depth.slice_of(wanted, reference, market.spec.step, helpings) if wanted else ZERO
        if size:
            price = _taker_price(core, market, order.sign, size, is_stop=False, reference=reference)
            clearing.fill(core, order, size, price, maker=False, time_ms=end_ms - 1)
    if order.is_open and end_ms >= order.created_ms + depth.life_ms:
        clearing.finish(core, order, "EXPIRED", end_ms - 1)


def place_algo(core: Core, params: Params) -> AlgoOrder:
    """POST /fapi/v1/algoOrder. Raises `Refusal`."""
    market = core.symbol(params)
    _check_client_id(core, params.get("clientAlgoId"))
    request = algo_request(params, market.spec, core.price(market.symbol))
    _check_tradable(core, market, opening=not (request.reduce_only or request.close_position))
    account = core.account
    number = account.take_id()
    algo = AlgoOrder(
        number,
        request.client_id or f"paper-{number}",
        market.symbol,
        request.sign,
        request.kind,
        request.quantity,
        request.trigger,
        request.reduce_only,
        request.close_position,
        request.working_type,
        core.now_ms,
        core.now_ms,
    )
    account.algos[number] = algo
    account.algo_by_client[algo.client_id] = number
    account.open_algos[number] = algo
    core.events.append(stream_payloads.algo_update(core, algo))
    return algo


def find(core: Core, params: Params, unknown: int) -> Order:
    """The order named by orderId or origClientOrderId. Raises -1102, or `unknown` (-2011, -2013)."""
    symbol = core.symbol(params).symbol
    order = _look_up(core.account.orders, core.account.by_client, params, "orderId", "origClientOrderId")
    if order is None or order.symbol != symbol:
        raise refusal(unknown)
    return order


def find_algo(core: Core, params: Params, unknown: int) -> AlgoOrder:
    """The conditional order named by algoId or clientAlgoId. Raises -1102, or `unknown`."""
    algo = _look_up(core.account.algos, core.account.algo_by_client, params, "algoId", "clientAlgoId")
    if algo is None:
        raise refusal(unknown)
    return algo


def cancel(core: Core, params: Params) -> Order:
    """DELETE /fapi/v1/order. Raises -2011 where the order is not open."""
    order = find(core, params, -2011)
    if not order.is_open:
        raise refusal(-2011)
    clearing.finish(core, order, "CANCELED", core.now_ms)
    return order


def cancel_algo(core: Core, params: Params) -> AlgoOrder:
    """DELETE /fapi/v1/algoOrder. Raises -2011 where the order is not open."""
    algo = find_algo(core, params, -2011)
    if not algo.is_open:
        raise refusal(-2011)
    clearing.finish_algo(core, algo, "CANCELED", core.now_ms)
    return algo


def cancel_all(core: Core, params: Params, *, algos: bool) -> None:
    """DELETE /fapi/v1/allOpenOrders or algoOpenOrders: every open order of the symbol."""
    symbol = core.symbol(params).symbol
    if algos:
        for algo in [a for a in core.account.open_algos.values() if a.symbol == symbol]:
            clearing.finish_algo(core, algo, "CANCELED", core.now_ms)
        return
    for order in [o for o in core.account.open_orders.values() if o.symbol == symbol]:
        clearing.finish(core, order, "CANCELED", core.now_ms)


def taker_bps(core: Core, market: SymbolMarket, notional: float, *, is_stop: bool) -> float:
    """Slippage of a taker now, bps."""
    return slippage_bps(core.costs, notional, market.traded_notional(core.now_ms), is_stop=is_stop)


def _new_order(core: Core, symbol: str, request: OrderRequest, quantity: Decimal) -> Order:
    number = core.account.take_id()
    return Order(
        number,
        request.client_id or f"paper-{number}",
        symbol,
        request.sign,
        request.kind,
        request.time_in_force,
        quantity,
        request.price,
        request.reduce_only,
        core.now_ms,
        core.now_ms,
    )


def _look_up(rows: Mapping[int, Row], by_client: Mapping[str, int], params: Params, number: str, client: str) -> Row | None:
    if params.get(number):
        try:
            return rows.get(int(params[number]))
        except ValueError:
            raise missing(number) from None
    if params.get(client):
        key = by_client.get(params[client])
        return None if key is None else rows[key]
    raise Refusal(-1102, f"Param '{client}' or '{number}' must be sent, but both were empty/null!")


def _touch(core: Core, market: SymbolMarket, sign: int) -> Decimal:
    """Best price on the other side of the book: what a limit has to reach to trade at once."""
    return venue_price(core.price(market.symbol), sign, core.costs.half_spread_bps, market.spec.tick)


def _at_once(core: Core, market: SymbolMarket, quantity: Decimal, price: Decimal) -> Decimal:
    """What of a taker's `quantity` fills immediately."""
    return quantity if core.depth is None else core.depth.slice_of(quantity, price, market.spec.step)


def _taker_price(
    core: Core, market: SymbolMarket, sign: int, quantity: Decimal, *, is_stop: bool, reference: Decimal | None = None
) -> Decimal:
    price = core.price(market.symbol) if reference is None else reference
    bps = taker_bps(core, market, float(quantity * price), is_stop=is_stop)
    return venue_price(price, sign, bps, market.spec.tick)


def _check_client_id(core: Core, client_id: str | None) -> None:
    if not client_id:
        return
    account = core.account
    used = [account.orders[number].created_ms for number in (account.by_client.get(client_id),) if number is not None]
    used += [account.algos[number].created_ms for number in (account.algo_by_client.get(client_id),) if number is not None]
    if any(core.now_ms - created_ms < DAY_MS for created_ms in used):
        raise refusal(-4116)


def _check_tradable(core: Core, market: SymbolMarket, *, opening: bool) -> None:
    if opening and not market.trades_at(core.now_ms):
        raise refusal(-4140)


def _reducible(core: Core, symbol: str, sign: int, quantity: Decimal) -> Decimal:
    held = core.account.positions[symbol].quantity
    if held == 0 or (held > 0) == (sign > 0):
        raise refusal(-2022)
    return min(quantity, abs(held))


def _check_margin(core: Core, market: SymbolMarket, signed_quantity: Decimal, price: Decimal) -> None:
    position = core.account.positions[market.symbol]
    target = position.quantity + signed_quantity
    if abs(target) <= abs(position.quantity) and target * position.quantity >= 0:
        return
    if abs(target) * price > market.spec.max_notional(position.leverage):
        raise refusal(-2027)
    needed = core.initial_margin({market.symbol: signed_quantity})
    notional = abs(signed_quantity) * price
    loss = notional - abs(signed_quantity) * core.price(market.symbol)
    costs = fee(notional, to_decimal(fee_bps(core.costs, maker=False))) + abs(loss)
    if needed + costs > core.account.wallet + core.unrealised():
        raise refusal(-2019)
