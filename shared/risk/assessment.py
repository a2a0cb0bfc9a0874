"""All risk numbers of a book at one moment: what its days say, what chance could do, what the past and a shock would do, Kelly.

Pure: values in, `Assessment` out. What too little history cannot say is left out and named in `notes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.domain.candles import Candles, FloatArray
from shared.risk.kelly import kelly_cap, kelly_exposure
from shared.risk.monte_carlo import LEAST_DAYS, MonteCarlo, simulate
from shared.risk.params import RiskParams
from shared.risk.report_params import RiskReportParams
from shared.risk.stress import REFERENCE, WINDOWS, StressResult, covariation, daily_moves, replay, shocks
from shared.risk.value_at_risk import LEVELS, ValueAtRisk, least_observations, value_at_risk

_FEW_DAYS = 180  # a record below half a year is called short


@dataclass(frozen=True, slots=True)
class BookNow:
    """What is assessed. Fractions are of equity."""

    name: str
    generated: bool
    time_ms: int
    equity: float
    positions: Mapping[str, float]
    """signed notional / equity by symbol"""
    daily_returns: FloatArray
    """(d,)"""
    unit_returns: FloatArray
    """(n,) per-bar returns of one unit of exposure while a position was held"""


@dataclass(frozen=True, eq=False, slots=True)
class Assessment:
    """The numbers, ready to be shown."""

    book: BookNow
    value_at_risk: tuple[ValueAtRisk, ...]
    monte_carlo: MonteCarlo | None
    drawdown_depths: tuple[float, ...]
    windows: tuple[StressResult, ...]
    shocks: tuple[StressResult, ...]
    kelly: float
    """quarter Kelly exposure of the record, 0 where its mean is not positive"""
    kelly_cap: float
    """the cap that sizing uses: the leverage limit until there is a record"""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; the fan by day at its quantiles."""
        chance = self.monte_carlo
        simulated = None
        if chance is not None:
            depths = {f"{depth:g}": chance.drawdown_probability(depth) for depth in self.drawdown_depths}
            simulated = {
                "days": chance.days,
                "horizon_days": chance.horizon_days,
                "mean_block_days": chance.mean_block_days,
                "final_return": chance.final_quantiles(),
                "loss_probability": chance.loss_probability(),
                "drawdown_probability": depths,
                "fan": {name: row.tolist() for name, row in zip(chance.final_quantiles(), chance.fan, strict=True)},
            }
        return {
            "book": self.book.name,
            "generated": self.book.generated,
            "time_ms": self.book.time_ms,
            "equity": self.book.equity,
            "positions": dict(self.book.positions),
            "days": len(self.book.daily_returns),
            "value_at_risk": [asdict(row) for row in self.value_at_risk],
            "monte_carlo": simulated,
            "stress_windows": [asdict(row) for row in self.windows],
            "shocks": [asdict(row) for row in self.shocks],
            "kelly": {"exposure": self.kelly, "cap": self.kelly_cap, "bars": len(self.book.unit_returns)},
            "notes": list(self.notes),
        }


def assess(
    book: BookNow,
    candles: Mapping[str, Candles],
    risk: RiskParams,
    params: RiskReportParams,
    rng: np.random.Generator,
) -> Assessment:
    """Every number of `book`. `candles` of its symbols and of the reference asset, as far as they are known."""
    returns = book.daily_returns
    found = [value_at_risk(returns, level) for level in LEVELS]
    notes = [
        f"{len(returns)} days are too few for a value at risk of {level:.0%}: {least_observations(level)} are needed"
        for level, one in zip(LEVELS, found, strict=True)
        if one is None
    ]
    notes += [
        f"VaR {one.level:.0%}: {one.cornish_fisher_note}; historical instead"
        for one in found
        if one and one.cornish_fisher_note
    ]
    chance = None
    if len(returns) >= LEAST_DAYS:
        chance = simulate(
            returns, rng, paths=params.paths, horizon_days=params.horizon_days, mean_block_days=params.mean_block_days
        )
        if len(returns) < _FEW_DAYS:
            notes.append(f"the simulation knows only {len(returns)} days: a bad year is hardly among them")
    else:
        notes.append(f"{len(returns)} days are too few for a simulation: {LEAST_DAYS} are needed")
    moves = {symbol: daily_moves(bars) for symbol, bars in candles.items()}
    together = covariation(moves, tuple(book.positions), params)
    if book.positions and not together.days:
        notes.append(
            "too few common days of candles: beta is taken as 1, and the shocks of volatility and correlation are left out"
        )
    elif book.positions and REFERENCE not in candles:
        notes.append(f"no candles of {REFERENCE}: beta is taken as 1")
    betas = dict(zip(together.symbols, together.beta.tolist(), strict=True))
    if not book.positions:
        notes.append("no position is open: stress and shocks would do nothing")
    return Assessment(
        book=book,
        value_at_risk=tuple(one for one in found if one is not None),
        monte_carlo=chance,
        drawdown_depths=params.drawdowns,
        windows=tuple(replay(window, book.positions, candles, betas) for window in WINDOWS) if book.positions else (),
        shocks=tuple(shocks(book.positions, together, params)) if book.positions else (),
        kelly=kelly_exposure(book.unit_returns, risk),
        kelly_cap=kelly_cap(book.unit_returns, risk),
        notes=tuple(notes),
    )
