"""`ost emergency`, `ost resume` and `ost export` as a user runs them, on a book in the ledger."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.sql import SqlLedger, open_ledger
from shared.cli.main import app
from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.domain.records import EmergencyRecord, EquityPoint, Halt, HaltKind
from shared.domain.regime import Regime, RegimeProbabilities
from shared.trading.emergency_log import emergency_id
from shared.trading.register import EMERGENCY_FIELDS, REGISTER_FIELDS

START_MS = parse_date_ms("2025-07-01")
BOOK = "paper-1h"
Ost = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage folder whose ledger holds one live book of two symbols on a simulated market."""
    monkeypatch.setenv("OST_STORAGE__ROOT", str(tmp_path))
    monkeypatch.setenv("OST_LEDGER__URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("OST_USER", "ana")
    monkeypatch.setenv("COLUMNS", "200")
    with closing(ledger(tmp_path)) as opened:
        plan = {"symbols": ["BTCUSDT", "ETHUSDT"], "interval": "1h", "mode": "paper", "simulated": True, "live": True}
        opened.register_book(BOOK, START_MS, plan)
        lease = opened.acquire_lease(BOOK, "test", 1000, START_MS)
        assert lease is not None
        for bar in range(3):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                opened.commit_decision(decision(symbol, bar), (), lease)
            opened.record_equity(BOOK, EquityPoint(START_MS + bar * HOUR_MS, Decimal(99), Decimal(99), Decimal(100)))
        opened.release_lease(lease)
    return tmp_path


@pytest.fixture
def ost(root: Path) -> Ost:
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def ledger(root: Path) -> SqlLedger:
    return open_ledger(f"sqlite:///{root / 'ledger.db'}")


def decision(symbol: str, bar: int) -> Decision:
    return Decision(
        id=f"d-{symbol}-{bar}",
        book=BOOK,
        asset=Asset("binanceusdm", symbol),
        interval=Interval.H1,
        bar_close_ms=START_MS + bar * HOUR_MS,
        params_version="p-1",
        code_version="0",
        data_hash="c-1",
        window_start_ms=START_MS,
        regime_model_id="m-1",
        probabilities=RegimeProbabilities(0.7, 0.2, 0.1),
        regime=Regime.CALM,
        alphas={},
        votes=(),
        score=0.5,
        price=100.0,
        target_fraction=0.1,
        approved_fraction=0.1,
        action=Action.HOLD,
    )


def finished(halt: Halt) -> EmergencyRecord:
    steps = ("one", "two")
    wallet = Decimal(99)
    return EmergencyRecord(emergency_id(halt), BOOK, halt.kind, halt.reason, START_MS, START_MS + 5, wallet, wallet, (), steps)


def test_an_emergency_needs_a_confirmation_and_a_reason(ost: Ost, root: Path) -> None:
    asked = ost("emergency", "--reason", "enough")
    assert (asked.exit_code, "--yes" in asked.output) == (2, True)
    assert ost("emergency", "--reason", " ", "--yes").exit_code == 2
    assert ost("emergency", "--reason", "enough", "--book", "other", "--yes").exit_code == 2
    with closing(ledger(root)) as opened:
        assert opened.halts(BOOK, START_MS) == []


def test_without_a_trader_the_halt_is_set_and_the_way_out_is_named(ost: Ost, root: Path) -> None:
    ended = ost("emergency", "--reason", "enough", "--yes")
    assert ended.exit_code == 1
    assert "ost live" in ended.output
    with closing(ledger(root)) as opened:
        (halt,) = opened.halts(BOOK, START_MS)
    assert (halt.kind, halt.reason, halt.until_ms) == (HaltKind.MANUAL, "by ana: enough", None)
    assert halt.since_ms == START_MS + 2 * HOUR_MS + 1  # in the time of its market, after its newest bar


def test_a_trader_that_is_alive_is_watched_and_its_steps_are_shown(ost: Ost, root: Path) -> None:
    halt = Halt(BOOK, "by ana: enough", START_MS, None, kind=HaltKind.MANUAL)
    with closing(ledger(root)) as opened:
        opened.set_halt(halt)
        opened.record_emergency(finished(halt))
    ended = ost("emergency", "--reason", "again", "--yes", "--json")
    assert ended.exit_code == 0
    assert json.loads(ended.stdout)["emergency"]["steps"] == ["one", "two"]
    assert "halted already (by ana: enough)" in ended.stderr
    assert "one\ntwo" in ended.stderr


def test_a_trader_that_does_not_finish_in_time_leaves_the_halt(ost: Ost, root: Path) -> None:
    with closing(ledger(root)) as opened:
        assert opened.acquire_lease(BOOK, "trader", 2**50, START_MS) is not None
    ended = ost("emergency", "--reason", "enough", "--yes", "--patience", "1")
    assert ended.exit_code == 1
    assert "NOT KNOWN" in ended.stdout


def test_a_resume_lifts_what_its_rules_allow_and_names_the_rest(ost: Ost, root: Path) -> None:
    manual = Halt(BOOK, "by hand", START_MS, None, kind=HaltKind.MANUAL)
    drawdown = Halt(BOOK, "max drawdown", START_MS, None, kind=HaltKind.DRAWDOWN)
    with closing(ledger(root)) as opened:
        for halt in (manual, drawdown):
            opened.set_halt(halt)
            opened.record_emergency(finished(halt))
    first = ost("resume", "--reason", "looked at it", "--json")
    assert first.exit_code == 1
    told = json.loads(first.stdout)
    assert [halt["reason"] for halt in told["lifted"]] == ["by hand"]
    assert told["why"] == {"max drawdown": "the maximum drawdown is lifted with --after-drawdown only"}
    assert ost("resume", "--reason", "sure", "--after-drawdown").exit_code == 2  # nobody can be asked here
    second = ost("resume", "--reason", "sure", "--after-drawdown", "--yes")
    assert second.exit_code == 0
    with closing(ledger(root)) as opened:
        assert opened.halts(BOOK, START_MS) == []
        assert opened.peak_forgotten_ms(BOOK) == START_MS + 2 * HOUR_MS
    assert "nothing halts the book" in ost("resume", "--reason", "again").stdout


def test_a_resume_is_refused_while_the_emergency_is_not_finished(ost: Ost, root: Path) -> None:
    with closing(ledger(root)) as opened:
        opened.set_halt(Halt(BOOK, "by hand", START_MS, None, kind=HaltKind.MANUAL))
    refused = ost("resume", "--reason", "please")
    assert refused.exit_code == 1
    assert "its emergency is not finished" in refused.stdout


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "xlsx"])
def test_an_export_writes_one_register_for_each_symbol_and_the_emergencies(
    ost: Ost, root: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "xlsx":
        pytest.importorskip("openpyxl", reason="xlsx needs openpyxl")
    with closing(ledger(root)) as opened:
        opened.record_emergency(finished(Halt(BOOK, "by hand", START_MS, None, kind=HaltKind.MANUAL)))
    out = tmp_path / "exports"
    ended = ost("export", "--out", out, "--format", kind, "--from", "2025-07-01", "--json")
    assert ended.exit_code == 0, ended.output
    files = json.loads(ended.stdout)["files"]
    assert [one["rows"] for one in files] == [3, 3, 1]
    names = sorted(path.name for path in out.iterdir())
    assert [name.split("_")[0] for name in names] == ["emergencias", "registro", "registro"]
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet, "xlsx": pd.read_excel}[kind]
    assert tuple(read(files[0]["file"]).columns) == REGISTER_FIELDS
    assert tuple(read(files[2]["file"]).columns) == EMERGENCY_FIELDS
    assert read(files[0]["file"])["paso"].tolist() == [1, 2, 3]


