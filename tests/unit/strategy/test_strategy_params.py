from dataclasses import replace

import pytest

from shared.domain.errors import ConfigError
from shared.domain.regime import Regime
from shared.strategy.params import AgentParams, AgentWeights, StrategyParams


def test_the_version_names_the_content() -> None:
    assert StrategyParams().version == StrategyParams().version
    assert StrategyParams().version.startswith("p-")
    versions = {
        StrategyParams().version,
        replace(StrategyParams(), entry_threshold=0.26).version,
        replace(StrategyParams(), trend_hunter=AgentParams(AgentWeights(momentum=0.5))).version,
    }
    assert len(versions) == 3
    assert StrategyParams(stop_atr=3).version == StrategyParams(stop_atr=3.0).version


def test_the_look_back_covers_every_window() -> None:
    assert StrategyParams(funding_bars=500).lookback_bars == 501
    assert StrategyParams(order_block_max_age_bars=400).lookback_bars >= 806


def test_target_regimes_may_be_read_from_text() -> None:
    assert AgentParams(target_regimes=["calm", "stress"]).target_regimes == (Regime.CALM, Regime.STRESS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"entry_threshold": 0.05}, "expected exit_threshold < entry_threshold < full_score, found 0.1 0.05 0.5"),
        ({"full_score": 1.5}, "strategy.full_score is 1.5; expected more than 0.0 and at most 1.0"),
        ({"swing_bars": 0}, "strategy.swing_bars is 0; expected 1 to 2000 bars"),
        ({"breakout_bars": 4.5}, "strategy.breakout_bars is 4.5; expected 1 to 2000 bars"),
        ({"stop_atr": float("nan")}, "strategy: stop_atr is nan; expected a finite number"),
        ({"stop_atr": "wide"}, "strategy: stop_atr is 'wide'; expected a finite number"),
        ({"funding_extreme": -0.5}, "strategy.funding_extreme is -0.5; expected 0 or more"),
        ({"target_volatility": 0.0}, "strategy.target_volatility is 0.0; expected more than 0.0"),
        ({"caution_ratio": 3.0}, "expected caution_ratio < alarm_ratio"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StrategyParams(**settings)  # type: ignore[arg-type]


def test_impossible_agents_are_refused() -> None:
    with pytest.raises(ConfigError, match="agent share is -1"):
        AgentParams(share=-1.0)
    with pytest.raises(ConfigError, match="agent weight momentum is nan; expected a finite number"):
        AgentWeights(momentum=float("nan"))
