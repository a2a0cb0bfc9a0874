"""What happens to the account inside the kernel: fills, stops, funding, liquidation. Plain numba source, one small step each.

The same rules as the paper exchange (`cloudrun/exchange/{clearing,passage,orders}.py`), in floats: those work on one command at
a time in Decimal, this on arrays. The parity test holds the two together.
"""

from __future__ import annotations

import math

from shared.backtest.costs import fee, market_impact_bps, slipped
from shared.backtest.kernel_grid import against_taker
from shared.backtest.kernel_types import (
    ASSET,
    BAR,
    CASH,
    CHANGED,
    COST,
    FEE,
    FILL_PRICE,
    FILLS,
    FROZEN,
    FUNDING,
    PRICE,
    QUANTITY,
    REASON,
    REFERENCE,
    STEP_DENOMINATOR,
    STEP_NUMERATOR,
    STOP_PRICE,
    STOP_UNITS,
    TICK_DENOMINATOR,
    TICK_NUMERATOR,
    UNITS,
    WALLET,
    AccountNumbers,
    MarketArrays,
)
from shared.backtest.result import LIQUIDATION, STOP
from shared.compiled import compiled, uncounted
from shared.domain.candles import FloatArray

_fee = compiled(fee)
_slipped = compiled(slipped)
_impact_bps = compiled(market_impact_bps)
_against_taker = compiled(against_taker)


NOW = -1.0
"""in place of a part of a bar: the prices at the instant that follows it"""


@uncounted
def quantity_of(rules: FloatArray, a: int, units: float) -> float:
    """Base units of a number of steps."""
    quantity: float = units * rules[STEP_NUMERATOR, a] / rules[STEP_DENOMINATOR, a]
    return quantity


@uncounted
def taker_price(
    rules: FloatArray, account: AccountNumbers, a: int, change: float, reference: float, traded: float, extra_bps: float
) -> float:
    """Price that a taker of `change` steps gets now; `traded` is the notional of the newest closed bar."""
    notional = abs(quantity_of(rules, a, change)) * reference
    bps = account.half_spread_bps + _impact_bps(notional, traded, account.impact_bps, account.max_impact_bps) + extra_bps
    sign = 1 if change > 0.0 else -1
    return _against_taker(_slipped(reference, sign, bps), sign, rules[TICK_NUMERATOR, a], rules[TICK_DENOMINATOR, a])


@uncounted
def book_fill(
    rules: FloatArray,
    state: FloatArray,
    money: FloatArray,
    log: FloatArray,
    i: int,
    a: int,
    change: float,
    price: float,
    reference: float,
    charge: float,
    reason: int,
) -> None:
    """Change the position of asset `a` by `change` steps at `price`, pay `charge`, and write it down."""
    held = state[UNITS, a]
    amount = quantity_of(rules, a, change) * price
    realised = 0.0
    if held == 0.0 or (held > 0.0) == (change > 0.0):
        state[COST, a] += amount
    else:
        closed = math.copysign(min(abs(change), abs(held)), held)
        if closed == held:
            realised = quantity_of(rules, a, closed) * price - state[COST, a]
            state[COST, a] = quantity_of(rules, a, change + closed) * price
        else:
            released = state[COST, a] * closed / held
            realised = quantity_of(rules, a, closed) * price - released
            state[COST, a] -= released
    state[UNITS, a] = held + change
    state[QUANTITY, a] = quantity_of(rules, a, held + change)
    money[WALLET] += realised - charge
    money[CASH] -= amount + charge
    if state[UNITS, a] == 0.0:
        state[STOP_UNITS, a] = 0.0

    k = int(money[FILLS])
    log[k, BAR], log[k, ASSET], log[k, REASON], log[k, CHANGED] = i, a, reason, change
    log[k, FILL_PRICE], log[k, REFERENCE], log[k, FEE] = price, reference, charge
    money[FILLS] += 1.0


@uncounted
def pay_funding(state: FloatArray, money: FloatArray, a: int, due: float) -> None:
    """Funding of `due` (rate · price) on what is held of asset `a`: longs pay where it is positive."""
    amount = -(state[QUANTITY, a] * due)
    state[FUNDING, a] += amount
    money[WALLET] += amount
    money[CASH] += amount


