"""`ost backfill | check-gaps | curate | dataset …` as a user runs them: output, JSON, exit codes, one line per error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from shared.adapters.local.bucket import FolderBucket
from shared.cli.main import app
from shared.domain.asset import Asset
from shared.domain.interval import Interval

Ost = Callable[..., Result]
BTC = Asset("binanceusdm", "BTCUSDT")


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ost:
    """Runs `ost` with storage of its own, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OST_STORAGE__ROOT", str(tmp_path / "var"))
    monkeypatch.setenv("OST_UNIVERSE__SYMBOLS", '["BTCUSDT", "ETHUSDT"]')
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def filled(ost: Ost, folder: Path) -> Ost:
    assert ost("backfill", "--interval", "1h", "--source", folder).exit_code == 0
    return ost


def parsed(result: Result) -> Any:
    return json.loads(result.stdout)


def fails(result: Result, code: int, message: str) -> None:
    """Exit code, one line on standard error, no traceback."""
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert message in lines[0]


def test_a_folder_is_backfilled_and_a_second_time_nothing_is_new(ost: Ost, folder: Path) -> None:
    first = ost("backfill", "--interval", "1h", "--source", folder)
    assert first.exit_code == 0, first.output
    assert "binanceusdm:BTCUSDT 1h: 720 new, 720 stored" in first.stdout
    second = parsed(ost("backfill", "--interval", "1h", "--source", folder, "--json"))
    assert (second["added"], second["failed"]) == (0, 0)
    assert [row["rows"] for row in second["assets"]] == [720, 720]


def test_all_intervals_are_made_from_what_there_is(ost: Ost, folder: Path) -> None:
    result = ost("backfill", "--interval", "all", "--source", folder, "--symbols", "BTCUSDT", "--json")
    rows = {row["interval"]: row for row in parsed(result)["assets"]}
    assert result.exit_code == 1  # 15m and 30m cannot be made from hours, and that is said
    assert {interval: row["rows"] for interval, row in rows.items()} == {
        "15m": 0,
        "30m": 0,
        "1h": 720,
        "4h": 180,
        "1d": 30,
        "1w": 3,
    }
    assert "nor finer ones" in rows["15m"]["error"]


def test_a_date_limits_what_is_fetched(ost: Ost, folder: Path) -> None:
    result = ost("backfill", "--interval", "1h", "--source", folder, "--since", "2025-07-30", "--json")
    assert [row["rows"] for row in parsed(result)["assets"]] == [24, 24]


def test_a_row_that_cannot_be_is_kept_out_and_named(ost: Ost, folder: Path) -> None:
    path = folder / "BTCUSDT" / "1h.parquet"
    table = pq.read_table(path)
    close = table["close"].to_numpy().copy()
    close[7] = np.nan
    pq.write_table(table.set_column(table.schema.get_field_index("close"), "close", pa.array(close)), path)
    result = ost("backfill", "--interval", "1h", "--source", str(folder), "--symbols", "BTCUSDT")
    assert result.exit_code == 0
    assert "719 new" in result.output
    assert "kept out: impossible: 1 bar, 2025-07-01 07:00: missing price" in result.output


def test_a_bad_asset_is_named_and_the_others_arrive(ost: Ost, folder: Path) -> None:
    (folder / "ETHUSDT" / "1h.parquet").write_bytes(b"broken")
    result = ost("backfill", "--interval", "1h", "--source", folder)
    assert result.exit_code == 1
    assert "binanceusdm:BTCUSDT 1h: 720 new" in result.stdout
    assert "1 of 2 failed: binanceusdm:ETHUSDT 1h" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--interval", "7h"), "unknown interval '7h'"),
        (("--interval", "1h", "--since", "2025-02-30"), "cannot read the date '2025-02-30'"),
        (("--interval", "1h", "--symbols", "btc"), "'btc' is no symbol"),
        (("--interval", "1h", "--symbols", ","), "the universe is empty"),
        (("--interval", "1h", "--symbols", "BTCUSDT,BTCUSDT"), "names an asset twice"),
    ],
)
def test_what_cannot_be_understood_is_one_line_and_exit_code_2(
    ost: Ost, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    fails(ost("backfill", *arguments), 2, message)
    assert not (tmp_path / "var" / "lake").exists()


def test_a_missing_source_is_one_line(ost: Ost, tmp_path: Path) -> None:
    fails(ost("backfill", "--interval", "1h", "--source", tmp_path / "nowhere"), 1, "there is no folder")


def test_gaps_up_to_now_are_problems(filled: Ost) -> None:
    result = filled("check-gaps", "--interval", "1h", "--days", "100000", "--json")
    found = parsed(result)
    assert result.exit_code == 1
    assert found["problems"] == 2
    assert [len(row["gaps"]) for row in found["assets"]] == [1, 1]  # from the end of the files to now
    assert "bars missing" in filled("check-gaps", "--interval", "all").stdout


def test_without_data_the_commands_say_how_to_get_them(ost: Ost) -> None:
    fails(ost("check-gaps", "--interval", "all"), 2, "ost backfill --interval 1h")
    fails(ost("curate", "--interval", "all"), 2, "ost backfill --interval 1h")
    single = ost("curate", "--interval", "1h", "--json")
    assert single.exit_code == 1
    assert [row["error"].startswith("no 1h bars of") for row in parsed(single)["assets"]] == [True, True]


def test_curation_names_a_damaged_asset_and_does_the_others(filled: Ost, tmp_path: Path) -> None:
    lake = FolderBucket(tmp_path / "var" / "lake")
    lake.write(BTC.path("raw", Interval.H1), b"damaged")
    result = filled("curate", "--interval", "1h", "--json")
    assert result.exit_code == 1
    rows = parsed(result)["assets"]
    assert "not a readable Parquet file" in rows[0]["error"]
    assert (rows[1]["rows"], rows[1]["changed"], rows[1]["error"]) == (720, True, "")
    assert "720 rows, unchanged" in filled("curate", "--interval", "1h", "--symbols", "ETHUSDT").stdout


def test_versions_are_kept_listed_compared_and_restored(filled: Ost, folder: Path, tmp_path: Path) -> None:
    assert "4 objects" in filled("dataset", "snapshot", "before").stdout
    lake = FolderBucket(tmp_path / "var" / "lake")
    lake.delete(BTC.path("raw", Interval.H1))
    filled("backfill", "--interval", "1h", "--source", folder, "--since", "2025-07-30", "--symbols", "BTCUSDT")
    filled("dataset", "snapshot", "after")
    assert [taken["label"] for taken in parsed(filled("dataset", "list", "--json"))] == ["before", "after"]
    compared = filled("dataset", "diff", "before", "after")
    assert compared.exit_code == 1
    assert "rows 720 → 24, 696 rows gone" in compared.stdout
    assert filled("dataset", "diff", "before", "before").exit_code == 0
    assert parsed(filled("dataset", "restore", "before", "--json"))["changed"] == [BTC.path("raw", Interval.H1)]
    fails(filled("dataset", "snapshot", "before"), 2, "exists and is immutable")
    fails(filled("dataset", "diff", "before", "nope"), 1, "there is no dataset 'nope'; known: after before")


@pytest.mark.parametrize(
    "command",
    [("backfill",), ("check-gaps",), ("curate",), *(("dataset", name) for name in ("snapshot", "list", "diff", "restore"))],
)
def test_every_command_has_help_with_an_example(ost: Ost, command: tuple[str, ...]) -> None:
    result = ost(*command, "--help")
    assert result.exit_code == 0
    assert "Example: ost " + " ".join(command) in " ".join(result.stdout.split())
