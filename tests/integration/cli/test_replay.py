"""`ost replay` after a real `ost run`: everything comes out again, and what was tampered with is named with its cause."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import open_ledger
from shared.calibration.ml import models_of, train_all
from shared.calibration.ml_params import MlParams
from shared.cli.main import app
from shared.data.curation import curate
from shared.data.generated import generate_market, write_market
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.strategy.ml_store import save_ml_model

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BARS = 1_900
END_MS = parse_date_ms("2025-01-01")
DAYS = ("2024-12-31", "2025-01-01")
Ost = Callable[..., Result]
ENVIRONMENT = {
    "OST_REGIME__TRAIN_BARS": "500",
    "OST_REGIME__RESTARTS": "1",
    "OST_REGIME__BURN_IN_BARS": "100",
    "OST_STRATEGY__ENTRY_THRESHOLD": "0.1",
    "OST_STRATEGY__EXIT_THRESHOLD": "0.05",
    "OST_STRATEGY__REBALANCE_BAND": "0.05",
    "OST_STRATEGY__STOP_ATR": "1.5",
    "OST_STRATEGY__MINIMUM_STOP": "0.004",
    # The ML alpha takes part in the decisions that are replayed.
    "OST_STRATEGY__TREND_HUNTER__WEIGHTS__ML_CONFIDENCE": "0.5",
    "OST_RUN__DAYS": "1",
}


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of one day."""
    folder = tmp_path_factory.mktemp("replay")
    market = generate_market(np.random.default_rng(20), SYMBOLS, Interval.H1, END_MS - BARS * HOUR_MS, BARS)
    write_market(market, FolderBucket(folder / "market"))
    curation, asset = CurationParams(), Asset("binanceusdm", "BTCUSDT")
    frame = curate(market.history["BTCUSDT"], curation, market.funding["BTCUSDT"])
    trainings = train_all(frame, asset, MlParams(min_train_samples=200), curation)
    for model in models_of(trainings):  # ETHUSDT has none: its alpha is neutral
        save_ml_model(FolderBucket(folder / "var" / "lake"), asset, model)
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, folder)
        result = CliRunner().invoke(app, ["run", "--data", str(folder / "market"), "--symbols", ",".join(SYMBOLS)])
    assert result.exit_code == 0, result.output
    return folder


