"""`ost backtest` and `ost risk` as a user runs them, on a folder with a small generated market."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import open_ledger
from shared.adapters.sql.research import open_research
from shared.cli.backtest_trials import DEFAULT_INTERVAL
from shared.cli.main import app
from shared.config.load import load
from shared.data.generated import generate_market
from shared.data.tables import candles_to_bytes
from shared.domain.asset import Asset
from shared.domain.candles import COLUMNS, Candles
from shared.domain.interval import DAY_MS, HOUR_MS, Interval, format_ms, parse_date_ms
from shared.domain.orders import Fill, Side
from shared.domain.records import EquityPoint
from shared.domain.research import Champion
from shared.trading.params import SystemParams

Ost = Callable[..., Result]
START_MS = parse_date_ms("2025-01-01")
BARS = 24 * 100
SYMBOLS = ("BTCUSDT", "ETHUSDT")
SMALL = ("--set", "risk_report.paths=200")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candles of both symbols as Parquet files."""
    folder = tmp_path_factory.mktemp("candles")
    made = generate_market(np.random.default_rng(5), SYMBOLS, Interval.H1, START_MS, BARS)
    for symbol in SYMBOLS:
        FolderBucket(folder).write(f"{symbol}/1h.parquet", candles_to_bytes(made.history[symbol]))
    return folder


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ost:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OST_STORAGE__ROOT", str(tmp_path / "var"))
    monkeypatch.setenv("OST_UNIVERSE__SYMBOLS", json.dumps(SYMBOLS))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*SMALL, *arguments])

    return run


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_a_backtest_of_the_system_says_everything(ost: Ost, files: Path, tmp_path: Path) -> None:
    options = ("--data", str(files), "--start", "2025-03-01", "--json", "--parquet", "out", "--report", "page.html")
    found = answer(ost("backtest", *options))
    assert found["symbols"] == list(SYMBOLS)
    assert found["start"] == "2025-03-01 00:00"
    assert found["end"] == format_ms(START_MS + BARS * HOUR_MS)
    assert found["identity_error"] <= 1e-9
    assert found["trials"] is None  # the default parameters are nobody's choice
    assert found["summary"]["start_equity"] == 10_000
    assert found["comparison"]["strategy"] == "buy-and-hold"
    profit = sum(row["profit"] for row in found["costs"])
    assert profit == pytest.approx(found["summary"]["end_equity"] - 10_000, abs=20)  # but for the trades of the last instant
    assert {row["regime"] for row in found["regimes"]} == {"calm", "balanced", "stress"}
    assert (tmp_path / "page.html").stat().st_size < 10_000_000
    equity = pq.read_table(tmp_path / "out" / "equity.parquet")
    assert equity["equity"][-1].as_py() == pytest.approx(found["summary"]["end_equity"])
    assert len(pq.read_table(tmp_path / "out" / "trades.parquet")) == found["summary"]["trades"]


def test_the_same_command_gives_the_same_answer(ost: Ost, files: Path) -> None:
    options = ("--data", str(files), "--symbols", "BTCUSDT", "--days", "30", "--regime", "off", "--no-report", "--json")
    first, again = (answer(ost("backtest", *options)) for _ in range(2))
    assert first == again
    assert first["regimes"] == []
    assert first["files"] == []


