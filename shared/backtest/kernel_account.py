"""What happens to the account inside the kernel: fills, stops, funding, liquidation. Plain numba source, one small step each.

The same rules as the paper exchange (`cloudrun/exchange/{clearing,passage,orders}.py`), in floats: those work on one command at
a time in Decimal, this on arrays. The parity test holds the two together.
"""

from __future__ import annotations

import math

from shared.backtest.costs import fee, market_impact_bps, slipped
from shared.backtest.kernel_grid import against_taker
from shared.backtest.kernel_types import AccountNumbers, FillLog, MarketArrays, RuleArrays, State
from shared.backtest.result import LIQUIDATION, STOP
from shared.compiled import compiled

WALLET, CASH = 0, 1

_fee = compiled(fee)
_slipped = compiled(slipped)
_impact_bps = compiled(market_impact_bps)
_against_taker = compiled(against_taker)


@compiled
def quantity_of(rules: RuleArrays, a: int, units: float) -> float:
    """Base units of a number of steps."""
    quantity: float = units * rules.step_numerator[a] / rules.step_denominator[a]
    return quantity


@compiled
def taker_price(
    market: MarketArrays,
    rules: RuleArrays,
    account: AccountNumbers,
    state: State,
    a: int,
    change: float,
    reference: float,
    extra_bps: float,
) -> float:
    """Price that a taker of `change` steps gets now: impact is that of the newest closed bar."""
    row = state.last_bar[a]
    traded = market.volume[a, row] * market.close[a, row] if row >= 0 else market.before_traded[a]
    notional = abs(quantity_of(rules, a, change)) * reference
    bps = account.half_spread_bps + _impact_bps(notional, traded, account.impact_bps, account.max_impact_bps) + extra_bps
    sign = 1 if change > 0.0 else -1
    return _against_taker(_slipped(reference, sign, bps), sign, rules.tick_numerator[a], rules.tick_denominator[a])


@compiled
def book_fill(
    rules: RuleArrays, state: State, log: FillLog, i: int, a: int, change: float, price: float, reference: float,
    charge: float, reason: int,
) -> None:  # fmt: skip
    """Change the position of asset `a` by `change` steps at `price`, pay `charge`, and write it down."""
    held = state.units[a]
    amount = quantity_of(rules, a, change) * price
    realised = 0.0
    if held == 0.0 or (held > 0.0) == (change > 0.0):
        state.cost[a] += amount
    else:
        closed = math.copysign(min(abs(change), abs(held)), held)
        if closed == held:
            realised = quantity_of(rules, a, closed) * price - state.cost[a]
            state.cost[a] = quantity_of(rules, a, change + closed) * price
        else:
            released = state.cost[a] * closed / held
            realised = quantity_of(rules, a, closed) * price - released
            state.cost[a] -= released
    state.units[a] = held + change
    state.quantity[a] = quantity_of(rules, a, held + change)
    state.money[WALLET] += realised - charge
    state.money[CASH] -= amount + charge
    if state.units[a] == 0.0:
        state.stop_units[a] = 0.0

    k = state.fills[0]
    log.bar[k], log.asset[k], log.reason[k] = i, a, reason
    log.units[k], log.price[k], log.reference[k], log.fee[k] = change, price, reference, charge
    state.fills[0] = k + 1


@compiled
def fill_stop(
    market: MarketArrays, rules: RuleArrays, account: AccountNumbers, state: State, log: FillLog, i: int, a: int
) -> None:
    """Fill the stop that bar `i` reaches: at the open where that is already beyond it, else at the stop."""
    held, stop, opened = state.units[a], state.stop_price[a], market.open[a, i]
    reference = min(opened, stop) if held > 0.0 else max(opened, stop)
    change = -math.copysign(min(state.stop_units[a], abs(held)), held)
    state.stop_units[a] = 0.0
    price = taker_price(market, rules, account, state, a, change, reference, account.stop_slippage_bps)
    charge = _fee(quantity_of(rules, a, change) * price, account.taker_fee_bps)
    book_fill(rules, state, log, i, a, change, price, reference, charge, STOP)


@compiled
def maintenance_margin(rules: RuleArrays, a: int, notional: float) -> float:
    """Margin below which the venue closes a position of `notional`."""
    tiers = rules.tiers
    k, last = 0, tiers.shape[1] - 1
    while k < last and notional > tiers[a, k, 0]:
        k += 1
    margin: float = notional * tiers[a, k, 1] - tiers[a, k, 2]
    return max(margin, 0.0)


@compiled
def mark_between(market: MarketArrays, state: State, i: int, a: int, part: float) -> float:
    """Price `part` of the way from the open of bar `i` to its worst price for the position; the price now in a gap."""
    first: float = market.open[a, i]
    worst: float = market.low[a, i] if state.units[a] > 0.0 else market.high[a, i]
    if math.isnan(first):
        first, worst = state.price[a], state.price[a]
    return first + (worst - first) * part


@compiled
def cushion(market: MarketArrays, rules: RuleArrays, state: State, i: int, part: float) -> float:
    """Equity minus maintenance margin at the marks of `part`; liquidation where it is not positive."""
    total: float = state.money[WALLET]
    for a in range(len(state.units)):
        if state.units[a] != 0.0:
            value = state.quantity[a] * mark_between(market, state, i, a, part)
            total += value - state.cost[a] - maintenance_margin(rules, a, abs(value))
    return total


@compiled
def liquidate(
    market: MarketArrays, rules: RuleArrays, account: AccountNumbers, state: State, log: FillLog, i: int, worst: float
) -> None:
    """Close everything where equity meets the maintenance margin, between the open and the worst price of bar `i`.

    The insurance fund takes what the account cannot pay: that much less is charged for the last fill.
    """
    first = cushion(market, rules, state, i, 0.0)
    part = 0.0 if first <= 0.0 else first / (first - worst)
    for a in range(len(state.units)):
        held = state.units[a]
        if held == 0.0:
            continue
        mark, sign = mark_between(market, state, i, a, part), -1 if held > 0.0 else 1
        price = _against_taker(mark, sign, rules.tick_numerator[a], rules.tick_denominator[a])
        notional = quantity_of(rules, a, held) * price
        charge = _fee(notional, account.taker_fee_bps) + _fee(notional, account.liquidation_fee_bps)
        book_fill(rules, state, log, i, a, -held, price, mark, charge, LIQUIDATION)
        state.frozen[a] = True
    if state.money[WALLET] < 0.0:
        rescue = -state.money[WALLET]
        log.fee[state.fills[0] - 1] -= rescue
        state.money[WALLET] = 0.0
        state.money[CASH] += rescue
