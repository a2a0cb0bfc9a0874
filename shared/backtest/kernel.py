"""The backtest kernel: one account over several assets, bar by bar, as the live session on the paper exchange runs it.

At each instant, which closes one bar and opens the next: what happened inside the bar (funding, stops, liquidation), the
account marked, breakers, and then for each asset in turn policy, limits, sizing, order, fill and stop. Policy, limits, Kelly,
breakers and costs are compiled from the source that live calls. The price at an instant is the open of the bar that begins
there, else (a gap, the end) the newest close: it marks the account and is what an order fills at.
Invariant: wallet + open profit (from average costs) = cash + market value (from raw fills) at every instant; the largest
difference is returned.
"""

from __future__ import annotations

import math

import numpy as np

from shared.backtest.costs import fee
from shared.backtest.kernel_account import (
    CASH,
    WALLET,
    book_fill,
    cushion,
    fill_stop,
    liquidate,
    quantity_of,
    taker_price,
)
from shared.backtest.kernel_grid import steps_reaching, steps_within
from shared.backtest.kernel_types import AccountNumbers, FillLog, MarketArrays, RuleArrays, SignalArrays, State
from shared.backtest.result import CHANGE, CLOSE, OPEN
from shared.compiled import compiled
from shared.domain.candles import FloatArray, IntArray
from shared.risk.approval import EXPOSURE_SLACK
from shared.risk.breakers import crossed_level
from shared.risk.kelly import shrunk_kelly, sizing_cap
from shared.risk.limits import room_left, within, without_new_risk
from shared.strategy.params import PolicyParams
from shared.strategy.policy import target_position

_SLACK = float(EXPOSURE_SLACK)
LATCHED = -1

_fee = compiled(fee)
_steps_within = compiled(steps_within)
_steps_reaching = compiled(steps_reaching)
_crossed_level = compiled(crossed_level)
_shrunk_kelly = compiled(shrunk_kelly)
_sizing_cap = compiled(sizing_cap)
_within = compiled(within)
_room_left = compiled(room_left)
_without_new_risk = compiled(without_new_risk)
_target_position = compiled(target_position)


@compiled
def _new_log(capacity: int) -> FillLog:
    return FillLog(
        np.empty(capacity, np.int64),
        np.empty(capacity, np.int64),
        np.empty(capacity),
        np.empty(capacity),
        np.empty(capacity),
        np.empty(capacity),
        np.empty(capacity, np.int64),
    )


@compiled
def _resized(log: FillLog, k: int, capacity: int) -> FillLog:
    """The first `k` entries of the log with room for `capacity`."""
    larger = _new_log(capacity)
    larger.bar[:k], larger.asset[:k], larger.reason[:k] = log.bar[:k], log.asset[:k], log.reason[:k]
    larger.units[:k], larger.price[:k] = log.units[:k], log.price[:k]
    larger.reference[:k], larger.fee[:k] = log.reference[:k], log.fee[:k]
    return larger


@compiled
def _new_state(market: MarketArrays, signals: SignalArrays, account: AccountNumbers) -> State:
    assets = len(signals.is_policy)
    return State(
        np.zeros(assets),
        np.zeros(assets),
        np.zeros(assets),
        np.zeros(assets),
        np.zeros(assets),
        np.zeros(assets, np.bool_),
        np.zeros(assets, np.bool_),
        market.before_price.copy(),
        market.before_price.copy(),
        np.full(assets, -1, np.int64),
        np.zeros(assets),
        np.zeros(1, np.int64),
        np.full(2, account.capital),
    )


@compiled
def _margin_allows(rules: RuleArrays, account: AccountNumbers, state: State, a: int, change: float, expected: float) -> bool:
    """Whether the venue accepts an order that is not reduce-only (`cloudrun/exchange/orders._check_margin`)."""
    held = state.units[a]
    target = held + change
    if abs(target) <= abs(held) and target * held >= 0.0:
        return True
    if quantity_of(rules, a, abs(target)) * expected > rules.max_notional[a]:
        return False
    needed: float = 0.0
    equity: float = state.money[WALLET]
    for b in range(len(state.units)):
        units = max(abs(held + change), abs(held)) if b == a else abs(state.units[b])
        if units != 0.0:
            needed += quantity_of(rules, b, units) * state.price[b] / account.leverage
            equity += quantity_of(rules, b, state.units[b]) * state.price[b] - state.cost[b]
    notional = quantity_of(rules, a, abs(change)) * expected
    costs = _fee(notional, account.taker_fee_bps) + abs(notional - quantity_of(rules, a, abs(change)) * state.price[a])
    return bool(needed + costs <= equity)


