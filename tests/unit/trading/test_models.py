"""A model is fitted once per refit instant, stored, and found again; where a fit is refused the previous one stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.data.generated import GeneratedMarket, generate_market
from shared.domain.asset import Asset
from shared.domain.errors import StorageError
from shared.domain.interval import DAY_MS, Interval
from shared.regime.params import RegimeParams
from shared.regime.schedule import last_instant
from shared.regime.store import list_models
from shared.trading.models import RegimeModels, model_at
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow, empty_series

ASSET = Asset("binanceusdm", "BTCUSDT")
PARAMS = SystemParams(regime=RegimeParams(train_bars=600, restarts=1))
BARS = 1000
START_MS = last_instant(1_751_328_000_000, PARAMS.regime) - (BARS - 40) * Interval.H1.ms
"""The newest refit instant lies 40 bars before the end."""


@pytest.fixture(scope="module")
def market() -> GeneratedMarket:
    return generate_market(np.random.default_rng(2), ["BTCUSDT"], Interval.H1, START_MS, BARS)


def window(market: GeneratedMarket, bars: int = BARS) -> MarketWindow:
    empty = MarketWindow.empty(ASSET, Interval.H1, bars)
    return empty.extended(market.history["BTCUSDT"], empty_series(), empty_series())


def messages(desk: Any) -> list[str]:
    return [entry["message"] for entry in desk.ledger.agent_log(desk.book)]


def test_a_model_is_fitted_once_and_found_again_after_a_restart(desk: Any, market: GeneratedMarket, tmp_path: Path) -> None:
    bucket, whole = FolderBucket(tmp_path / "models"), window(market)
    close_ms = whole.close_ms
    assert close_ms is not None
    first = RegimeModels(bucket, desk.ledger, desk.book, PARAMS).model_for(whole, close_ms)
    assert first is not None
    assert first.valid_from_ms == last_instant(close_ms, PARAMS.regime)
    restarted = RegimeModels(bucket, desk.ledger, desk.book, PARAMS)
    assert restarted.model_for(whole, close_ms) == first
    assert restarted.model_for(whole, close_ms - Interval.H1.ms) == first
    assert len(list_models(bucket, ASSET, Interval.H1)) == 1
    assert len(messages(desk)) == 1
    assert first.id in messages(desk)[0]


def test_the_bars_after_the_instant_are_not_learnt_from(market: GeneratedMarket, tmp_path: Path) -> None:
    whole = window(market)
    instant = last_instant(whole.close_ms or 0, PARAMS.regime)
    cut = MarketWindow.empty(ASSET, Interval.H1, BARS).extended(
        market.history["BTCUSDT"].between(end_ms=instant), empty_series(), empty_series()
    )
    early = model_at(FolderBucket(tmp_path / "a"), cut, instant, PARAMS)
    late = model_at(FolderBucket(tmp_path / "b"), whole, instant, PARAMS)
    assert early.fitted
    assert early.model is not None
    assert early.model == late.model


def test_where_a_fit_is_refused_the_previous_model_stays_and_the_log_says_so(
    desk: Any, market: GeneratedMarket, tmp_path: Path
) -> None:
    bucket, whole = FolderBucket(tmp_path / "models"), window(market)
    instant = last_instant(whole.close_ms or 0, PARAMS.regime)
    earlier = model_at(bucket, whole, instant - 7 * DAY_MS, PARAMS).model
    assert earlier is not None
    kept = RegimeModels(bucket, desk.ledger, desk.book, PARAMS).model_for(window(market, bars=300), whole.close_ms or 0)
    assert kept == earlier
    assert "a regime fit takes at least 500" in messages(desk)[0]
    assert "stays" in messages(desk)[0]


def test_a_model_that_was_damaged_is_an_error_in_the_log_and_fitted_anew(
    desk: Any, market: GeneratedMarket, tmp_path: Path
) -> None:
    bucket, whole = FolderBucket(tmp_path / "models"), window(market)
    first = model_at(bucket, whole, last_instant(whole.close_ms or 0, PARAMS.regime), PARAMS).model
    [stored] = list_models(bucket, ASSET, Interval.H1)
    bucket.write(stored.name, b'{"half')
    again = RegimeModels(bucket, desk.ledger, desk.book, PARAMS).model_for(whole, whole.close_ms or 0)
    assert again == first
    assert model_at(bucket, whole, stored.valid_from_ms, PARAMS).fitted is False
    levels = [entry["level"] for entry in desk.ledger.agent_log(desk.book)]
    assert levels == ["error", "info"]
    assert stored.name in messages(desk)[0]


def test_while_the_bucket_is_away_the_previous_model_stays_until_the_next_bar_finds_it_again(
    desk: Any, market: GeneratedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, whole = FolderBucket(tmp_path / "models"), window(market)
    instant = last_instant(whole.close_ms or 0, PARAMS.regime)
    models = RegimeModels(bucket, desk.ledger, desk.book, PARAMS)

    def away(*_: Any, **__: Any) -> Any:
        raise StorageError("the bucket does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(FolderBucket, "list", away)
        with pytest.raises(StorageError):
            models.model_for(whole, instant - 1)
    earlier = models.model_for(whole, instant - 1)
    assert earlier is not None
    with monkeypatch.context() as patch:
        patch.setattr(FolderBucket, "write", away)
        assert models.model_for(whole, instant) == earlier
    later = models.model_for(whole, instant + Interval.H1.ms)
    assert later is not None
    assert later.valid_from_ms == instant
    assert "the bucket does not answer; the model of" in "\n".join(messages(desk))


def test_without_data_and_without_a_previous_model_there_is_none(desk: Any, market: GeneratedMarket, tmp_path: Path) -> None:
    models = RegimeModels(FolderBucket(tmp_path / "models"), desk.ledger, desk.book, PARAMS)
    short = window(market, bars=300)
    assert models.model_for(short, short.close_ms or 0) is None
    assert messages(desk)[0].endswith("there is no model yet")


def test_a_model_of_other_settings_does_not_count(market: GeneratedMarket, tmp_path: Path) -> None:
    bucket, whole = FolderBucket(tmp_path / "models"), window(market)
    instant = last_instant(whole.close_ms or 0, PARAMS.regime)
    model_at(bucket, whole, instant, PARAMS)
    other = SystemParams(regime=RegimeParams(train_bars=550, restarts=1))
    assert model_at(bucket, whole, instant, other).fitted
    assert not model_at(bucket, whole, instant, other).fitted
    assert len(list_models(bucket, ASSET, Interval.H1)) == 2
