"""May the winner of a campaign replace the champion? The promotion rule of `quant.md`, "The best of many".

All of: enough days; SPA over the candidate set (Hansen 2005) and StepM contains the winner (Romano and Wolf 2005), both on
contributions to the Sharpe ratio, so that leverage wins nothing; Ledoit-Wolf (2008) of winner against champion on days that
chose nothing, one-sided, with a minimum effect; Deflated Sharpe Ratio (2014) with all trials ever made on the asset. PBO is
reported. "No" is a result, not a failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from shared.calibration.significance import conditions, spa
from shared.calibration.significance.conditions import Condition
from shared.calibration.significance.deflation import deflation_benchmark
from shared.calibration.significance.overfitting import pbo
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.significance.returns import (
    YEAR_ROOT,
    check_same_days,
    checked_panel,
    checked_returns,
    finite_returns,
    sharpe_contributions,
    sharpe_ratio,
)
from shared.calibration.significance.sharpe import (
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_difference,
)
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData, NotEnoughData, UsageError


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the winner is promoted, why, and everything that was computed on the way."""

    promoted: bool
    chosen: int
    """column of the winner in the candidate set"""
    conditions: tuple[Condition, ...]
    record: Mapping[str, Any]
    """what the conditions were computed from: Sharpe ratios, p-values, blocks, trials, PBO, parameters"""

    @property
    def reason(self) -> str:
        """One sentence for a log: what was missing, or that nothing was."""
        missing = [condition.sentence for condition in self.conditions if not condition.passed]
        if not missing:
            return "every condition holds: the improvement is significant after correction for all trials"
        return "no significant improvement: " + "; ".join(missing)

    def as_dict(self) -> dict[str, Any]:
        """The verdict in JSON's own types; a number that is not finite becomes None."""
        plain = {**asdict(self), "reason": self.reason, "record": dict(self.record)}
        return {key: _plain(value) for key, value in plain.items()}


def judge(
    candidates: ArrayLike,
    champion: ArrayLike,
    *,
    chosen: int,
    confirm: tuple[ArrayLike, ArrayLike],
    trials: Sequence[float | None],
    params: SignificanceParams,
    rng: np.random.Generator,
    dates: Sequence[int] | None = None,
    earlier_looks: int = 0,
) -> Verdict:
    """Judge column `chosen` of `candidates` (t, m) against `champion` (t,): out-of-sample daily returns, the same days.

    `confirm`: winner's and champion's daily returns (t2,) on days that chose nothing. `trials`: per-day Sharpe ratio of every
    variant ever tried on the asset, oldest first, those of this candidate set included (`None` where nothing moved); `dates`:
    how many were known at earlier dates (`deflation_benchmark`). `earlier_looks`: how often these candidates were looked at
    before on days of this confirmation; its level is what they have left of alpha (`SignificanceParams.look_level`). Candidates
    that never traded (all returns 0) are no alternatives and only count as trials. A champion that never traded is compared as
    cash.

    Raises:
        MalformedData: returns that are not finite, constant or of different days.
        NotEnoughData: an empty set, fewer than 30 days.
        UsageError: `chosen` is no column, fewer trials than candidates, or a negative number of looks.
    """
    if earlier_looks < 0:
        raise UsageError(f"{earlier_looks} earlier looks at the confirmation; expected 0 or more")
    panel, base, new, old = _checked(candidates, champion, confirm, chosen, trials)
    active = np.flatnonzero(panel.any(axis=0))
    if chosen not in active:
        raise MalformedData(f"the chosen candidate {chosen} never traded; expected one whose returns vary")
    panel, winner = checked_panel(panel[:, active], "the candidate set"), panel[:, chosen]
    at = int(np.searchsorted(active, chosen))
    drawn = spa.bootstrap_candidates(
        sharpe_contributions(panel), _contributions(base), rng, resamples=params.set_resamples, block=params.set_block_days
    )
    ability, steps = spa.superior_ability(drawn), spa.stepped(drawn, params.alpha)
    comparison = _confirm(new, old, params, earlier_looks, rng)
    luck = deflation_benchmark(trials, dates)
    deflated = probabilistic_sharpe(winner, luck)
    judged = (
        conditions.enough("enough_days", len(panel), params.minimum_days, "out-of-sample days chose the winner"),
        conditions.enough("enough_confirm_days", len(new), params.minimum_confirm_days, "days that chose nothing confirm it"),
        conditions.significant("spa", ability.p_consistent, params.alpha, f"SPA test of the best of {len(active)} candidates"),
        conditions.significant("stepm", float(steps.p_values[at]), params.alpha, "StepM test of the winner among them"),
        conditions.confirmed(comparison, params),
        conditions.deflated(deflated, luck, len(trials), params),
    )
    record = {
        "candidates": len(active),
        "idle_candidates": int(np.asarray(candidates).shape[1] - len(active)),
        "trials": len(trials),
        "spa": asdict(ability),
        "stepm": {
            "superior": [int(active[k]) for k in steps.superior],
            "p_values": {str(int(k)): float(p) for k, p in zip(active, steps.p_values, strict=True)},
        },
        "ledoit_wolf": comparison,
        "deflated_sharpe": deflated,
        **_described(panel, winner, base, new, old, luck, params),
    }
    return Verdict(all(condition.passed for condition in judged), chosen, judged, record)