@compiled
def _place_stop(
    rules: RuleArrays, signals: SignalArrays, state: State, a: int, side: float, close: float, distance: float
) -> None:
    """Rest the stop of a new position, or keep what rests where the venue refuses a stop that would trigger at once."""
    final = state.units[a]
    if state.stop_units[a] > 0.0 and side * final <= 0.0:
        state.stop_units[a] = 0.0  # the old stop protects nothing any more
    if final == 0.0:
        state.wants_stop[a] = False
        return
    if distance <= 0.0:
        state.wants_stop[a] = signals.is_policy[a]
        if not signals.is_policy[a]:
            state.stop_units[a] = 0.0
        return
    state.wants_stop[a] = True
    numerator, denominator = rules.tick_numerator[a], rules.tick_denominator[a]
    if final > 0.0:
        stop = _steps_reaching(close * (1 - distance), numerator, denominator) * numerator / denominator
        refused = state.price[a] <= stop
    else:
        stop = _steps_within(close * (1 + distance), numerator, denominator) * numerator / denominator
        refused = state.price[a] >= stop
    if not refused and stop > 0.0:
        state.stop_price[a] = stop
        state.stop_units[a] = abs(final)


@compiled
def _order(
    market: MarketArrays,
    signals: SignalArrays,
    rules: RuleArrays,
    account: AccountNumbers,
    state: State,
    log: FillLog,
    i: int,
    a: int,
    equity: float,
    approved: float,
    stop_distance: float,
    halted: bool,
) -> None:
    """Move asset `a` to `approved` · equity: size, approve, fill at the price now, rest the stop.

    The sizes are those of `trading/legs.plan_orders`, the checks those of `risk/approval.approve` and of the venue.
    """
    units, close = state.units[a], market.close[a, i]
    step, per_step = rules.step_numerator[a], rules.step_denominator[a]
    wanted = 0.0
    if approved != 0.0:
        size = min(abs(equity * approved / close), rules.max_quantity[a])
        wanted = math.copysign(_steps_within(size, step, per_step), approved)
    change = wanted - units
    if change == 0.0:
        return
    notional = quantity_of(rules, a, abs(change)) * close
    if wanted != 0.0 and notional < rules.min_notional[a] and units * change >= 0.0:
        return
    change = math.copysign(min(abs(change), _steps_within(rules.max_quantity[a], step, per_step)), change)
    final, ordered = units + change, quantity_of(rules, a, abs(change))
    reduces = units * final >= 0.0 and abs(final) < abs(units)
    price = taker_price(market, rules, account, state, a, change, state.price[a], 0.0)
    if not reduces:
        if halted or min(ordered * close, ordered * state.price[a]) < rules.min_notional[a]:
            return
        if quantity_of(rules, a, abs(final)) * close > equity * account.max_asset_exposure * _SLACK:
            return
        if not _margin_allows(rules, account, state, a, change, price):
            return
    charge = _fee(ordered * price, account.taker_fee_bps)
    reason = OPEN if units == 0.0 else CLOSE if final == 0.0 else CHANGE
    book_fill(rules, state, log, i, a, change, price, state.price[a], charge, reason)
    _place_stop(rules, signals, state, a, units, close, stop_distance)


