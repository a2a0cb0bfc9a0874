"""Settings of the strategy: windows of the alphas, entry rules and weights of the agents, and the position policy.

A value, never a global: it is passed in, and `version` names its content, so that a decision can say which parameters made it.
`lookback_bars` is the trailing window of *curated rows* that a strategy value depends on; live needs the look-back of curation
on top of it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field, fields
from typing import NamedTuple

from shared.domain.errors import ConfigError
from shared.domain.ids import content_id
from shared.domain.regime import Regime


def _number(name: str, value: object) -> float:
    """`value` as a float, so that 3 and 3.0 are one setting with one version."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"strategy: {name} is {value!r}; expected a finite number")
    return float(value)


@dataclass(frozen=True, slots=True)
class AgentWeights:
    """Weights in an agent's combiner: its own entry rule and the five alphas. Negative reads an alpha against its sign."""

    entry: float = 1.0
    """the agent's own entry rule"""
    order_block_quality: float = 0.0
    """fresh order blocks near the price"""
    momentum: float = 0.0
    """direction × trend strength"""
    volatility: float = 0.0
    """moves with expanding volatility"""
    ml_confidence: float = 0.0
    """0 by default: until a model exists this alpha is a constant 0, which would only dilute the others"""
    liquidity: float = 0.0
    """volume-weighted pressure in liquid markets"""

    def __post_init__(self) -> None:
        for part in fields(self):
            object.__setattr__(self, part.name, _number(f"agent weight {part.name}", getattr(self, part.name)))


@dataclass(frozen=True, slots=True)
class AgentParams:
    """How one agent combines, where it trades and how much it counts."""

    weights: AgentWeights = field(default_factory=AgentWeights)
    """its combiner"""
    target_regimes: tuple[Regime, ...] = (Regime.CALM, Regime.BALANCED, Regime.STRESS)
    """the regimes in which it trades"""
    share: float = 1.0
    """its weight in the consensus before P(target regimes)"""
    regime_shares: tuple[float, ...] = (1.0, 1.0, 1.0)
    """factors on the share while calm, balanced, stress is held"""

    def __post_init__(self) -> None:
        # Settings read from YAML arrive as lists of strings.
        object.__setattr__(self, "target_regimes", tuple(Regime(regime) for regime in self.target_regimes))
        object.__setattr__(self, "share", _number("agent share", self.share))
        if self.share < 0:
            raise ConfigError(f"agent share is {self.share}; expected 0 or more")
        factors = tuple(_number("agent regime_shares", factor) for factor in self.regime_shares)
        object.__setattr__(self, "regime_shares", factors)
        if len(factors) != len(Regime) or min(factors) < 0:
            raise ConfigError(f"agent regime_shares are {list(factors)}; expected {len(Regime)} factors of 0 or more")


class PolicyParams(NamedTuple):
    """The numbers of `policy.target_position`, plain floats so that the backtest kernel can be compiled."""

    entry_threshold: float
    exit_threshold: float
    full_score: float
    target_volatility: float
    minimum_volatility: float
    max_leverage: float
    minimum_fraction: float
    rebalance_band: float
    stop_atr: float
    minimum_stop: float
    maximum_stop: float


def _trend_hunter() -> AgentParams:
    weights = AgentWeights(entry=1.0, momentum=1.0, volatility=0.25, order_block_quality=0.25)
    return AgentParams(weights, (Regime.CALM, Regime.BALANCED))


def _mean_reversion() -> AgentParams:
    return AgentParams(AgentWeights(entry=1.0, order_block_quality=0.5, momentum=-0.25), (Regime.CALM, Regime.BALANCED))


def _breakout_hunter() -> AgentParams:
    return AgentParams(AgentWeights(entry=1.0, volatility=0.5, liquidity=0.25), (Regime.BALANCED, Regime.STRESS))


def _volatility_filter() -> AgentParams:
    # Only its own entry, which is 0: an alpha in its combiner would make the brake push.
    return AgentParams(AgentWeights(entry=1.0), share=2.0)


def _sentiment_scout() -> AgentParams:
    return AgentParams(AgentWeights(entry=1.0), share=0.5)


def _liquidity_surfer() -> AgentParams:
    weights = AgentWeights(entry=1.0, liquidity=1.0, order_block_quality=0.25)
    return AgentParams(weights, (Regime.CALM, Regime.BALANCED))


def _rl_agent() -> AgentParams:
    return AgentParams(AgentWeights(entry=1.0))


