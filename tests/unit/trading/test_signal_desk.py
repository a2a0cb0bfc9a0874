"""Regimes from events: applied once, told again where the publisher may have been killed, and never by older bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import VirtualClock
from shared.adapters.sql import SqlLedger, open_ledger
from shared.calibration.variants import with_changes
from shared.data.generated import generate_market
from shared.data.merge import merge_into
from shared.domain.asset import Asset, Universe
from shared.domain.candles import Candles
from shared.domain.data_events import CandlesCurated
from shared.domain.errors import ConfigError, LeaseLost, NotEnoughData
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.domain.records import Handled
from shared.trading.params import SystemParams
from shared.trading.signal_desk import CLASSIFY, SignalDesk

START_MS = parse_date_ms("2025-07-01")
BARS = 1300
BTC = Asset("generated", "BTCUSDT")
NOW_MS = START_MS + (BARS - 1) * HOUR_MS
QUICK = {"regime.train_bars": 600, "regime.min_train_bars": 500, "regime.burn_in_bars": 100, "regime.restarts": 1}
PARAMS = with_changes(SystemParams(), QUICK)


@pytest.fixture(scope="module")
def history() -> Callable[[int], Candles]:
    market = generate_market(np.random.default_rng(5), ("BTCUSDT",), Interval.H1, START_MS, BARS)
    return lambda bars: market.history["BTCUSDT"][:bars]


@pytest.fixture
def desk(tmp_path: Path, history: Callable[[int], Candles]) -> Iterator[SignalDesk]:
    bucket, ledger = FolderBucket(tmp_path / "lake"), open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    merge_into(bucket, BTC, history(BARS - 1))
    universe = Universe((BTC,))
    yield SignalDesk(bucket, ledger, universe, Interval.H1, PARAMS, "10000", lambda: "test", VirtualClock(NOW_MS))
    ledger.close()


def news(close_ms: int = NOW_MS, content: str = "f-1") -> CandlesCurated:
    return CandlesCurated(BTC, Interval.H1, close_ms, content)


def test_an_event_is_applied_once_and_told_whenever_it_comes(desk: SignalDesk) -> None:
    handled, told = desk.classify(news(), "e-1")
    assert handled is Handled.APPLIED
    assert told is not None
    states = desk.ledger.regimes(desk.book, BTC)
    assert [(state.bar_close_ms, state.regime, state.model_id) for state in states] == [(NOW_MS, told.regime, told.model_id)]
    assert desk.classify(news(), "e-1") == (Handled.DUPLICATE, told)
    assert desk.ledger.regimes(desk.book, BTC) == states


def test_other_news_of_the_same_bar_tell_the_same_regime(desk: SignalDesk) -> None:
    _, first = desk.classify(news(), "e-1")
    assert desk.classify(news(content="f-2"), "e-2") == (Handled.APPLIED, first)
    assert len(desk.ledger.regimes(desk.book, BTC)) == 1


def test_news_of_an_older_bar_than_the_newest_regime_are_noted_and_dropped(
    desk: SignalDesk, history: Callable[[int], Candles]
) -> None:
    merge_into(desk.bucket, BTC, history(BARS))
    desk.classify(news(NOW_MS + HOUR_MS), "e-2")
    states = desk.ledger.regimes(desk.book, BTC)
    assert desk.classify(news(), "e-1") == (Handled.STALE, None)
    assert desk.classify(news(), "e-1")[0] is Handled.DUPLICATE
    assert desk.ledger.regimes(desk.book, BTC) == states
    receipt = desk.ledger.receipt(CLASSIFY, "e-1")
    assert receipt is not None
    assert receipt.outcome is Handled.STALE


def test_news_that_come_late_are_classified_at_the_newest_bar(desk: SignalDesk, history: Callable[[int], Candles]) -> None:
    merge_into(desk.bucket, BTC, history(BARS))
    handled, told = desk.classify(news(), "e-1")
    assert handled is Handled.APPLIED
    assert told is not None
    assert told.bar_close_ms == NOW_MS + HOUR_MS


def test_a_sweep_does_what_an_event_was_lost_for_and_nothing_else(desk: SignalDesk) -> None:
    told = desk.sweep(BTC)
    assert told is not None
    assert told.bar_close_ms == NOW_MS
    desk.note_told(told)
    assert desk.sweep(BTC) is None
    assert desk.classify(news(), "e-1") == (Handled.APPLIED, told)


def test_what_was_classified_but_not_published_is_told_by_the_next_sweep(desk: SignalDesk) -> None:
    told = desk.sweep(BTC)  # the bus refuses it, or the process is killed
    assert told is not None
    assert desk.sweep(BTC) == told
    assert [state.bar_close_ms for state in desk.ledger.regimes(desk.book, BTC)] == [NOW_MS]
    desk.note_told(told)
    desk.note_told(told)
    assert desk.sweep(BTC) is None


def test_too_few_bars_for_a_model_say_so_and_leave_no_receipt(desk: SignalDesk) -> None:
    young = replace(desk, params=with_changes(PARAMS, {"regime.min_train_bars": 5000, "regime.train_bars": 6000}))
    with pytest.raises(NotEnoughData, match="no regime model for the bar of"):
        young.classify(news(), "e-1")
    assert desk.ledger.receipt(CLASSIFY, "e-1") is None


def test_the_book_has_one_writer(desk: SignalDesk) -> None:
    with desk.writing("me") as lease:
        assert desk.renewed(lease).token == lease.token
        with pytest.raises(LeaseLost, match="another process writes the book signal"), desk.writing("you"):
            pass
    with desk.writing("you"):
        pass


def test_days_without_a_bar_are_refused(desk: SignalDesk) -> None:
    with pytest.raises(ConfigError, match="hold no bar"):
        replace(desk, interval=Interval.W1).history(BTC, 3)


def test_a_recommendation_carries_the_code_that_made_it(desk: SignalDesk) -> None:
    assert isinstance(desk.ledger, SqlLedger)
    with desk.writing("me") as lease:
        decision = desk.newest(BTC, lease)
        assert desk.newest(BTC, lease) == decision
    assert (decision.code_version, decision.bar_close_ms) == ("test", NOW_MS)


def test_a_schedule_tried_again_late_decides_and_tells_the_bar_of_its_slot(
    desk: SignalDesk, history: Callable[[int], Candles], tmp_path: Path
) -> None:
    with desk.writing("me") as lease:
        in_time = desk.newest(BTC, lease)
    merge_into(desk.bucket, BTC, history(BARS))  # an hour later, of which an event has told the ledger meanwhile
    late = replace(desk, ledger=open_ledger(f"sqlite:///{tmp_path / 'late.sqlite'}"), until_ms=NOW_MS + HOUR_MS // 2)
    late.classify(news(), "e-1")
    replace(late, until_ms=None).classify(news(NOW_MS + HOUR_MS, "f-2"), "e-2")
    told = late.sweep(BTC)
    with late.writing("me") as lease:
        decided = late.newest(BTC, lease)
    newest = late.ledger.last_regime(late.book, BTC)
    late.ledger.close()
    assert (decided.id, decided.bar_close_ms) == (in_time.id, NOW_MS)
    assert decided.target_fraction == in_time.target_fraction
    assert newest is not None
    assert newest.bar_close_ms == NOW_MS + HOUR_MS  # what is known of later bars stays
    assert told is not None
    assert told.bar_close_ms == NOW_MS + HOUR_MS


def test_a_sweep_looks_no_further_than_its_slot(desk: SignalDesk, history: Callable[[int], Candles]) -> None:
    merge_into(desk.bucket, BTC, history(BARS))
    told = replace(desk, until_ms=NOW_MS + HOUR_MS - 1).sweep(BTC)
    assert told is not None
    assert told.bar_close_ms == NOW_MS
    with pytest.raises(NotEnoughData, match="that closed by 2025-07-01"):
        replace(desk, until_ms=START_MS).sweep(BTC)
