"""Everything that a decision depends on besides the market and the book, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from shared.data.params import CurationParams
from shared.domain.errors import ConfigError
from shared.domain.ids import content_id
from shared.domain.interval import Interval
from shared.domain.regime import Regime
from shared.regime.classify import bars_needed
from shared.regime.params import RegimeParams
from shared.regime.playbooks import apply_playbook
from shared.risk.params import RiskParams
from shared.strategy.params import StrategyParams
from shared.trading.execution import ExecutionParams


@dataclass(frozen=True)
class SystemParams:
    """The parameters of all rooms on the decision path. `version` names their content."""

    curation: CurationParams = field(default_factory=CurationParams)
    regime: RegimeParams = field(default_factory=RegimeParams)
    strategy: StrategyParams = field(default_factory=StrategyParams)
    risk: RiskParams = field(default_factory=RiskParams)
    execution: ExecutionParams = field(default_factory=ExecutionParams)
    max_decision_age: float = 0.25
    """age of a bar, in bars after its close, beyond which a decision on it is recorded but not traded"""

    def __post_init__(self) -> None:
        if not 0 < self.max_decision_age <= 1:
            raise ConfigError(f"max_decision_age is {self.max_decision_age}; expected a part of a bar in (0, 1]")

    @cached_property
    def version(self) -> str:
        """Content id of everything that can change a decision; how orders are sent cannot."""
        rooms = {name: asdict(getattr(self, name)) for name in ("curation", "regime", "strategy", "risk")}
        return content_id("p", {**rooms, "max_decision_age": self.max_decision_age})

    def in_lockstep(self) -> SystemParams:
        """The same for runs in lockstep, where nothing happens between two bars.

        Nothing is sliced, and the fate of an order is waited for to its end: waiting takes no time there, and what is put off
        to the next bar would be too old.
        """
        patience_s = max(self.execution.answer_patience_s, self.execution.resend_grace_s, self.execution.closing_grace_s)
        return replace(self, execution=replace(self.execution, twap_notional=0.0, answer_patience_s=patience_s))

    @cached_property
    def strategies(self) -> Mapping[Regime, StrategyParams]:
        """The strategy of each regime: the base merged with its playbook."""
        return {regime: apply_playbook(self.strategy, regime) for regime in Regime}

    @cached_property
    def strategy_lookback_bars(self) -> int:
        """Curated rows that the strategy needs in whatever regime comes."""
        return max(strategy.lookback_bars for strategy in self.strategies.values())

    @cached_property
    def decision_bars(self) -> int:
        """Bars that a decision is computed from: with more of them it would be the same to 1e-9."""
        return self.curation.lookback_bars + self.strategy_lookback_bars + 1

    @property
    def warmup_bars(self) -> int:
        """Bars before the first trade: the shortest training window and the look-back of its features, or of a decision."""
        return max(self.decision_bars, self.curation.lookback_bars + self.regime.min_train_bars)

    def window_bars(self, interval: Interval) -> int:
        """Bars to keep in memory: what a refit trains on, and what the filter of a new model starts from."""
        since_refit = round(self.regime.refit_days * interval.bars_per_day)
        training = self.regime.train_bars + since_refit
        return self.curation.lookback_bars + max(training, bars_needed(interval, self.regime), self.strategy_lookback_bars + 1)
