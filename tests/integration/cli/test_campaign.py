"""`ost campaign` as a user runs it: on a small generated market, killed, resumed, shared out, told twice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cloudrun.campaign.__main__ import main as job
from cloudrun.campaign.__main__ import share
from shared.adapters.sql.research import open_research
from shared.cli.main import app
from shared.data.generated import generate_market
from shared.data.tables import candles_to_bytes
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import UsageError
from shared.domain.interval import Interval, parse_date_ms

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
    "OST_CAMPAIGN__TEST_DAYS": "20",
    "OST_CAMPAIGN__MIN_CONFIRM_DAYS": "40",
    "OST_CAMPAIGN__VARIANTS_PER_TASK": "1",
    "OST_SIGNIFICANCE__RESAMPLES": "200",
    "OST_SIGNIFICANCE__SET_RESAMPLES": "200",
}
GRID = {"strategy.stop_atr": [2, 4], "strategy.entry_threshold": [0.2, 0.3]}
PERIOD = ("--start", "2023-01-01", "--end", "2025-01-01")
HERE = ("--json", "--backend", "joblib:threading", "--workers", "2")
"""Without processes, where they are not what is tested."""
Ost = Callable[..., Result]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candles")
    bars = (END_MS - START_MS) // INTERVAL.ms
    symbols = ("BTCUSDT", "ETHUSDT")
    market = generate_market(np.random.default_rng(3), symbols, INTERVAL, START_MS, bars)
    for symbol in symbols:
        candles = asyncio.run(market.candles(symbol, INTERVAL, START_MS, END_MS))
        (folder / symbol).mkdir()
        (folder / symbol / "4h.parquet").write_bytes(candles_to_bytes(candles))
    (folder / "grid.yaml").write_text(json.dumps(GRID))
    return folder


def arguments(data: Path, *more: str) -> list[str]:
    return ["campaign", "--asset", "BTCUSDT", "--data", str(data), "--variants", str(data / "grid.yaml"), *PERIOD, *more]


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ost:
    """The command in this process, with a storage of its own."""
    monkeypatch.chdir(tmp_path)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OST_STORAGE__ROOT", str(tmp_path / "var"))
    return lambda *words: CliRunner().invoke(app, list(words))


def only(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    (campaign,) = json.loads(result.stdout)["campaigns"]
    return dict(campaign)


def only_plans(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert shown["problems"] == []
    return list(shown["campaigns"])


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A storage after one campaign that nothing disturbed, and what the command printed."""
    root = tmp_path_factory.mktemp("undisturbed") / "var"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root.parent)
        for name, value in {**SETTINGS, "OST_STORAGE__ROOT": str(root)}.items():
            patch.setenv(name, value)
        return root, only(CliRunner().invoke(app, arguments(data, "--json", "--workers", "2")))


