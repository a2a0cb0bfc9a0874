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

from shared.backtest.kernel_account import NOW, cushion, fill_stop, insure, liquidate, liquidation_part, pay_funding
from shared.backtest.kernel_decisions import allowed, extended, kelly_cap, policy_target
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
from shared.domain.records import UnitReturns
from shared.risk.breakers import crossed_level, day_start_equity, next_day_ms

LATCHED = -1

_crossed_level = compiled(crossed_level)
_day_start_equity = compiled(day_start_equity)
_next_day_ms = compiled(next_day_ms)


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
    # Local names, and functions only where something happens: a call with both tuples of arrays costs as much as ten bars.
    opens, highs, lows, closes, volumes = market.open, market.high, market.low, market.close, market.volume
    funding_inside, funding_close = market.funding_inside, market.funding_close
    wanted_path, is_policy, stop_distances = signals.wanted, signals.is_policy, signals.stop_distance
    tradable, var_cap = signals.tradable, signals.exposure_cap
    assets, bars = closes.shape
    state, money = np.zeros((10, assets)), np.full(3, account.capital)
    money[FILLS] = 0.0
    state[PRICE], state[LAST_CLOSE] = market.before_price, market.before_price
    units, quantity, cost = state[UNITS], state[QUANTITY], state[COST]
    stop_price, stop_units, wants_stop, frozen = state[STOP_PRICE], state[STOP_UNITS], state[WANTS_STOP], state[FROZEN]
    prices, last_close, traded = state[PRICE], state[LAST_CLOSE], market.before_traded.copy()

    equity_path, wallet_path, exposure_path, positions = paths[0], paths[1], paths[2], paths[3:]
    log = np.empty((128, 7))
    halts = [(0, 0, 0.0)]
    has_funding, has_policy = funding_close.shape[1] > 0, is_policy.any()
    peak, last_equity, last_drawdown, last_exposure = account.capital, account.capital, 0.0, 0.0
    latched, pause_until, day_equity = False, account.start_ms, account.capital
    error, record = 0.0, UnitReturns(0, 0.0, 0.0)
    margin_ratio = tiers[0, -1, 1]
    shallow = levels[0] if len(levels) > 0 else account.max_drawdown

    i = 0
    while i < bars:
        log = _grown(log)
        room = log.shape[0] - 3 * assets
        while i < bars and money[FILLS] < room:
            halted = latched or frozen[0] > 0.0 or pause_until > account.start_ms + i * account.interval_ms
            if last_exposure == 0.0 and last_equity == money[WALLET]:  # flat, and the account is marked since its last fill
                blocked = bars if latched else -((account.start_ms - pause_until) // account.interval_ms)
                quiet = end_of_flat_bars(market, signals, i, blocked)
                if quiet > i:
                    pass_flat_bars(market, state, traded, paths, i, quiet, last_equity)
                    error = max(error, abs(last_equity - money[CASH]))
                    before_ms = account.start_ms + (i - 1) * account.interval_ms
                    marked_ms = before_ms + (quiet - i) * account.interval_ms
                    day_equity = _day_start_equity(marked_ms, last_equity, before_ms, last_equity, day_equity)
                    i = quiet
            elif assets == 1 and units[0] != 0.0 and not (halted or (wants_stop[0] > 0.0 and stop_units[0] == 0.0)):
                quiet, peak, error, record = mark_held_bars(
                    market,
                    signals,
                    account,
                    state,
                    money,
                    paths,
                    i,
                    margin_ratio,
                    shallow,
                    peak,
                    day_equity,
                    last_equity,
                    error,
                    record,
                )
                if quiet > i:
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
                        pay_funding(state, money, a, funding_inside[a, i])
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

            # The account at instant i: `value` at the closes, `worth` at the prices now.
            value, worth, invested, margin = 0.0, 0.0, 0.0, 0.0
            for a in range(assets):
                close = closes[a, i]
                if not math.isnan(close):
                    last_close[a] = close
                    traded[a] = volumes[a, i] * close
                following = opens[a, i + 1] if i + 1 < bars else math.nan
                prices[a] = last_close[a] if math.isnan(following) else following
                if units[a] != 0.0:
                    if has_funding and i > 0 and funding_close[a, i] != 0.0:
                        pay_funding(state, money, a, funding_close[a, i])
                    amount = quantity[a] * prices[a]
                    worth += amount
                    value += quantity[a] * last_close[a]
                    invested += cost[a]
                    margin += abs(amount) * tiers[a, -1, 1]
            equity = money[WALLET] + (value - invested)
            if money[WALLET] + (worth - invested) <= margin:  # at the prices now: the venue acts before anybody decides
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
            day_equity = _day_start_equity(now_ms, equity, now_ms - account.interval_ms, last_equity, day_equity)
            if drawdown > 0.0 and not latched:
                if drawdown > account.max_drawdown:
                    latched = True
                    halts.append((now_ms, LATCHED, drawdown))
                else:
                    level = _crossed_level(drawdown, last_drawdown, levels)
                    if level >= 0:
                        pause_until = max(pause_until, now_ms + pauses_ms[level])
                        halts.append((now_ms, now_ms + pauses_ms[level], drawdown))
                    if (
                        equity < day_equity
                        and 1.0 - equity / day_equity > account.max_daily_loss >= 1.0 - last_equity / day_equity
                    ):
                        pause_until = max(pause_until, _next_day_ms(now_ms))
                        halts.append((now_ms, _next_day_ms(now_ms), equity / day_equity - 1.0))
            paused = pause_until > now_ms
            if has_policy and last_exposure > 0.0:
                record = extended(record, (equity - last_equity) / last_exposure)
            cap = kelly_cap(account, record)

            for a in range(assets):  # decisions
                wanted, close, distance = wanted_path[a, i], closes[a, i], 0.0
                overruled = units[a] != 0.0 and (latched or (wants_stop[a] > 0.0 and stop_units[a] == 0.0))
                if math.isnan(close) or (math.isnan(wanted) and (is_policy[a] or not overruled)):
                    continue
                held = quantity[a] * close / equity if units[a] != 0.0 and equity > 0.0 else 0.0
                if overruled or latched:
                    wanted = 0.0
                elif is_policy[a]:
                    wanted, distance = policy_target(signals, account, a, i, held, cap)
                else:
                    distance = stop_distances[a, i]
                others, net = 0.0, 0.0
                for b in range(assets):
                    if b != a:
                        others += abs(quantity[b]) * last_close[b]
                        net += quantity[b] * last_close[b]
                others = others / equity if equity > 0.0 else math.inf
                net = net / equity if equity > 0.0 else 0.0
                halted = latched or paused or frozen[a] > 0.0
                limit = var_cap[a, i] if is_policy[a] else math.inf
                blocked = halted or (is_policy[a] and not tradable[a, i])
                approved = allowed(account, wanted, held, others, net, limit, blocked)
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
    return log[: int(money[FILLS])], state[FUNDING], halts[1:], error
