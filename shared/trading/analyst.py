"""Who looks at the market for a session: a window and a bar in, an `Analysis` out, and what is carried from bar to bar.

`SystemAnalyst` is the real one: the regime model of the day, the filter, the alphas and the agents. A simulation injects a
scripted one. An analyst never sees account or book, so that the same bars give the same analysis in every mode.
"""

from __future__ import annotations

from typing import Protocol

from shared.domain.asset import Asset, Universe
from shared.domain.records import RegimeState
from shared.ports import Bucket, Ledger
from shared.trading.analysis import Analysis, AssetMemory, analyse, remembered
from shared.trading.ml_models import AlphaModels
from shared.trading.models import RegimeModels
from shared.trading.params import SystemParams
from shared.trading.rl_models import RlPolicies
from shared.trading.window import MarketWindow


class Analyst(Protocol):
    """Analyses one asset at a time."""

    def prepare(self) -> None:
        """Read what every analysis needs. Raises `ModelError` where it cannot be used."""
        ...

    def analyse(self, window: MarketWindow, bar_close_ms: int) -> Analysis:
        """What the asset shows at the bar that closed at `bar_close_ms`; the same bar again gives the same analysis.

        Raises the `DataError` or `ModelError` tree where the asset cannot be decided at this bar.
        """
        ...

    def states(self) -> list[RegimeState]:
        """The newest regime state of each asset that was analysed, for the ledger."""
        ...


class SystemAnalyst:
    """The analyst of the trading system, its memory restored from the ledger."""

    def __init__(self, models: Bucket, ledger: Ledger, book: str, universe: Universe, params: SystemParams) -> None:
        self._params = params
        self._models = RegimeModels(models, ledger, book, params)
        self._alpha_models = AlphaModels(models, ledger, book, params)
        self._rl_policies = RlPolicies(models, ledger, book, params)
        self._memories: dict[Asset, AssetMemory] = {asset: remembered(ledger.last_regime(book, asset)) for asset in universe}

    def prepare(self) -> None:
        """The RL policies that the strategy names; see `Analyst`."""
        self._rl_policies.load()

    def analyse(self, window: MarketWindow, bar_close_ms: int) -> Analysis:
        """What the asset shows at the bar; see `Analyst`."""
        model = self._models.model_for(window, bar_close_ms)
        ml = self._alpha_models.models_for(window, bar_close_ms)
        rl = self._rl_policies.policy_for(window)
        analysis = analyse(window, bar_close_ms, model, self._memories[window.asset], self._params, ml, rl)
        self._alpha_models.report(analysis)
        self._rl_policies.report(analysis)
        self._memories[window.asset] = analysis.memory
        return analysis

    def states(self) -> list[RegimeState]:
        """The newest regime state of each asset."""
        return [memory.state for memory in self._memories.values() if memory.state is not None]
