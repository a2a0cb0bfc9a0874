"""The backtest kernel: one account over several assets, bar by bar, as the live session on the paper exchange runs it.

At each instant, which closes one bar and opens the next: what happened inside the bar (funding, stops, liquidation), the
account marked (and liquidated, where the market opens beyond the margin), breakers, and then for each asset in turn policy,
limits, sizing, order, fill and stop. Policy, limits, Kelly, breakers and costs are compiled from the source that live calls.
The price at an instant is the open of the bar that begins there, else (a gap, the end) the newest close: what an order fills
at, and what the venue liquidates at. The account is marked at the newest closes, as the live session marks it.
Invariant: wallet + open profit (from average costs) = cash + market value (from raw fills) at every instant; the largest
difference is returned.
"""

from __future__ import annotations

import math

import numpy as np

from shared.backtest.kernel_account import NOW, cushion, fill_stop, insure, liquidate, liquidation_part
from shared.backtest.kernel_orders import place_order
from shared.backtest.kernel_quiet import end_of_flat_bars, mark_held_bars, pass_flat_bars
from shared.backtest.kernel_types import (
    CASH,
    COST,
    FILLS,
    FROZEN,
    FUNDING,
    LAST_CLOSE,
    PRICE,
    QUANTITY,
    STOP_PRICE,
    STOP_UNITS,
    UNITS,
    WALLET,
    WANTS_STOP,
    AccountNumbers,
    MarketArrays,
    SignalArrays,
)
from shared.compiled import compiled
from shared.domain.candles import FloatArray, IntArray
from shared.risk.breakers import crossed_level
from shared.risk.kelly import shrunk_kelly, sizing_cap
from shared.risk.limits import room_left, within, without_new_risk
from shared.strategy.params import PolicyParams
from shared.strategy.policy import target_position

LATCHED = -1

_crossed_level = compiled(crossed_level)
_shrunk_kelly = compiled(shrunk_kelly)
_sizing_cap = compiled(sizing_cap)
_within = compiled(within)
_room_left = compiled(room_left)
_without_new_risk = compiled(without_new_risk)
_target_position = compiled(target_position)


@compiled
def _grown(log: FloatArray) -> FloatArray:
    """The same log with twice the room."""
    larger = np.empty((2 * log.shape[0], log.shape[1]))
    larger[: log.shape[0]] = log
    return larger


