"""What users get wrong, and what disks do: one clear line, an exit code, no traceback, and nothing that is stored harmed."""

from __future__ import annotations

import hashlib
import resource
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

BTC = "BTCUSDT/1h.parquet"


@pytest.fixture
def folder(market_folder: Path, tmp_path: Path) -> Path:
    """A copy of the market to spoil."""
    return Path(shutil.copytree(market_folder, tmp_path / "market"))


def spoil(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / BTC
    pq.write_table(change(pq.read_table(path)), path)


def with_values(column: str, rows: slice, value: float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_numpy().copy()
        values[rows] = value
        return table.set_column(table.column_names.index(column), column, pa.array(values))

    return change


def digest(root: Path) -> str:
    """Of every file's name and content; locks and SQLite's shared memory hold no data."""
    names = sorted(path for path in root.rglob("*") if path.is_file() and ".locks" not in path.parts)
    kept = [path for path in names if not path.name.endswith("-shm")]
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in kept)).hexdigest()


def run(ost: Any, folder: Path, *arguments: str, **options: Any) -> Any:
    days = () if arguments[:1] == ("--start",) and "--days" not in arguments else ("--days", "1")
    return ost("run", "--data", folder, *days, "--symbols", "BTCUSDT", *arguments, **options)


UNUSABLE = {
    "without the column close": (lambda table: table.drop_columns(["close"]), ("1h.parquet", "close")),
    "all NaN": (with_values("close", slice(None), np.nan), ("1h.parquet", "impossible")),
    "all volumes negative": (with_values("volume", slice(None), -1.0), ("1h.parquet", "impossible")),
    "bars of another interval": (
        lambda table: table.take(pa.array(range(0, table.num_rows, 4))),
        ("1h.parquet", "240 minutes"),
    ),
    "without a row": (lambda table: table.slice(0, 0), ("BTCUSDT",)),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_file_that_holds_no_candles_is_named(ost: Any, folder: Path, name: str) -> None:
    change, words = UNUSABLE[name]
    spoil(folder, change)
    run(ost, folder).failed_with(*words)
    assert not (ost.root / "runs").exists()


def test_a_few_impossible_rows_are_left_out_and_named(ost: Any, folder: Path) -> None:
    spoil(folder, with_values("close", slice(20, 22), np.nan))
    spoil(folder, with_values("volume", slice(40, 41), -5.0))
    ended = run(ost, folder)
    assert ended.code == 0, ended
    named = [line for line in ended.err.splitlines() if line.startswith("BTCUSDT: impossible: ")]
    assert any("2 bars" in line and "missing price" in line for line in named), ended
    assert any("volume" in line for line in named), ended


def test_unsorted_rows_are_sorted_and_traded_like_sorted_ones(
    new_ost: Callable[[str], Any], folder: Path, market_folder: Path
) -> None:
    spoil(folder, lambda table: table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows))))
    sorted_, shuffled = new_ost("sorted"), new_ost("shuffled")
    ended = run(shuffled, folder)
    assert ended.code == 0, ended
    assert any(line.startswith("BTCUSDT: reordered") for line in ended.err.splitlines()), ended
    assert run(sorted_, market_folder).code == 0
    with closing(sorted_.ledger()) as one, closing(shuffled.ledger()) as other:
        assert [row.book for row in one.books()] == [row.book for row in other.books()]  # named by the candles' content


def test_bytes_that_are_no_parquet_are_named(ost: Any, folder: Path) -> None:
    (folder / BTC).write_bytes(b"PAR1 no, not really")
    run(ost, folder).failed_with("1h.parquet", "parquet")


def test_one_asset_that_cannot_be_read_is_named_and_the_other_is_traded(ost: Any, folder: Path) -> None:
    (folder / BTC).write_bytes(b"PAR1 no, not really")
    ended = ost("run", "--data", folder, "--days", "1", "--symbols", "BTCUSDT,ETHUSDT")
    assert ended.code == 1, ended
    assert any(line.startswith("BTCUSDT: ") for line in ended.err.splitlines()), ended
    assert "Traceback" not in ended.err
    with closing(ost.ledger()) as ledger:
        (book,) = ledger.books()
        assert book.settings["symbols"] == ["ETHUSDT"]
        assert len(ledger.decisions(book.book)) == 25


def test_a_folder_that_is_not_there_is_named(ost: Any, tmp_path: Path) -> None:
    run(ost, tmp_path / "absent").failed_with("absent")


