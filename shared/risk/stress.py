"""What would happen to the positions of this moment in the worst weeks of the past, and under sudden shocks.

A position is signed notional / equity and is held unchanged in base units: neither the strategy nor its stops react, so that a
number here is the gap risk, not a forecast. A window is replayed with the asset's own candles where they exist, else with its
beta times the move of the reference asset (BTC), and says which. Results are profit / equity; -1 is everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from shared.domain.candles import Candles, FloatArray
from shared.domain.interval import DAY_MS, parse_date_ms
from shared.risk.report_params import RiskReportParams

REFERENCE = "BTCUSDT"
"""The asset whose moves stand in for those of an asset that was not traded yet."""


@dataclass(frozen=True, slots=True)
class StressWindow:
    """A stretch of the past that hurt, and what BTC did in it, for books that have no candles of those days."""

    name: str
    about: str
    start_ms: int
    end_ms: int
    reference_worst: float
    """lowest hourly close of the BTCUSDT perpetual on Binance against the last one before the window"""
    reference_end: float


WINDOWS = (
    StressWindow("2020-03-12", "Covid crash", parse_date_ms("2020-03-12"), parse_date_ms("2020-03-14"), -0.488, -0.298),
    StressWindow("2021-05-19", "China's mining ban", parse_date_ms("2021-05-19"), parse_date_ms("2021-05-20"), -0.182, -0.144),
    StressWindow("2022-06", "Celsius, Three Arrows", parse_date_ms("2022-06-01"), parse_date_ms("2022-07-01"), -0.440, -0.373),
    StressWindow("2022-11", "FTX", parse_date_ms("2022-11-01"), parse_date_ms("2022-12-01"), -0.237, -0.163),
)


@dataclass(frozen=True, slots=True)
class StressResult:
    """What one scenario does to the book, as a fraction of equity (negative: a loss)."""

    name: str
    about: str
    worst: float
    """on the way; equal to `end` where a scenario has no way"""
    end: float
    proxied: tuple[str, ...] = ()
    """symbols whose own candles do not reach there: beta times the reference"""


@dataclass(frozen=True, eq=False, slots=True)
class Covariation:
    """How the assets of a book moved together over the newest days: rows and columns in the order of `symbols`."""

    symbols: tuple[str, ...]
    deviation: FloatArray
    """(a,) of daily returns"""
    correlation: FloatArray
    """(a, a)"""
    beta: FloatArray
    """(a,) to the reference; 1 where it is not known"""
    days: int


def covariation(daily: Mapping[str, Mapping[int, float]], symbols: Sequence[str], params: RiskReportParams) -> Covariation:
    """From daily returns by symbol and day (ms), the newest `beta_days` of them that all assets share.

    Without 20 common days: the deviation of each asset's own days (0 without any), correlation 1 between all, beta 1.
    """
    known = [daily.get(symbol, {}) for symbol in symbols]
    common = sorted(set.intersection(*(set(part) for part in known)))[-params.beta_days :] if known else []
    if len(common) < 20:
        deviation = np.array([float(np.std(list(part.values())[-params.beta_days :] or [0.0])) for part in known])
        return Covariation(tuple(symbols), deviation, np.ones((len(known),) * 2), np.ones(len(known)), 0)
    table = np.array([[part[day] for day in common] for part in known])
    deviation = table.std(axis=1)
    apart = table - table.mean(axis=1, keepdims=True)
    scale = np.where(deviation > 0, deviation, 1.0)
    correlation = (apart @ apart.T) / len(common) / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return Covariation(tuple(symbols), deviation, correlation, _betas(known, daily.get(REFERENCE, {}), common), len(common))


def _betas(known: Sequence[Mapping[int, float]], reference: Mapping[int, float], days: Sequence[int]) -> FloatArray:
    """Slopes of the assets' returns on the reference's over `days` on which it is known too."""
    shared = [day for day in days if day in reference]
    market = np.array([reference[day] for day in shared])
    if len(shared) < 20 or market.std() == 0:
        return np.ones(len(known))
    apart = market - market.mean()
    return np.array([float(apart @ np.array([part[day] for day in shared]) / (apart @ apart)) for part in known])


def daily_moves(candles: Candles) -> dict[int, float]:
    """Simple returns from the last close of a UTC day to that of the next day with bars, by the day's midnight (ms)."""
    days = (candles.close_time - 1) // DAY_MS * DAY_MS
    lasts = np.flatnonzero(np.append(days[1:] != days[:-1], True)) if len(days) else np.zeros(0, dtype=np.int64)
    closes = candles.close[lasts]
    return {
        int(day): float(now / before - 1) for day, now, before in zip(days[lasts][1:], closes[1:], closes[:-1], strict=True)
    }