@compiled
def simulate(
    market: MarketArrays,
    signals: SignalArrays,
    rules: RuleArrays,
    account: AccountNumbers,
    levels: FloatArray,
    pauses_ms: IntArray,
    paths: FloatArray,
) -> tuple[FillLog, FloatArray, list[tuple[int, int, float]], float]:
    """The whole run into `paths` (3 + a, m): equity, wallet, exposure, positions in base units.

    Returns fills, funding (a,), halts (instant, end or -1, drawdown) and the identity error. `levels` are the drawdowns that
    pause and `pauses_ms` for how long. The caller makes `paths`, because numpy asks the system for large pages: in small ones
    the pages of these arrays alone would take longer than the run.
    """
    # Local names, and helpers only where something happens: passing tuples of arrays around costs more than a quiet bar.
    opens, highs, lows, closes = market.open, market.high, market.low, market.close
    funding_inside, funding_close = market.funding_inside, market.funding_close
    wanted_path, is_policy, stop_distances = signals.wanted, signals.is_policy, signals.stop_distance
    volatility, atr_fraction, multiplier = signals.volatility, signals.atr_fraction, signals.size_multiplier
    policy_index, policies, tradable, tiers = signals.policy_index, signals.policies, signals.tradable, rules.tiers
    state = _new_state(market, signals, account)
    units, quantity, cost, money = state.units, state.quantity, state.cost, state.money
    stop_price, stop_units, wants_stop, frozen = state.stop_price, state.stop_units, state.wants_stop, state.frozen
    prices, last_close, last_bar, funding = state.price, state.last_close, state.last_bar, state.funding

    assets, bars = closes.shape
    fills, capacity = state.fills, 128
    log = _new_log(capacity)
    halts = [(0, 0, 0.0)]
    has_funding, has_policy = funding_close.shape[1] > 0, is_policy.any()
    peak, last_equity, last_drawdown, last_exposure = account.capital, account.capital, 0.0, 0.0
    latched, pause_until = False, account.start_ms
    count, mean, spread, kelly_cap = 0, 0.0, 0.0, account.max_leverage  # returns per unit of exposure (Welford)
    error = 0.0

    done = 0
    while done < bars:
        capacity *= 2
        log = _resized(log, fills[0], capacity)
        for i in range(done, bars):
            if fills[0] + 3 * assets >= capacity:
                break
            done = i + 1
            now_ms = account.start_ms + i * account.interval_ms

            if last_exposure > 0.0:  # inside bar i: funding, stops, liquidation
                reserve, margin = 0.0, 0.0
                for a in range(assets):
                    if units[a] == 0.0:
                        continue
                    if has_funding and funding_inside[a, i] != 0.0:
                        amount = -(quantity[a] * funding_inside[a, i])
                        funding[a] += amount
                        money[WALLET] += amount
                        money[CASH] += amount
                    worst = lows[a, i] if units[a] > 0.0 else highs[a, i]
                    if stop_units[a] > 0.0 and (worst <= stop_price[a] if units[a] > 0.0 else worst >= stop_price[a]):
                        fill_stop(market, rules, account, state, log, i, a)
                    value = quantity[a] * (prices[a] if math.isnan(worst) else worst)
                    reserve += value - cost[a]
                    # An upper bound of the maintenance margin; exact only where it matters.
                    margin += abs(value) * (tiers[a, 0, 1] if abs(value) <= tiers[a, 0, 0] else tiers[a, -1, 1])
                if margin > 0.0 and money[WALLET] + reserve <= margin:
                    lowest = cushion(market, rules, state, i, 1.0)
                    if lowest <= 0.0:
                        liquidate(market, rules, account, state, log, i, lowest)

            value, invested = 0.0, 0.0  # the account at instant i
            for a in range(assets):
                close = closes[a, i]
                if not math.isnan(close):
                    last_close[a] = close
                    last_bar[a] = i
                following = opens[a, i + 1] if i + 1 < bars else math.nan
                prices[a] = last_close[a] if math.isnan(following) else following
                if units[a] != 0.0:
                    if has_funding and i > 0 and funding_close[a, i] != 0.0:
                        amount = -(quantity[a] * funding_close[a, i])
                        funding[a] += amount
                        money[WALLET] += amount
                        money[CASH] += amount
                    value += quantity[a] * prices[a]
                    invested += cost[a]
            equity = money[WALLET] + (value - invested)
            error = max(error, abs(equity - (money[CASH] + value)))
            paths[0, i], paths[1, i] = equity, money[WALLET]

            peak = max(peak, equity)
            drawdown = 1.0 - equity / peak
            if drawdown > 0.0 and not latched:
                if drawdown > account.max_drawdown:
                    latched = True
                    halts.append((now_ms, LATCHED, drawdown))
                else:
                    level = _crossed_level(drawdown, last_drawdown, levels)
                    if level >= 0:
                        pause_until = max(pause_until, now_ms + pauses_ms[level])
                        halts.append((now_ms, now_ms + pauses_ms[level], drawdown))
            paused = pause_until > now_ms
            if has_policy and last_exposure > 0.0:
                count += 1
                earned = (equity - last_equity) / last_exposure
                delta = earned - mean
                mean += delta / count
                spread += delta * (earned - mean)
                kelly = _shrunk_kelly(
                    count, mean, spread / count, account.kelly_fraction, account.kelly_prior_bars, account.max_leverage
                )
                kelly_cap = _sizing_cap(count, kelly, account.kelly_minimum_bars, account.kelly_floor, account.max_leverage)

            for a in range(assets):  # decisions
                wanted, close, distance = wanted_path[a, i], closes[a, i], 0.0
                overruled = units[a] != 0.0 and (latched or (wants_stop[a] and stop_units[a] == 0.0))
                if math.isnan(close) or (math.isnan(wanted) and (is_policy[a] or not overruled)):
                    continue
                held = quantity[a] * close / equity if units[a] != 0.0 and equity > 0.0 else 0.0
                if overruled or latched:
                    wanted = 0.0
                elif is_policy[a]:
                    p = policies[a, policy_index[a, i]]
                    target = _target_position(
                        wanted,
                        held,
                        volatility[a, i],
                        account.bars_per_year,
                        atr_fraction[a, i],
                        multiplier[a, i],
                        kelly_cap,
                        PolicyParams(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10]),
                    )
                    wanted, distance = target.fraction, target.stop_distance
                else:
                    distance = stop_distances[a, i]
                approved = _within(account.max_asset_exposure, wanted)
                others = 0.0
                for b in range(assets):
                    if b != a:
                        others += abs(quantity[b]) * last_close[b]
                others = others / equity if equity > 0.0 else math.inf
                approved = _within(_room_left(account.max_total_exposure, others), approved)
                halted = latched or paused or frozen[a]
                if halted or (is_policy[a] and not tradable[a, i]):
                    approved = _without_new_risk(approved, held)
                if approved != held or (units[a] != 0.0 and approved == 0.0):
                    _order(market, signals, rules, account, state, log, i, a, equity, approved, distance, halted)

            exposure = 0.0
            for a in range(assets):
                paths[3 + a, i] = quantity[a]
                exposure += abs(quantity[a]) * last_close[a]
            paths[2, i] = exposure
            last_equity, last_drawdown, last_exposure = equity, drawdown, exposure
    return _resized(log, fills[0], fills[0]), funding, halts[1:], error