def test_an_empty_folder_is_told_what_it_should_hold(ost: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run(ost, tmp_path / "empty").failed_with("empty", "expected")


def test_an_unknown_symbol_is_answered_with_the_known_ones(ost: Any, market_folder: Path) -> None:
    run(ost, market_folder, "--symbols", "DOGEUSDT").failed_with("DOGEUSDT", "BTCUSDT", "ETHUSDT")


def test_an_interval_that_is_not_there_is_named(ost: Any, market_folder: Path) -> None:
    run(ost, market_folder, "--interval", "15m").failed_with("15m", "BTCUSDT")


def test_an_interval_that_does_not_exist_is_named(ost: Any, market_folder: Path) -> None:
    run(ost, market_folder, "--interval", "7h").failed_with("7h", code=2)


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--start", "2024-13-45"), ("2024-13-45", "YYYY-MM-DD"), 2),
        (("--start", "2024-12-31", "--end", "2024-12-30"), ("2024-12-31", "2024-12-30"), (1, 2)),
        (("--start", "2024-12-30", "--end", "2027-01-01"), ("leaves the data", "2025-01-01"), 2),
        (("--start", "2020-01-01"), ("leaves the data", "2020-01-01"), 2),
        (("--start", "2024-10-21"), ("warm", "2024-10-21"), (1, 2)),
        (("--start", "2024-12-30", "--days", "1"), ("--days", "--start"), 2),
        (("--symbols", ","), ("--symbols",), 2),
        (("--report", "/proc/none/report.html"), ("/proc/none/report.html", "--report"), 1),
        (("--capital", "-5"), ("capital", "-5"), 2),
        (("--capital", "plenty"), ("capital", "plenty"), 2),
    ],
)
def test_arguments_that_cannot_be_are_named(
    ost: Any, market_folder: Path, arguments: tuple[str, ...], words: tuple[str, ...], code: Any
) -> None:
    run(ost, market_folder, *arguments).failed_with(*words, code=code)
    assert not (ost.root / "runs").exists()


def test_too_little_history_says_how_much_is_needed(ost: Any, folder: Path) -> None:
    spoil(folder, lambda table: table.slice(table.num_rows - 300))
    run(ost, folder).failed_with("warm", code=1)


@pytest.mark.parametrize("where", ["file", "environment", "flag"])
def test_an_unknown_setting_is_answered_with_the_nearest_one(ost: Any, market_folder: Path, where: str) -> None:
    command = ("run", "--data", market_folder, "--days", "1")
    if where == "file":
        (ost.folder / "ost.yaml").write_text("risk:\n  max_levrage: 2\n")
        ended = ost(*command)
    elif where == "environment":
        ended = ost(*command, environment={"OST_RISK__MAX_LEVRAGE": "2"})
    else:
        ended = ost("--set", "risk.max_levrage=2", *command)
    ended.failed_with("max_levrage", "did you mean risk.max_leverage", code=2)


def test_wrong_input_leaves_what_is_stored_as_it_is(ost: Any, market_folder: Path, folder: Path) -> None:
    assert run(ost, market_folder).code == 0
    before = digest(ost.root)
    spoil(folder, with_values("close", slice(None), np.nan))
    run(ost, folder).failed_with("impossible")
    run(ost, market_folder, "--start", "2020-01-01").failed_with("leaves the data")
    run(ost, market_folder, "--symbols", "DOGEUSDT").failed_with("DOGEUSDT")
    assert digest(ost.root) == before


@pytest.mark.parametrize("size", [20_000, 120_000, 300_000])
def test_a_full_disk_ends_the_run_in_one_line_and_harms_nothing(ost: Any, market_folder: Path, size: int) -> None:
    """No file may grow beyond `size`: the frozen candles, the ledger or the journal is the first that cannot."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    command = ("run", "--data", market_folder, "--days", "3", "--symbols", "BTCUSDT")
    ended = ost(*command, preexec=limited)
    ended.failed_with(code=1)
    assert any(word in ended.err for word in ("disk", "space", "too large")), ended

    if (ost.root / "ledger.sqlite").exists():
        migrated = ost("db", "migrate")
        assert migrated.code == 0, migrated
        sound = ost("db", "check")
        assert sound.code == 0, sound
    ended = ost(*command)  # with space again, the same command goes on
    assert ended.code == 0, ended
    assert ost("db", "check").code == 0
