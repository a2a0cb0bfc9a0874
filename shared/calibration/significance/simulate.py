"""How often does the promotion rule promote something that is not better, and how often does it find what is?

Campaigns are drawn from a known truth: m variants and a champion share a market factor; at most one variant has a higher Sharpe
ratio. Each campaign picks the variant with the best Sharpe ratio and asks for a verdict, and beside it the plain rules of the
reference documents decide on the same days: best of many, promoted when a t-test of returns against the champion has p < 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from shared.calibration.significance.clustering import clustered_scales, heavy_scales
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.significance.returns import YEAR_ROOT, sharpe_ratio
from shared.calibration.significance.sharpe import sharpe_difference
from shared.calibration.significance.verdict import judge
from shared.domain.candles import FloatArray
from shared.domain.errors import UsageError

_DAILY_VOLATILITY = 0.02


class Process(StrEnum):
    """What the returns are drawn from."""

    IID = "iid"
    """normal, independent"""
    GARCH = "garch"
    """Student's t with 5 degrees of freedom; the shocks of the market factor drive a GARCH(1, 1) volatility of all series"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The truth that campaigns are drawn from. Sharpe ratios are annual."""

    variants: int = 50
    days: int = 1095
    """out-of-sample days that choose the winner"""
    confirm_days: int = 365
    """days that chose nothing"""
    sharpe: float = 1.0
    """of the champion and of every variant that is not better"""
    better_by: float = 0.0
    """how much higher the Sharpe ratio of the first variant is"""
    correlation: float = 0.8
    """between any two series: variants of one strategy on one asset are alike"""
    leverage: float = 1.0
    """variants trade up to this many times the champion's size, evenly spread: more return, same Sharpe ratio"""
    process: Process = Process.GARCH

    def __post_init__(self) -> None:
        if self.variants < 2 or min(self.days, self.confirm_days) < 30:
            raise UsageError("expected at least 2 variants, 30 days that choose and 30 days that confirm")
        if not all(map(math.isfinite, (self.sharpe, self.better_by, self.correlation, self.leverage))):
            raise UsageError(
                f"Sharpe ratio {self.sharpe}, better by {self.better_by}, correlation {self.correlation}, "
                f"leverage {self.leverage}; expected finite numbers"
            )
        if not 0 <= self.correlation < 1 or self.leverage < 1:
            raise UsageError(f"correlation {self.correlation}, leverage {self.leverage}; expected [0, 1) and at least 1")


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened, with Wilson's 95 % interval."""

    name: str
    count: int
    campaigns: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the rules did in a number of campaigns."""

    scenario: Scenario
    campaigns: int
    rates: tuple[Rate, ...]
    mean_pbo: float
    mean_apparent_gain: float
    """annual Sharpe ratio of the winner minus the champion's, on the days that chose it"""
    mean_confirmed_gain: float
    """the same on the days that chose nothing"""