@dataclass(frozen=True, slots=True)
class StrategyParams:
    """Every number of the strategy. A playbook replaces fields of this value by name."""

    swing_bars: int = 3
    """width of a swing on each side; a swing is confirmed this many bars later"""
    displacement_atr: float = 1.5
    """least body of a displacement bar, in ATR"""
    order_block_max_age_bars: int = 96
    """age at which an order block, and a swing that a displacement must break, is forgotten"""
    momentum_atr: float = 2.0
    """distance between the fast and the slow average, in ATR, that counts as a clear direction"""
    adx_floor: float = 15.0
    """ADX at which a trend starts to count"""
    adx_full: float = 35.0
    """ADX at which a trend counts in full"""
    volatility_long_bars: int = 168
    """bars of the usual volatility that the current one is compared with"""
    liquidity_bars: int = 24
    """bars of volume-weighted pressure and of current illiquidity"""
    liquidity_long_bars: int = 168
    """bars of the usual illiquidity"""
    reversion_band: float = 0.8
    """distance from the middle, in half Bollinger widths, at which mean reversion starts"""
    reversion_rsi: float = 12.0
    """distance of the RSI from 50 at which mean reversion starts"""
    breakout_bars: int = 48
    """bars of the channel that a breakout leaves"""
    breakout_hold_bars: int = 12
    """bars over which a breakout fades"""
    caution_ratio: float = 1.3
    """current / usual volatility at which the volatility filter starts to brake"""
    alarm_ratio: float = 2.5
    """current / usual volatility at which it votes for no position at all"""
    funding_bars: int = 336
    """bars of the usual funding rate"""
    funding_extreme: float = 1.5
    """standard deviations from the usual funding rate at which the crowd is one-sided"""
    funding_floor: float = 0.00002
    """least standard deviation of funding rates: below it they do not differ"""
    surge_volume: float = 1.0
    """volume z-score at which a bar is a surge"""
    surge_bars: int = 6
    """bars over which surges are averaged"""
    minimum_regime_probability: float = 0.2
    """P(target regimes) below which an agent stays out"""
    trend_hunter: AgentParams = field(default_factory=_trend_hunter)
    """follows confirmed trends"""
    mean_reversion: AgentParams = field(default_factory=_mean_reversion)
    """fades stretched moves in a range"""
    breakout_hunter: AgentParams = field(default_factory=_breakout_hunter)
    """follows a close outside its channel"""
    volatility_filter: AgentParams = field(default_factory=_volatility_filter)
    """pulls the consensus to 0 when volatility is unusual"""
    sentiment_scout: AgentParams = field(default_factory=_sentiment_scout)
    """fades a crowd that pays extreme funding"""
    liquidity_surfer: AgentParams = field(default_factory=_liquidity_surfer)
    """rides volume surges"""
    rl_agent: AgentParams = field(default_factory=_rl_agent)
    """votes the position of a trained policy; takes part only where `rl_policies` names one"""
    rl_policies: tuple[str, ...] = ()
    """train ids of the policies that the RL agent follows, one for each asset; empty: it is switched off"""
    rl_history_bars: int = 256
    """most bars that such a policy may depend on: its episode and its window"""
    entry_threshold: float = 0.25
    """|consensus| that opens or reverses a position"""
    exit_threshold: float = 0.1
    """|consensus| below which a position is closed"""
    full_score: float = 0.5
    """|consensus| that takes the whole volatility budget"""
    target_volatility: float = 0.2
    """annual volatility that one asset may bring to the account"""
    minimum_volatility: float = 0.05
    """annual volatility that is assumed at least"""
    max_leverage: float = 1.0
    """largest |notional| / equity of one asset"""
    minimum_fraction: float = 0.01
    """smallest position worth holding, as a fraction of equity"""
    rebalance_band: float = 0.3
    """relative change of a position that is worth a trade"""
    stop_atr: float = 3.0
    """distance of the protective stop in ATR"""
    minimum_stop: float = 0.01
    """least distance of the stop, as a fraction of price"""
    maximum_stop: float = 0.15
    """largest distance of the stop, as a fraction of price"""

    def __post_init__(self) -> None:
        # Settings read from YAML arrive as lists.
        object.__setattr__(self, "rl_policies", tuple(self.rl_policies))
        for part in fields(self):
            value = getattr(self, part.name)
            if part.name.endswith("_bars") and not (isinstance(value, int) and 1 <= value <= 2000):
                raise ConfigError(f"strategy.{part.name} is {value}; expected 1 to 2000 bars")
            if isinstance(part.default, float):
                object.__setattr__(self, part.name, _number(part.name, value))
                if value < 0:
                    raise ConfigError(f"strategy.{part.name} is {value}; expected 0 or more")
        self._check_order("adx_floor", "adx_full")
        self._check_order("caution_ratio", "alarm_ratio")
        self._check_order("minimum_stop", "maximum_stop")
        self._check_order("exit_threshold", "entry_threshold", "full_score")
        for name, low, high in _RANGES:
            if not low < getattr(self, name) <= high:
                raise ConfigError(f"strategy.{name} is {getattr(self, name)}; expected more than {low} and at most {high}")

    def _check_order(self, *names: str) -> None:
        values = [getattr(self, name) for name in names]
        if any(low >= high for low, high in itertools.pairwise(values)):
            raise ConfigError(f"strategy: expected {' < '.join(names)}, found {' '.join(map(str, values))}")

    @property
    def version(self) -> str:
        """Identifier of the content: the same numbers have the same version in every process."""
        return content_id("p", asdict(self))

    @property
    def lookback_bars(self) -> int:
        """Curated rows (past their own look-back) that a consensus row depends on."""
        # A block lives up to its age and broke a swing of up to that age, which took `swing_bars` on both sides to find.
        order_block = 2 * (self.order_block_max_age_bars + self.swing_bars)
        breakout = self.breakout_bars + self.breakout_hold_bars
        windows = (self.volatility_long_bars, self.liquidity_bars, self.liquidity_long_bars, self.funding_bars, self.surge_bars)
        policy = self.rl_history_bars if self.rl_policies else 0
        return 1 + max(order_block, breakout, policy, *windows)

    @property
    def policy(self) -> PolicyParams:
        """The numbers of the position policy."""
        return PolicyParams(*(float(getattr(self, name)) for name in PolicyParams._fields))


_RANGES = (
    ("displacement_atr", 0.0, 20.0),
    ("momentum_atr", 0.0, 100.0),
    ("reversion_band", 0.0, 5.0),
    ("reversion_rsi", 0.0, 49.0),
    ("funding_floor", 0.0, 0.01),
    ("full_score", 0.0, 1.0),
    ("target_volatility", 0.0, 5.0),
    ("minimum_volatility", 0.0, 5.0),
    ("max_leverage", 0.0, 20.0),
    ("stop_atr", 0.0, 50.0),
    ("minimum_stop", 0.0, 1.0),
    ("maximum_stop", 0.0, 0.99),
)
"""Field, excluded lower bound, included upper bound."""
