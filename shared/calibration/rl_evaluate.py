"""What a policy alone would have earned on bars that it was not trained on, beside buying and holding.

The policy acts as live: at each close, on its shadow, starting flat at calendar episodes. Its positions are filled by the
backtest kernel at the next open with all costs, within the same risk limits. Only bars after the training count, and the
judgement says what the difference is worth: a test of the two Sharpe ratios (HAC, Ledoit and Wolf 2008), not a feeling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.backtest.engine import backtest
from shared.backtest.market import AssetMarket
from shared.backtest.metrics import RunSummary, daily_returns, summarise
from shared.backtest.params import BacktestParams
from shared.backtest.signals import TargetPath, closed_at_the_end
from shared.backtest.strategies import STRATEGIES
from shared.calibration.significance.sharpe import SharpeDifference, sharpe_difference
from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.candles import FloatArray
from shared.domain.errors import DataError, ModelError, NotEnoughData
from shared.domain.interval import DAY_MS, format_ms
from shared.risk.params import RiskParams
from shared.strategy.rl_action import interpret
from shared.strategy.rl_policy import RlPath, RlPolicy, follow

_ENOUGH_DAYS = 90
_CONVINCING = 0.05


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A policy out of sample."""

    start_ms: int
    end_ms: int
    policy: RunSummary
    buy_and_hold: RunSummary
    difference: SharpeDifference | None
    """of the daily returns; `None` where there are too few days or nothing differs"""
    operations: dict[str, int]
    """how often the policy opened, increased, closed and held"""
    halts: int
    """pauses and latches of the policy's account"""
    judgement: tuple[str, ...]
    """sentences for a person"""


def evaluate(
    market: AssetMarket,
    policy: RlPolicy,
    curation: CurationParams,
    account: BacktestParams,
    risk: RiskParams,
    rng: np.random.Generator,
    from_ms: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Follow `policy` over the candles of `market` that close after its training and after `from_ms`.

    Raises `ModelError` where it was trained on something else, `NotEnoughData` where fewer than two days come after it.
    """
    candles, card = market.candles, policy.card
    if refusal := policy.refusal(str(market.asset), candles.interval, curation):
        raise ModelError(refusal)
    warm = min(curation.lookback_bars + card.lookback_bars, len(candles) - 1)
    known_ms = int(candles.close_time[warm]) if len(candles) else 0
    start_ms = candles.interval.ceil(max(card.train_end_ms + 1, known_ms, from_ms))
    end_ms = int(candles.close_time[-1]) if len(candles) else 0
    if end_ms - start_ms < 2 * DAY_MS:
        raise NotEnoughData(
            f"policy {card.train_id} was trained up to {format_ms(card.train_end_ms)} and the candles end {format_ms(end_ms)}: "
            "fewer than two days are out of sample; give newer candles"
        )
    frame = curate(candles, curation, market.funding, market.open_interest)
    path = follow(frame, policy, on_progress)
    first = int(np.searchsorted(frame.close_time, start_ms))
    signal = closed_at_the_end(targets(path, card.shadow.max_exposure, first), candles, end_ms)
    mine = backtest([market], [signal], account, risk, start_ms=start_ms, end_ms=end_ms, label=card.train_id)
    held = STRATEGIES["buy-and-hold"].path(market, start_ms=start_ms)
    plain = risk.without_breakers()  # it trades as its textbook does
    theirs = backtest([market], [held], account, plain, start_ms=start_ms, end_ms=end_ms, label="buy-and-hold")
    summary, other = summarise(mine), summarise(theirs)
    difference = _difference(daily_returns(mine)[1], daily_returns(theirs)[1], rng)
    rows = frame.close_time >= start_ms
    operations = _operations(path, rows, card.action_threshold)
    return Evaluation(
        start_ms, end_ms, summary, other, difference, operations, len(mine.halts), _judgement(summary, other, difference)
    )


def targets(path: RlPath, max_exposure: float, first: int = 0) -> TargetPath:
    """The positions of a path as orders to the kernel: a number where the position changes, NaN where it stays.

    Row `first` has a number in any case: the kernel starts flat there, the path perhaps not.
    """
    position = np.nan_to_num(path.position)
    changed = np.diff(position, prepend=0.0) != 0
    changed[first : first + 1] = True
    return TargetPath(np.where(changed, position * max_exposure, np.nan), np.zeros(len(position)))


def _difference(mine: FloatArray, theirs: FloatArray, rng: np.random.Generator) -> SharpeDifference | None:
    try:
        return sharpe_difference(mine, theirs, rng, method="hac")
    except DataError:  # too few days, or one that never moved: there is nothing to compare
        return None


def _operations(path: RlPath, rows: np.ndarray[tuple[int], np.dtype[np.bool_]], threshold: float) -> dict[str, int]:
    """Operations by name."""
    acted = np.flatnonzero(rows & np.isfinite(path.action))
    done = (interpret(float(path.action[row]), float(path.held[row]), threshold) for row in acted)
    return dict(sorted(Counter(one.operation.value for one in done).items()))


def _judgement(mine: RunSummary, theirs: RunSummary, difference: SharpeDifference | None) -> tuple[str, ...]:
    """Honest words."""
    gap = mine.total_return - theirs.total_return
    lines = [f"out of sample the policy returned {mine.total_return:+.1%}, buying and holding {theirs.total_return:+.1%}"]
    if mine.trades == 0:
        return (*lines, "the policy closed no trade: there is nothing to judge")
    if difference is None or difference.days < _ENOUGH_DAYS:
        days = mine.days if difference is None else difference.days
        return (*lines, f"{days} days are too few to tell skill from luck: do not trade on this")
    shown = f"Sharpe difference {difference.annual:+.2f} per year, p = {difference.p_one_sided:.2f}"
    if difference.difference <= 0 or gap <= 0:
        lines.append(f"it did not do better ({shown}): there is no reason to trade it")
    elif difference.p_one_sided > _CONVINCING:
        lines.append(f"it did better, but chance explains that ({shown}): this is no evidence of skill")
    else:
        lines.append(
            f"it did better than chance explains ({shown}), if this is the only policy that was looked at; of many, the "
            "best one looks good by luck: `ost significance` counts the trials"
        )
    return tuple(lines)
