"""What is in the journal is on the disk, comes back equal, and is never lost to a torn or foreign line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.local.exit_journal import FileExitJournal
from shared.domain.errors import StorageError
from shared.domain.orders import OrderIntent, OrderKind, Side

EXIT = OrderIntent(
    "o1-exit-a", "b", "d-1", "exit", "BTCUSDT", Side.SELL, OrderKind.MARKET, Decimal("0.0100"), 7, reduce_only=True
)
STOP = replace(EXIT, client_id="o1-stop-b", kind=OrderKind.STOP, stop_price=Decimal("104000.0"), due_ms=9)
LIMIT = replace(EXIT, client_id="o1-exit-c", kind=OrderKind.LIMIT, price=Decimal("1E+2"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "exits.jsonl"


def test_intents_come_back_equal_and_in_order_from_another_process_instance(path: Path) -> None:
    for intent in (STOP, EXIT, LIMIT):
        FileExitJournal(path).append(intent)
    assert FileExitJournal(path).pending() == [STOP, EXIT, LIMIT]


def test_an_absent_journal_is_empty_and_can_be_cleared(path: Path) -> None:
    journal = FileExitJournal(path)
    assert journal.pending() == []
    journal.clear()
    assert not path.exists()


def test_the_same_intent_twice_is_pending_once(path: Path) -> None:
    journal = FileExitJournal(path)
    for intent in (EXIT, STOP, EXIT):
        journal.append(intent)
    assert journal.pending() == [EXIT, STOP]


def test_clearing_forgets_what_was_given_and_keeps_what_came_since(path: Path) -> None:
    journal = FileExitJournal(path)
    journal.append(EXIT)
    assert journal.pending() == [EXIT]
    journal.append(STOP)
    journal.clear()
    assert FileExitJournal(path).pending() == [STOP]
    journal.clear()
    assert journal.pending() == [STOP]
    journal.clear()
    assert journal.pending() == []


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_cut_off_the_end_only_the_torn_intent_is_gone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "exits.jsonl"
    for intent in (EXIT, STOP):
        FileExitJournal(path).append(intent)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    path.write_bytes(content[: data.draw(st.integers(first, len(content) - 1))])
    assert FileExitJournal(path).pending() == [EXIT]
    FileExitJournal(path).append(LIMIT)
    assert FileExitJournal(path).pending() == [EXIT, LIMIT]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 2 is no order intent"),
        ("[]", "line 2"),
        ("{}", "client_id: Field required"),
        ('{"client_id": "x"}', "book: Field required"),
    ],
)
def test_a_malformed_line_is_named_and_nothing_is_changed(path: Path, line: str, words: str) -> None:
    journal = FileExitJournal(path)
    journal.append(EXIT)
    with path.open("a") as file:
        file.write(f"{line}\n")
    journal.append(STOP)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=words):
        journal.pending()
    journal.clear()
    assert path.read_bytes() == before


def test_an_impossible_intent_is_malformed(path: Path) -> None:
    FileExitJournal(path).append(EXIT)
    path.write_bytes(path.read_bytes().replace(b"0.0100", b"-1"))
    with pytest.raises(StorageError, match="positive quantity"):
        FileExitJournal(path).pending()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write the exit journal.*file"):
        FileExitJournal(tmp_path / "file" / "exits.jsonl").append(EXIT)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is absent: no full disk to write to")
def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "exits.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        FileExitJournal(tmp_path / "exits.jsonl").append(EXIT)


_WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
from decimal import Decimal
from shared.adapters.local.exit_journal import FileExitJournal
from shared.domain.orders import OrderIntent, OrderKind, Side
exit_ = OrderIntent("x", "b", "d", "exit", "BTCUSDT", Side.SELL, OrderKind.MARKET, Decimal(1), 7)
journal = FileExitJournal(Path(sys.argv[1]))
for n in range(10**6):
    journal.append(replace(exit_, client_id=f"x{n}"))
    print(n, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_was_told_is_written(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    command = [sys.executable, "-c", _WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    written = len([line for line in said if line.endswith("\n")])
    found = [intent.client_id for intent in FileExitJournal(path).pending()]
    assert found == [f"x{n}" for n in range(len(found))]
    assert written <= len(found) <= written + 1
