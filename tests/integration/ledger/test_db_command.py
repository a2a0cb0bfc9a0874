"""`ost db` on both databases: exit codes, JSON, backup and restore."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from shared.adapters.sql import open_ledger
from shared.adapters.sql.engine import make_engine, writing
from shared.cli.db import app
from shared.domain.errors import LedgerUnavailable, UsageError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_sound_ledger_is_sound(ledger_url: str) -> None:
    result = run("check", "--ledger", ledger_url)
    assert result.exit_code == 0, result.output
    assert result.output.endswith("sound\n")


def test_problems_are_listed_and_exit_with_1(ledger_url: str, make: Any) -> None:
    ledger = open_ledger(ledger_url)
    ledger.add_fills("b", [make.fill(1, "1")])
    with writing(ledger.engine) as connection:
        connection.execute(text("DELETE FROM positions"))
    ledger.close()
    result = run("check", "--json", "--ledger", ledger_url)
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert not report["sound"]
    assert [problem["check"] for problem in report["problems"]] == ["positions"]
    assert "1 problems" in run("check", "--ledger", ledger_url).output


def test_a_ledger_travels_through_a_backup(new_ledger_url: Callable[[], str], make: Any, tmp_path: Path) -> None:
    url, other, file = new_ledger_url(), new_ledger_url(), str(tmp_path / "x.jsonl.gz")
    ledger = open_ledger(url)
    ledger.add_fills("b", [make.fill(1, "1")])
    made = run("backup", "--to", file, "--ledger", url, "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["rows"] == 4  # fill, position, trade, event
    assert run("restore", file, "--ledger", other).exit_code == 0
    again = run("restore", file, "--ledger", other)
    assert isinstance(again.exception, UsageError)
    assert run("restore", file, "--yes", "--ledger", other).exit_code == 0
    restored = open_ledger(other)
    assert restored.fills("b") == ledger.fills("b")
    restored.close()
    ledger.close()


def test_migrating_says_what_it_did(empty_url: str) -> None:
    assert run("check", "--ledger", empty_url).exit_code == 1
    assert "migrated now" in run("migrate", "--ledger", empty_url).output
    assert json.loads(run("migrate", "--ledger", empty_url, "--json").output)["migrated"] is False
    assert run("check", "--ledger", empty_url).exit_code == 0


def test_a_backup_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'x.db'}"
    run("migrate", "--ledger", url)
    assert run("backup", "--ledger", url).exit_code == 0
    assert len(list(tmp_path.glob("ost-backup-*Z.jsonl.gz"))) == 1


def test_an_unusable_ledger_is_a_clear_error(tmp_path: Path) -> None:
    for command in (["check"], ["migrate"], ["restore", str(tmp_path / "x")]):
        assert isinstance(run(*command, "--ledger", f"sqlite:///{tmp_path}").exception, LedgerUnavailable)


@pytest.mark.parametrize("command", ["check", "backup", "restore", "migrate"])
def test_help_shows_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"ost db {command}" in result.output


def test_checking_the_configured_ledger_does_not_migrate_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    run("check", "--ledger", url)
    engine = make_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one() == 0
    engine.dispose()
