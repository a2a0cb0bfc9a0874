"""A look of the monitor in a real ledger where something is wrong: the rest is looked at all the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask import Request
from sqlalchemy import text

from functions import answer, wired
from functions.monitor.main import handle
from shared.adapters.sql import SqlLedger, SqlResearch, open_ledger
from shared.calibration.recalibration import manual_event
from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.records import EquityPoint, RegimeState
from shared.domain.regime import Regime, RegimeProbabilities

BTC = Asset("binanceusdm", "BTCUSDT")
SLOT_MS = 1_751_378_400_000
MOSTLY_STRESS = RegimeProbabilities(0.0, 0.0, 1.0)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlLedger]:
    """What the function finds: two books that have traded, and an asset in its seventh bar of stress."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    for name, value in {
        "OST_STORAGE__ROOT": str(tmp_path),
        "OST_LEDGER__URL": url,
        "OST_INTERVALS": "1h",
        "OST_UNIVERSE__SYMBOLS": "BTCUSDT",
        "GOOGLE_CLOUD_PROJECT": "demo",
    }.items():
        monkeypatch.setenv(name, value)
    caches = (wired.settings, wired.bucket, wired.bus, wired.ledger, wired.research, answer._speak)
    for made in caches:
        made.cache_clear()
    opened = open_ledger(url)
    for book in ("bad", "good"):
        opened.register_book(book, 0, {})
        lease = opened.acquire_lease(book, "me", 1000, 0)
        assert lease is not None
        for bar in range(3):
            opened.commit_decision(_decision(book, SLOT_MS + (bar - 3) * HOUR_MS), [], lease)
            value = Decimal(1000 + bar)
            opened.record_equity(book, EquityPoint(SLOT_MS + (bar - 3) * HOUR_MS, value, value, value))
    opened.record_regimes("signal", [RegimeState(BTC, SLOT_MS, MOSTLY_STRESS, Regime.STRESS, "m", (0.0, 0.0, 1.0), 9, 7)])
    yield opened
    opened.close()
    for made in caches:
        made.cache_clear()


def _decision(book: str, now_ms: int) -> Decision:
    return Decision(
        f"{book}-{now_ms}", book, BTC, Interval.H1, now_ms, "p", "0.1.0", "c", now_ms, "m", MOSTLY_STRESS, Regime.STRESS,
        {}, (), 0.0, 100.0, 1.0, 1.0, Action.HOLD, None, {}, (), (),
    )  # fmt: skip


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


@pytest.mark.filterwarnings("ignore:invalid value")  # an infinite price times no position
def test_a_book_that_cannot_be_read_is_told_and_the_others_are_looked_at(
    ledger: SqlLedger, ticked: Callable[..., Request], capsys: pytest.CaptureFixture[str]
) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE decisions SET price = 9e999 WHERE book = 'bad'"))
    assert handle(ticked({"task": "look"})) == ({}, 204)
    told = lines(capsys)
    (failed,) = [line for line in told if line["event"] == "monitor.failed"]
    assert (failed["severity"], failed["book"]) == ("ERROR", "bad")
    assert [line["book"] for line in told if line["event"] == "performance.checked"] == ["good"]
    assert [line["asset"] for line in told if line["event"] == "regime.stress"] == [str(BTC)]


def test_a_bus_that_is_away_brings_the_call_back_after_all_else_is_done(
    ledger: SqlLedger, ticked: Callable[..., Request], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    SqlResearch(ledger.engine).record_recalibration(manual_event(BTC, SLOT_MS, {}, "a test", SLOT_MS))
    (tmp_path / "events.jsonl").mkdir()  # where the file of the events should be
    body, status = handle(ticked({"task": "look"}))
    assert (status, body["error"]) == (503, "recalibration: not now; tried again")
    told = [line["event"] for line in lines(capsys)]
    assert told.count("performance.checked") == 2
    assert "regime.stress" in told