@compiled
def simulate(
    market: MarketArrays,
    signals: SignalArrays,
    rules: FloatArray,
    tiers: FloatArray,
    account: AccountNumbers,
    levels: FloatArray,
    pauses_ms: IntArray,
    paths: FloatArray,
) -> tuple[FloatArray, FloatArray, list[tuple[int, int, float]], float]:
    """The whole run into `paths` (3 + a, m): equity, wallet, exposure, positions in base units.

    `rules` is (7, a) and `tiers` (a, k, 3): notional cap, maintenance ratio, deduction; `levels` are the drawdowns that pause
    and `pauses_ms` for how long. Returns fills (k, 7), funding (a,), halts (instant, end or -1, drawdown) and identity error.
    The caller makes `paths`, because numpy asks the system for large pages: in small ones the pages of these arrays alone would
    take longer than the run.
    """
    # Local names, and helpers only where something happens: passing tuples of arrays around costs more than a quiet bar.
    opens, highs, lows, closes, volumes = market.open, market.high, market.low, market.close, market.volume
    funding_inside, funding_close = market.funding_inside, market.funding_close
    wanted_path, is_policy, stop_distances = signals.wanted, signals.is_policy, signals.stop_distance
    volatility, atr_fraction, multiplier = signals.volatility, signals.atr_fraction, signals.size_multiplier
    policy_index, policies, tradable = signals.policy_index, signals.policies, signals.tradable
    assets, bars = closes.shape
    state, money = np.zeros((10, assets)), np.full(3, account.capital)
    money[FILLS] = 0.0
    state[PRICE], state[LAST_CLOSE] = market.before_price, market.before_price
    units, quantity, cost, funding = state[UNITS], state[QUANTITY], state[COST], state[FUNDING]
    stop_price, stop_units, wants_stop, frozen = state[STOP_PRICE], state[STOP_UNITS], state[WANTS_STOP], state[FROZEN]
    prices, last_close, traded = state[PRICE], state[LAST_CLOSE], market.before_traded.copy()

    equity_path, wallet_path, exposure_path, positions = paths[0], paths[1], paths[2], paths[3:]
    log = np.empty((128, 7))
    halts = [(0, 0, 0.0)]
    has_funding, has_policy = funding_close.shape[1] > 0, is_policy.any()
    peak, last_equity, last_drawdown, last_exposure = account.capital, account.capital, 0.0, 0.0
    latched, pause_until = False, account.start_ms
    count, mean, spread, kelly_cap = 0, 0.0, 0.0, account.max_leverage  # returns per unit of exposure (Welford)
    error = 0.0
    one_target = assets == 1 and not has_policy
    margin_ratio = tiers[0, -1, 1]
    shallow = levels[0] if len(levels) > 0 else account.max_drawdown

    i = 0
    while i < bars:
        log = _grown(log)
        room = log.shape[0] - 3 * assets
        while i < bars and money[FILLS] < room:
            if last_exposure == 0.0 and last_equity == money[WALLET]:  # flat, and the account is marked since its last fill
                blocked = bars if latched else -((account.start_ms - pause_until) // account.interval_ms)
                quiet = end_of_flat_bars(market, signals, i, blocked)
                if quiet > i:
                    pass_flat_bars(market, state, traded, paths, i, quiet, last_equity)
                    error = max(error, abs(last_equity - money[CASH]))
                    i = quiet
            elif one_target and units[0] != 0.0 and not latched and (wants_stop[0] == 0.0 or stop_units[0] > 0.0):
                quiet, peak, error = mark_held_bars(
                    opens,
                    highs,
                    lows,
                    closes,
                    wanted_path,
                    funding_inside,
                    funding_close,
                    paths,
                    i,
                    money[WALLET],
                    money[CASH],
                    quantity[0],
                    cost[0],
                    stop_price[0] if stop_units[0] > 0.0 else math.nan,  # nothing reaches NaN
                    margin_ratio,
                    shallow,
                    peak,
                    last_equity,
                    error,
                )
                if quiet > i:
                    last_close[0], prices[0] = closes[0, quiet - 1], opens[0, quiet]
                    traded[0] = volumes[0, quiet - 1] * closes[0, quiet - 1]
                    last_equity, last_exposure = equity_path[quiet - 1], exposure_path[quiet - 1]
                    last_drawdown = 1.0 - last_equity / peak
                    i = quiet
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
                        fill_stop(rules, account, state, money, log, i, a, opens[a, i], traded[a])
                    value = quantity[a] * (prices[a] if math.isnan(worst) else worst)
                    reserve += value - cost[a]
                    # An upper bound of the maintenance margin; exact only where it matters.
                    margin += abs(value) * (tiers[a, 0, 1] if abs(value) <= tiers[a, 0, 0] else tiers[a, -1, 1])
                if margin > 0.0 and money[WALLET] + reserve <= margin:
                    lowest = cushion(market, tiers, state, money, i, 1.0)
                    if lowest <= 0.0:
                        part = liquidation_part(market, tiers, state, money, i, lowest)
                        liquidate(market, rules, account, state, money, log, i, part)

            value, worth, invested, margin = 0.0, 0.0, 0.0, 0.0  # the account at instant i, at the closes and at the prices now
            for a in range(assets):
                close = closes[a, i]
                if not math.isnan(close):
                    last_close[a] = close
                    traded[a] = volumes[a, i] * close
                following = opens[a, i + 1] if i + 1 < bars else math.nan
                prices[a] = last_close[a] if math.isnan(following) else following
                if units[a] != 0.0:
                    if has_funding and i > 0 and funding_close[a, i] != 0.0:
                        amount = -(quantity[a] * funding_close[a, i])
                        funding[a] += amount
                        money[WALLET] += amount
                        money[CASH] += amount
                    amount = quantity[a] * prices[a]
                    worth += amount
                    value += quantity[a] * last_close[a]
                    invested += cost[a]
                    margin += abs(amount) * tiers[a, -1, 1]
            equity = money[WALLET] + (value - invested)
            if money[WALLET] + (worth - invested) <= margin:  # beyond the margin at the prices now: the venue acts before anybody decides
                if margin > 0.0 and cushion(market, tiers, state, money, i, NOW) <= 0.0:
                    liquidate(market, rules, account, state, money, log, i, NOW)
                    value, equity = 0.0, money[WALLET]
                elif equity < 0.0:  # the last stop or order left a debt
                    insure(state, money, log)
                    equity = money[WALLET]
            error = max(error, abs(equity - (money[CASH] + value)))
            equity_path[i], wallet_path[i] = equity, money[WALLET]

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
                overruled = units[a] != 0.0 and (latched or (wants_stop[a] > 0.0 and stop_units[a] == 0.0))
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
                halted = latched or paused or frozen[a] > 0.0
                if halted or (is_policy[a] and not tradable[a, i]):
                    approved = _without_new_risk(approved, held)
                if approved != held or (units[a] != 0.0 and approved == 0.0):
                    place_order(
                        rules,
                        account,
                        state,
                        money,
                        log,
                        i,
                        a,
                        close,
                        traded[a],
                        equity,
                        approved,
                        distance,
                        halted,
                        is_policy[a],
                    )

            exposure = 0.0
            for a in range(assets):
                positions[a, i] = quantity[a]
                exposure += abs(quantity[a]) * last_close[a]
            exposure_path[i] = exposure
            last_equity, last_drawdown, last_exposure = equity, drawdown, exposure
            i += 1
    return log[: int(money[FILLS])], funding, halts[1:], error
