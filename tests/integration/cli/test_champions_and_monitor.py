"""`ost champions`, `ost monitor` and `ost recalibrate` as a user runs them, on a small generated market."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.sql import open_ledger, open_research
from shared.cli.main import app
from shared.cli.monitor import parse_baseline
from shared.config.load import load
from shared.data.generated import generate_market
from shared.data.tables import candles_to_bytes
from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision
from shared.domain.errors import UsageError
from shared.domain.interval import DAY_MS, Interval, parse_date_ms
from shared.domain.orders import Fill, Side
from shared.domain.records import EquityPoint, RegimeState
from shared.domain.regime import Regime, RegimeProbabilities

INTERVAL = Interval.H4
START_MS, END_MS = parse_date_ms("2021-10-01"), parse_date_ms("2025-01-01")
BTC = Asset("binanceusdm", "BTCUSDT")
SETTINGS = {
    "OST_INTERVAL": "4h",
    "OST_REGIME__TRAIN_BARS": "700",
    "OST_REGIME__REFIT_DAYS": "28",
    "OST_REGIME__SEARCH_DAYS": "28",
    "OST_REGIME__RESTARTS": "1",
    "OST_CAMPAIGN__TRAIN_DAYS": "60",
    "OST_CAMPAIGN__TEST_DAYS": "30",
    "OST_CAMPAIGN__MIN_CONFIRM_DAYS": "40",
    "OST_CAMPAIGN__VARIANTS_PER_TASK": "4",
    "OST_SIGNIFICANCE__RESAMPLES": "200",
    "OST_SIGNIFICANCE__SET_RESAMPLES": "200",
    "OST_MONITOR__HISTORY_DAYS": "700",
    "COLUMNS": "200",
}
Ost = Callable[..., Result]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candles")
    market = generate_market(np.random.default_rng(3), ("BTCUSDT",), INTERVAL, START_MS, (END_MS - START_MS) // INTERVAL.ms)
    candles = asyncio.run(market.candles("BTCUSDT", INTERVAL, START_MS, END_MS))
    (folder / "BTCUSDT").mkdir()
    (folder / "BTCUSDT" / "4h.parquet").write_bytes(candles_to_bytes(candles))
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def url(root: Path) -> str:
    (root / "var").mkdir()
    return f"sqlite:///{root / 'var' / 'ledger.sqlite'}"


def ost(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def answer(*arguments: str, exit_code: int = 0) -> Any:
    result = ost(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def book(url: str, sharpe: float) -> None:
    """Forty days of a book whose last thirty have this Sharpe ratio per day, ending with the candles."""
    rng = np.random.default_rng(4)
    shape = rng.standard_normal(40)
    tail = shape[10:]
    shape[10:] = (tail - tail.mean()) / tail.std(ddof=1) + sharpe
    prices = 100.0 * np.cumprod([1.0, *(1.0 + 0.01 * shape)])
    begin = END_MS - 40 * DAY_MS
    ledger = open_ledger(url)
    ledger.register_book("nightly", 1, {})
    lease = ledger.acquire_lease("nightly", "me", 1000, 0)
    assert lease is not None
    ledger.add_fills("nightly", [Fill("BTCUSDT", "1", None, "1", Side.BUY, Decimal(10), Decimal(100), Decimal(0), begin - 1)])
    probabilities = RegimeProbabilities(0.1, 0.2, 0.7)
    for day, price in enumerate(prices.tolist()):
        now_ms = begin + day * DAY_MS
        lineage = ("p", "0.1.0", "c", now_ms, "m")
        decided = (probabilities, Regime.STRESS, {}, (), 0.0, price, 1.0, 1.0, Action.HOLD, None, {}, (), ())
        ledger.commit_decision(Decision(f"d-{day}", "nightly", BTC, INTERVAL, now_ms, *lineage, *decided), [], lease)
        value = Decimal(str(10 * price))
        ledger.record_equity("nightly", EquityPoint(now_ms, value, value, value))
    state = RegimeState(BTC, END_MS, probabilities, Regime.STRESS, "m-1", (0.1, 0.2, 0.7), 9, 4)
    ledger.record_regimes("nightly", [state])
    ledger.close()


GOOD = "sharpe=2,volatility=0.19,days=700,clustering=5"


def test_a_collapse_is_due_and_a_recalibration_answers_it(url: str, data: Path) -> None:
    book(url, -0.8)
    looked = answer("monitor", "--baseline", GOOD, exit_code=3)
    assert looked["due"] == 1
    (look,) = looked["looks"]
    assert look["check"]["trigger"] == "sharpe"
    assert answer("monitor", "--baseline", GOOD, exit_code=3)["looks"][0]["waiting"] == look["event"]
    planned = answer("recalibrate", "--data", str(data), "--dry-run")["recalibrations"]
    assert [(row["event"], row["status"], row["regime"]) for row in planned] == [(look["event"], "open", "stress")]
    done = answer("recalibrate", "--data", str(data))
    (row,) = done["recalibrations"]
    assert row["campaign"] == planned[0]["plan"]["id"]
    assert row["status"] == "no_improvement"
    assert done["problems"] == []
    assert "nothing to do" in ost("recalibrate", "--data", str(data)).output
    assert "cooling down" in answer("monitor", "--baseline", GOOD)["looks"][0]["reason"]
    log = open_ledger(url).agent_log("nightly")
    assert [(entry["source"], entry["level"]) for entry in log] == [
        ("monitor", "warning"),
        ("monitor", "info"),
        ("recalibration", "info"),
        ("monitor", "info"),
    ]
    champion_by_hand(url, row["campaign"])


def champion_by_hand(url: str, campaign: str) -> None:
    """What the campaign did not promote, a person can."""
    assert answer("champions", "list") == []
    assert ost("champions", "promote", campaign, "--reason", " ").exit_code == 2
    made = answer("champions", "promote", campaign, "--reason", "I say so")
    assert made["deactivated"] is None
    assert "did not pass" in made["warnings"][0]
    (listed,) = answer("champions", "list", "--active")
    assert (listed["id"], listed["by"], listed["reason"]) == (made["champion"], "hand", "I say so")
    shown = answer("champions", "show", "btcusdt")
    assert shown["lineage"]["campaign"] == campaign
    assert shown["metrics"]["clustering"] >= 2
    assert ost("champions", "show", made["champion"][:14]).exit_code == 0
    assert answer("champions", "diff", "BTCUSDT", made["champion"])["params"] == []
    again = ost("champions", "promote", campaign, "--reason", "again")
    assert again.exit_code == 2
    assert "already" in again.output
    look = answer("monitor", "--dry-run")["looks"][0]
    assert look["champion"] == made["champion"]
    assert look["baseline"]["days"] == shown["metrics"]["days"]
    assert look["reason"].startswith(f"no recalibration: the book does not trade champion {made['champion']}")
    settings_trade_the_champion(made["champion"])
    assert answer("db", "check")["sound"]
    second = open_research(url).champions()[0]
    assert second.active


def settings_trade_the_champion(champion: str) -> None:
    """A run with the printed settings decides with the champion's parameters."""
    printed = ost("champions", "show", champion, "--settings")
    assert printed.exit_code == 0, printed.output
    Path("champion.yaml").write_text(printed.stdout)
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTINGS:
            patch.delenv(name)
        settings = load(Path("champion.yaml"), environment={}).settings
    shown = answer("champions", "show", champion)
    assert settings.system.version == shown["params_version"]
    assert (settings.interval.value, settings.universe.symbols) == ("4h", ("BTCUSDT",))


