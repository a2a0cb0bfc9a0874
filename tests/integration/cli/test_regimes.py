"""`ost regimes compare` as a user runs it, on small generated markets and on a folder of candles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql.research import open_research
from shared.cli.main import app
from shared.data.generated import generate_market, write_market
from shared.domain.asset import Asset
from shared.domain.interval import Interval, parse_date_ms

QUICK = ("--set", "regime.train_bars=600", "--set", "regime.min_train_bars=500", "--set", "regime.restarts=2")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OST_STORAGE__ROOT", str(tmp_path / "var"))


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*QUICK, "regimes", "compare", *arguments])


def test_generated_markets_show_accuracy_lag_and_backtests(tmp_path: Path) -> None:
    result = compare("--generated", "2", "--days", "60", "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert [line["classifier"] for line in shown["classifiers"]] == ["hmm", "jump"]
    for line in shown["classifiers"]:
        assert 0 < line["worst_accuracy"] <= line["accuracy"] <= 1
        assert line["calm_share"] + line["balanced_share"] + line["stress_share"] == pytest.approx(1)
    accounts = {(line["strategy"], line["classifier"]) for line in shown["accounts"]}
    assert accounts == {(strategy, regime) for strategy in ("system", "regime only") for regime in ("hmm", "jump", "off")}
    assert shown["trials"] is None  # a generated market says nothing about a real one
    page = (tmp_path / "var" / "regimes" / "regimes.html").read_text()
    assert "These markets are generated." in page
    assert "plotly.js v" in page


def test_a_folder_has_no_truth_but_persistence(tmp_path: Path) -> None:
    market = generate_market(
        np.random.default_rng(5), ["BTCUSDT", "ETHUSDT"], Interval.H1, parse_date_ms("2024-01-01"), 24 * 120
    )
    write_market(market, FolderBucket(tmp_path / "candles"))
    result = compare(
        "--data", "candles", "--symbols", "BTCUSDT,ETHUSDT", "--start", "2024-03-01", "--report", "out/page.html", "--json"
    )
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert [(line["asset"], line["classifier"]) for line in shown["classifiers"]] == [
        (asset, mode) for asset in ("BTCUSDT", "ETHUSDT") for mode in ("hmm", "jump")
    ]
    assert all(line["accuracy"] is None for line in shown["classifiers"])
    assert shown["true_switches_per_year"] is None
    assert (tmp_path / "out" / "page.html").exists()
    assert shown["trials"] == "this look counts: 3 variants tried on BTCUSDT, 3 variants tried on ETHUSDT"
    trials = open_research(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}").trials(Asset("binanceusdm", "ETHUSDT"))
    assert {trial.metrics["regime"] for trial in trials} == {"hmm", "jump", "off"}


def test_people_see_tables(tmp_path: Path) -> None:
    result = compare("--generated", "1", "--days", "40")
    assert result.exit_code == 0, result.output
    for words in ("Against the truth", "The held regime", "What each does to a backtest", "page: "):
        assert words in result.stdout
    assert not (tmp_path / "regimes.html").exists()


def test_generated_and_data_exclude_each_other() -> None:
    result = compare("--generated", "1", "--symbols", "BTCUSDT")
    assert result.exit_code == 2
    assert "leave --data" in result.output
