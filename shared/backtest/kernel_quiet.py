"""Stretches of bars on which the kernel has nothing to decide: passed over in loops of a few operations each.

Most bars of a year of minutes are quiet: the account is flat and no score reaches an entry, or one position is held, stands
under policy and limits, and only has to be marked. Both loops write the same marks as `kernel.simulate` would, and stop before
the first bar on which anything could happen, so that the order of events has one source. Invariant: a run has the same bits
with and without them (tested).
"""

from __future__ import annotations

import math

from shared.backtest.kernel_decisions import allowed, extended, kelly_cap, policy_target
from shared.backtest.kernel_types import (
    CASH,
    COST,
    LAST_CLOSE,
    PRICE,
    QUANTITY,
    STOP_PRICE,
    STOP_UNITS,
    WALLET,
    AccountNumbers,
    MarketArrays,
    SignalArrays,
)
from shared.compiled import uncounted
from shared.domain.candles import FloatArray
from shared.domain.interval import DAY_MS
from shared.domain.records import UnitReturns

ENTRY_THRESHOLD = 0  # place of `entry_threshold` in `PolicyParams`
_MARGIN = 1e-9  # equity this much (relatively) above a breaker's level is above it in any rounding


@uncounted
def end_of_flat_bars(market: MarketArrays, signals: SignalArrays, i: int, blocked: int) -> int:
    """First bar from `i` on at which a flat account might trade; the last bar if none does. Bars before `blocked` may not.

    From flat the policy opens nothing below its entry threshold, and a NaN or zero target wants nothing.
    """
    closes, wanted, is_policy = market.close, signals.wanted, signals.is_policy
    assets, bars = closes.shape
    i = max(i, min(blocked, bars - 1))
    while i < bars - 1:
        for a in range(assets):
            want = wanted[a, i]
            if is_policy[a]:
                decides = abs(want) >= signals.policies[a, signals.policy_index[a, i], ENTRY_THRESHOLD]
            else:
                decides = abs(want) > 0.0
            if decides and not math.isnan(closes[a, i]):
                return i
        i += 1
    return i


@uncounted
def pass_flat_bars(
    market: MarketArrays, state: FloatArray, traded: FloatArray, paths: FloatArray, first: int, end: int, wallet: float
) -> None:
    """Mark a flat account at the bars [first, end), and bring prices and traded notionals to the last of them."""
    paths[:2, first:end] = wallet
    paths[2:, first:end] = 0.0
    for a in range(traded.shape[0]):
        newest = end - 1
        while newest >= first and math.isnan(market.close[a, newest]):
            newest -= 1
        if newest >= first:
            state[LAST_CLOSE, a] = market.close[a, newest]
            traded[a] = market.volume[a, newest] * market.close[a, newest]
        following = market.open[a, end]
        state[PRICE, a] = state[LAST_CLOSE, a] if math.isnan(following) else following


@uncounted
def mark_held_bars(
    market: MarketArrays,
    signals: SignalArrays,
    account: AccountNumbers,
    state: FloatArray,
    money: FloatArray,
    paths: FloatArray,
    i: int,
    margin_ratio: float,
    shallow: float,
    peak: float,
    day_equity: float,
    equity: float,
    error: float,
    record: UnitReturns,
) -> tuple[int, float, float, UnitReturns]:
    """Mark the held position of the only asset from bar `i` up to the first on which anything could happen; returns that bar.

    Quiet is: nothing decided that changes the position, no funding, no gap, the stop not reached, equity well above the margin,
    no drawdown beyond `shallow` and no loss of the day beyond its limit that grows, no new day. `equity` is that of the bar
    before, `day_equity` that of its day's start. A drawdown costs a division, so it is worked out only where equity is not
    clearly above the level.
    """
    opens, closes, wanted = market.open, market.close, signals.wanted
    paid_inside, paid_at_close, is_policy = market.funding_inside, market.funding_close, signals.is_policy[0]
    wallet, cash, quantity, cost = money[WALLET], money[CASH], state[QUANTITY, 0], state[COST, 0]
    stop = state[STOP_PRICE, 0] if state[STOP_UNITS, 0] > 0.0 else math.nan  # nothing reaches NaN
    last, pays, held = closes.shape[1] - 1, paid_inside.shape[1] > 0, abs(quantity)
    clear = (1.0 - min(shallow, account.max_daily_loss)) * (1.0 + _MARGIN)
    if account.interval_ms < DAY_MS:  # a new day has another start to measure its loss from
        before_ms = account.start_ms + (i - 1) * account.interval_ms
        last = min(last, -((account.start_ms - (before_ms // DAY_MS + 1) * DAY_MS) // account.interval_ms))
    side, last_close = 1.0 if quantity > 0.0 else -1.0, state[LAST_CLOSE, 0]
    first = i
    while 0 <= i < last:
        worst, close, price, want = (
            market.low[0, i] if side > 0.0 else market.high[0, i],
            closes[0, i],
            opens[0, i + 1],
            wanted[0, i],
        )
        if close != close or price != price or side * (worst - stop) <= 0.0 or (want == want and not is_policy):
            break
        if pays and (paid_inside[0, i] != 0.0 or paid_at_close[0, i] != 0.0):
            break
        lowest = quantity * worst
        if wallet + (lowest - cost) <= abs(lowest) * margin_ratio:
            break
        opening = quantity * price
        if wallet + (opening - cost) <= abs(opening) * margin_ratio:
            break
        value = quantity * close
        now = wallet + (value - cost)
        top = max(peak, now)
        if now < top * clear:
            fallen = 1.0 - now / top
            if fallen > shallow and fallen > 1.0 - equity / peak:
                break
            if now < equity and 1.0 - now / day_equity > account.max_daily_loss:
                break
        if is_policy:
            longer = extended(record, (now - equity) / (held * last_close))
            if want == want and not _stands(signals, account, i, quantity * close / now, kelly_cap(account, longer)):
                break
            record, last_close = longer, close
        peak, equity = top, now
        error = max(error, abs(equity - (cash + value)))
        paths[0, i], paths[1, i], paths[2, i], paths[3, i] = equity, wallet, held * close, quantity
        i += 1
    if i > first:
        state[LAST_CLOSE, 0], state[PRICE, 0] = closes[0, i - 1], opens[0, i]
    return i, peak, error, record


@uncounted
def _stands(signals: SignalArrays, account: AccountNumbers, i: int, held: float, cap: float) -> bool:
    """Whether policy and limits leave the only asset's position at `held` of equity as it is."""
    wanted = policy_target(signals, account, 0, i, held, cap).fraction
    limit = signals.exposure_cap[0, i]
    return held != 0.0 and allowed(account, wanted, held, 0.0, 0.0, limit, not signals.tradable[0, i]) == held
