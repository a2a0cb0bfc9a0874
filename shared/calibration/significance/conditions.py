"""What promotion needs, one condition at a time: the number, its threshold, whether it is met, and a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.calibration.significance.params import SignificanceParams
from shared.calibration.significance.returns import YEAR_ROOT


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that promotion needs."""

    name: str
    value: float
    threshold: float
    passed: bool
    sentence: str


def enough(name: str, days: int, minimum: int, what: str) -> Condition:
    """At least `minimum` days."""
    passed = days >= minimum
    return Condition(name, days, minimum, passed, f"{days} {what}, {minimum} are needed")


def significant(name: str, p: float, alpha: float, what: str) -> Condition:
    """A p-value of at most `alpha`."""
    passed = p <= alpha
    return Condition(name, p, alpha, passed, f"{what}: p = {p:.4f}, {'at most' if passed else 'above'} {alpha:g}")


def confirmed(comparison: Mapping[str, Any], params: SignificanceParams) -> Condition:
    """The test on days that chose nothing, at the level that is left after earlier looks at them."""
    what = f"Ledoit-Wolf test of an annual Sharpe improvement above {params.minimum_effect:g} on days that chose nothing"
    if looks := comparison["earlier_looks"]:
        what += f" and were looked at {looks} time{'s' * (looks != 1)} before"
    return significant("ledoit_wolf", comparison["p_one_sided"], comparison["alpha"], what)


def deflated(value: float, luck: float, trials: int, params: SignificanceParams) -> Condition:
    """A Deflated Sharpe Ratio `value`, where `luck` (per day) is what the luckiest of `trials` shows."""
    passed = value >= params.deflated_sharpe
    sentence = (
        f"Deflated Sharpe Ratio {value:.3f}, {'at least' if passed else 'below'} {params.deflated_sharpe:g} "
        f"({trials} trials: luck alone gives an annual {luck * YEAR_ROOT:.2f})"
    )
    return Condition("deflated_sharpe", value, params.deflated_sharpe, passed, sentence)
