"""What an audit asks: the curated features, the regime's features, every alpha and agent, and the user's plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.params import CurationParams
from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.regime.features import regime_features
from shared.strategy.agents import AGENTS
from shared.strategy.alphas import ALPHAS, compute_alphas
from shared.strategy.params import StrategyParams
from shared.strategy.plugins import Plugin, raw_score

Columns = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that gives columns of values over the bars of a frame."""

    name: str
    kind: str
    """`features`, `alpha`, `agent` or `plug-in`"""
    compute: Callable[[Frame], Mapping[str, FloatArray]]
    lookback_bars: int
    """curated rows that a value depends on"""


def subjects_of(curation: CurationParams, strategy: StrategyParams, plugins: Sequence[Plugin] = ()) -> tuple[Subject, ...]:
    """The curated features, the regime's features, every alpha and agent, and the user's plug-ins."""

    def alpha(name: str) -> Callable[[Frame], Columns]:
        return lambda frame: {"score": ALPHAS[name].compute(frame, strategy)}

    def agent(place: int) -> Callable[[Frame], Columns]:
        def compute(frame: Frame) -> Columns:
            reading = AGENTS[place].read(frame, strategy)
            signal = AGENTS[place].generate_signal(reading, compute_alphas(frame, strategy), strategy)
            conviction = np.broadcast_to(np.asarray(reading.conviction, dtype=np.float64), (len(frame),))
            return {"entry": reading.entry, "conviction": conviction, "vote": signal}

        return compute

    def regime(frame: Frame) -> Columns:
        return {f"feature {place}": column for place, column in enumerate(regime_features(frame).T)}

    return (
        Subject("curation", "features", lambda frame: frame.columns, 0),
        Subject("regime", "features", regime, 0),
        *(Subject(name, "alpha", alpha(name), strategy.lookback_bars) for name in ALPHAS),
        *(Subject(one.name, "agent", agent(place), strategy.lookback_bars) for place, one in enumerate(AGENTS)),
        *plugin_subjects(plugins),
    )


def plugin_subjects(plugins: Sequence[Plugin]) -> tuple[Subject, ...]:
    """The user's plug-ins."""

    def plugin(own: Plugin) -> Callable[[Frame], Columns]:
        return lambda frame: {"score": raw_score(own, frame)}

    return tuple(Subject(own.name, "plug-in", plugin(own), own.lookback_bars) for own in plugins)
