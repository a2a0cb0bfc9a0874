"""What a world is made of, and how a run has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from cloudrun.exchange.depth import Depth
from cloudrun.simulation.analyst import Habits, SimulatedParams
from cloudrun.simulation.faults import FaultPlan
from cloudrun.simulation.market import MarketShape
from shared.domain.asset import Universe
from shared.domain.interval import Interval, parse_date_ms
from shared.regime.params import RegimeParams
from shared.risk.params import RiskParams
from shared.strategy.params import StrategyParams
from shared.trading.execution_params import ExecutionParams
from shared.trading.params import SystemParams
from shared.trading.session import SessionSpec
from shared.trading.trader_params import TraderParams

BOOK = "simulated"
START_MS = parse_date_ms("2025-07-01")
CAPITAL = Decimal(10_000)
LEASE_TTL_MS = 24_000
LEVERAGE = 5


SLOW_TRADER = TraderParams(
    tick_s=7.5, heartbeat_s=30.0, silence_s=20.0, quote_fresh_s=12.0, reconcile_s=120.0, stops_s=60.0, standby_poll_s=6.0
)
"""Looks less often than a real one: most of a seed's time would be spent on looks at nothing"""


class Mode(StrEnum):
    """How the session is run."""

    STREAM = "stream"
    """the trader, fed by streams"""
    SCHEDULE = "schedule"
    """one request for each bar: open, step, close"""
    LOOP = "loop"
    """one session that is stepped at each bar close, without streams"""


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """What a world is made of. Everything else follows from the seed."""

    seed: int
    mode: Mode = Mode.STREAM
    plan: FaultPlan = field(default_factory=FaultPlan)
    symbols: tuple[str, ...] = ("BTCUSDT",)
    interval: Interval = Interval.M1
    bars: int = 6
    """bars with faults"""
    quiet_bars: int = 4
    """bars without faults before the end"""
    shape: MarketShape = field(default_factory=MarketShape)
    habits: Habits = field(default_factory=Habits)
    risk: RiskParams = field(default_factory=RiskParams)
    execution: ExecutionParams = field(default_factory=ExecutionParams)
    max_decision_age: float = SystemParams.max_decision_age
    """part of a bar within which its decision may be carried out"""
    depth: Depth | None = None
    """how much a market order can take at once"""
    standby: bool = False
    """whether a second process waits for the lease from the start"""
    real_analyst: bool = False
    """whether the real models and alphas decide, instead of a script"""
    start_ms: int = START_MS
    rotate_after_s: float = 23 * 3600.0
    """life of a stream's connection"""
    tick_s: float = 5.0
    """distance of the market's messages"""

    trader: TraderParams = field(default_factory=lambda: SLOW_TRADER)

    @property
    def params(self) -> SystemParams:
        """Of the system that trades."""
        if self.real_analyst:
            regime = RegimeParams(train_bars=800, min_train_bars=500, burn_in_bars=200)
            return SystemParams(regime=regime, risk=self.risk, execution=self.execution)
        strategy = StrategyParams(minimum_stop=0.004)
        return SimulatedParams(
            strategy=strategy, risk=self.risk, execution=self.execution, max_decision_age=self.max_decision_age
        )

    @property
    def faults_end_s(self) -> float:
        """Where the quiet period begins, simulated seconds."""
        return self.bars * self.interval.ms / 1000

    @property
    def end_s(self) -> float:
        """Where it ends."""
        return self.faults_end_s + self.quiet_bars * self.interval.ms / 1000

    def session(self, holder: str) -> SessionSpec:
        """What the process `holder` trades."""
        return SessionSpec(
            book=BOOK,
            holder=holder,
            universe=Universe.of("binanceusdm", self.symbols),
            interval=self.interval,
            params=self.params,
            leverage=LEVERAGE,
            code_version="simulated",
            lease_ttl_ms=LEASE_TTL_MS,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    seed: int
    violations: tuple[str, ...]
    fingerprint: str
    """of everything that happened"""
    last_lines: tuple[str, ...]
    """the end of the story, where something was violated"""
    orders: int
    fills: int
    decisions: int
    processes: int
    faults: int