@uncounted
def fill_stop(
    rules: FloatArray,
    account: AccountNumbers,
    state: FloatArray,
    money: FloatArray,
    log: FloatArray,
    i: int,
    a: int,
    opened: float,
    traded: float,
) -> None:
    """Fill the stop that bar `i` reaches: at the open where that is already beyond it, else at the stop."""
    held, stop = state[UNITS, a], state[STOP_PRICE, a]
    reference = min(opened, stop) if held > 0.0 else max(opened, stop)
    change = -math.copysign(min(state[STOP_UNITS, a], abs(held)), held)
    state[STOP_UNITS, a] = 0.0
    price = taker_price(rules, account, a, change, reference, traded, account.stop_slippage_bps)
    charge = _fee(quantity_of(rules, a, change) * price, account.taker_fee_bps)
    book_fill(rules, state, money, log, i, a, change, price, reference, charge, STOP)


@uncounted
def maintenance_margin(tiers: FloatArray, a: int, notional: float) -> float:
    """Margin below which the venue closes a position of `notional`."""
    k, last = 0, tiers.shape[1] - 1
    while k < last and notional > tiers[a, k, 0]:
        k += 1
    margin: float = notional * tiers[a, k, 1] - tiers[a, k, 2]
    return max(margin, 0.0)


@uncounted
def mark_between(market: MarketArrays, state: FloatArray, i: int, a: int, part: float) -> float:
    """Price `part` of the way from the open of bar `i` to its worst for the position; for `NOW`, or in a gap, the price now."""
    if part == NOW:
        now: float = state[PRICE, a]
        return now
    first: float = market.open[a, i]
    worst: float = market.low[a, i] if state[UNITS, a] > 0.0 else market.high[a, i]
    if math.isnan(first):
        first, worst = state[PRICE, a], state[PRICE, a]
    return first + (worst - first) * part


@uncounted
def cushion(market: MarketArrays, tiers: FloatArray, state: FloatArray, money: FloatArray, i: int, part: float) -> float:
    """Equity minus maintenance margin at the marks of `part`; liquidation where it is not positive."""
    total: float = money[WALLET]
    for a in range(state.shape[1]):
        if state[UNITS, a] != 0.0:
            value = state[QUANTITY, a] * mark_between(market, state, i, a, part)
            total += value - state[COST, a] - maintenance_margin(tiers, a, abs(value))
    return total


@uncounted
def liquidation_part(
    market: MarketArrays, tiers: FloatArray, state: FloatArray, money: FloatArray, i: int, worst: float
) -> float:
    """Where between the open and the worst price of bar `i` equity meets the margin; `worst` is the cushion at the latter."""
    first = cushion(market, tiers, state, money, i, 0.0)
    return 0.0 if first <= 0.0 else first / (first - worst)


@uncounted
def liquidate(
    market: MarketArrays,
    rules: FloatArray,
    account: AccountNumbers,
    state: FloatArray,
    money: FloatArray,
    log: FloatArray,
    i: int,
    part: float,
) -> None:
    """Close everything at the prices `part` of the way through bar `i`, or now."""
    for a in range(state.shape[1]):
        held = state[UNITS, a]
        if held == 0.0:
            continue
        mark, sign = mark_between(market, state, i, a, part), -1 if held > 0.0 else 1
        price = _against_taker(mark, sign, rules[TICK_NUMERATOR, a], rules[TICK_DENOMINATOR, a])
        notional = quantity_of(rules, a, held) * price
        charge = _fee(notional, account.taker_fee_bps) + _fee(notional, account.liquidation_fee_bps)
        book_fill(rules, state, money, log, i, a, -held, price, mark, charge, LIQUIDATION)
        state[FROZEN, a] = 1.0
    insure(state, money, log)


@uncounted
def insure(state: FloatArray, money: FloatArray, log: FloatArray) -> None:
    """The insurance fund takes what an account without positions cannot pay: that much less is charged for the last fill."""
    if money[WALLET] < 0.0 and not state[UNITS].any():
        rescue = -money[WALLET]
        log[int(money[FILLS]) - 1, FEE] -= rescue
        money[WALLET] = 0.0
        money[CASH] += rescue