def test_the_end_of_a_recalibration_by_hand_is_the_end_of_its_candles(url: str, data: Path) -> None:
    (planned,) = answer("recalibrate", "--asset", "BTCUSDT", "--data", str(data), "--dry-run")["recalibrations"]
    assert planned["plan"]["end"].startswith("2025-01-01")


def test_a_recalibration_on_a_generated_market_is_refused_before_anything_is_written(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OST_VENUE__BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("OST_VENUE__PROBE_TIMEOUT_S", "0.2")
    for end in ([], ["--end", "2025-01-01"]):
        result = ost("recalibrate", "--asset", "BTCUSDT", *end)
        assert result.exit_code == 2, result.output
        assert "needs recorded candles" in " ".join(result.output.split())
    assert open_research(url).recalibrations() == []


def test_what_is_as_promised_is_not_due(url: str) -> None:
    book(url, 0.1)
    looked = answer("monitor", "--baseline", GOOD)
    assert looked["due"] == 0
    assert "no recalibration" in ost("monitor", "--book", "nightly", "--baseline", GOOD).output
    assert "baseline has 10 days" in answer("monitor", "--baseline", "history")["looks"][0]["reason"]


def test_a_written_backtest_is_looked_at_against_its_own_history(root: Path) -> None:
    rng = np.random.default_rng(4)
    returns = [*(0.01 * rng.standard_normal(300) + 0.001), *(0.01 * rng.standard_normal(30) - 0.01)]
    folder = root / "backtest"
    folder.mkdir()
    (folder / "days.csv").write_text("\n".join(["return", *map(str, returns)]))
    (folder / "equity.csv").write_text("equity,exposure\n1,0\n1,0\n")
    (folder / "summary.json").write_text(json.dumps({"backtest": "x", "generated": False, "positions": {}, "end_ms": END_MS}))
    found = answer("monitor", "--backtest", str(folder), exit_code=3)
    assert found["baseline"]["days"] == 300
    assert found["check"]["trigger"] == "sharpe"
    assert found["reason"].startswith("a recalibration would be due")
    assert (
        answer("monitor", "--backtest", str(folder), "--baseline", "sharpe=-20,volatility=0.2,days=500")["check"]["fired"]
        is False
    )
    assert ost("monitor", "--backtest", str(folder), "--book", "x").exit_code == 2
    assert "ost backtest" in ost("monitor", "--backtest", str(root)).output


def test_a_killed_recalibration_goes_on_with_the_same_campaign(url: str, data: Path, root: Path) -> None:
    command = [sys.executable, "-m", "shared.cli.main", "recalibrate", "--asset", "BTCUSDT", "--end", "2025-01-01"]
    command += ["--data", str(data), "--workers", "1", "--reason", "killed on the way"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    research = open_research(url)
    with subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.DEVNULL) as process:
        while not any(research.tasks(record.id) for record in research.campaigns()):
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended by itself: {process.wait(timeout=0.02)}")
        process.send_signal(signal.SIGKILL)
    (event,) = research.recalibrations()
    (campaign,) = research.campaigns()
    assert event.status == "running"
    done_before = len(research.tasks(campaign.id))
    again = [*command[:6], *command[8:], "--json"]  # without --end: the event says where its data end
    told = subprocess.run(again, env=environment, cwd=root, stdout=subprocess.PIPE, check=True).stdout
    (row,) = json.loads(told)["recalibrations"]
    assert (row["event"], row["campaign"], row["trigger"]) == (event.id, campaign.id, "manual")
    assert done_before < len(research.tasks(campaign.id))
    assert row["status"] == "no_improvement"


def test_a_recalibration_without_data_fails_and_says_so(url: str, data: Path) -> None:
    result = ost("recalibrate", "--asset", "ETHUSDT", "--end", "2025-01-01", "--data", str(data))
    assert result.exit_code in (1, 2)
    assert "ETHUSDT" in result.output
    assert "ETHUSDT: ETHUSDT:" not in result.output
    assert [event.status for event in open_research(url).recalibrations()] == ["failed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("recalibrate", "--asset", "BTCUSDT", "--event", "r-1"), "give one of them"),
        (("recalibrate", "--event", "r-1"), "is no event"),
        (("recalibrate", "--event", "r-1", "--end", "2025-01-01"), "--end and --reason are for a new event"),
        (("recalibrate", "--reason", "why not"), "--end and --reason are for a new event"),
        (("monitor", "simulate", "--sharpe", "nan"), "--sharpe is nan"),
        (("monitor", "simulate", "--sharpe", "-2"), "--sharpe is -2.0"),
        (("champions", "show", "champion-x"), "no champion"),
        (("champions", "promote", "k-x", "--reason", "x"), "no campaign and no champion"),
        (("monitor",), "no book yet"),
    ],
)
@pytest.mark.usefixtures("url")
def test_nonsense_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = ost(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output


@pytest.mark.parametrize(
    "text", ["", "sharpe=1", "sharpe=x,volatility=1,days=1", "sharpe=nan,volatility=1,days=1", f"{GOOD},a=1"]
)
def test_a_baseline_that_says_too_little_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected e\.g\. sharpe"):
        parse_baseline(text)


def test_the_simulation_prints_its_tables(root: Path) -> None:
    found = answer("monitor", "simulate", "--paths", "2", "--years", "1")
    assert [rate["law"] for rate in found["false_alarms"]] == ["normal", "heavy", "clustered"]
    assert "Days between false alarms" in ost("monitor", "simulate", "--paths", "1", "--years", "0.5").output


@pytest.mark.parametrize(
    "command",
    [
        ["champions", "list"],
        ["champions", "show"],
        ["champions", "diff"],
        ["champions", "promote"],
        ["monitor"],
        ["recalibrate"],
    ],
)
def test_help_shows_an_example(command: list[str]) -> None:
    result = ost(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: ost {' '.join(command)}" in " ".join(result.output.split())