def test_a_campaign_ends_with_a_decision_and_its_full_record(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    root, campaign = undisturbed
    outcome = campaign["outcome"]
    assert campaign["promoted"] is False
    assert outcome["reason"].startswith("no significant improvement")
    assert outcome["variants"] == 5
    assert {one["name"] for one in outcome["verdict"]["conditions"]} >= {"spa", "stepm", "ledoit_wolf", "deflated_sharpe"}
    assert campaign["tasks"] == {"done_now": 5, "done_before": 0}
    research = open_research(f"sqlite:///{root / 'ledger.sqlite'}")
    trials = research.trials(BTC)
    assert len(trials) == 5
    assert {trial.campaign_id for trial in trials} == {campaign["id"]}
    record = research.campaign(campaign["id"])
    assert record is not None
    assert record.outcome == outcome
    assert set(record.regime) == {"regime", "probabilities", "bar_close_ms"}
    page = Path(campaign["report"]).read_text("utf-8")
    assert campaign["id"] in page
    assert page.count("<figure>") == 5
    assert "http://" not in page.split("<script>")[0]


def test_the_same_command_again_does_nothing_and_says_the_same(
    data: Path, undisturbed: tuple[Path, dict[str, Any]], ost: Ost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OST_STORAGE__ROOT", str(undisturbed[0]))
    again = only(ost(*arguments(data, "--json")))
    assert again["tasks"] == {"done_now": 0, "done_before": 5}
    assert {**again, "tasks": None} == {**undisturbed[1], "tasks": None}


def test_the_joblib_backend_finds_the_same(data: Path, undisturbed: tuple[Path, dict[str, Any]], ost: Ost) -> None:
    other = only(ost(*arguments(data, *HERE)))
    assert other["id"] == undisturbed[1]["id"]
    assert other["outcome"] == undisturbed[1]["outcome"]


@pytest.mark.parametrize(("kill", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)], ids=["SIGKILL", "Ctrl-C"])
def test_stopped_in_the_middle_it_goes_on_without_doing_anything_twice(
    data: Path, undisturbed: tuple[Path, dict[str, Any]], ost: Ost, tmp_path: Path, kill: signal.Signals, code: int
) -> None:
    root = tmp_path / "var"
    process = subprocess.Popen(
        [sys.executable, "-m", "shared.cli.main", *arguments(data, "--workers", "1")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not list(root.glob("lake/campaigns/*/tasks/*.npz")):
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
    os.killpg(process.pid, kill)
    _, errors = process.communicate()
    assert process.returncode == code
    assert b"Traceback" not in errors
    assert (b"the same command goes on" in errors) == (kill == signal.SIGINT)
    research = open_research(f"sqlite:///{root / 'ledger.sqlite'}")
    recorded = {task.id for task in research.tasks(undisturbed[1]["id"])}
    finished = {path: path.stat().st_mtime_ns for path in root.glob("lake/campaigns/*/tasks/*.npz")}
    assert 1 <= len(finished) < 5
    resumed = only(ost(*arguments(data, *HERE)))
    assert resumed["tasks"] == {"done_now": 5 - len(recorded), "done_before": len(recorded)}
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())
    assert resumed["id"] == undisturbed[1]["id"]
    assert resumed["outcome"] == undisturbed[1]["outcome"]


@pytest.mark.parametrize(("tasks", "count"), [(13, 1), (13, 4), (3, 8), (100, 7)])
def test_the_instances_of_a_job_own_every_task_exactly_once(tasks: int, count: int) -> None:
    shares = [
        share(list(range(tasks)), {"CLOUD_RUN_TASK_INDEX": str(index), "CLOUD_RUN_TASK_COUNT": str(count)})  # type: ignore[arg-type]
        for index in range(count)
    ]
    assert sorted(task for one in shares for task in one) == list(range(tasks))


@pytest.mark.parametrize("wrong", [{"CLOUD_RUN_TASK_INDEX": "4", "CLOUD_RUN_TASK_COUNT": "4"}, {"CLOUD_RUN_TASK_INDEX": "x"}])
def test_a_place_in_a_job_that_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="0 <= index < count"):
        share([], wrong)


def test_a_planned_campaign_is_done_by_job_instances_and_decided_by_the_command(
    data: Path, undisturbed: tuple[Path, dict[str, Any]], ost: Ost, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (plan,) = only_plans(ost(*arguments(data, "--plan-only", "--json")))
    assert plan == {"asset": str(BTC), "id": undisturbed[1]["id"], "tasks": 5}
    monkeypatch.setenv("CLOUD_RUN_TASK_COUNT", "2")
    for index in ("0", "1", "1"):
        monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", index)
        assert job([plan["id"]]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("done")] == [
        "done: 3 tasks of 5",
        "done: 2 tasks of 5",
        "done: 0 tasks of 5",
    ]
    decided = only(ost(*arguments(data, *HERE)))
    assert decided["tasks"] == {"done_now": 0, "done_before": 5}
    assert decided["outcome"] == undisturbed[1]["outcome"]


def test_a_job_for_an_unknown_campaign_says_how_to_register_one(ost: Ost, capsys: Any) -> None:
    ost("campaign", "list")  # makes the ledger
    assert job(["k-none"]) == 1
    assert "register it with" in capsys.readouterr().err


def test_a_search_puts_all_of_its_trials_on_record(data: Path, ost: Ost, tmp_path: Path) -> None:
    words = ["campaign", "--asset", "BTCUSDT", "--data", str(data), *PERIOD, "--search", "6", *HERE]
    first, again = only(ost(*words)), only(ost(*words))
    assert first["outcome"]["variants"] == 7
    assert len(open_research(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}").trials(BTC)) == 7
    assert first["id"] == again["id"]
    assert again["tasks"]["done_now"] == 0


def test_list_and_show_tell_what_was_found(
    undisturbed: tuple[Path, dict[str, Any]], ost: Ost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OST_STORAGE__ROOT", str(undisturbed[0]))
    identity = undisturbed[1]["id"]
    (row,) = json.loads(ost("campaign", "list", "--json").stdout)
    assert (row["id"], row["state"], row["variants"]) == (identity, "no improvement", 5)
    shown = ost("campaign", "show", identity[:8], "--report", str(tmp_path / "again.html"))
    assert shown.exit_code == 0
    assert "ledoit_wolf" in shown.stdout
    assert "Walk-forward" in shown.stdout
    assert (tmp_path / "again.html").read_text("utf-8") == Path(undisturbed[1]["report"]).read_text("utf-8")
    assert json.loads(ost("campaign", "show", identity, "--json").stdout)["outcome"] == undisturbed[1]["outcome"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--search", "5"], "give one of them"),
        (["--backend", "cluster"], "expected processes, joblib or joblib:NAME"),
        (["--regime", "weather"], "expected hmm, jump, off"),
        (["--walk-forward-window", "900"], "a campaign needs 3"),
        (["--walk-forward-window", "900", "--plan-only"], "BTCUSDT: "),
        (["--promote", "--plan-only"], "nothing to promote"),
        (["--promote", "--regime", "off"], "regimes from 'off', trading uses 'hmm'"),
        (["--promote", "--cost-bps", "5"], "taker_fee_bps + half_spread_bps 5 bps, the settings say 6"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(data: Path, ost: Ost, more: list[str], message: str) -> None:
    result = ost(*arguments(data, *more))
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_every_problem_of_a_variants_file_is_named_before_anything_runs(data: Path, ost: Ost, tmp_path: Path) -> None:
    file = tmp_path / "variants.yaml"
    file.write_text("- {strategy.stop_atr: 99}\n- {strategy.entry_treshold: 0.3}\n")
    result = ost("campaign", "--data", str(data), "--variants", str(file))
    assert result.exit_code == 2
    assert "at most 50" in result.stderr
    assert "did you mean strategy.entry_threshold" in result.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("strategy.stop_atr: [2, .nan]", "strategy.stop_atr is nan"),
        ("strategy.stop_atr: [2024-01-02]", "strategy.stop_atr is the date 2024-01-02"),
        ("strategy.stop_atr: [2024-13-45]", "month must be in 1..12"),
        (f"strategy.stop_atr: {10**400}", "strategy.stop_atr is a whole number beyond"),
        (f"strategy.stop_atr: {'9' * 5000}", "cannot be read as YAML or JSON"),
        ("strategy: &loop {trend_hunter: *loop}", "nested too deeply"),
        ("[" * 5000, "nested too deeply"),
        ("strategy.stop_atr: [2]\nstrategy.stop_atr: [4]", "line 2, column 1: strategy.stop_atr stands twice"),
        ('{"strategy.stop_atr": 2, "strategy": {"stop_atr": 3}}', "strategy.stop_atr is given twice"),
        ("strategy.stop_atr: 1e1", "as in 1.0e+9"),
        ("strategy.stop_atr: [2", "line 1, column"),
        ("", "holds nothing"),
        ("\n".join(f"strategy.x{axis}: {list(range(40))}" for axis in range(9)), "more than 1000000000000 combinations"),
    ],
)
def test_whatever_a_variants_file_holds_a_problem_is_one_line(ost: Ost, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "v.yaml"
    file.write_text(content)
    result = ost("campaign", "--variants", str(file))
    assert result.exit_code == 2, result.exception
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "var").exists()


def test_another_promotion_rule_is_another_campaign_with_its_own_verdict_and_nothing_is_computed_again(
    data: Path, undisturbed: tuple[Path, dict[str, Any]], ost: Ost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(undisturbed[0], root)
    monkeypatch.setenv("OST_STORAGE__ROOT", str(root))
    arrays = {path: path.stat().st_mtime_ns for path in root.glob("lake/campaigns/*/tasks/*.npz")}
    monkeypatch.setenv("OST_SIGNIFICANCE__MINIMUM_CONFIRM_DAYS", "30")
    laxer = only(ost(*arguments(data, *HERE)))
    assert laxer["id"] != undisturbed[1]["id"]
    verdicts = [one["outcome"]["verdict"]["conditions"] for one in (undisturbed[1], laxer)]
    passed = [{one["name"]: one["passed"] for one in verdict}["enough_confirm_days"] for verdict in verdicts]
    assert passed == [False, True]
    assert {path: path.stat().st_mtime_ns for path in root.glob("lake/campaigns/*/tasks/*.npz")} == arrays


def test_an_asset_that_does_not_do_stops_no_plan_of_the_others(data: Path, ost: Ost, tmp_path: Path) -> None:
    folder = tmp_path / "candles"
    shutil.copytree(data, folder)
    (folder / "ETHUSDT" / "4h.parquet").write_bytes(candles_to_bytes(waves(700)))
    words = ["--data", str(folder), "--asset", "ETHUSDT", "--plan-only", "--json"]
    result = ost(*arguments(data, *words))
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert [one["asset"] for one in shown["campaigns"]] == [str(BTC)]
    assert shown["problems"][0].startswith("ETHUSDT: left out")
    assert "ETHUSDT: left out" in result.stderr


def test_a_report_that_the_disk_does_not_take_stops_neither_the_others_nor_the_table(
    data: Path, ost: Ost, tmp_path: Path
) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "reports").write_text("a file where the folder would be")
    words = [*arguments(data), "--asset", "ETHUSDT", "--backend", "joblib:threading", "--workers", "2"]
    shown, document = ost(*words), ost(*words, "--json")
    assert (shown.exit_code, document.exit_code) == (1, 1)
    assert shown.stdout.count("report: not written") == 2
    found = json.loads(document.stdout)
    assert [one["report"] for one in found["campaigns"]] == [None, None]
    assert all(one["outcome"]["verdict"] for one in found["campaigns"])
    assert [problem.split(":")[0] for problem in found["problems"]] == ["BTCUSDT", "ETHUSDT"]
    for problem, one in zip(found["problems"], found["campaigns"], strict=True):
        assert "cannot write the report" in problem
        assert f"`ost campaign show {one['id']} --report FILE`" in problem
        assert "another place" not in problem
    again = ost("campaign", "show", found["campaigns"][0]["id"], "--report", str(tmp_path / "elsewhere.html"))
    assert again.exit_code == 0, again.output
    assert "Days of the confirmation were looked at before by 0 campaigns" in " ".join(again.stdout.split())
    assert "these candidates" in (tmp_path / "elsewhere.html").read_text("utf-8")


def test_a_safety_limit_in_a_variants_file_is_refused(ost: Ost, tmp_path: Path) -> None:
    file = tmp_path / "v.yaml"
    file.write_text("risk.max_drawdown: [0.3, 0.95]")
    result = ost("campaign", "--variants", str(file))
    assert result.exit_code == 2
    assert "risk.max_drawdown is a safety limit: a person sets it" in " ".join(result.stderr.split())


def test_days_that_cannot_be_enough_are_said_before_the_work(data: Path, ost: Ost) -> None:
    result = ost(*arguments(data, "--plan-only"))
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "the promotion rule needs 180 (significance.minimum_confirm_days)" in said
    assert "nothing can be promoted" in said


def test_the_list_fits_a_narrow_terminal(
    undisturbed: tuple[Path, dict[str, Any]], ost: Ost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OST_STORAGE__ROOT", str(undisturbed[0]))
    monkeypatch.setenv("COLUMNS", "80")
    shown = ost("campaign", "list").stdout
    (line,) = [line for line in shown.splitlines() if undisturbed[1]["id"][:12] in line]
    for word in ("BTCUSDT", "2023-01-01", "2025-01-01", "no improvement"):
        assert word in line


def test_an_unknown_campaign_is_no_traceback(ost: Ost) -> None:
    result = ost("campaign", "show", "k-none")
    assert result.exit_code == 1
    assert "there is no campaign k-none" in result.stderr


def waves(days: int) -> Candles:
    """A market with an edge: prices swing by an eighth every 24 days, so that who follows the trend earns."""
    rng, bars = np.random.default_rng(1), 6 * days
    at = np.arange(bars + 1) / 6
    price = 30_000 * np.exp(0.12 * np.sin(2 * np.pi * at / 24) + np.cumsum(rng.normal(0, 0.006, bars + 1)))
    first, last = price[:-1], price[1:]
    times = END_MS - (bars - np.arange(bars, dtype=np.int64)) * INTERVAL.ms
    high, low = np.maximum(first, last) * 1.001, np.minimum(first, last) * 0.999
    return Candles(INTERVAL, times, first, high, low, last, rng.uniform(50, 150, bars))


def test_an_edge_that_is_there_is_found_promoted_and_is_the_next_incumbent(
    ost: Ost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "BTCUSDT").mkdir()
    (tmp_path / "BTCUSDT" / "4h.parquet").write_bytes(candles_to_bytes(waves(1600)))
    variants = tmp_path / "variants.yaml"
    variants.write_text("- {strategy.trend_hunter.share: 1, strategy.mean_reversion.share: 0}\n- {strategy.stop_atr: 5}\n")
    for agent in ("TREND_HUNTER", "BREAKOUT_HUNTER", "LIQUIDITY_SURFER"):
        monkeypatch.setenv(f"OST_STRATEGY__{agent}__SHARE", "0")
    monkeypatch.setenv("OST_CAMPAIGN__TEST_DAYS", "60")
    period = ("--start", "2021-12-28", "--end", "2025-01-01")
    words = ["campaign", "--asset", "BTCUSDT", "--data", str(tmp_path), "--variants", str(variants), *period, *HERE]
    first = only(ost(*words, "--promote"))
    assert first["promoted"], first["reason"]
    assert first["outcome"]["winner"]["changes"]["strategy.trend_hunter.share"] == 1.0
    research = open_research(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}")
    (champion,) = research.champions(BTC, active=True)
    assert champion.id == first["champion"]
    assert champion.lineage["campaign"] == first["id"]
    assert (champion.lineage["by"], champion.lineage["regime_mode"]) == ("campaign", "hmm")
    assert champion.lineage["costs"]["taker_fee_bps"] == 5.0
    second = only(ost(*words, "--promote"))
    assert second["id"] != first["id"]
    assert second["outcome"]["incumbent"]["params_version"] == champion.params_version
    assert not second["promoted"]
    assert [one.id for one in research.champions(BTC, active=True)] == [champion.id]
