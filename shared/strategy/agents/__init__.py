"""The six agents, in the fixed order of the consensus, and the seventh, which takes part where a trained policy speaks."""

from __future__ import annotations

from shared.domain.frame import Frame
from shared.strategy.agents.base import TradingAgent
from shared.strategy.agents.breakout_hunter import BREAKOUT_HUNTER
from shared.strategy.agents.liquidity_surfer import LIQUIDITY_SURFER
from shared.strategy.agents.mean_reversion import MEAN_REVERSION
from shared.strategy.agents.rl_agent import RL_AGENT, RL_COLUMN
from shared.strategy.agents.sentiment_scout import SENTIMENT_SCOUT
from shared.strategy.agents.trend_hunter import TREND_HUNTER
from shared.strategy.agents.volatility_filter import VOLATILITY_FILTER

AGENTS: tuple[TradingAgent, ...] = (
    TREND_HUNTER,
    MEAN_REVERSION,
    BREAKOUT_HUNTER,
    VOLATILITY_FILTER,
    SENTIMENT_SCOUT,
    LIQUIDITY_SURFER,
)
"""Column order of every (n, agents) array; each name is a field of `StrategyParams`."""

AGENT_NAMES: tuple[str, ...] = tuple(agent.name for agent in AGENTS)


def agents_of(frame: Frame) -> tuple[TradingAgent, ...]:
    """The agents that vote over `frame`, in column order: the six, and the RL agent where its policy was asked."""
    return (*AGENTS, RL_AGENT) if RL_COLUMN in frame.columns else AGENTS
