"""`ost classify | regenerate-signal | recommend` as a user runs them, on a small generated market in a lake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import open_ledger
from shared.cli.main import app
from shared.data.generated import generate_market
from shared.data.store import FUNDING, RAW, series_path
from shared.data.tables import candles_to_bytes, series_to_bytes
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.interval import DAY_MS, Interval, parse_date_ms

Ost = Callable[..., Result]
START_MS = parse_date_ms("2025-07-01")
BARS = 24 * 56
LAST_CLOSE_MS = START_MS + BARS * Interval.H1.ms
SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC = Asset("binanceusdm", "BTCUSDT")


def store(lake: Path, symbol: str, candles: Candles, funding: Any) -> None:
    bucket, asset = FolderBucket(lake), Asset("binanceusdm", symbol)
    bucket.write(asset.path(RAW, candles.interval), candles_to_bytes(candles))
    bucket.write(series_path(asset, FUNDING[0]), series_to_bytes(funding, FUNDING[1]))


@pytest.fixture(scope="module")
def market() -> Any:
    """One bar more than the lake holds at first."""
    return generate_market(np.random.default_rng(11), SYMBOLS, Interval.H1, START_MS, BARS + 1)


@pytest.fixture(scope="module")
def classified(market: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A lake and a ledger after the first `ost classify`, and what it said."""
    root = tmp_path_factory.mktemp("signal") / "var"
    for symbol in SYMBOLS:
        store(root / "lake", symbol, market.history[symbol][:BARS], market.funding[symbol])
    with pytest.MonkeyPatch.context() as patch:
        settings(patch, root)
        result = CliRunner().invoke(app, ["classify", "--history-days", "10", "--json"])
    return root, result


def settings(patch: pytest.MonkeyPatch, root: Path) -> None:
    patch.chdir(root.parent)
    patch.setenv("OST_STORAGE__ROOT", str(root))
    patch.setenv("OST_UNIVERSE__SYMBOLS", json.dumps(SYMBOLS))
    patch.setenv("OST_REGIME__RESTARTS", "2")
    patch.setenv("OST_REGIME__REFIT_DAYS", "28")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classified: tuple[Path, Result]) -> Path:
    """A copy of the classified lake and ledger, which the commands use."""
    copy = Path(shutil.copytree(classified[0], tmp_path / "var"))
    settings(monkeypatch, copy)
    return copy


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ost:
    """Runs `ost`, with empty storage unless `root` is there too."""
    if not (tmp_path / "var").exists():
        settings(monkeypatch, tmp_path / "var")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


def parsed(result: Result) -> Any:
    return json.loads(result.stdout)


def fails(result: Result, code: int, message: str) -> None:
    """Exit code, one line on standard error, no traceback."""
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_each_asset_is_classified_with_a_model_fitted_on_the_grid(classified: tuple[Path, Result]) -> None:
    result = classified[1]
    assert result.exit_code == 0, result.output
    document = parsed(result)
    assert (document["book"], document["problems"]) == ("signal", 0)
    for row in document["assets"]:
        assert row["bar_close_ms"] == LAST_CLOSE_MS
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-9)
        assert row["regime"] in ("calm", "balanced", "stress")
        assert (row["bar_close_ms"] - row["model_age_ms"] - 4 * DAY_MS) % (28 * DAY_MS) == 0
        assert row["models_fitted"] == 1
        assert set(row["drift"]) == {"calm", "balanced", "stress"}
        assert row["stress"] in ("none", "warning", "critical")


def test_the_newest_regime_is_in_the_ledger_and_its_model_in_the_lake(classified: tuple[Path, Result]) -> None:
    root, result = classified
    ledger = open_ledger(f"sqlite:///{root / 'ledger.sqlite'}")
    state = ledger.last_regime("signal", BTC)
    ledger.close()
    row = parsed(result)["assets"][0]
    assert state is not None
    assert (state.bar_close_ms, state.model_id, state.regime.value) == (LAST_CLOSE_MS, row["model_id"], row["regime"])
    assert [name for name in FolderBucket(root / "lake").list("models/regime/binanceusdm/BTCUSDT") if row["model_id"] in name]


def test_classifying_again_fits_nothing_and_says_the_same(root: Path, ost: Ost, classified: tuple[Path, Result]) -> None:
    first, again = parsed(classified[1]), parsed(ost("classify", "--history-days", "10", "--json"))
    volatile = {"age_ms", "models_fitted"}
    assert [row["models_fitted"] for row in again["assets"]] == [0, 0]
    for before, after in zip(first["assets"], again["assets"], strict=True):
        assert {k: v for k, v in before.items() if k not in volatile} == {k: v for k, v in after.items() if k not in volatile}


def test_too_little_data_is_named_and_the_other_asset_is_classified(root: Path, ost: Ost, market: Any) -> None:
    store(root / "lake", "ETHUSDT", market.history["ETHUSDT"][BARS - 300 : BARS], market.funding["ETHUSDT"])
    shutil.rmtree(root / "lake" / "models" / "regime" / "binanceusdm" / "ETHUSDT")
    result = ost("classify", "--history-days", "10")
    fails(result, 1, "binanceusdm:ETHUSDT: no model of ")
    assert "a regime fit takes at least 500" in result.stderr
    assert "BTCUSDT" in result.stdout