def _described(
    panel: FloatArray,
    winner: FloatArray,
    base: FloatArray,
    new: FloatArray,
    old: FloatArray,
    luck: float,
    params: SignificanceParams,
) -> dict[str, Any]:
    """The part of the record that decides nothing: what the returns look like, for the reader of a verdict."""
    return {
        "days": len(panel),
        "confirm_days": len(new),
        "annual_sharpe": {
            "winner": _annual(winner),
            "champion": _annual(base),
            "confirm_winner": _annual(new),
            "confirm_champion": _annual(old),
            "luck_of_all_trials": luck * YEAR_ROOT,
        },
        "probabilistic_sharpe": probabilistic_sharpe(winner),
        "minimum_track_record_days": minimum_track_record(winner),
        "pbo": _overfitting(panel, params),
        "params": asdict(params),
    }


def _checked(
    candidates: ArrayLike,
    champion: ArrayLike,
    confirm: tuple[ArrayLike, ArrayLike],
    chosen: int,
    trials: Sequence[float | None],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    panel = np.asarray(candidates, dtype=np.float64)
    if panel.ndim != 2 or not panel.size:
        raise NotEnoughData(
            f"the candidate set has shape {panel.shape}; expected at least one candidate, shape (days, candidates)"
        )
    if not np.isfinite(panel).all():
        at = int(np.argmin(np.isfinite(panel).all(axis=0)))
        raise MalformedData(f"candidate {at} holds returns that are not finite; expected daily returns as fractions")
    if not 0 <= chosen < panel.shape[1]:
        raise UsageError(f"candidate {chosen} was chosen; expected 0 to {panel.shape[1] - 1}")
    if len(trials) < panel.shape[1]:
        raise UsageError(f"{len(trials)} trials but {panel.shape[1]} candidates; expected every candidate among the trials")
    base = _moving_or_cash(champion, "the champion")
    new, old = (
        checked_returns(confirm[0], "the winner's confirmation"),
        _moving_or_cash(confirm[1], "the champion's confirmation"),
    )
    check_same_days(panel, base, "the candidate set and the champion")
    check_same_days(new, old, "winner and champion of the confirmation")
    return panel, base, new, old


def _moving_or_cash(returns: ArrayLike, name: str) -> FloatArray:
    """Returns that vary, or a series of zeros: a champion that never traded is cash."""
    values = finite_returns(returns, name)
    return checked_returns(values, name) if values.any() else values


def _contributions(returns: FloatArray) -> FloatArray:
    return sharpe_contributions(returns) if returns.any() else returns


def _confirm(
    new: FloatArray, old: FloatArray, params: SignificanceParams, earlier_looks: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The test on days that chose nothing; against cash, whose Sharpe ratio counts as 0, the probabilistic Sharpe ratio."""
    effect, alpha = params.minimum_effect / YEAR_ROOT, params.look_level(earlier_looks)
    if old.any():
        block = None if params.block_days is None else min(params.block_days, len(new) // 3)
        found = sharpe_difference(new, old, rng, minimum_effect=effect, alpha=alpha, resamples=params.resamples, block=block)
        return {**asdict(found), "earlier_looks": earlier_looks}
    return {
        "method": "probabilistic",
        "days": len(new),
        "difference": float(sharpe_ratio(new)),
        "annual": _annual(new),
        "minimum_effect": effect,
        "p_one_sided": 1 - probabilistic_sharpe(new, effect),
        "alpha": alpha,
        "earlier_looks": earlier_looks,
    }


def _overfitting(panel: FloatArray, params: SignificanceParams) -> dict[str, Any] | None:
    """PBO of the candidate set; `None` where there is no choice, or too little to divide."""
    if panel.shape[1] < 2 or len(panel) < 2 * params.pbo_slices:
        return None
    return asdict(pbo(panel, slices=params.pbo_slices))


def _annual(returns: FloatArray) -> float | None:
    return float(sharpe_ratio(returns)) * YEAR_ROOT if returns.any() else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
