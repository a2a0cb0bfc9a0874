"""RL agent, the seventh: votes the position that a trained policy would hold, read from the frame's `rl_score` column.

It takes part only where `strategy.rl_policies` names a policy for the asset: then the column is there, put there by
`rl_policy.with_newest_rl_score` (live) or `with_rl_scores` (research). A flat policy votes 0, which shrinks the consensus.
"""

from __future__ import annotations

import numpy as np

from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams

RL_COLUMN = "rl_score"
"""Column of a frame that carries the positions of the policy in force"""


def _read(frame: Frame, params: StrategyParams) -> Reading:
    return Reading(frame.columns.get(RL_COLUMN, np.full(len(frame), np.nan)))


def _explain(frame: Frame, params: StrategyParams) -> str:
    held = float(_read(frame, params).entry[-1])
    if np.isnan(held):
        return "no policy speaks at this bar"
    return "its policy holds nothing" if held == 0 else f"its policy holds {held:+.2f} of a full position"


RL_AGENT = TradingAgent("rl_agent", _read, _explain, ())
