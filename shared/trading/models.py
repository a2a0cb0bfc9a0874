"""Which regime model is in force for an asset, fitting it when its instant has come.

A model is fitted once per refit instant, stored, and looked up from then on, also after a restart. Where a fit is refused the
previous model stays, its age is logged, and nothing is tried again before the next instant. A stored model that cannot be read
is an error in the log and counts as none: a new one is fitted, or a file that nobody looks at would end all decisions.
"""

from __future__ import annotations

from dataclasses import replace

from shared.data.curation import curate
from shared.domain.asset import Asset
from shared.domain.errors import ModelError, StorageError
from shared.domain.interval import format_ms
from shared.ports import Bucket, Ledger
from shared.regime.model import RegimeModel
from shared.regime.schedule import Refit, last_instant, refit
from shared.regime.store import model_valid_at, save_model
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow


class RegimeModels:
    """The models of one book, in a bucket."""

    def __init__(self, bucket: Bucket, ledger: Ledger, book: str, params: SystemParams) -> None:
        self._bucket = bucket
        self._ledger = ledger
        self._book = book
        self._params = params
        self._current: dict[Asset, tuple[int, RegimeModel | None]] = {}

    def model_for(self, window: MarketWindow, bar_close_ms: int) -> RegimeModel | None:
        """The model in force at `bar_close_ms`; `None` where none could be fitted so far.

        While the bucket is away the previous one stays, and it is asked again at the next bar. Raises `StorageError` where
        this process knows of none.
        """
        instant = last_instant(bar_close_ms, self._params.regime)
        known = self._current.get(window.asset)
        if known is not None and known[0] == instant:
            return known[1]
        try:
            model = self._model_of(window, instant)
        except StorageError as error:
            if known is None:
                raise
            self._log("error", f"{window.asset.symbol}: {error}; the model of {format_ms(known[0])} stays", bar_close_ms)
            return known[1]
        self._current[window.asset] = (instant, model)
        return model

    def _model_of(self, window: MarketWindow, instant: int) -> RegimeModel | None:
        result = model_at(self._bucket, window, instant, self._params)
        if result.damaged:
            self._log("error", f"{window.asset.symbol}: a stored model cannot be used: {result.damaged}", instant)
        if result.fitted:
            self._log("info", f"{window.asset.symbol}: {result.reason}", instant)
        elif result.model is None or result.model.valid_from_ms != instant:
            previous = result.model
            kept = f"the model of {format_ms(previous.valid_from_ms)} stays" if previous else "there is no model yet"
            self._log("warning", f"{window.asset.symbol}: {result.reason}; {kept}", instant)
        return result.model

    def _log(self, level: str, message: str, time_ms: int) -> None:
        self._ledger.log(self._book, "regime", level, message, time_ms)


def model_at(bucket: Bucket, window: MarketWindow, instant: int, params: SystemParams) -> Refit:
    """The model of one refit instant: the stored one, or a new fit on the bars of `window`, which is stored.

    Where the fit is refused the result holds the previous model, if any, and the reason. A damaged one counts as none.
    """
    asset, interval = window.asset, window.candles.interval
    damaged = ""
    try:
        previous = model_valid_at(bucket, asset, interval, instant, params.regime.fit_version)
    except ModelError as error:
        previous, damaged = None, str(error)
    if previous is not None and previous.valid_from_ms == instant:
        return Refit(instant, previous, fitted=False, reason=f"stored model {previous.id}")
    frame = curate(window.candles, params.curation, window.funding, window.open_interest)
    result = refit(frame, asset, instant, params.regime, previous)
    if result.fitted and result.model is not None:
        save_model(bucket, result.model)
    return replace(result, damaged=damaged)