def replay(
    window: StressWindow, positions: Mapping[str, float], candles: Mapping[str, Candles], betas: Mapping[str, float]
) -> StressResult:
    """The book's way through a window. `positions`: signed notional / equity by symbol; `candles` of whatever is known."""
    grid = np.arange(window.start_ms, window.end_ms + 1, 3_600_000, dtype=np.int64)
    reference = _moves(candles.get(REFERENCE), window, grid)
    total: FloatArray = np.zeros(len(grid))
    proxied = []
    for symbol, fraction in positions.items():
        moves = _moves(candles.get(symbol), window, grid)
        if moves is None:
            proxied.append(symbol)
            beta = betas.get(symbol, 1.0)
            # Without any candle of those days: the reference falls to its low at half time and ends where it ended.
            known = np.interp(
                grid, [grid[0], grid[len(grid) // 2], grid[-1]], [0.0, window.reference_worst, window.reference_end]
            )
            moves = np.maximum(beta * (known if reference is None else reference), -1.0)
        total += fraction * moves
    return StressResult(window.name, window.about, float(min(total.min(), 0.0)), float(total[-1]), tuple(proxied))


def _moves(candles: Candles | None, window: StressWindow, grid: np.ndarray) -> FloatArray | None:
    """Close / last close before the window - 1 at each instant of `grid`; `None` where the candles do not reach over it."""
    if candles is None or not len(candles) or candles.close_time[0] > window.start_ms or candles.close_time[-1] < window.end_ms:
        return None
    closes = candles.close[np.searchsorted(candles.close_time, grid, side="right") - 1]
    moves: FloatArray = closes / closes[0] - 1.0
    return moves


def shocks(positions: Mapping[str, float], together: Covariation, params: RiskReportParams) -> list[StressResult]:
    """Hypothetical scenarios of one day: every price at once, volatility, correlation, funding.

    Without common days of candles nothing is known of volatility: those scenarios are left out, a loss of 0 would be a lie.
    """
    held = np.array([positions.get(symbol, 0.0) for symbol in together.symbols])
    net = float(sum(positions.values()))
    results = [
        StressResult(f"all prices {move:+.0%}", "at once, before anything can react", min(net * move, 0.0), net * move + 0.0)
        for move in params.shocks
    ]
    spread = held * together.deviation
    usual = math.sqrt(max(float(spread @ together.correlation @ spread), 0.0))
    joint = float(np.sum(np.abs(spread)))
    z = NormalDist().inv_cdf(0.99)
    factor = params.volatility_factor
    paid = -float(sum(abs(part) for part in positions.values())) * params.funding_spike * params.funding_stamps
    losses = (
        ()
        if not together.days
        else (
            ("usual volatility", "loss of one day in a hundred, normal distribution", -z * usual),
            (f"volatility x {factor:g}", "the same, every asset that much more volatile", -z * usual * factor),
            ("correlation 1", "the same, every position losing on the same day", -z * joint),
            (f"volatility x {factor:g}, correlation 1", "both", -z * joint * factor),
        )
    )
    funding = ("funding spike", f"{params.funding_spike:.2%} x {params.funding_stamps} stamps against every position", paid)
    return [*results, *(StressResult(name, about, loss, loss) for name, about, loss in (*losses, funding))]
