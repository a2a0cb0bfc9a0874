"""What a campaign's results say: the walk-forward procedure, the best candidate, the verdict, and the record that is kept.

Returns are daily and out of sample; Sharpe ratios are per day here. The candidate set is every variant but the incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from shared.backtest.metrics import sharpe
from shared.backtest.statistics import max_drawdown
from shared.calibration.looks import seen_before
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.significance.returns import YEAR_ROOT
from shared.calibration.significance.verdict import judge
from shared.calibration.spec import CampaignSpec
from shared.calibration.task import TaskResult
from shared.calibration.trials import ever_tried, setting
from shared.calibration.variants import changes_between
from shared.domain.candles import FloatArray, IntArray
from shared.domain.ids import content_id
from shared.domain.research import CampaignRecord, Champion, Trial
from shared.trading.params import SystemParams

SHOWN_VARIANTS = 10


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """v variants, the incumbent first; f folds; d test days in all."""

    train_sharpe: FloatArray
    """(v, f) per day, NaN where nothing moved"""
    train_active: FloatArray
    """(v, f) share of the training days with a return"""
    test_returns: FloatArray
    """(v, d)"""
    trades: FloatArray
    """(v,)"""
    fees: FloatArray
    """(v,)"""

    @classmethod
    def joined(cls, results: Sequence[TaskResult]) -> Evidence:
        """Results of all tasks, in the order of the tasks."""
        parts = ("train_sharpe", "train_active", "test_returns", "trades", "fees")
        return cls(**{name: np.concatenate([getattr(result, name) for result in results]) for name in parts})

    def test_sharpe(self) -> FloatArray:
        """(v,) per day over all test windows, NaN where nothing moved."""
        return np.array([np.nan if (value := sharpe(row)) is None else value for row in self.test_returns])

    def best_candidate(self, min_active_share: float) -> int | None:
        """The variant with the best test Sharpe, the incumbent aside, of those active enough; `None` where there is none."""
        active = (self.test_returns != 0).mean(axis=1) >= min_active_share
        ratios = np.where(active, self.test_sharpe(), np.nan)[1:]
        return None if np.isnan(ratios).all() else 1 + int(np.nanargmax(ratios))

    def walk_forward(self, test_days: Sequence[int], min_active_share: float) -> tuple[IntArray, FloatArray]:
        """In each fold the variant with the best training Sharpe (f,), and its test returns one after the other (d,).

        Only variants that were active enough in training are chosen from; where none was, the incumbent stays.
        """
        known = np.isfinite(self.train_sharpe) & (self.train_active >= min_active_share)
        chosen = np.argmax(np.where(known, self.train_sharpe, -np.inf), axis=0)
        ends = np.cumsum(test_days)
        pieces = [self.test_returns[place, end - days : end] for place, days, end in zip(chosen, test_days, ends, strict=True)]
        return chosen.astype(np.int64), np.concatenate(pieces)


def trials(spec: CampaignSpec, found: Evidence, now_ms: int) -> list[Trial]:
    """One row for each variant."""
    ratios = found.test_sharpe()
    rows = []
    for place, variant in enumerate(spec.variants):
        identity = (str(spec.asset), spec.interval.value, variant.version, spec.data, asdict(spec.plan), asdict(spec.account))
        rows.append(
            Trial(
                id=content_id("trial", *identity, spec.mode.value, spec.code_version),
                asset=spec.asset,
                interval=spec.interval,
                params_version=variant.version,
                params=changes_between(SystemParams(), spec.system(variant)),
                code_version=spec.code_version,
                data_hash=spec.data,
                start_ms=spec.plan.folds[0].test.start_ms,
                end_ms=spec.plan.folds[-1].test.end_ms,
                sharpe=_number(ratios[place]),
                days=found.test_returns.shape[1],
                metrics={
                    **setting(spec.mode, spec.account),
                    "trades": int(found.trades[place]),
                    "fees": float(found.fees[place]),
                    "train_sharpe": [_number(value) for value in found.train_sharpe[place]],
                },
                campaign_id=spec.id,
                created_ms=now_ms,
            )
        )
    return rows


def outcome(
    spec: CampaignSpec,
    found: Evidence,
    winner: int | None,
    confirm: tuple[FloatArray, FloatArray] | None,
    known: Sequence[Trial],
    campaigns: Sequence[CampaignRecord],
    significance: SignificanceParams,
) -> dict[str, Any]:
    """The decision and everything that it rests on, JSON-able.

    `known`: every trial of the asset, oldest first, this campaign's included; `campaigns`: every campaign of the asset.
    """
    chosen, stitched = found.walk_forward([fold.test.days for fold in spec.plan.folds], spec.params.min_active_share)
    tried = ever_tried(known)
    record: dict[str, Any] = {
        "promoted": False,
        "reason": "",
        "asset": str(spec.asset),
        "variants": len(spec.variants),
        "trials_ever": len(tried.sharpe),
        "incumbent": _performance(spec, found, 0),
        "winner": None if winner is None else _performance(spec, found, winner),
        "walk_forward": {
            **_numbers(stitched),
            "folds": [_fold(spec, found, fold, int(place)) for fold, place in enumerate(chosen)],
        },
        "best": [_performance(spec, found, place) for place in _ranking(found)[:SHOWN_VARIANTS]],
        "confirmation": None if confirm is None else {"winner": _numbers(confirm[0]), "incumbent": _numbers(confirm[1])},
        "verdict": None,
    }
    if winner is None or confirm is None:
        least = f"{spec.params.min_active_share:.0%} of the test days"
        return {**record, "reason": f"no significant improvement: no variant was active on {least}"}
    if not confirm[0].any():
        return {**record, "reason": "no significant improvement: the best variant did not trade in the confirmation"}
    seen = seen_before(spec, campaigns, known)
    verdict = judge(
        found.test_returns[1:].T,
        found.test_returns[0],
        chosen=winner - 1,
        confirm=confirm,
        trials=tried.sharpe,
        dates=tried.dates,
        earlier_looks=seen.looks,
        params=significance,
        rng=np.random.default_rng(spec.params.seed),
    )
    verdict = replace(verdict, record={**verdict.record, "seen_before": asdict(seen)})
    return {**record, "promoted": verdict.promoted, "reason": verdict.reason, "verdict": verdict.as_dict()}


def champion(spec: CampaignSpec, result: Mapping[str, Any], regime: Mapping[str, Any], reason: str, now_ms: int) -> Champion:
    """The winner of a concluded campaign as a champion, not yet active."""
    variant = spec.variants[result["winner"]["place"]]
    system = spec.system(variant)
    return Champion(
        id=content_id("champion", spec.id, variant.version),
        asset=spec.asset,
        interval=spec.interval,
        params=changes_between(SystemParams(), system),
        params_version=system.version,
        metrics={name: result["winner"][name] for name in ("sharpe_daily", "volatility_daily", "mean_daily", "days")},
        trained_on_regime=regime,
        statistical_test=result["verdict"],
        lineage={
            "campaign": spec.id,
            "predecessor": spec.incumbent or None,
            "code_version": spec.code_version,
            "data_hash": spec.data,
        },
        reason=reason,
        created_ms=now_ms,
    )


def _ranking(found: Evidence) -> list[int]:
    ratios = found.test_sharpe()
    return sorted(range(len(ratios)), key=lambda place: (np.isnan(ratios[place]), -ratios[place]))


def _performance(spec: CampaignSpec, found: Evidence, place: int) -> dict[str, Any]:
    variant = spec.variants[place]
    return {
        "place": place,
        "label": "incumbent" if place == 0 else variant.label,
        "params_version": variant.version,
        "changes": dict(variant.changes),
        "train_sharpe": _number(np.nanmean(row)) if not np.isnan(row := found.train_sharpe[place]).all() else None,
        "active_share": float((found.test_returns[place] != 0).mean()),
        "trades": int(found.trades[place]),
        "fees": float(found.fees[place]),
        **_numbers(found.test_returns[place]),
    }


def _fold(spec: CampaignSpec, found: Evidence, fold: int, place: int) -> dict[str, Any]:
    """What the procedure chose in a fold and what came of it."""
    windows = spec.plan.folds[fold]
    end = sum(one.test.days for one in spec.plan.folds[: fold + 1])
    days = slice(end - windows.test.days, end)
    return {
        "train": asdict(windows.train),
        "test": asdict(windows.test),
        "chosen": place,
        "label": "incumbent" if place == 0 else spec.variants[place].label,
        "train_sharpe": _number(found.train_sharpe[place, fold]),
        "test_sharpe": _number(sharpe(found.test_returns[place, days])),
        "test_return": float(np.prod(1 + found.test_returns[place, days]) - 1),
        "incumbent_return": float(np.prod(1 + found.test_returns[0, days]) - 1),
    }


def _numbers(returns: FloatArray) -> dict[str, Any]:
    ratio = sharpe(returns)
    return {
        "days": len(returns),
        "mean_daily": float(returns.mean()),
        "volatility_daily": float(returns.std(ddof=1)),
        "sharpe_daily": ratio,
        "sharpe_annual": None if ratio is None else ratio * YEAR_ROOT,
        "total_return": float(np.prod(1 + returns) - 1),
        "max_drawdown": max_drawdown(np.asarray(np.cumprod(1 + returns), dtype=np.float64), 1.0),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