def test_an_export_of_a_range(ost: Ost, tmp_path: Path) -> None:
    files = json.loads(ost("export", "--out", tmp_path, "--from", "2025-07-02", "--json").stdout)["files"]
    assert [one["rows"] for one in files] == [0, 0, 0]
    with Path(files[0]["file"]).open(encoding="utf-8") as file:
        assert tuple(next(csv.reader(file))) == REGISTER_FIELDS
    assert ost("export", "--from", "2025-07-02", "--to", "2025-07-01").exit_code == 2


def test_an_export_says_where_the_files_are(ost: Ost, tmp_path: Path) -> None:
    ended = ost("export", "--out", tmp_path / "exports")
    assert f"the book {BOOK}, written to {tmp_path / 'exports'}" in ended.stderr.replace("\n", "")


def test_nothing_is_exported_before_the_first_decision(ost: Ost, root: Path, tmp_path: Path) -> None:
    with closing(ledger(root)) as opened:
        opened.register_book("fresh-1h", START_MS, {"symbols": ["BTCUSDT"], "interval": "1h"})
    ended = ost("export", "--book", "fresh-1h", "--out", tmp_path / "exports")
    assert (ended.exit_code, "has decided nothing yet" in ended.stderr) == (1, True)
    assert not (tmp_path / "exports").exists()
