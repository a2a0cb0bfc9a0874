"""A bar that is announced many times is traded once, and nobody is sent away who has nothing to come again for."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudrun.bot import turns
from cloudrun.bot.api import create_app
from cloudrun.bot.turns import Busy, Turn, Turns
from shared.adapters.sql import SqlLedger, open_ledger
from shared.config.load import load
from shared.domain.asset import Asset
from shared.domain.data_events import CandlesIngested, RegimeClassified
from shared.domain.events import Event
from shared.domain.interval import HOUR_MS, Interval, format_ms
from shared.domain.regime import Regime, RegimeProbabilities
from tests.integration.bot.conftest import paper_exchange

NEWEST = 100 * HOUR_MS


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_S", 0.05)


@contextmanager
def at_work(given: Turns, announced_ms: int | None) -> Iterator[Turn]:
    with given.step(announced_ms) as turn:
        assert turn.is_mine
        yield turn


def test_a_bar_that_is_at_work_is_not_waited_for(impatient: None) -> None:
    given = Turns()
    with at_work(given, NEWEST):
        for told_ms in (NEWEST, NEWEST - HOUR_MS):
            with given.step(told_ms) as turn:
                assert (turn.is_mine, turn.done) == (False, None)
        for other_ms in (NEWEST + HOUR_MS, None):
            with pytest.raises(Busy), given.step(other_ms):
                pass
        with given.tend() as is_mine:
            assert not is_mine
    with given.step(NEWEST) as turn:
        assert turn.is_mine  # nothing was done


def test_a_bar_that_is_done_is_answered_with_its_report() -> None:
    given = Turns()
    with at_work(given, None) as turn:
        turn.report = {"bar_close_ms": NEWEST}
    for told_ms in (NEWEST, NEWEST - HOUR_MS):
        with given.step(told_ms) as again:
            assert (again.is_mine, again.done) == (False, {"bar_close_ms": NEWEST})
    with at_work(given, NEWEST + HOUR_MS), given.step(NEWEST) as late:
        assert late.done is not None
    with given.step(None) as asked:
        assert asked.is_mine


def test_a_step_that_fails_is_another_ones_turn() -> None:
    given = Turns()
    with pytest.raises(ZeroDivisionError), given.step(NEWEST):
        raise ZeroDivisionError
    with given.step(NEWEST) as turn:
        assert turn.is_mine


def test_a_step_waits_for_the_look_between_bars() -> None:
    given, began, seen = Turns(), threading.Event(), list[bool]()

    def step() -> None:
        began.set()
        with given.step(None) as turn:
            seen.append(turn.is_mine)

    with given.tend() as is_mine:
        assert is_mine
        waiting = threading.Thread(target=step)
        waiting.start()
        began.wait()
        assert seen == []
    waiting.join(10)
    assert seen == [True]


def envelope(event: Event) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(event.as_cloud_event()).encode()).decode()
    return {"message": {"data": data, "messageId": "1"}, "subscription": "s"}


def classified(symbol: str, interval: Interval, close_ms: int) -> dict[str, Any]:
    sure = RegimeProbabilities(1.0, 0.0, 0.0)
    return envelope(RegimeClassified(Asset("binanceusdm", symbol), interval, close_ms, Regime.CALM, sure, "m").made())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


def test_events_of_many_assets_at_once_are_one_step_and_all_are_taken(
    tmp_path: Path, market_now: tuple[Path, int], ledger: SqlLedger
) -> None:
    market, now_ms = market_now
    begin = format_ms(now_ms).replace(" ", "T")
    with paper_exchange(market, "--speed", "1", "--start", begin) as url:
        environment = {
            "OST_STORAGE__ROOT": str(tmp_path),
            "OST_VENUE__BASE_URL": url,
            "OST_BOT__MODE": "schedule",
            "OST_UNIVERSE__SYMBOLS": "BTCUSDT,ETHUSDT",
            "OST_REGIME__TRAIN_BARS": "500",
            "OST_EXCHANGE__CLOCK_SKEW_LIMIT_MS": "60000",
        }
        app = create_app(load(environment=environment, folder=tmp_path).settings, ledger)
        close_ms, statuses = Interval.H1.floor(now_ms), list[int]()

        def push(symbol: str) -> None:
            told = classified(symbol, Interval.H1, close_ms)
            statuses.append(app.test_client().post("/step", json=told).status_code)

        pushes = [threading.Thread(target=push, args=(symbol,)) for symbol in ("BTCUSDT", "ETHUSDT") * 3]
        for one in pushes:
            one.start()
        for one in pushes:
            one.join()
        assert sorted(statuses)[:1] == [200]
        assert set(statuses) <= {200, 202}
        assert len(ledger.decisions("paper-1h")) == 2
        late = app.test_client().post("/step", json=classified("BTCUSDT", Interval.H1, close_ms - HOUR_MS))
        assert (late.status_code, json.loads(late.text)["bar_close_ms"]) == (200, close_ms)
        assert len(ledger.decisions("paper-1h")) == 2


def test_what_is_no_bar_of_this_book_is_taken_and_what_is_no_event_is_refused_for_good(
    tmp_path: Path, ledger: SqlLedger
) -> None:
    environment = {"OST_STORAGE__ROOT": str(tmp_path), "OST_BOT__MODE": "schedule", "OST_VENUE__BASE_URL": "http://127.0.0.1:9"}
    client = create_app(load(environment=environment, folder=tmp_path).settings, ledger).test_client()
    other = client.post("/step", json=classified("BTCUSDT", Interval.M15, NEWEST))
    assert (other.status_code, json.loads(other.text)["not_traded"]) == (200, "15m")
    ingested = CandlesIngested(Asset("binanceusdm", "BTCUSDT"), Interval.H1, NEWEST, "c").made()
    for wrong in (envelope(ingested), {"message": {"data": "%"}}, {"message": {"data": "AAAA"}}):
        assert client.post("/step", json=wrong).status_code == 422
    asked = client.post("/step", json=classified("BTCUSDT", Interval.H1, NEWEST))  # nobody is at the venue's address
    assert (asked.status_code, asked.headers["Retry-After"]) == (503, "10")
