"""The work behind `ost classify`, `ost regenerate-signal` and `ost recommend`: regimes and decisions from the lake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.cli import output
from shared.domain.asset import Asset, Universe
from shared.domain.decision import Decision
from shared.domain.errors import ConfigError, OstError
from shared.domain.interval import Interval
from shared.domain.money import to_decimal
from shared.domain.records import Lease
from shared.trading.ml_models import AlphaModels
from shared.trading.params import SystemParams
from shared.trading.rl_models import policies_of
from shared.trading.signals import (
    OnRefit,
    RegimeHistory,
    due_instants,
    lake_window,
    recommend_for,
    regime_history,
    signal_book,
    store_recommendation,
)
from shared.version import code_version

if TYPE_CHECKING:
    from shared.ports import Bucket, Ledger

RESUME_DAYS = 30
"""How far back the held regime is followed where the ledger does not know it."""


@dataclass(frozen=True, slots=True)
class SignalDesk:
    """Assets of one interval, their lake and the book of their recommendations."""

    bucket: Bucket
    ledger: Ledger
    universe: Universe
    interval: Interval
    params: SystemParams
    capital: str
    """equity of the flat book that a recommendation is made for, quote currency"""
    now_ms: int

    @property
    def book(self) -> str:
        """Where regimes and recommendations are kept."""
        return signal_book(self.interval)

    def history(self, asset: Asset, days: int, on_refit: OnRefit = lambda _: None) -> RegimeHistory:
        """Regimes of the last `days`; missing models are fitted. Raises the `DataError` and `ModelError` trees."""
        bars = self._bars(days)
        window = lake_window(self.bucket, asset, self.interval, self.params, bars)
        return regime_history(self.bucket, window, self.ledger.last_regime(self.book, asset), bars, self.params, on_refit)

    def regenerate(self, asset: Asset, lease: Lease) -> tuple[Decision, bool]:
        """The decision at the newest bar, and whether it is new in the ledger. Raises the `OstError` tree."""
        history = self.history(asset, RESUME_DAYS)
        models = AlphaModels(self.bucket, self.ledger, self.book, self.params)
        ml = models.models_for(history.window, int(history.window.candles.close_time[-1]))
        rl = policies_of(self.bucket, (asset,), self.interval, self.params)[0].get(asset)
        decision, memory = recommend_for(history, to_decimal(self.capital), code_version(), self.params, ml, rl)
        new = store_recommendation(self.ledger, decision, memory, lease)
        return (decision if new else self.ledger.decision(decision.id) or decision), new

    def newest(self, asset: Asset, lease: Lease) -> Decision:
        """The stored decision at the lake's newest bar; decided now where there is none. Raises the `OstError` tree."""
        close_ms = lake_window(self.bucket, asset, self.interval, self.params).close_ms
        stored = self.ledger.decisions(self.book, symbol=asset.symbol, limit=1)
        if stored and stored[-1].bar_close_ms == close_ms and stored[-1].params_version == self.params.version:
            return stored[-1]
        return self.regenerate(asset, lease)[0]

    @contextmanager
    def progress(self, days: int) -> Iterator[OnRefit]:
        """A bar over all refits of all assets, on standard error."""
        with output.progress(unit="models", transient=True) as bars:
            task = bars.add_task("regime models", total=self._refits(days), detail="")
            yield lambda _: bars.advance(task)

    def _refits(self, days: int) -> int:
        """How many refit instants there are; assets that cannot be read have none."""
        count = 0
        for asset in self.universe:
            try:
                window = lake_window(self.bucket, asset, self.interval, self.params, self._bars(days))
            except OstError:
                continue
            count += len(due_instants(window, self._bars(days), self.params))
        return count

    def _bars(self, days: int) -> int:
        bars = round(days * self.interval.bars_per_day)
        if bars < 1:
            raise ConfigError(f"{days} days hold no bar of {self.interval}; choose a shorter interval")
        return bars