def simulate(
    scenario: Scenario,
    params: SignificanceParams,
    *,
    campaigns: int,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Draw `campaigns` campaigns and judge each. The k-th depends on `seed` and k only. `on_progress(done, campaigns)`."""
    if campaigns < 1:
        raise UsageError(f"{campaigns} campaigns; expected at least 1")
    found: list[dict[str, Any]] = []
    for child in np.random.SeedSequence(seed).spawn(campaigns):
        found.append(_campaign(scenario, params, np.random.default_rng(child)))
        if on_progress:
            on_progress(len(found), campaigns)
    names = [name for name, value in found[0].items() if isinstance(value, bool)]
    rates = tuple(_rate(name, sum(one[name] for one in found), campaigns) for name in names)
    means = (float(np.mean([one[name] for one in found])) for name in ("pbo", "apparent", "confirmed"))
    return Simulation(scenario, campaigns, rates, *means)


def draw_returns(scenario: Scenario, rng: np.random.Generator) -> FloatArray:
    """Daily returns of the champion (column 0) and the variants, (days + confirm_days, 1 + variants)."""
    series, length = 1 + scenario.variants, scenario.days + scenario.confirm_days
    # One scale a day for factor and residuals keeps their tails together: the series are jointly Student t.
    scale = np.ones(length) if scenario.process is Process.IID else heavy_scales(rng, length)
    market, own = rng.standard_normal(length), rng.standard_normal((length, series))
    if scenario.process is Process.GARCH:
        scale = clustered_scales(scale, market, rng)
    noise = math.sqrt(scenario.correlation) * market[:, None] + math.sqrt(1 - scenario.correlation) * own
    ratio = np.full(series, scenario.sharpe)
    ratio[1] += scenario.better_by
    size = np.concatenate([[1.0], np.linspace(1.0, scenario.leverage, scenario.variants)])
    return np.asarray(_DAILY_VOLATILITY * size * (ratio / YEAR_ROOT + scale[:, None] * noise))


def _campaign(scenario: Scenario, params: SignificanceParams, rng: np.random.Generator) -> dict[str, Any]:
    """What every rule says about one campaign."""
    returns = draw_returns(scenario, rng)
    champion, variants = returns[: scenario.days, 0], returns[: scenario.days, 1:]
    ratios = sharpe_ratio(variants)
    chosen = int(ratios.argmax())
    confirm = returns[scenario.days :, 1 + chosen], returns[scenario.days :, 0]
    trials = ratios.tolist()  # of one date: nothing was tried before
    verdict = judge(
        variants, champion, chosen=chosen, confirm=confirm, trials=trials, params=params, rng=rng, dates=[len(trials)]
    )
    annual = verdict.record["annual_sharpe"]
    better = scenario.better_by > 0
    return {
        "promoted": verdict.promoted,
        **(
            {"promoted the better one": verdict.promoted and chosen == 0, "chose the better one": chosen == 0} if better else {}
        ),
        **{condition.name: condition.passed for condition in verdict.conditions},
        **_plain_rules(returns, params.alpha, rng),
        "pbo": verdict.record["pbo"]["pbo"] if verdict.record["pbo"] else math.nan,
        "apparent": annual["winner"] - annual["champion"],
        "confirmed": annual["confirm_winner"] - annual["confirm_champion"],
    }


def _plain_rules(returns: FloatArray, alpha: float, rng: np.random.Generator) -> dict[str, bool]:
    """The best Sharpe ratio of all days, promoted by a two-sided test that corrects for nothing."""
    from scipy.stats import ttest_ind, ttest_rel

    ratios = sharpe_ratio(returns)
    best = 1 + int(ratios[1:].argmax())
    higher = bool(ratios[best] > ratios[0])
    pair = returns[:, best], returns[:, 0]
    memmel = sharpe_difference(*pair, rng, method="jkm")
    return {
        "plain: t-test of returns": higher and bool(ttest_ind(*pair, equal_var=False).pvalue < alpha),
        "plain: paired t-test of returns": higher and bool(ttest_rel(*pair).pvalue < alpha),
        "plain: Jobson-Korkie-Memmel": higher and memmel.p_two_sided < alpha,
    }


def _rate(name: str, count: int, campaigns: int) -> Rate:
    share, z2 = count / campaigns, 1.959964**2
    centre = (share + z2 / (2 * campaigns)) / (1 + z2 / campaigns)
    half = math.sqrt(z2 * share * (1 - share) / campaigns + z2 * z2 / (4 * campaigns**2)) / (1 + z2 / campaigns)
    return Rate(name, count, campaigns, share, max(0.0, centre - half), min(1.0, centre + half))


def quick(params: SignificanceParams) -> SignificanceParams:
    """`params` with fewer resamples and slices: enough to decide at 5 % in a simulation of hundreds of campaigns."""
    return replace(
        params,
        resamples=min(params.resamples, 2_000),
        set_resamples=min(params.set_resamples, 1_000),
        pbo_slices=min(params.pbo_slices, 8),
    )
