"""`ost alphas` and `ost audit` as a user runs them, on a small generated market in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql.research import open_research
from shared.cli.main import app
from shared.data.generated import generate_market, write_market
from shared.domain.asset import Asset
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

END_MS = parse_date_ms("2025-01-01")
BARS = 2_400
CHEAT = """
import numpy as np
from shared.strategy.plugins import Plugin
PLUGINS = [Plugin("oracle", lambda frame: np.sign(np.append(np.diff(frame["close"]), 0.0)), 5)]
"""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    generated = generate_market(np.random.default_rng(3), ("BTCUSDT",), Interval.H1, END_MS - BARS * HOUR_MS, BARS)
    write_market(generated, FolderBucket(folder))
    return folder


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "OST_STORAGE__ROOT": str(tmp_path / "var"),
        "OST_UNIVERSE__SYMBOLS": '["BTCUSDT"]',
        "OST_REGIME__TRAIN_BARS": "500",
        "OST_REGIME__RESTARTS": "1",
        "OST_REGIME__REFIT_DAYS": "28",
        "OST_ML__MIN_TRAIN_SAMPLES": "200",
    }.items():
        monkeypatch.setenv(name, value)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


def test_training_stores_models_that_are_found_again(ost: Callable[..., Result], market: Path, tmp_path: Path) -> None:
    result = ost("alphas", "train", "--data", market, "--json")
    assert result.exit_code == 0, result.output
    models = json.loads(result.stdout)["models"]
    assert models
    for model in models:
        assert (tmp_path / "var" / "lake" / model["object"]).exists()
    assert json.loads(ost("alphas", "train", "--data", market, "--json").stdout)["models"] == models
    shown = ost("alphas", "train", "--data", market)
    assert f"{len(models)} models stored" in shown.stdout


def test_another_training_keeps_the_stored_models_unless_told(ost: Callable[..., Result], market: Path) -> None:
    train = ("alphas", "train", "--data", market, "--json")
    first = json.loads(ost(*train).stdout)["models"]
    kept = ost("--set", "ml.regularisation=0.001", *train)
    assert kept.exit_code == 1
    assert json.loads(kept.stdout)["models"] == []
    assert f"{len(first)} instants keep another model" in kept.stderr
    replaced = ost("--set", "ml.regularisation=0.001", *train, "--replace")
    assert replaced.exit_code == 0, replaced.output
    assert len(json.loads(replaced.stdout)["models"]) == len(first)


def test_training_on_too_little_data_says_so(ost: Callable[..., Result], market: Path) -> None:
    result = ost("--set", "ml.min_train_samples=100000", "alphas", "train", "--data", market)
    assert result.exit_code == 1
    assert "no model" in result.stderr


def test_patterns_are_kept_once(ost: Callable[..., Result], market: Path) -> None:
    documents = [json.loads(ost("alphas", "patterns", "--data", market, "--json").stdout) for _ in range(2)]
    first, again = (document["assets"][0] for document in documents)
    assert first["new"] == first["found"] > 0
    assert {"liquidity_surge", "order_block_bullish"} <= set(first)
    assert (again["found"], again["new"]) == (first["found"], 0)
    assert len(documents[1]["patterns"]) == first["found"]
    assert documents[1] == documents[0] | {"assets": [again]}
    assert f"{first['found']} patterns kept" in ost("alphas", "patterns", "--data", market).stdout


def test_a_report_on_two_days_is_refused_once(ost: Callable[..., Result], market: Path) -> None:
    result = ost("alphas", "report", "--data", market, "--start", "2024-12-29", "--end", "2024-12-31")
    assert result.exit_code != 0
    assert result.stderr.count("--no-ablation") == 1
    assert "2 days from" in result.stderr


def test_a_report_does_not_praise_an_oracle(ost: Callable[..., Result], market: Path, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "cheat.py").write_text(CHEAT)
    result = ost("alphas", "report", "--data", market, "--plugins", "plugins", "--quick")
    assert result.exit_code == 2
    assert "plug-in oracle fails the prefix check" in result.stderr
    assert result.stdout == ""


def test_a_plugin_that_ends_the_process_does_not(ost: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "quit.py").write_text("import sys\nsys.exit(0)\n")
    result = ost("audit", "lookahead", "--plugins", "plugins")
    assert result.exit_code == 2
    assert "quit.py failed: SystemExit" in result.stderr


def test_the_report_is_a_table_a_document_and_a_page(ost: Callable[..., Result], market: Path, tmp_path: Path) -> None:
    ost("audit", "template", "plugins")
    result = ost("alphas", "report", "--data", market, "--plugins", "plugins", "--quick", "--html", "alphas.html", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    names = [score["name"] for score in document["scores"]]
    assert {"momentum", "ml_confidence", "trend_hunter", "stretched", "calm_trend", "consensus"} <= set(names)
    assert document["ablations"]
    assert all(ablation["verdict"] for ablation in document["ablations"])
    assert "know the next 24 bars" in document["sentences"][0]
    assert "Information coefficient" in (tmp_path / "alphas.html").read_text()
    trials = open_research(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}").trials(Asset("binanceusdm", "BTCUSDT"))
    assert document["trials"] == f"this look counts: {len(trials)} variants tried on BTCUSDT"
    assert len(trials) >= 1 + len(document["ablations"]) + len(document["alone"])
    assert {trial.metrics.get("change") for trial in trials} >= {None, "trend_hunter muted", "calm_trend alone"}
    table = ost("alphas", "report", "--data", market, "--no-ablation", "--no-ml")
    assert table.exit_code == 0
    assert "What each score knows" in table.stdout
    assert "this look counts" not in table.stderr  # nothing was traded


def test_the_audit_passes_the_template_and_fails_a_cheat(ost: Callable[..., Result], market: Path, tmp_path: Path) -> None:
    assert ost("audit", "template", "plugins").exit_code == 0
    honest = ost("audit", "lookahead", "--plugins", "plugins", "--cuts", "6")
    assert honest.exit_code == 0, honest.output
    assert "found nothing in" in honest.stdout
    (tmp_path / "plugins" / "cheat.py").write_text(CHEAT)
    caught = ost("audit", "lookahead", "--plugins", "plugins", "--data", market, "--cuts", "6", "--bars", "2000", "--json")
    assert caught.exit_code == 1
    document = json.loads(caught.stdout)
    assert [finding["subject"] for finding in document["findings"]] == ["oracle"]
    assert "1 bar ahead" in document["findings"][0]["cause"]
    assert "oracle" in ost("audit", "lookahead", "--plugins", "plugins", "--cuts", "6").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("audit", "lookahead", "--plugins", "nowhere"), "no plug-in folder"),
        (("audit", "lookahead", "--symbols", "A,B"), "one symbol"),
        (("alphas", "report", "--data", "nowhere"), "no folder nowhere"),
        (("alphas", "report", "--symbols", " "), "no symbol is named"),
    ],
)
def test_a_mistake_is_one_line(ost: Callable[..., Result], arguments: tuple[str, ...], words: str) -> None:
    result = ost(*arguments)
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert "Traceback" not in result.output
