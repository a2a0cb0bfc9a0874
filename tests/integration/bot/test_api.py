"""The bot's HTTP interface over a ledger: what it says where a trader lives, where none does, and where the ledger is away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient

from cloudrun.bot.__main__ import main
from cloudrun.bot.api import create_app
from shared.adapters.local.clock import SystemClock
from shared.adapters.sql import SqlLedger, open_ledger
from shared.config.load import load
from shared.config.settings import Settings
from shared.domain.errors import LeaseLost, NotAtRest, OstError, UsageError
from shared.domain.interval import format_ms
from shared.domain.orders import Fill, Side
from shared.domain.records import EquityPoint, Halt, HaltKind, Heartbeat
from shared.ports import Ledger
from tests.integration.bot.conftest import paper_exchange

BOOK = "paper-1h"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OST_")]:
        monkeypatch.delenv(name)


def settings(tmp_path: Path, **more: str) -> Settings:
    given = {"OST_STORAGE__ROOT": str(tmp_path), "OST_VENUE__BASE_URL": "http://127.0.0.1:9", **more}
    return load(environment=given, folder=tmp_path).settings


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def client(tmp_path: Path, ledger: SqlLedger) -> FlaskClient:
    return create_app(settings(tmp_path), ledger).test_client()


def beat(ledger: SqlLedger, state: str, age_ms: int = 0) -> None:
    ledger.beat(Heartbeat(BOOK, "trader", "host:1:a", SystemClock().now_ms() - age_ms, {"state": state, "steps": 7}))


def filled(ledger: SqlLedger) -> None:
    ledger.register_book(BOOK, 0, {"symbols": ["BTCUSDT"], "simulated": True, "mode": "paper"})
    ledger.record_equity(BOOK, EquityPoint(3_600_000, Decimal(9_900), Decimal(9_900), Decimal(10_000), Decimal(500)))
    fill = Fill("BTCUSDT", "1", None, "1", Side.BUY, Decimal("0.5"), Decimal(100), Decimal("0.02"), 3_600_000)
    ledger.add_fills(BOOK, [fill])
    ledger.set_halt(Halt(BOOK, "a person asked", 1, None, kind=HaltKind.MANUAL))


def test_it_is_healthy_whoever_trades(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}


def test_it_is_not_ready_without_a_trader(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert f"no heartbeat of a trader of the book {BOOK}" in answer.json["reason"]
    assert answer.headers["Retry-After"] == "10"


@pytest.mark.parametrize("state", ["trading", "degraded", "halted", "standby"])
def test_it_is_ready_while_a_trader_works(client: FlaskClient, ledger: SqlLedger, state: str) -> None:
    beat(ledger, state)
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_it_is_not_ready_while_its_trader_comes_or_goes(client: FlaskClient, ledger: SqlLedger, state: str) -> None:
    beat(ledger, state)
    assert client.get("/readyz").json["reason"] == f"the trader is {state}"


def test_it_is_not_ready_once_the_trader_is_silent(client: FlaskClient, ledger: SqlLedger) -> None:
    beat(ledger, "trading", age_ms=60_000)
    assert "the last one is 60 s old" in client.get("/readyz").json["reason"]


def test_it_is_not_ready_without_its_ledger(tmp_path: Path) -> None:
    away = settings(tmp_path, OST_LEDGER__URL="postgresql+pg8000://nobody@127.0.0.1:9/none")
    client = create_app(away).test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/metrics").status_code == 503
    assert client.get("/status").status_code == 503


def test_the_status_is_that_of_the_command(client: FlaskClient, ledger: SqlLedger) -> None:
    assert client.get("/status").status_code == 404
    filled(ledger)
    beat(ledger, "trading")
    found = client.get("/status").json["status"]
    assert (found["book"], found["equity"], found["mode"]) == (BOOK, "9900", "paper")
    assert [process["state"] for process in found["processes"]] == ["trading"]


def test_the_metrics_are_those_of_the_ledger(client: FlaskClient, ledger: SqlLedger) -> None:
    filled(ledger)
    beat(ledger, "trading")
    lines = client.get("/metrics").text.splitlines()
    found: dict[str, Any] = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert found[f'ost_equity{{book="{BOOK}"}}'] == "9900.0"
    assert float(found[f'ost_drawdown{{book="{BOOK}"}}']) == pytest.approx(0.01)
    assert found[f'ost_position{{book="{BOOK}",symbol="BTCUSDT"}}'] == "0.5"
    assert found[f'ost_halts{{book="{BOOK}",kind="manual"}}'] == "1.0"
    assert found[f'ost_ledger_up{{book="{BOOK}"}}'] == "1.0"
    assert found[f'ost_steps_total{{book="{BOOK}",holder="host:1:a",role="trader"}}'] == "7.0"
    assert found[f'ost_trader_state{{book="{BOOK}",holder="host:1:a",role="trader",state="trading"}}'] == "1.0"
    assert float(found[f'ost_outbox_waiting{{book="{BOOK}"}}']) > 0


def test_steps_are_asked_for_in_schedule_mode_alone(client: FlaskClient) -> None:
    assert client.post("/step").status_code == 404


def test_a_step_needs_the_token_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OST_BOT_TOKEN", "right")
    client = create_app(settings(tmp_path, OST_BOT__MODE="schedule")).test_client()
    assert client.post("/step").status_code == 401
    assert client.post("/step", headers={"Authorization": "Bearer wrong"}).status_code == 401
    answer = client.post("/step", headers={"Authorization": "Bearer right"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "does not answer" in answer.json["error"]


def test_where_cloud_run_asks_for_the_identity_nothing_else_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OST_BOT_TOKEN", "right")
    behind = settings(tmp_path, OST_BOT__MODE="schedule", OST_BOT__CALLERS="platform")
    answer = create_app(behind).test_client().post("/step", headers={"Authorization": "Bearer of Cloud Run"})
    assert (answer.status_code, "does not answer" in answer.json["error"]) == (503, True)
    monkeypatch.setenv("OST_BOT__CALLERS", "platform")
    assert main([]) == 2
    assert "this is not Cloud Run" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["tomorrow", "-1", "1.5", "9" * 23])
def test_an_instant_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    client = create_app(settings(tmp_path, OST_BOT__MODE="schedule")).test_client()
    answer = client.post("/step", query_string={"bar_close_ms": text})
    assert (answer.status_code, answer.json["error"].split(";")[1]) == (400, " expected milliseconds since 1970")


def test_outside_paper_mode_the_service_does_not_start_without_a_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"MODE": "testnet", "BOT__MODE": "schedule", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}.items():
        monkeypatch.setenv(f"OST_{name}", value)
    assert main([]) == 2
    assert "OST_BOT_TOKEN" in capsys.readouterr().err


def test_the_service_does_not_trade_real_money_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--live"]) == 2
    assert "mode paper" in capsys.readouterr().err


def test_a_step_is_a_whole_step_and_the_same_again_changes_nothing(
    tmp_path: Path, market_now: tuple[Path, int], ledger: SqlLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    with paper_exchange(market_now[0], "--speed", "1", "--start", _text(market_now[1])) as url:
        quick = {"OST_REGIME__TRAIN_BARS": "500", "OST_UNIVERSE__SYMBOLS": "BTCUSDT"}
        schedule = settings(tmp_path, OST_BOT__MODE="schedule", **{**quick, "OST_VENUE__BASE_URL": url})
        client = create_app(schedule, ledger).test_client()
        first, again, tended = client.post("/step"), client.post("/step"), client.post("/tend")
    assert first.status_code == again.status_code == 200, first.text
    assert [row["id"] for row in first.json["decisions"]] == [row["id"] for row in again.json["decisions"]]
    assert len(ledger.decisions(BOOK)) == 1
    assert (tended.status_code, tended.json) == (200, {"book": BOOK, "at_rest": True})
    assert client.get("/readyz").status_code == 200
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    told = {(line["event"], line["book"]) for line in lines if "event" in line}
    assert told >= {("heartbeat", BOOK), ("regime.changed", BOOK)}


def test_it_is_not_ready_while_its_trader_holds_something_bare(client: FlaskClient, ledger: SqlLedger) -> None:
    words = {"state": "trading", "steps": 7, "bare": ["BTCUSDT"]}
    ledger.beat(Heartbeat(BOOK, "trader", "host:1:a", SystemClock().now_ms(), words))
    assert client.get("/readyz").json["reason"] == "held without a full stop: BTCUSDT"
    assert f'ost_unprotected_positions{{book="{BOOK}",holder="host:1:a",role="trader"}} 1.0' in client.get("/metrics").text


def test_it_is_not_ready_while_something_has_troubled_its_trader_for_minutes(client: FlaskClient, ledger: SqlLedger) -> None:
    words = {"state": "degraded", "steps": 7, "bare": [], "lasting": ["start: the key is revoked"]}
    ledger.beat(Heartbeat(BOOK, "trader", "host:1:a", SystemClock().now_ms(), words))
    assert client.get("/readyz").json["reason"] == "start: the key is revoked"


def test_in_schedule_mode_it_is_ready_as_the_last_request_has_left_it(tmp_path: Path, ledger: SqlLedger) -> None:
    client = create_app(settings(tmp_path, OST_BOT__MODE="schedule"), ledger).test_client()
    assert client.get("/readyz").status_code == 200
    for symbols, status in ((["BTCUSDT"], 503), ([], 200)):
        words = {"state": "degraded" if symbols else "trading", "bare": symbols}
        ledger.beat(Heartbeat(BOOK, "schedule", "requests", SystemClock().now_ms(), words))
        assert client.get("/readyz").status_code == status


def test_the_look_between_bars_is_for_schedule_mode_and_needs_the_token(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.post("/tend").status_code == 404
    monkeypatch.setenv("OST_BOT_TOKEN", "right")
    scheduled = create_app(settings(tmp_path, OST_BOT__MODE="schedule")).test_client()
    assert scheduled.post("/tend").status_code == 401
    answer = scheduled.post("/tend", headers={"Authorization": "Bearer right"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")


@pytest.mark.parametrize(("error", "status"), [(NotAtRest("bare"), 503), (LeaseLost("taken"), 503), (UsageError("past"), 400)])
def test_what_is_to_be_asked_for_again_says_so(tmp_path: Path, error: OstError, status: int) -> None:
    class Refusing:
        """A ledger with which every request ends as the error says."""

        def __getattr__(self, name: str) -> Any:
            raise error

    client = create_app(settings(tmp_path, OST_BOT__MODE="schedule"), cast(Ledger, Refusing())).test_client()
    answer = client.get("/status")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, "10" if status == 503 else None)


def _text(time_ms: int) -> str:
    return format_ms(time_ms).replace(" ", "T")
