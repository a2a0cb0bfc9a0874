"""Booking: what a fill, a cancellation or a funding stamp does to the account, and the events that tell of it.

Event order follows the recorded user stream: TRADE_LITE, ACCOUNT_UPDATE, then the ORDER_TRADE_UPDATE of the fill. Fees in BNB
(`feeBurn`) are a tenth cheaper and leave the wallet alone: BNB is not in it.
"""

from __future__ import annotations

from decimal import Decimal

from cloudrun.exchange import stream_payloads
from cloudrun.exchange.core import Core
from cloudrun.exchange.state import AlgoOrder, Order, TradeRow, quantised
from shared.backtest.costs import fee, fee_bps, funding_payment
from shared.domain.money import ZERO, to_decimal

BNB_DISCOUNT = Decimal("0.9")
BNB_PRICE = Decimal(600)
"""quote currency; a round number, as nothing but the currency matters"""


def register(core: Core, order: Order) -> None:
    """Put a new order on the books."""
    account = core.account
    account.orders[order.id] = order
    account.by_client[order.client_id] = order.id
    account.open_orders[order.id] = order
    core.events.append(stream_payloads.order_update(order, "NEW"))


def fill(core: Core, order: Order, quantity: Decimal, price: Decimal, *, maker: bool, time_ms: int) -> TradeRow:
    """Execute `quantity` of `order` at `price` and book profit and fee. The order must be registered."""
    account = core.account
    position = account.positions[order.symbol]
    realised = position.apply(order.sign * quantity, price, time_ms)
    commission = quantised(fee(quantity * price, to_decimal(fee_bps(core.costs, maker=maker))))
    asset = "BNB" if account.fee_burn else "USDT"
    if account.fee_burn:
        commission = quantised(commission * BNB_DISCOUNT / BNB_PRICE)
    order.executed += quantity
    order.quote += quantity * price
    order.updated_ms = time_ms
    order.status = "FILLED" if order.remaining == 0 else "PARTIALLY_FILLED"
    if not order.is_open:
        account.open_orders.pop(order.id, None)
    trade = TradeRow(
        account.take_id(), order.id, order.symbol, order.sign, price, quantity, commission, realised, maker, time_ms, asset
    )
    account.trades.append(trade)
    account.record_income(order.symbol, "REALIZED_PNL", realised, time_ms, trade.id)
    if not account.fee_burn:
        account.record_income(order.symbol, "COMMISSION", -commission, time_ms, trade.id)
    core.events.append(stream_payloads.trade_lite(order, trade))
    core.events.append(stream_payloads.account_update(core, "ORDER", (order.symbol,), ZERO, time_ms))
    core.events.append(stream_payloads.order_update(order, "TRADE", trade))
    if position.quantity == 0:
        _expire_position_orders(core, order.symbol, time_ms)
    return trade


def finish(core: Core, order: Order, status: str, time_ms: int) -> None:
    """End an open order as CANCELED or EXPIRED."""
    order.status, order.updated_ms = status, time_ms
    core.account.open_orders.pop(order.id, None)
    core.events.append(stream_payloads.order_update(order, status))


def finish_algo(core: Core, algo: AlgoOrder, status: str, time_ms: int) -> None:
    """End a conditional order as TRIGGERED, FINISHED, CANCELED, EXPIRED or REJECTED."""
    algo.status, algo.updated_ms = status, time_ms
    core.account.open_algos.pop(algo.id, None)
    core.events.append(stream_payloads.algo_update(core, algo))


def pay_funding(core: Core, symbol: str, rate: float, time_ms: int) -> None:
    """Settle funding of `symbol` on the position held at `time_ms`."""
    position = core.account.positions[symbol]
    if not position.quantity:
        return
    mark = core.market.price(symbol, time_ms)
    amount = quantised(funding_payment(position.quantity, mark, to_decimal(rate)))
    core.account.record_income(symbol, "FUNDING_FEE", amount, time_ms)
    core.events.append(stream_payloads.account_update(core, "FUNDING_FEE", (), amount, time_ms))


def _expire_position_orders(core: Core, symbol: str, time_ms: int) -> None:
    """A flat position ends the orders that could only close it."""
    for algo in [a for a in core.account.open_algos.values() if a.symbol == symbol and a.close_position]:
        finish_algo(core, algo, "EXPIRED", time_ms)
    for order in [o for o in core.account.open_orders.values() if o.symbol == symbol and o.reduce_only]:
        finish(core, order, "EXPIRED", time_ms)
