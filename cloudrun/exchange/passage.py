"""The passage of time: bars, stops, resting limits, funding and liquidation, in time order.

Time moves in stretches that never cross a bar of the base grid. Within a stretch: (1) conditional orders, stops before
take-profits, at the opening price where it is already beyond the trigger, else at the trigger, plus slippage; (2) resting
limits that the price trades through, at their own price; (3) liquidation, where equity at the worst prices of the stretch
does not cover the maintenance margin; funding at its stamp on what is held then. Where a bar opens beyond the margin, the venue
liquidates at that price before anybody can send an order. Nothing that happens can depend on how the
caller cut the time into commands, except that a bar which is passed in one piece counts as that bar and not as its path.
"""

from __future__ import annotations

from decimal import Decimal

from cloudrun.exchange import clearing, orders, stream_payloads
from cloudrun.exchange.core import Core
from cloudrun.exchange.market import Stretch
from cloudrun.exchange.state import AlgoOrder, Order, quantised
from shared.backtest.costs import fee, venue_price
from shared.domain.money import ZERO, to_decimal


def advance(core: Core, to_ms: int) -> None:
    """Move simulated time to `to_ms`; a time that is already past changes nothing."""
    account = core.account
    while account.now_ms < to_ms:
        if not (account.open_orders or account.open_algos or any(core.held())):
            _insure(core, account.now_ms)
            account.now_ms = to_ms
            return
        grid = core.market.interval
        _pass(core, account.now_ms, min(to_ms, grid.floor(account.now_ms) + grid.ms))


def _pass(core: Core, start_ms: int, end_ms: int) -> None:
    """One stretch inside one bar."""
    account = core.account
    stretches: dict[str, Stretch] = {}
    for symbol, market in core.market.symbols.items():
        for stamp, rate in market.fundings(start_ms, end_ms - 1):
            clearing.pay_funding(core, symbol, rate, stamp)
        part = market.stretch(start_ms, end_ms)
        _fill_further(core, symbol, part, start_ms, end_ms)
        if part is not None:
            stretches[symbol] = part
            _trigger(core, symbol, part, end_ms - 1)
            _match_limits(core, symbol, part, end_ms - 1)
    _liquidate(core, stretches, end_ms - 1)
    account.now_ms = end_ms
    for symbol, market in core.market.symbols.items():
        for stamp, rate in market.fundings(end_ms - 1, end_ms):
            clearing.pay_funding(core, symbol, rate, stamp)
    if core.market.interval.is_open_time(end_ms):
        _liquidate(core, {}, end_ms - 1)


def _reached(algo: AlgoOrder, part: Stretch) -> Decimal | None:
    """The reference price at which `algo` triggers in this stretch, or `None`."""
    first = Decimal(repr(part.first))
    if algo.direction * (first - algo.trigger) >= 0:
        return first
    extreme = Decimal(repr(part.high if algo.direction > 0 else part.low))
    return algo.trigger if algo.direction * (extreme - algo.trigger) >= 0 else None


def _trigger(core: Core, symbol: str, part: Stretch, time_ms: int) -> None:
    waiting = [algo for algo in core.account.open_algos.values() if algo.symbol == symbol]
    for algo in sorted(waiting, key=lambda algo: (algo.kind != "STOP_MARKET", algo.id)):
        reference = _reached(algo, part)
        if reference is not None and algo.is_open:
            _fire(core, algo, reference, time_ms)


def _fire(core: Core, algo: AlgoOrder, reference: Decimal, time_ms: int) -> None:
    held = core.account.positions[algo.symbol].quantity
    algo.trigger_ms = time_ms
    quantity = algo.quantity
    if algo.reduce_only or algo.close_position:
        if held == 0 or (held > 0) == (algo.sign > 0):
            clearing.finish_algo(core, algo, "EXPIRED" if algo.close_position else "REJECTED", time_ms)
            return
        quantity = abs(held) if algo.close_position else min(quantity, abs(held))
    clearing.finish_algo(core, algo, "TRIGGERED", time_ms)
    algo.order_id = orders.market_fill(core, algo, quantity, reference, time_ms).id
    clearing.finish_algo(core, algo, "FINISHED", time_ms)