def test_a_signal_is_decided_once_and_orders_nothing(root: Path, ost: Ost) -> None:
    first, again = parsed(ost("regenerate-signal", "--json")), parsed(ost("regenerate-signal", "--json"))
    assert (first["new"], again["new"]) == (2, 0)
    ids = [row["decision_id"] for row in first["signals"]]
    assert ids == [row["decision_id"] for row in again["signals"]]
    ledger = open_ledger(f"sqlite:///{root / 'ledger.sqlite'}")
    decisions, orders = ledger.decisions("signal"), ledger.orders("signal")
    assert sorted(ids) == sorted(decision.id for decision in decisions)
    assert orders == []
    assert all(decision.order_ids == () for decision in decisions)
    assert all(decision.bar_close_ms == LAST_CLOSE_MS for decision in decisions)
    # The regime that was decided on is the classified one.
    state = ledger.last_regime("signal", BTC)
    ledger.close()
    assert state is not None
    newest = next(decision for decision in decisions if decision.asset == BTC)
    assert (newest.regime, newest.regime_model_id) == (state.regime, state.model_id)
    assert newest.probabilities.calm == pytest.approx(state.probabilities.calm, abs=1e-9)


def test_the_age_of_old_data_is_said(root: Path, ost: Ost) -> None:
    result = ost("regenerate-signal", "--symbols", "BTCUSDT")
    assert result.exit_code == 0, result.output
    assert "OUT OF DATE" in result.stdout
    assert "Nothing was ordered" in " ".join(result.stdout.split())


def test_a_recommendation_carries_its_reasons(root: Path, ost: Ost) -> None:
    document = parsed(ost("recommend", "--json"))
    assert document["problems"] == []
    for row in document["recommendations"]:
        assert row["side"] in ("long", "short", "flat")
        assert row["confidence"] == pytest.approx(abs(row["score"]))
        assert row["invalid_after_ms"] == LAST_CLOSE_MS + Interval.H1.ms
        assert not row["valid"]
        assert len(row["votes"]) == 6
        assert all(vote["reason"] for vote in row["votes"])
        assert set(row["alphas"]) >= {"momentum", "liquidity"}
        assert row["reasons"]
    text = ost("recommend", "--symbols", "BTCUSDT").stdout
    assert "trend_hunter" in text
    assert "ost decisions show d-" in text


def test_a_newer_bar_is_decided_before_it_is_recommended(root: Path, ost: Ost, market: Any) -> None:
    old = parsed(ost("recommend", "--symbols", "BTCUSDT", "--json"))["recommendations"][0]
    same = parsed(ost("recommend", "--symbols", "BTCUSDT", "--json"))["recommendations"][0]
    store(root / "lake", "BTCUSDT", market.history["BTCUSDT"], market.funding["BTCUSDT"])
    new = parsed(ost("recommend", "--symbols", "BTCUSDT", "--json"))["recommendations"][0]
    assert same["decision_id"] == old["decision_id"]
    assert (old["bar_close_ms"], new["bar_close_ms"]) == (LAST_CLOSE_MS, LAST_CLOSE_MS + Interval.H1.ms)


def test_an_asset_without_bars_is_named_and_the_others_are_recommended(root: Path, ost: Ost) -> None:
    result = ost("recommend", "--symbols", "BTCUSDT,DOGEUSDT")
    fails(result, 1, "no 1h bars of binanceusdm:DOGEUSDT are stored; fetch them with: ost backfill --interval 1h")
    assert "binanceusdm:BTCUSDT" in result.stdout


def test_unreadable_bars_are_named_and_the_others_are_decided(root: Path, ost: Ost) -> None:
    FolderBucket(root / "lake").write(Asset("binanceusdm", "ETHUSDT").path(RAW, Interval.H1), b"broken")
    result = ost("regenerate-signal")
    fails(result, 1, "binanceusdm:ETHUSDT: ")
    assert "BTCUSDT" in result.stdout


def test_a_broken_model_is_named_and_fitted_anew(root: Path, ost: Ost) -> None:
    bucket = FolderBucket(root / "lake")
    for name in bucket.list("models/regime/binanceusdm/ETHUSDT"):
        bucket.write(name, b"{}")
    result = ost("classify", "--history-days", "10")
    fails(result, 1, "binanceusdm:ETHUSDT: a stored model cannot be used and was fitted anew: models/regime/")
    assert "BTCUSDT" in result.stdout
    assert "ETHUSDT" in result.stdout
    assert ost("classify", "--history-days", "10").exit_code == 0


def test_a_book_that_another_process_writes_is_left_alone(root: Path, ost: Ost) -> None:
    from shared.adapters.local.clock import SystemClock

    ledger = open_ledger(f"sqlite:///{root / 'ledger.sqlite'}")
    assert ledger.acquire_lease("signal", "another", 600_000, SystemClock().now_ms())
    ledger.close()
    fails(ost("regenerate-signal"), 1, "another process writes the book signal")


@pytest.mark.parametrize("command", ["classify", "regenerate-signal", "recommend"])
def test_mistakes_are_one_line(command: str, ost: Ost) -> None:
    fails(ost(command), 1, "the lake holds no 1h bars of BTCUSDT ETHUSDT; fetch them with: ost backfill --interval 1h")
    fails(ost(command, "--symbols", "DOGEUSDT"), 1, "the lake holds no 1h bars of DOGEUSDT")
    fails(ost(command, "--symbols", "doge!"), 2, "'doge!' is no symbol")
    fails(ost(command, "--interval", "7m"), 2, "unknown interval '7m'")
