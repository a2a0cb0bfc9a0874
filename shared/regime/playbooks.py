"""What changes with the regime: a playbook is a set of strategy parameters that is merged onto the base, frozen.

Calm is aggressive (shorter look-back, lower thresholds), balanced standard, stress conservative (longer look-back, higher
thresholds), as in reference document 1, flow 3, step 4. Nothing global is swapped: the merge returns a new value whose
`version` names it. Factors act on the base, so that a champion's parameters stay in proportion. Invariant: the merged
look-back never exceeds `MAX_LOOKBACK_BARS`, which is what the live window is sized for.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from shared.domain.errors import ConfigError
from shared.domain.regime import REGIMES, Regime
from shared.strategy.params import AgentParams, StrategyParams

MAX_LOOKBACK_BARS = 1000
"""Curated rows that a merged strategy may need."""
_EVEN = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Playbook:
    """Changes for one regime: `factors` multiply the base value of a field, `values` replace it and win."""

    factors: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


DEFAULT_PLAYBOOKS: Mapping[Regime, Playbook] = MappingProxyType(
    {
        Regime.CALM: Playbook(
            factors={"breakout_bars": 0.75, "liquidity_bars": 0.75, "entry_threshold": 0.9, "exit_threshold": 0.9}
        ),
        Regime.BALANCED: Playbook(),
        Regime.STRESS: Playbook(
            factors={
                "breakout_bars": 1.5,
                "liquidity_bars": 1.5,
                "entry_threshold": 1.4,
                "exit_threshold": 1.4,
                "full_score": 1.2,
                "surge_volume": 1.25,
            }
        ),
    }
)
"""The playbooks of the reference document, in this strategy's fields."""


def merged(base: StrategyParams, playbook: Playbook) -> StrategyParams:
    """`base` with a playbook's changes. Raises `ConfigError` for an unknown field, a field without a size, or values that
    the strategy refuses."""
    changes: dict[str, Any] = {}
    for name, factor in playbook.factors.items():
        value = _field(base, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"playbook: {name} is no number and cannot be multiplied; give it a value instead")
        changes[name] = max(1, round(value * factor)) if isinstance(value, int) else value * factor
    for name, value in playbook.values.items():
        _field(base, name)
        changes[name] = value
    result = dataclasses.replace(base, **changes)
    if result.lookback_bars > MAX_LOOKBACK_BARS:
        raise ConfigError(
            f"playbook: the merged strategy looks back {result.lookback_bars} bars, at most {MAX_LOOKBACK_BARS} are kept; "
            f"shorten {', '.join(changes) or 'the base parameters'}"
        )
    return result


def apply_playbook(
    base: StrategyParams, regime: Regime, playbooks: Mapping[Regime, Playbook] = DEFAULT_PLAYBOOKS
) -> StrategyParams:
    """The strategy of a regime: `base` with the agents' shares of that regime, merged with its playbook where it has one."""
    base = _with_regime_shares(base, regime)
    playbook = playbooks.get(regime)
    return base if playbook is None else merged(base, playbook)


def _with_regime_shares(base: StrategyParams, regime: Regime) -> StrategyParams:
    """`base` with each agent's share multiplied by its factor of `regime`; the factors are used up."""
    changes: dict[str, Any] = {}
    for entry in dataclasses.fields(base):
        agent = getattr(base, entry.name)
        if isinstance(agent, AgentParams) and agent.regime_shares != _EVEN:
            share = agent.share * agent.regime_shares[REGIMES.index(regime)]
            changes[entry.name] = dataclasses.replace(agent, share=share, regime_shares=_EVEN)
    return dataclasses.replace(base, **changes) if changes else base


def longest_lookback_bars(base: StrategyParams, playbooks: Mapping[Regime, Playbook] = DEFAULT_PLAYBOOKS) -> int:
    """Curated rows that the strategy needs in whatever regime comes."""
    return max(apply_playbook(base, regime, playbooks).lookback_bars for regime in Regime)


def _field(base: StrategyParams, name: str) -> Any:
    names = [entry.name for entry in dataclasses.fields(base)]
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise ConfigError(f"playbook: the strategy has no parameter {name!r}; the nearest one is {nearest!r}")
    return getattr(base, name)