def _match_limits(core: Core, symbol: str, part: Stretch, time_ms: int) -> None:
    for order in [o for o in core.account.open_orders.values() if o.symbol == symbol and o.kind != "MARKET"]:
        low, high = Decimal(repr(part.low)), Decimal(repr(part.high))
        through = low < order.price if order.sign > 0 else high > order.price
        if through and order.is_open:
            _fill_resting(core, order, time_ms)


def _fill_further(core: Core, symbol: str, part: Stretch | None, start_ms: int, end_ms: int) -> None:
    for order in [o for o in core.account.open_orders.values() if o.symbol == symbol and o.kind == "MARKET"]:
        orders.fill_further(core, order, start_ms, end_ms, None if part is None else Decimal(repr(part.last)))


def _fill_resting(core: Core, order: Order, time_ms: int) -> None:
    quantity = order.remaining
    if order.reduce_only:
        held = core.account.positions[order.symbol].quantity
        if held == 0 or (held > 0) == (order.sign > 0):
            clearing.finish(core, order, "EXPIRED", time_ms)
            return
        quantity = min(quantity, abs(held))
        order.quantity = order.executed + quantity
    clearing.fill(core, order, quantity, order.price, maker=True, time_ms=time_ms)


def _marks(core: Core, stretches: dict[str, Stretch], part: Decimal) -> dict[str, Decimal]:
    """Prices of the held symbols, `part` of the way from the opening to the worst price of the stretch."""
    marks = {}
    for position in core.held():
        stretch = stretches.get(position.symbol)
        if stretch is None:
            marks[position.symbol] = core.price(position.symbol)
            continue
        first = Decimal(repr(stretch.first))
        worst = Decimal(repr(stretch.low if position.quantity > 0 else stretch.high))
        marks[position.symbol] = first + (worst - first) * part
    return marks


def _cushion(core: Core, marks: dict[str, Decimal]) -> Decimal:
    """Equity minus maintenance margin at `marks`: not positive means liquidation."""
    profit = sum((position.unrealised(marks[position.symbol]) for position in core.held()), ZERO)
    return core.account.wallet + profit - core.maintenance_margin(marks)


def _liquidate(core: Core, stretches: dict[str, Stretch], time_ms: int) -> None:
    """Close everything at the prices at which equity meets the maintenance margin (linear between opening and worst).

    A symbol without a stretch counts at its price now.
    """
    if not any(core.held()):
        _insure(core, time_ms)
        return
    worst = _cushion(core, _marks(core, stretches, Decimal(1)))
    if worst > 0:
        return
    first = _cushion(core, _marks(core, stretches, ZERO))
    part = ZERO if first <= 0 else first / (first - worst)
    marks = _marks(core, stretches, part)
    for order in list(core.account.open_orders.values()):
        clearing.finish(core, order, "CANCELED", time_ms)
    for algo in list(core.account.open_algos.values()):
        clearing.finish_algo(core, algo, "CANCELED", time_ms)
    for position in list(core.held()):
        _close_out(core, position.symbol, marks[position.symbol], time_ms)
    _insure(core, time_ms)


def _insure(core: Core, time_ms: int) -> None:
    """The insurance fund takes what an account without positions cannot pay."""
    if core.account.wallet < 0:
        core.account.record_income("", "INSURANCE_CLEAR", -core.account.wallet, time_ms)
        core.events.append(stream_payloads.account_update(core, "INSURANCE_CLEAR", (), ZERO, time_ms))


def _close_out(core: Core, symbol: str, mark: Decimal, time_ms: int) -> None:
    position = core.account.positions[symbol]
    quantity, sign = abs(position.quantity), -1 if position.quantity > 0 else 1
    price = venue_price(mark, sign, 0.0, core.spec(symbol).tick)
    number = core.account.take_id()
    order = Order(
        number, f"autoclose-{time_ms}{number}", symbol, sign, "LIMIT", "IOC", quantity, price, False, time_ms, time_ms
    )
    clearing.register(core, order)
    clearing.fill(core, order, quantity, price, maker=False, time_ms=time_ms)
    fine = quantised(fee(quantity * price, to_decimal(core.costs.liquidation_fee_bps)))
    core.account.record_income(symbol, "INSURANCE_CLEAR", -fine, time_ms)
