"""Parameters of a backtest's account, and of the one cost model that backtest, paper exchange and live report share.

Defaults of the costs are the published fees of a regular USD-M account and a cautious spread for liquid perpetuals. Every one
of them is in basis points (1 bps = 0.0001) of notional, so that a fee and a spread can be compared at a glance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CostParams:
    """What trading costs."""

    taker_fee_bps: float = 5.0
    """fee of an order that takes liquidity, bps of notional"""
    maker_fee_bps: float = 2.0
    """fee of an order that rested and was hit, bps of notional"""
    half_spread_bps: float = 1.0
    """distance from the reference price to the side that a taker pays, bps"""
    impact_bps: float = 10.0
    """slippage of an order as large as the bar's traded notional, bps; smaller orders pay by the square root"""
    max_impact_bps: float = 100.0
    """upper bound of the impact, bps: reached where nothing was traded"""
    stop_slippage_bps: float = 2.0
    """additional slippage of a triggered stop, bps: stops fill in a moving market"""
    liquidation_fee_bps: float = 125.0
    """fee that a liquidation pays to the insurance fund, bps of notional"""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not math.isfinite(value) or not 0 <= value < 10_000:
                raise ConfigError(f"costs.{item.name} is {value}; expected basis points in [0, 10000)")


@dataclass(frozen=True, slots=True)
class BacktestParams:
    """The account that a backtest trades on."""

    capital: float = 10_000.0
    """wallet at the start, quote currency"""
    leverage: int = 3
    """leverage of every symbol: it decides how much margin an order needs, not how large it is"""
    costs: CostParams = field(default_factory=CostParams)
    """what trading costs"""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.capital) and self.capital > 0):
            raise ConfigError(f"backtest.capital is {self.capital}; expected a positive amount of quote currency")
        if self.leverage < 1 or self.leverage != int(self.leverage):
            raise ConfigError(f"backtest.leverage is {self.leverage}; expected a whole number, 1 or more")
