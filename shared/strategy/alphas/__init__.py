"""The five alphas: array functions over a curated frame with values in [-1, 1], positive for long.

Each value depends only on bars up to its own, and on a bounded window of them (`StrategyParams.lookback_bars`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.alphas.liquidity import describe_liquidity, liquidity
from shared.strategy.alphas.ml_confidence import describe_ml_confidence, ml_confidence
from shared.strategy.alphas.momentum import describe_momentum, momentum
from shared.strategy.alphas.order_block_quality import describe_order_block_quality, order_block_quality
from shared.strategy.alphas.volatility import describe_volatility, volatility
from shared.strategy.params import StrategyParams


@dataclass(frozen=True, slots=True)
class Alpha:
    """A named score over the bars of a frame."""

    name: str
    compute: Callable[[Frame, StrategyParams], FloatArray]
    """frame of n bars -> (n,) in [-1, 1]"""
    describe: Callable[[Frame, float, StrategyParams], str]
    """frame, score of its last row -> a reason for a person"""
    reads: tuple[str, ...] | None = None
    """fields of `StrategyParams` that `compute` depends on, so that a sweep computes it once for each combination of them;
    `None` is every field"""


_ORDER_BLOCK = ("swing_bars", "displacement_atr", "order_block_max_age_bars")

ALPHAS: dict[str, Alpha] = {
    alpha.name: alpha
    for alpha in (
        Alpha("order_block_quality", order_block_quality, describe_order_block_quality, _ORDER_BLOCK),
        Alpha("momentum", momentum, describe_momentum, ("momentum_atr", "adx_floor", "adx_full")),
        Alpha("volatility", volatility, describe_volatility, ("volatility_long_bars", "momentum_atr")),
        Alpha("ml_confidence", ml_confidence, describe_ml_confidence, ()),
        Alpha("liquidity", liquidity, describe_liquidity, ("liquidity_bars", "liquidity_long_bars")),
    )
}
"""The registry, in its fixed order; the names are the fields of `AgentWeights`."""


def compute_alphas(frame: Frame, params: StrategyParams) -> dict[str, FloatArray]:
    """Every alpha over the frame, by name in the order of the registry, (n,) each."""
    return {name: alpha.compute(frame, params) for name, alpha in ALPHAS.items()}
