"""One order inside the kernel: from an approved fraction of equity to a fill and its protective stop.

The sizes are those of `trading/legs.plan_orders`, the checks those of `risk/approval.approve` and of the venue
(`cloudrun/exchange/orders.py`), in floats that round as the decimals do (`kernel_grid.py`).
"""

from __future__ import annotations

import math

from shared.backtest.costs import fee
from shared.backtest.kernel_account import book_fill, quantity_of, taker_price
from shared.backtest.kernel_grid import steps_reaching, steps_within
from shared.backtest.kernel_types import (
    COST,
    MAX_NOTIONAL,
    MAX_QUANTITY,
    MIN_NOTIONAL,
    PRICE,
    STEP_DENOMINATOR,
    STEP_NUMERATOR,
    STOP_PRICE,
    STOP_UNITS,
    TICK_DENOMINATOR,
    TICK_NUMERATOR,
    UNITS,
    WALLET,
    WANTS_STOP,
    AccountNumbers,
)
from shared.backtest.result import CHANGE, CLOSE, OPEN
from shared.compiled import compiled, uncounted
from shared.domain.candles import FloatArray
from shared.risk.approval import EXPOSURE_SLACK

_SLACK = float(EXPOSURE_SLACK)

_fee = compiled(fee)
_steps_within = compiled(steps_within)
_steps_reaching = compiled(steps_reaching)


@uncounted
def _margin_allows(
    rules: FloatArray, account: AccountNumbers, state: FloatArray, money: FloatArray, a: int, change: float, expected: float
) -> bool:
    """Whether the venue accepts an order that is not reduce-only (`cloudrun/exchange/orders._check_margin`)."""
    held = state[UNITS, a]
    target = held + change
    if abs(target) <= abs(held) and target * held >= 0.0:
        return True
    if quantity_of(rules, a, abs(target)) * expected > rules[MAX_NOTIONAL, a]:
        return False
    needed: float = 0.0
    equity: float = money[WALLET]
    for b in range(state.shape[1]):
        units = max(abs(held + change), abs(held)) if b == a else abs(state[UNITS, b])
        if units != 0.0:
            needed += quantity_of(rules, b, units) * state[PRICE, b] / account.leverage
            equity += quantity_of(rules, b, state[UNITS, b]) * state[PRICE, b] - state[COST, b]
    notional = quantity_of(rules, a, abs(change)) * expected
    costs = _fee(notional, account.taker_fee_bps) + abs(notional - quantity_of(rules, a, abs(change)) * state[PRICE, a])
    return bool(needed + costs <= equity)


@uncounted
def _place_stop(
    rules: FloatArray, state: FloatArray, a: int, side: float, close: float, distance: float, is_policy: bool
) -> None:
    """Rest the stop of a new position, or keep what rests where the venue refuses a stop that would trigger at once."""
    final = state[UNITS, a]
    if state[STOP_UNITS, a] > 0.0 and side * final <= 0.0:
        state[STOP_UNITS, a] = 0.0  # the old stop protects nothing any more
    if final == 0.0:
        state[WANTS_STOP, a] = 0.0
        return
    if distance <= 0.0:
        state[WANTS_STOP, a] = 1.0 if is_policy else 0.0
        if not is_policy:
            state[STOP_UNITS, a] = 0.0
        return
    state[WANTS_STOP, a] = 1.0
    numerator, denominator = rules[TICK_NUMERATOR, a], rules[TICK_DENOMINATOR, a]
    if final > 0.0:
        stop = _steps_reaching(close * (1 - distance), numerator, denominator) * numerator / denominator
        refused = state[PRICE, a] <= stop
    else:
        stop = _steps_within(close * (1 + distance), numerator, denominator) * numerator / denominator
        refused = state[PRICE, a] >= stop
    if not refused and stop > 0.0:
        state[STOP_PRICE, a] = stop
        state[STOP_UNITS, a] = abs(final)


@uncounted
def place_order(
    rules: FloatArray,
    account: AccountNumbers,
    state: FloatArray,
    money: FloatArray,
    log: FloatArray,
    i: int,
    a: int,
    close: float,
    traded: float,
    equity: float,
    approved: float,
    stop_distance: float,
    halted: bool,
    is_policy: bool,
) -> None:
    """Move asset `a` to `approved` · equity: size, approve, fill at the price now, rest the stop."""
    units = state[UNITS, a]
    step, per_step = rules[STEP_NUMERATOR, a], rules[STEP_DENOMINATOR, a]
    wanted = 0.0
    if approved != 0.0:
        size = min(abs(equity * approved / close), rules[MAX_QUANTITY, a])
        wanted = math.copysign(_steps_within(size, step, per_step), approved)
    change = wanted - units
    if change == 0.0:
        return
    notional = quantity_of(rules, a, abs(change)) * close
    if wanted != 0.0 and notional < rules[MIN_NOTIONAL, a] and units * change >= 0.0:
        return
    change = math.copysign(min(abs(change), _steps_within(rules[MAX_QUANTITY, a], step, per_step)), change)
    final, ordered = units + change, quantity_of(rules, a, abs(change))
    reduces = units * final >= 0.0 and abs(final) < abs(units)
    price = taker_price(rules, account, a, change, state[PRICE, a], traded, 0.0)
    if not reduces:
        if halted or min(ordered * close, ordered * state[PRICE, a]) < rules[MIN_NOTIONAL, a]:
            return
        if quantity_of(rules, a, abs(final)) * close > equity * account.max_asset_exposure * _SLACK:
            return
        if not _margin_allows(rules, account, state, money, a, change, price):
            return
    charge = _fee(ordered * price, account.taker_fee_bps)
    reason = OPEN if units == 0.0 else CLOSE if final == 0.0 else CHANGE
    book_fill(rules, state, money, log, i, a, change, price, state[PRICE, a], charge, reason)
    _place_stop(rules, state, a, units, close, stop_distance, is_policy)
