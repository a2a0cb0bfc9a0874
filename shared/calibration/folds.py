"""Walk-forward folds on calendar days: train, gap, test; then on by one test window; then, once, the confirmation.

A test observation may see nothing of what training has seen as an answer: what a decision at the start of the test window looks
back on begins after the last training label has ended (purge), and some days more are left out for slower dependence
(embargo). Lopez de Prado, Advances in Financial Machine Learning (2018), section 7.4. Training lies before its test, so that
nothing of the test reaches back. Invariant: test windows tile the selection period without overlap, and no fold touches the
confirmation or the gap before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.calibration.params import CampaignParams
from shared.domain.errors import NotEnoughData
from shared.domain.interval import DAY_MS, Interval, format_ms


@dataclass(frozen=True, slots=True)
class Window:
    """Whole UTC days in [start, end)."""

    start_ms: int
    end_ms: int

    @property
    def days(self) -> int:
        """Length."""
        return (self.end_ms - self.start_ms) // DAY_MS


@dataclass(frozen=True, slots=True)
class Fold:
    """One step of the walk: choose on `train`, look on `test`."""

    index: int
    train: Window
    test: Window


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """All folds of a campaign and the confirmation."""

    folds: tuple[Fold, ...]
    confirm: Window
    gap_days: int
    """days that are left out before every test window and before the confirmation"""

    @property
    def test_days(self) -> int:
        """Days of all test windows."""
        return sum(fold.test.days for fold in self.folds)


def purge_days(lookback_bars: int, interval: Interval, params: CampaignParams) -> int:
    """Whole days that keep a decision's look-back and a training label apart: ⌈look-back / bars per day⌉ + label."""
    return math.ceil(lookback_bars / interval.bars_per_day) + params.label_days


def plan_folds(start_ms: int, end_ms: int, lookback_bars: int, interval: Interval, params: CampaignParams) -> FoldPlan:
    """Folds of the whole days in [start_ms, end_ms) for decisions that look back `lookback_bars`.

    The last test window may be shorter, but not shorter than half. Raises `NotEnoughData` saying how many days are needed.
    """
    first, last = -(-start_ms // DAY_MS), end_ms // DAY_MS
    gap = purge_days(lookback_bars, interval, params) + params.embargo_days
    confirm = max(round((last - first) * params.confirm_share), params.min_confirm_days)
    tests_start, tests_end = first + params.train_days + gap, last - confirm - gap
    folds = []
    for index, begin in enumerate(range(tests_start, tests_end, params.test_days)):
        end = min(begin + params.test_days, tests_end)
        if 2 * (end - begin) < params.test_days:
            break
        train_end = begin - gap
        folds.append(Fold(index, _window(train_end - params.train_days, train_end), _window(begin, end)))
    if len(folds) < params.min_folds:
        selection = params.train_days + 2 * gap + params.min_folds * params.test_days
        # With fewer days in all, the share of the confirmation is a smaller number of days, down to its minimum.
        needed = max(math.ceil(selection / (1 - params.confirm_share)), selection + params.min_confirm_days)
        raise NotEnoughData(
            f"{max(last - first, 0)} days from {format_ms(first * DAY_MS)} to {format_ms(last * DAY_MS)} give {len(folds)} "
            f"folds, a campaign needs {params.min_folds} and about {needed} days: {params.train_days} to train, {gap} of purge "
            f"and embargo (twice), {params.min_folds} x {params.test_days} to test, and the confirmation; "
            "take a longer period or a shorter --walk-forward-window"
        )
    return FoldPlan(tuple(folds), _window(last - confirm, last), gap)


def _window(first_day: int, end_day: int) -> Window:
    return Window(first_day * DAY_MS, end_day * DAY_MS)
