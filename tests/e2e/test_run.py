"""`ost run` from outside: interrupted and continued, two at a time, over again, without data, and for machines."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

DAYS = "2"
BARS = 2 * 24 + 1
WATCH_S = 60


def decided(ost: Any) -> int:
    """Decisions in the ledger; 0 while there is none."""
    path = ost.root / "ledger.sqlite"
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as connection:
            return int(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])
    except sqlite3.OperationalError:  # not migrated yet, or locked at this instant
        return 0


def wait_until_decided(ost: Any, process: subprocess.Popen[str], decisions: int) -> None:
    deadline = time.monotonic() + WATCH_S
    while decided(ost) < decisions:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{decided(ost)} of {decisions} decisions were made: {ost.end(process)}")
        time.sleep(0.002)


def outcome(ost: Any) -> list[Any]:
    """What the books hold, but for instants of the real clock."""
    with closing(ost.ledger()) as ledger:
        books = ledger.books()
        return [
            (row.book, row.settings, row.summary, ledger.equity(row.book), ledger.fills(row.book), ledger.orders(row.book))
            for row in books
        ]


@pytest.fixture(scope="module")
def command(market_folder: Path) -> tuple[Any, ...]:
    return ("run", "--data", market_folder, "--days", DAYS, "--symbols", "BTCUSDT")


@pytest.fixture(scope="module")
def undisturbed(new_ost: Callable[[str], Any], command: tuple[Any, ...]) -> list[Any]:
    """What `command` leaves behind where nobody disturbs it."""
    whole = new_ost("whole")
    ended = whole(*command)
    assert ended.code == 0, ended
    return outcome(whole)


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on_to_the_same_end(
    ost: Any, command: tuple[Any, ...], undisturbed: list[Any]
) -> None:
    process = ost.start(*command)
    wait_until_decided(ost, process, 10)
    process.send_signal(signal.SIGINT)
    ended = ost.end(process)
    assert ended.code == 130, ended
    assert "Traceback" not in ended.err
    assert "the same command" in ended.err.splitlines()[-1]
    assert ended.out == ""
    assert 10 <= decided(ost) < BARS
    sound = ost("db", "check")
    assert sound.code == 0, sound

    ended = ost(*command)
    assert ended.code == 0, ended
    assert "continuing the interrupted run" in ended.err
    assert "waiting for the lease" not in ended.err  # a clean end gives it back
    assert outcome(ost) == undisturbed
    assert ost("db", "check").code == 0


def test_a_second_process_on_the_same_book_is_refused_and_does_no_harm(
    ost: Any, command: tuple[Any, ...], undisturbed: list[Any]
) -> None:
    first = ost.start(*command)
    wait_until_decided(ost, first, 2)
    first.send_signal(signal.SIGSTOP)  # it hangs for longer than its lease; its exchange still holds the journal
    refused = ost(*command)
    refused.failed_with(code=1)
    assert "in use" in refused.err or "locked" in refused.err, refused  # locked: it was stopped while it wrote the ledger
    first.send_signal(signal.SIGCONT)
    finished = ost.end(first)
    assert finished.code == 0, finished
    assert outcome(ost) == undisturbed
    assert ost("db", "check").code == 0


def test_fresh_starts_a_second_book_and_leaves_the_first_alone(ost: Any, market_folder: Path) -> None:
    command = ("run", "--data", market_folder, "--days", "1", "--symbols", "ETHUSDT")
    first = ost(*command)
    assert first.code == 0, first
    (before,) = outcome(ost)
    second = ost(*command, "--fresh")
    assert second.code == 0, second
    assert "continuing" not in second.err
    untouched, fresh = outcome(ost)
    assert untouched == before
    assert fresh[0] != before[0]
    assert [point.equity for point in fresh[3]] == [point.equity for point in before[3]]


def test_without_data_and_network_the_market_is_generated_and_says_so_everywhere(ost: Any) -> None:
    ended = ost("run", "--days", "2", "--symbols", "BTCUSDT")
    assert ended.code == 0, ended
    notes = [line for line in ended.err.splitlines() if "using a GENERATED market" in line]
    assert len(notes) == 1
    assert "--data" in notes[0]
    assert "GENERATED" in ended.out
    with closing(ost.ledger()) as ledger:
        (book,) = ledger.books()
    assert book.settings["generated"] is True
    assert "GENERATED" in book.settings["market"]
    assert book.settings["venue"] == "generated"
    report = ost.root / "runs" / book.book / "report.html"
    assert report.is_file()
    assert "GENERATED" in report.read_text(encoding="utf-8")


def test_json_is_the_only_thing_on_standard_output(ost: Any, market_folder: Path) -> None:
    ended = ost("run", "--data", market_folder, "--days", "1", "--symbols", "BTCUSDT", "--capital", "5000", "--json")
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert result["generated"] is False
    assert result["summary"]["start_equity"] == 5000
    assert result["decisions"] == 25
    assert ended.err  # progress is there, beside it
    with closing(ost.ledger()) as ledger:
        assert [row.book for row in ledger.books()] == [result["book"]]