def settle(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.chdir(folder)
    patch.setenv("OST_STORAGE__ROOT", str(folder / "var"))
    for name, value in ENVIRONMENT.items():
        patch.setenv(name, value)


@pytest.fixture
def folder(traded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may tamper with."""
    copy = Path(shutil.copytree(traded, tmp_path / "copy"))
    settle(monkeypatch, copy)
    return copy


@pytest.fixture
def replay(folder: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        result = CliRunner().invoke(app, ["replay", "--json", *arguments])
        return result.exit_code, json.loads(result.stdout) if result.stdout else {"error": result.stderr}

    return run


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "var" / "ledger.sqlite")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def test_every_day_of_a_run_comes_out_again_to_the_bit(replay: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    seen = 0
    for day in DAYS:
        code, found = replay("--date", day)
        assert (code, found["differences"], found["identical"]) == (0, [], True)
        assert found["exact"] == found["decisions"]
        seen += found["decisions"]
    code, whole = replay()
    assert (code, whole["decisions"], whole["bars"]) == (0, seen, 25)
    sound = CliRunner().invoke(app, ["db", "check"])
    assert sound.exit_code == 0, sound.output
    assert seen == 2 * (24 + 1)


def test_the_ml_alpha_took_part_and_its_absence_was_reported_once(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "var" / "ledger.sqlite")) as connection:
        alphas = connection.execute("SELECT alphas FROM decisions WHERE symbol = 'BTCUSDT'").fetchall()
        said = connection.execute("SELECT message FROM agent_log WHERE source = 'ml'").fetchall()
    assert any(json.loads(row[0])["ml_confidence"] != 0 for row in alphas)
    assert len(said) == 1
    assert said[0][0].startswith("ETHUSDT: ML alpha is neutral: no trained model is valid yet")


def test_a_decision_that_was_altered_is_named(folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    change(
        folder, "UPDATE decisions SET score = score + 0.001 WHERE id = (SELECT id FROM decisions ORDER BY bar_close_ms LIMIT 1)"
    )
    code, found = replay()
    assert code == 1
    (difference,) = found["differences"]
    assert difference["what"] == "score"
    assert difference["stored"] - difference["replayed"] == pytest.approx(0.001)
    assert "altered" in difference["cause"]
    table = CliRunner().invoke(app, ["replay"])
    assert table.exit_code == 1
    assert "1 of 50 decisions differ" in table.stdout


def test_revised_candles_are_the_cause_that_is_named(folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    bucket = FolderBucket(next((folder / "var" / "runs").iterdir()) / "market")
    revised = generate_market(np.random.default_rng(20), SYMBOLS, Interval.H1, END_MS - BARS * HOUR_MS, BARS)
    history = revised.history["ETHUSDT"]
    history.volume[-30] *= 1.01
    write_market(revised, bucket)
    code, found = replay()
    assert code == 1
    assert {difference["symbol"] for difference in found["differences"]} == {"ETHUSDT"}
    assert any("candles differ" in difference["cause"] for difference in found["differences"])


def test_other_settings_are_the_cause_that_is_named(
    monkeypatch: pytest.MonkeyPatch, replay: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    monkeypatch.setenv("OST_STRATEGY__ENTRY_THRESHOLD", "0.2")
    code, found = replay("--date", DAYS[0])
    assert code == 1
    assert all("settings differ" in difference["cause"] for difference in found["differences"])


def test_an_order_that_was_altered_is_named(folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    change(
        folder,
        "UPDATE order_intents SET stop_price = '1.0' "
        "WHERE client_id = (SELECT min(client_id) FROM order_intents WHERE leg = 'stop')",
    )
    code, found = replay()
    assert code == 1
    (difference,) = found["differences"]
    assert difference["what"].endswith(".stop_price")
    assert difference["what"].startswith("orders.")


def test_a_decision_that_is_gone_is_missed(folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    change(
        folder,
        "DELETE FROM decisions WHERE id = (SELECT id FROM decisions WHERE action = 'hold' ORDER BY bar_close_ms DESC LIMIT 1)",
    )
    code, found = replay()
    assert code == 1
    assert [(d["stored"], d["replayed"]) for d in found["differences"]] == [("no decision", "decided")]


ONE_BAR = "(SELECT max(bar_close_ms) - 10 * 3600000 FROM decisions)"


def test_a_decision_whose_equity_row_is_gone_is_not_passed_over(
    folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    change(folder, f"UPDATE decisions SET target_fraction = 0.77, price = 1 WHERE bar_close_ms = {ONE_BAR}")
    change(folder, f"DELETE FROM equity WHERE time_ms = {ONE_BAR}")
    code, found = replay()
    gone = [one for one in found["differences"] if "its equity row is gone" in one["cause"]]
    assert (code, found["decisions"]) == (1, 50)
    assert {one["symbol"] for one in gone} == set(SYMBOLS)


def test_a_bar_that_is_gone_without_a_trace_is_a_hole(folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    # A bar at which nothing was ordered, so that orders and fills say nothing about it.
    quiet = "SELECT max(time_ms) FROM equity WHERE time_ms NOT IN (SELECT created_ms FROM order_intents)"
    with closing(sqlite3.connect(folder / "var" / "ledger.sqlite")) as connection:
        (chosen,) = connection.execute(quiet).fetchone()
    for table, column in (("decisions", "bar_close_ms"), ("equity", "time_ms"), ("regime_states", "bar_close_ms")):
        change(folder, f"DELETE FROM {table} WHERE {column} = {chosen}")
    code, found = replay()
    holes = [one for one in found["differences"] if one["what"] == "row"]
    assert (code, found["bars"]) == (1, 25)
    assert [(one["bar_close_ms"], one["stored"], one["replayed"]) for one in holes] == [(chosen, "none", "a row")]
    checked = CliRunner().invoke(app, ["db", "check"])
    assert checked.exit_code == 1
    assert "the equity row of this bar was removed" in checked.stdout
    shown = CliRunner().invoke(app, ["replay"])
    assert "1 of 25 equity rows are gone or do not follow" in " ".join(shown.stdout.split())


def test_the_end_of_a_finished_run_cannot_be_cut_off(folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    late = f"> (SELECT min(time_ms) FROM equity) + 20 * {HOUR_MS}"
    for table, column in (
        ("decisions", "bar_close_ms"),
        ("regime_states", "bar_close_ms"),
        ("order_intents", "created_ms"),
        ("fills", "time_ms"),
        ("equity", "time_ms"),
    ):
        with closing(sqlite3.connect(folder / "var" / "ledger.sqlite")) as connection, connection:
            connection.execute(f"DELETE FROM {table} WHERE {column} {late}")
    code, found = replay()
    holes = [one for one in found["differences"] if one["what"] == "row"]
    assert (code, len(holes)) == (1, 4)
    assert replay("--date", DAYS[1])[0] == 1


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE equity SET equity = equity + 1 WHERE time_ms = (SELECT max(time_ms) FROM equity)", {"equity"}),
        ("UPDATE equity SET peak = peak + 1000", {"peak"}),
        ("UPDATE equity SET wallet = wallet + 1 WHERE time_ms = (SELECT max(time_ms) FROM equity)", {"wallet", "equity"}),
        ("DELETE FROM fills WHERE trade_id = (SELECT min(trade_id) FROM fills)", {"wallet", "equity", "peak"}),
    ],
)
def test_money_that_does_not_follow_is_named(
    folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]], statement: str, what: set[str]
) -> None:
    change(folder, statement)
    code, found = replay()
    assert code == 1
    named = {one["what"] for one in found["differences"] if not one["symbol"]}
    assert named
    assert named <= what


def test_half_of_the_equity_gone_leaves_no_decision_uncounted(
    folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    change(folder, "DELETE FROM equity WHERE time_ms > (SELECT (min(time_ms) + max(time_ms)) / 2 FROM equity)")
    code, found = replay()
    assert (code, found["decisions"]) == (1, 50)
    assert len([one for one in found["differences"] if "its equity row is gone" in one["cause"]]) == 24


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("bar_close_ms", "bar_close_ms + 1800000", "no 1h bar closes"),
        ("symbol", "'SOLUSDT'", "does not trade this asset"),
        ("features", "features", "a second decision on this bar"),
    ],
)
def test_a_decision_that_was_added_is_named(
    folder: Path, replay: Callable[..., tuple[int, dict[str, Any]]], column: str, value: str, words: str
) -> None:
    with closing(sqlite3.connect(folder / "var" / "ledger.sqlite")) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(decisions)")]
    forged = {"id": "'d-forged'", column: value}
    picked = ", ".join(forged.get(name, name) for name in names)
    change(folder, f"INSERT INTO decisions SELECT {picked} FROM decisions ORDER BY bar_close_ms DESC LIMIT 1")
    code, found = replay()
    assert (code, found["decisions"]) == (1, 51)
    assert any(words in one["cause"] for one in found["differences"])


@pytest.mark.parametrize(
    ("arguments", "words", "expected"),
    [
        (("--date", "2020-01-01"), "no book traded then", 2),
        (("--date", "yesterday"), "yesterday", 2),
        (("--book", "nobody"), "no book of that name: nobody", 2),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(
    replay: Callable[..., tuple[int, dict[str, Any]]], arguments: tuple[str, ...], words: str, expected: int
) -> None:
    code, found = replay(*arguments)
    assert code == expected
    assert words in found["error"]
    assert "Traceback" not in found["error"]


# ---------------------------------------------------------------- books of `ost live`


def test_a_live_book_comes_out_again_from_its_own_candles(folder: Path) -> None:
    once = ["live", "--once", "--json", "--data", str(folder / "market"), "--symbols", ",".join(SYMBOLS)]
    steps = [json.loads(CliRunner().invoke(app, once).stdout) for _ in range(3)]
    book = steps[0]["book"]
    assert len({step["bar_close_ms"] for step in steps}) == 3
    result = CliRunner().invoke(app, ["replay", "--book", book, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["identical"], found["decisions"], found["exact"], found["bars"]) == (True, 6, 6, 3)


def test_an_emergency_by_hand_alters_no_decision_that_was_made_before_it(folder: Path) -> None:
    once = ["live", "--once", "--json", "--data", str(folder / "market"), "--symbols", ",".join(SYMBOLS)]
    book = json.loads(CliRunner().invoke(app, once).stdout)["book"]
    halted = CliRunner().invoke(app, ["emergency", "--reason", "enough", "--yes", "--book", book])
    assert halted.exit_code == 1, halted.output  # its exchange is gone: nobody knows that it is flat
    assert "The halt stays" in " ".join(halted.stderr.split())
    again = CliRunner().invoke(app, ["replay", "--book", book, "--json"])
    assert again.exit_code == 0, again.output


def test_a_venues_candles_have_to_be_fetched_before_a_replay(folder: Path) -> None:
    with closing(open_ledger(f"sqlite:///{folder / 'var' / 'ledger.sqlite'}")) as ledger:
        plan = {"symbols": ["BTCUSDT"], "venue": "elsewhere", "interval": "1h", "mode": "testnet", "market": "x", "live": True}
        ledger.register_book("testnet-1h", END_MS, plan)
    result = CliRunner().invoke(app, ["replay", "--book", "testnet-1h"])
    assert result.exit_code == 1
    assert "ost backfill --interval 1h --symbols BTCUSDT --since 2024-" in " ".join(result.stderr.split())


def test_a_live_book_without_its_folder_says_which(folder: Path) -> None:
    once = ["live", "--once", "--json", "--data", str(folder / "market"), "--symbols", "BTCUSDT"]
    book = json.loads(CliRunner().invoke(app, once).stdout)["book"]
    shutil.rmtree(folder / "var" / "live" / book)
    shutil.rmtree(folder / "var" / "lake" / "raw")
    result = CliRunner().invoke(app, ["replay", "--book", book])
    assert result.exit_code == 1
    assert f"live/{book}/market" in "".join(result.stderr.split("\n"))