@pytest.mark.parametrize("strategy", ["sma-cross", "buy-and-hold", "regime-only"])
def test_simple_strategies_trade_equal_parts(ost: Ost, files: Path, strategy: str) -> None:
    found = answer(ost("backtest", "--data", str(files), "--days", "30", "--strategy", strategy, "--no-report", "--json"))
    assert found["strategy"] == strategy
    assert found["summary"]["fees"] > 0
    if strategy == "buy-and-hold":
        assert found["summary"] == found["comparison"]["summary"]
        assert list(found["positions"]) == list(SYMBOLS)


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same candles with a hole of five bars; ETHUSDT ends on 20 March."""
    folder = tmp_path_factory.mktemp("ending")
    made = generate_market(np.random.default_rng(5), SYMBOLS, Interval.H1, START_MS, BARS)
    for symbol, ends in zip(SYMBOLS, ("2026-01-01", "2025-03-20"), strict=True):
        candles = made.history[symbol].between(None, parse_date_ms(ends))
        kept = np.abs(candles.open_time - parse_date_ms("2025-03-15")) > 2 * HOUR_MS
        cut = Candles(Interval.H1, *(getattr(candles, name)[kept] for name in COLUMNS))
        FolderBucket(folder).write(f"{symbol}/1h.parquet", candles_to_bytes(cut))
    return folder


@pytest.mark.parametrize("strategy", ["system", "regime-only", "buy-and-hold"])
def test_an_asset_that_ends_is_traded_to_its_last_bar(ost: Ost, ending: Path, tmp_path: Path, strategy: str) -> None:
    options = ("--start", "2025-03-05", "--strategy", strategy, "--no-report", "--json", "--csv", "out")
    found = answer(ost("--set", "strategy.entry_threshold=0.12", "backtest", "--data", str(ending), *options))
    assert found["symbols"] == list(SYMBOLS)
    assert "ETHUSDT" not in found["positions"]
    fills = list(csv.DictReader((tmp_path / "out" / "fills.csv").open(encoding="utf-8")))
    own = [fill for fill in fills if "ETHUSDT" in fill.values()]
    assert own
    assert sum(float(fill["quantity"]) for fill in own) == pytest.approx(0.0, abs=1e-9)
    if strategy == "buy-and-hold":
        assert len(own) == 2
        made = generate_market(np.random.default_rng(5), SYMBOLS, Interval.H1, START_MS, BARS)
        last = made.history["ETHUSDT"].between(None, parse_date_ms("2025-03-20")).close[-1]
        assert float(own[-1]["price"]) == pytest.approx(float(last), rel=1e-3)  # at the last close, less half-spread and impact


def test_what_the_data_leave_out_is_said(ost: Ost, ending: Path) -> None:
    options = ("--data", str(ending), "--start", "2025-03-05", "--strategy", "buy-and-hold", "--report", "page.html", "--json")
    result = ost("backtest", *options)
    found = answer(result)
    expected = [
        "BTCUSDT: 5 of 888 bars are missing",
        "BTCUSDT: no funding rates; counted as 0",
        "ETHUSDT: 5 of 360 bars are missing",
        "ETHUSDT: candles end 2025-03-20 00:00: closed there",
        "ETHUSDT: no funding rates; counted as 0",
    ]
    assert found["notes"] == expected
    assert all(note in result.stderr for note in expected)
    assert expected[0] in Path("page.html").read_text("utf-8")


def test_costs_can_be_set(ost: Ost, files: Path) -> None:
    options = ("--data", str(files), "--days", "30", "--strategy", "sma-cross", "--no-report", "--json")
    cheap, dear = (answer(ost("backtest", *options, "--cost-bps", bps)) for bps in ("0", "50"))
    assert cheap["summary"]["fees"] == 0
    assert dear["summary"]["end_equity"] < cheap["summary"]["end_equity"]


def test_looking_at_other_parameters_is_counted(ost: Ost, files: Path, tmp_path: Path) -> None:
    options = ("backtest", "--data", str(files), "--symbols", "BTCUSDT", "--days", "20", "--no-report", "--json")

    def look(threshold: str) -> dict[str, Any]:
        return answer(ost("--set", f"strategy.entry_threshold={threshold}", *options))

    assert "1 variant tried on BTCUSDT" in look("0.31")["trials"]
    assert "1 variant tried on BTCUSDT" in look("0.31")["trials"]  # the same look again is no other one
    assert "2 variants tried on BTCUSDT" in look("0.32")["trials"]
    research = open_research(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}")
    trials = research.trials(Asset("binanceusdm", "BTCUSDT"))
    assert [trial.params["strategy.entry_threshold"] for trial in trials] == [0.31, 0.32]
    assert all(trial.days == 20 for trial in trials)


def test_other_bars_and_other_regimes_are_counted_and_another_account_alone_is_not(
    ost: Ost, files: Path, tmp_path: Path
) -> None:
    options = ("backtest", "--data", str(files), "--symbols", "BTCUSDT", "--days", "20", "--no-report", "--json")
    for alone in (("--cost-bps", "20", "--capital", "500"), ("--strategy", "sma-cross")):
        assert answer(ost(*options, *alone))["trials"] is None
    assert "1 variant tried on BTCUSDT" in answer(ost(*options, "--regime", "off"))["trials"]
    made = generate_market(np.random.default_rng(5), ("BTCUSDT",), Interval.H4, START_MS, 6 * 250).history["BTCUSDT"]
    FolderBucket(tmp_path / "slow").write("BTCUSDT/4h.parquet", candles_to_bytes(made))
    slow = ("backtest", "--data", str(tmp_path / "slow"), *options[3:], "--interval", "4h")
    assert "2 variants tried on BTCUSDT" in answer(ost(*slow))["trials"]
    trials = open_research(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}").trials(Asset("binanceusdm", "BTCUSDT"))
    assert [(trial.interval.value, trial.metrics["regime"]) for trial in trials] == [("1h", "off"), ("4h", "hmm")]
    assert {trial.params_version for trial in trials} == {SystemParams().version}


def test_the_bars_that_nobody_chose_are_those_of_the_default_settings(ost: Ost) -> None:
    assert load(None, environment={}).settings.interval is DEFAULT_INTERVAL


def champion(url: str, params: dict[str, Any]) -> None:
    version = SystemParams().version
    described = {
        "metrics": {},
        "trained_on_regime": {},
        "statistical_test": {},
        "lineage": {"predecessor": None},
        "reason": "test",
        "created_ms": 1,
    }
    open_research(url).promote(
        Champion("ch-abc", Asset("binanceusdm", "BTCUSDT"), Interval.H1, params, version, **described), 2
    )


def test_a_champion_is_its_differences_from_the_defaults(ost: Ost, files: Path, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    champion(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}", {"strategy.stop_atr": 4.0})
    options = ("backtest", "--data", str(files), "--symbols", "BTCUSDT", "--days", "20", "--no-report", "--json")
    found = answer(ost("--set", "strategy.entry_threshold=0.4", *options, "--champion", "ch-a"))
    assert found["changed_params"] == {"strategy.stop_atr": 4.0}
    other = ost(*options, "--champion", "ch-a", "--interval", "4h")
    assert other.exit_code == 2
    assert "trades 1h bars, this backtest 4h bars" in " ".join(other.stderr.split())


def test_the_table_for_people_names_what_it_wrote(ost: Ost, files: Path) -> None:
    result = ost("backtest", "--data", str(files), "--days", "40", "--strategy", "sma-cross", "--csv", "tables")
    assert result.exit_code == 0, result.output
    for text in ("max drawdown", "CVaR 95 % of a day", "slippage", "buy and hold", "without breakers", "written: tables"):
        assert text in result.stdout
    assert Path("tables/days.csv").is_file()
    assert list(Path("var/backtests").glob("sma-cross-*.html"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--strategy", "moon"), "there is no strategy 'moon'"),
        (("--regime", "astrology"), "choose hmm, jump or off"),
        (("--start", "2025-03-01", "--days", "5"), "give one of them"),
        (("--start", "2025-03-01", "--end", "2025-02-01"), "would end"),
        (("--start", "yesterday"), "YYYY-MM-DD"),
        (("--interval", "7h"), "interval"),
        (("--capital", "-5"), "capital"),
        (("--capital", "many"), "capital"),
        (("--symbols", "NOUSDT"), "NOUSDT"),
        (("--symbols", ","), "no symbol"),
        (("--champion", "x", "--strategy", "sma-cross"), "--champion"),
        (("--champion", "nobody"), "no champion nobody"),
        (("--report", "a.html", "--no-report"), "contradict"),
        (("--start", "2030-01-01"), "2030"),
        (("--start", "0999-01-01"), "1970 to 2200"),
        (("--start", "1970-01-02"), "before 1970"),
        (("--days", "36000"), "before 1970"),
        (("--days", "40000"), "36500"),
    ],
)
def test_bad_arguments_are_one_clear_error(ost: Ost, files: Path, arguments: tuple[str, ...], message: str) -> None:
    result = ost("backtest", "--data", str(files), *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(ost: Ost, files: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--csv", "--parquet", "--report"):
        result = ost("backtest", "--data", str(files), option, "file/inside")
        assert result.exit_code == 1
        assert "cannot write" in result.stderr


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_risk_of_a_backtest(ost: Ost, files: Path, kind: str) -> None:
    answer(ost("backtest", "--data", str(files), "--days", "40", "--strategy", "buy-and-hold", f"--{kind}", "out", "--json"))
    found = answer(ost("risk", "--backtest", "out", "--data", str(files), "--html", "risk.html", "--json"))
    assert [row["level"] for row in found["value_at_risk"]] == [0.95]
    assert any("too few" in note for note in found["notes"])
    assert set(found["positions"]) == set(SYMBOLS)
    assert found["stress_windows"][0]["proxied"] == list(SYMBOLS)
    held = sum(found["positions"].values())
    drop = next(row for row in found["shocks"] if row["name"] == "all prices -20%")
    assert drop["end"] == pytest.approx(-0.2 * held)
    assert "The next days, simulated" in Path("risk.html").read_text("utf-8")
    shown = ost("risk", "--backtest", "out")
    assert shown.exit_code == 0
    assert "Kelly" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no book"),
        (("--backtest", "nowhere"), "holds no backtest"),
        (("--backtest", "a", "--book", "b"), "give one of them"),
        (("--html", "/proc/nothing/risk.html"), "cannot write"),
    ],
)
def test_risk_says_what_is_missing(ost: Ost, arguments: tuple[str, ...], message: str) -> None:
    result = ost("risk", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr.lower().replace("\n", " ")


def test_risk_of_a_book_reads_its_days_positions_and_prices(ost: Ost, files: Path, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    ledger = open_ledger(f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}")
    ledger.register_book("mine", 1, {"capital": "1000"})
    ledger.add_fills("mine", [Fill("BTCUSDT", "1", None, "1", Side.BUY, Decimal(2), Decimal(100), Decimal(0), 1)])
    moves = np.random.default_rng(1).normal(0, 0.01, 25)
    for day, value in enumerate([1000.0, *(1000 * np.cumprod(1 + moves))]):
        money = Decimal(f"{value:.6f}")
        ledger.record_equity("mine", EquityPoint(day * DAY_MS, money, money, money, Decimal(200)))
    ledger.close()
    found = answer(ost("risk", "--data", str(files), "--json"))
    assert (found["book"], found["days"]) == ("mine", 25)
    assert found["value_at_risk"][0]["historical"] == pytest.approx(-np.quantile(moves, 0.05), abs=1e-6)
    # No decision has priced it: the entry price stands in.
    assert found["positions"] == pytest.approx({"BTCUSDT": 200 / found["equity"]})
    assert found["kelly"]["bars"] == 25
    assert any("too few for a simulation" in note for note in found["notes"])


@pytest.fixture(scope="module")
def written(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a backtest."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OST_STORAGE__ROOT", str(folder / "var"))
        options = ("--days", "40", "--strategy", "sma-cross", "--csv", "out", "--no-report", "--json")
        answer(CliRunner().invoke(app, ["backtest", "--data", str(files), "--symbols", "BTCUSDT", *options]))
    return folder / "out"


def _without(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        del summary[name]
        (folder / "summary.json").write_text(json.dumps(summary))

    return damage


def _with(name: str, value: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        (folder / "summary.json").write_text(json.dumps({**summary, name: value}))

    return damage


def _with_cell(table: str, column: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        rows = list(csv.DictReader((folder / table).open(encoding="utf-8")))
        rows[-1][column] = "nan"
        with (folder / table).open("w", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "summary.json").write_text("{"), "Expecting"),
        (lambda folder: (folder / "summary.json").write_text("[]"), "holds list"),
        (_without("backtest"), "summary.json has no 'backtest'"),
        (_without("generated"), "summary.json has no 'generated'"),
        (_without("positions"), "summary.json has no 'positions'"),
        (_with("end_ms", "2025-01-01"), "end_ms in summary.json is '2025-01-01', expected milliseconds"),
        (_with("generated", "no"), "generated in summary.json is 'no', expected true or false"),
        (_with("positions", {"BTCUSDT": float("nan")}), "the position of BTCUSDT in summary.json is nan, expected a number"),
        (_with("positions", {"BTCUSDT": [1]}), "the position of BTCUSDT in summary.json is [1]"),
        (_with_cell("equity.csv", "equity"), "equity in equity.csv: value"),
        (_with_cell("equity.csv", "exposure"), "exposure in equity.csv: value"),
        (_with_cell("days.csv", "return"), "return in days.csv: value"),
    ],
)
def test_a_damaged_backtest_is_refused(
    ost: Ost, written: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "out"))
    damage(folder)
    result = ost("risk", "--backtest", "out")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert words in said
    assert "write it again" in said
