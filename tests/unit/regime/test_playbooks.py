from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.errors import ConfigError
from shared.domain.regime import Regime
from shared.regime.playbooks import MAX_LOOKBACK_BARS, Playbook, apply_playbook, longest_lookback_bars, merged
from shared.strategy.params import StrategyParams

BASE = StrategyParams()


def test_balanced_is_the_base() -> None:
    assert apply_playbook(BASE, Regime.BALANCED) == BASE


def test_calm_is_more_aggressive_and_stress_more_conservative() -> None:
    calm, stress = apply_playbook(BASE, Regime.CALM), apply_playbook(BASE, Regime.STRESS)
    assert calm.breakout_bars < BASE.breakout_bars < stress.breakout_bars
    assert calm.entry_threshold < BASE.entry_threshold < stress.entry_threshold
    assert len({calm.version, BASE.version, stress.version}) == 3


def test_the_base_is_left_alone() -> None:
    before = BASE.version
    apply_playbook(BASE, Regime.STRESS)
    assert BASE.version == before


def test_an_unknown_field_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"'entry_treshold'.*'entry_threshold'"):
        merged(BASE, Playbook(values={"entry_treshold": 0.3}))
    with pytest.raises(ConfigError, match="cannot be multiplied"):
        merged(BASE, Playbook(factors={"trend_hunter": 2.0}))


def test_values_win_over_factors() -> None:
    assert merged(BASE, Playbook({"entry_threshold": 2.0}, {"entry_threshold": 0.3})).entry_threshold == 0.3


def test_what_the_strategy_refuses_is_refused() -> None:
    with pytest.raises(ConfigError, match="exit_threshold"):
        merged(BASE, Playbook(values={"entry_threshold": 0.05}))


def test_the_look_back_is_bounded() -> None:
    assert longest_lookback_bars(BASE) <= MAX_LOOKBACK_BARS
    with pytest.raises(ConfigError, match="looks back"):
        merged(BASE, Playbook(values={"volatility_long_bars": 1500}))


def test_an_agents_share_follows_the_held_regime() -> None:
    agent = replace(StrategyParams().trend_hunter, share=2.0, regime_shares=(1.5, 1.0, 0.0))
    base = replace(StrategyParams(), trend_hunter=agent)
    shares = [apply_playbook(base, regime).trend_hunter.share for regime in Regime]
    assert shares == [3.0, 2.0, 0.0]
    once = apply_playbook(base, Regime.BALANCED)
    assert apply_playbook(once, Regime.BALANCED) == once
    with pytest.raises(ConfigError, match="regime_shares"):
        replace(agent, regime_shares=(1.0, -1.0, 1.0))
