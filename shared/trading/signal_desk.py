"""Regimes and recommendations of several assets from the lake, kept in the ledger: for commands and functions alike.

A regime is applied once for each event that led to it, together with the event's receipt; what is told of it is what the ledger
then holds, so that a redelivery tells the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.domain.asset import Asset, Universe
from shared.domain.data_events import CandlesCurated, RegimeClassified
from shared.domain.decision import Decision
from shared.domain.errors import ConfigError, LeaseLost, NotEnoughData, OstError
from shared.domain.interval import DAY_MS, Interval, format_ms
from shared.domain.money import to_decimal
from shared.domain.records import Handled, Lease, Receipt, RegimeState
from shared.trading.ml_models import AlphaModels
from shared.trading.params import SystemParams
from shared.trading.rl_models import policies_of
from shared.trading.signal_book import signal_book
from shared.trading.signals import (
    OnRefit,
    RegimeHistory,
    due_instants,
    lake_window,
    recommend_for,
    regime_history,
    store_recommendation,
)

if TYPE_CHECKING:
    from shared.ports import Bucket, Clock, Ledger
    from shared.trading.window import MarketWindow

RESUME_DAYS = 30
"""How far back the held regime is followed where the ledger does not know it."""

LEASE_TTL_MS = 60_000

CLASSIFY = "classify"
"""consumer of the inbox"""

TOLD = "classify.told"
"""consumer under which the inbox knows the regimes that were published"""


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
    code_version: Callable[[], str]
    """asked for where something is decided: it reads every source file"""
    clock: Clock
    until_ms: int | None = None
    """nothing that became known later is looked at, so that a schedule tried again late does what its slot was for"""

    @property
    def book(self) -> str:
        """Where regimes and recommendations are kept."""
        return signal_book(self.interval)

    def history(self, asset: Asset, days: int, on_refit: OnRefit = lambda _: None) -> RegimeHistory:
        """Regimes of the last `days`; missing models are fitted. Raises the `DataError` and `ModelError` trees."""
        bars = self._bars(days)
        window = self._window(asset, bars)
        return regime_history(self.bucket, window, self._known(asset), bars, self.params, on_refit)

    def classify(self, news: CandlesCurated, event_id: str) -> tuple[Handled, RegimeClassified | None]:
        """The regime that curated bars lead to, stored with the receipt of their event; and what is to be told.

        Something is told as well of what was handled before: its publisher may have been killed. Of stale news nothing is.
        Errors: as `history`; `NotEnoughData` where there is no model yet.
        """
        receipt = Receipt(CLASSIFY, event_id, f"{news.asset}/{news.interval}", self.clock.now_ms())
        last = self.ledger.last_regime(self.book, news.asset)
        if self.ledger.receipt(CLASSIFY, event_id) is not None:
            return Handled.DUPLICATE, self._told(last)
        if last is not None and last.bar_close_ms > news.last_close_ms:
            self.ledger.record_receipt(replace(receipt, outcome=Handled.STALE))
            return Handled.STALE, None
        state = newest_state(self.history(news.asset, RESUME_DAYS))
        handled = self.ledger.apply_regime(receipt, self.book, state)
        return handled, self._told(self.ledger.last_regime(self.book, news.asset))

    def sweep(self, asset: Asset) -> RegimeClassified | None:
        """Classify the newest bar of the lake where the ledger does not know it yet, as if its event had been lost.

        `None` where that regime was told (`note_told`); whoever was refused or killed before that is told the same again.
        Errors: as `classify`.
        """
        close_ms = self._window(asset).close_ms
        last = self.ledger.last_regime(self.book, asset)
        if last is None or close_ms is None or last.bar_close_ms < close_ms:
            self.ledger.record_regimes(self.book, [newest_state(self.history(asset, RESUME_DAYS))])
            last = self.ledger.last_regime(self.book, asset)
        told = self._told(last)
        return None if told is None or self.ledger.receipt(TOLD, told.made().id) is not None else told

    def note_told(self, told: RegimeClassified) -> None:
        """Note that `told` is published, so that no sweep tells it again. Raises `LedgerUnavailable`."""
        self.ledger.record_receipt(Receipt(TOLD, told.made().id, str(told.asset), self.clock.now_ms()))

    def regenerate(self, asset: Asset, lease: Lease) -> tuple[Decision, bool]:
        """The decision at the newest bar, and whether it is new in the ledger. Raises the `OstError` tree."""
        history = self.history(asset, RESUME_DAYS)
        models = AlphaModels(self.bucket, self.ledger, self.book, self.params)
        ml = models.models_for(history.window, int(history.window.candles.close_time[-1]))
        rl = policies_of(self.bucket, (asset,), self.interval, self.params)[0].get(asset)
        decision, memory = recommend_for(history, to_decimal(self.capital), self.code_version(), self.params, ml, rl)
        new = store_recommendation(self.ledger, decision, memory, lease)
        return (decision if new else self.ledger.decision(decision.id) or decision), new

    def newest(self, asset: Asset, lease: Lease) -> Decision:
        """The stored decision at the lake's newest bar; decided now where there is none. Raises the `OstError` tree."""
        close_ms = self._window(asset).close_ms
        stored = self.ledger.decisions(self.book, symbol=asset.symbol, limit=1)
        if stored and stored[-1].bar_close_ms == close_ms and stored[-1].params_version == self.params.version:
            return stored[-1]
        return self.regenerate(asset, lease)[0]

    @contextmanager
    def writing(self, holder: str) -> Iterator[Lease]:
        """The right to write the signal book. Raises `LeaseLost` while another process has it."""
        lease = self._leased(holder)
        try:
            yield lease
        finally:
            self.ledger.release_lease(lease)

    def renewed(self, lease: Lease) -> Lease:
        """The lease for one more asset. Raises `LeaseLost` where it has run out and another process has it."""
        return self._leased(lease.holder)

    def _leased(self, holder: str) -> Lease:
        lease = self.ledger.acquire_lease(self.book, holder, LEASE_TTL_MS, self.clock.now_ms())
        if lease is None:
            wait_s = LEASE_TTL_MS // 1000
            raise LeaseLost(f"another process writes the book {self.book}; wait until it is done, at most {wait_s} s")
        return lease

    def refits(self, days: int) -> int:
        """How many refit instants the last `days` of all assets have; assets that cannot be read have none."""
        count = 0
        for asset in self.universe:
            try:
                window = self._window(asset, self._bars(days))
            except OstError:
                continue
            count += len(due_instants(window, self._bars(days), self.params))
        return count

    def _window(self, asset: Asset, history_bars: int = 0) -> MarketWindow:
        return lake_window(self.bucket, asset, self.interval, self.params, history_bars, self.until_ms)

    def _known(self, asset: Asset) -> RegimeState | None:
        last = self.ledger.last_regime(self.book, asset)
        if last is None or self.until_ms is None or last.bar_close_ms <= self.until_ms:
            return last
        since_ms = self.until_ms - RESUME_DAYS * DAY_MS
        states = [state for state in self.ledger.regimes(self.book, asset, since_ms) if state.bar_close_ms <= self.until_ms]
        return states[-1] if states else None

    def _told(self, state: RegimeState | None) -> RegimeClassified | None:
        if state is None:
            return None
        return RegimeClassified(
            state.asset, self.interval, state.bar_close_ms, state.regime, state.probabilities, state.model_id
        )

    def _bars(self, days: int) -> int:
        bars = round(days * self.interval.bars_per_day)
        if bars < 1:
            raise ConfigError(f"{days} days hold no bar of {self.interval}; choose a shorter interval")
        return bars


def newest_state(history: RegimeHistory) -> RegimeState:
    """The state at the newest bar of a history. Raises `NotEnoughData` where no model could be fitted for it."""
    close_ms = int(history.window.candles.close_time[-1])
    if history.states and history.states[-1].bar_close_ms == close_ms:
        return history.states[-1]
    why = history.refits[-1].reason if history.refits else "no refit instant lies before it"
    raise NotEnoughData(f"{history.window.asset}: no regime model for the bar of {format_ms(close_ms)}: {why}")
