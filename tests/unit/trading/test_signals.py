"""Regimes and recommendations from the lake: the live session's functions, once per bar, nothing ordered."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import SqlLedger
from shared.data.generated import generate_market
from shared.data.store import FUNDING, RAW, series_path
from shared.data.tables import candles_to_bytes, series_to_bytes
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.decision import Action
from shared.domain.errors import DataNotFound, NotEnoughData
from shared.domain.interval import Interval, parse_date_ms
from shared.domain.records import RegimeState
from shared.regime.params import RegimeParams
from shared.trading.analysis import analyse
from shared.trading.params import SystemParams
from shared.trading.signal_book import signal_book
from shared.trading.signals import (
    RegimeHistory,
    lake_window,
    recommend_for,
    regime_history,
    store_recommendation,
)

ASSET = Asset("binanceusdm", "BTCUSDT")
START_MS = parse_date_ms("2025-05-01")
PARAMS = SystemParams(regime=RegimeParams(train_bars=600, burn_in_bars=200, restarts=1))
BARS, HISTORY = 1500, 240


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> FolderBucket:
    bucket = FolderBucket(tmp_path_factory.mktemp("lake"))
    market = generate_market(np.random.default_rng(4), ["BTCUSDT"], Interval.H1, START_MS, BARS)
    bucket.write(ASSET.path(RAW, Interval.H1), candles_to_bytes(market.history["BTCUSDT"]))
    bucket.write(series_path(ASSET, FUNDING[0]), series_to_bytes(market.funding["BTCUSDT"], FUNDING[1]))
    regime_history(bucket, lake_window(bucket, ASSET, Interval.H1, PARAMS), None, HISTORY, PARAMS)
    return bucket


def history(lake: FolderBucket, last: RegimeState | None = None, until: int | None = None) -> RegimeHistory:
    """Regimes over the newest bars, of the lake as it was `until` bars (negative: before the end)."""
    window = lake_window(lake, ASSET, Interval.H1, PARAMS, HISTORY)
    return regime_history(lake, replace(window, candles=window.candles[:until]), last, HISTORY, PARAMS)


def test_each_interval_has_a_book_of_its_own() -> None:
    assert [signal_book(interval) for interval in (Interval.H1, Interval.H4)] == ["signal", "signal-4h"]


def test_every_bar_has_a_state_and_models_come_from_the_lake(lake: FolderBucket) -> None:
    seen = history(lake)
    assert len(seen.states) == HISTORY
    assert [refit.fitted for refit in seen.refits] == [False] * len(seen.refits)
    assert len(seen.refits) in (2, 3)
    assert all(refit.model is not None and refit.model.valid_from_ms == refit.instant_ms for refit in seen.refits)
    assert seen.model == seen.refits[-1].model


def test_going_on_from_the_ledger_gives_the_same_states(lake: FolderBucket) -> None:
    whole = history(lake)
    resumed = history(lake, last=whole.states[-50])
    assert len(resumed.states) == 50
    assert resumed.states == whole.states[-50:]
    assert resumed.before == whole.before


def test_a_bar_that_the_ledger_knows_is_not_counted_again(lake: FolderBucket) -> None:
    whole = history(lake)
    again = history(lake, last=whole.states[-1])
    assert again.states == whole.states[-1:]
    assert again.before.state == whole.states[-1]


def test_a_state_of_another_model_family_is_not_trusted(lake: FolderBucket) -> None:
    whole = history(lake)
    stranger = replace(whole.states[-50], model_id="m-of-other-settings", observations=10_000)
    assert history(lake, last=stranger).states == whole.states


def test_the_recommendation_is_what_a_session_with_the_same_memory_analyses(lake: FolderBucket) -> None:
    seen = history(lake)
    decision, memory = recommend_for(seen, Decimal(10_000), "0", PARAMS)
    close_ms = int(seen.window.candles.close_time[-1])
    live = analyse(lake_window(lake, ASSET, Interval.H1, PARAMS), close_ms, seen.model, seen.before, PARAMS)
    assert (decision.data_hash, decision.regime, decision.votes) == (live.data_hash, live.regime, live.votes)
    assert (decision.score, decision.book, decision.order_ids) == (live.score, "signal", ())
    assert memory.state is not None
    assert seen.states[-1].probabilities.as_dict() == pytest.approx(memory.state.probabilities.as_dict(), abs=1e-9)
    assert memory.state.ema == pytest.approx(seen.states[-1].ema, abs=1e-9)
    assert (memory.state.regime, memory.state.observations) == (seen.states[-1].regime, HISTORY)
    assert decision.action in (Action.OPEN, Action.HOLD)


def test_the_same_bar_is_stored_once(lake: FolderBucket, ledger: SqlLedger) -> None:
    lease = ledger.acquire_lease("signal", "test", 60_000, 0)
    assert lease is not None
    first, memory = recommend_for(history(lake), Decimal(10_000), "0", PARAMS)
    assert store_recommendation(ledger, first, memory, lease)
    state = ledger.last_regime("signal", ASSET)
    again, memory = recommend_for(history(lake, last=state), Decimal(10_000), "0", PARAMS)
    assert again.id == first.id
    assert not store_recommendation(ledger, again, memory, lease)
    assert ledger.last_regime("signal", ASSET) == state
    assert len(ledger.decisions("signal")) == 1
    assert ledger.orders("signal") == []


def test_a_recommendation_does_not_know_later_bars(lake: FolderBucket) -> None:
    earlier, _ = recommend_for(history(lake, until=-1), Decimal(10_000), "0", PARAMS)
    then = history(lake, last=None)
    assert earlier.bar_close_ms == int(then.window.candles.close_time[-2])
    assert earlier.probabilities.as_dict() == pytest.approx(then.states[-2].probabilities.as_dict(), abs=1e-9)


def test_an_empty_lake_and_too_few_bars_are_named(lake: FolderBucket, tmp_path: Path) -> None:
    empty = FolderBucket(tmp_path / "empty")
    with pytest.raises(DataNotFound, match="ost backfill --interval 1h"):
        lake_window(empty, ASSET, Interval.H1, PARAMS)
    empty.write(ASSET.path(RAW, Interval.H1), candles_to_bytes(Candles.empty(Interval.H1)))
    with pytest.raises(NotEnoughData, match="holds no 1h bars"):
        lake_window(empty, ASSET, Interval.H1, PARAMS)
    window = lake_window(lake, ASSET, Interval.H1, PARAMS)
    short = replace(window, candles=window.candles[-300:], max_bars=300)
    seen = regime_history(empty, short, None, HISTORY, PARAMS)
    assert (seen.states, seen.model) == ((), None)
    with pytest.raises(NotEnoughData, match="a regime fit takes at least 500"):
        recommend_for(seen, Decimal(10_000), "0", PARAMS)
