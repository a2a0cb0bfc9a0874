"""The real command line: what a mistake looks like, what JSON looks like, and that help is quick."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shared.cli.main import COMMANDS, GROUPS, app

HEAVY = ("pandas", "pyarrow", "talib", "hmmlearn", "sklearn", "scipy", "ccxt", "sqlalchemy", "plotly", "aiohttp", "pydantic")


@pytest.fixture(autouse=True)
def _in_a_clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ost(*arguments: str) -> Result:
    """`ost` in this process."""
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "none.yaml", "config", "check"), "cannot read the settings file none.yaml: No such file or directory"),
        (("--set", "risk.max_levrage=1", "config", "check"), "did you mean risk.max_leverage?"),
        (("--set", "risk.max_leverage", "config", "check"), "has no value; write section.key=value"),
        (("--set", "run.days=0", "config", "check"), "run.days (command line): found 0"),
        (("check-gaps", "--interval", "7m"), "unknown interval '7m'"),
        (("curate", "--interval", "7m"), "unknown interval '7m'"),
        (("backfill", "--interval", "1h", "--since", "yesterday"), "cannot read the date 'yesterday'; write YYYY-MM-DD"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    result = ost(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert result.stdout == ""


def test_every_command_teaches_itself_with_an_example() -> None:
    for name in [name for name, _, _ in COMMANDS]:
        help_text = ost(name, "--help")
        assert help_text.exit_code == 0, name
        assert "Example: ost" in help_text.stdout, name
    assert all(ost(name, "--help").exit_code == 0 for name, _ in GROUPS)


def test_every_command_is_there() -> None:
    listed = ost("--help").stdout
    assert all(name in listed for name in [*(name for name, _, _ in COMMANDS), *(name for name, _ in GROUPS)])


def test_config_show_as_json_masks_the_password_of_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OST_LEDGER__URL", "postgresql+pg8000://trader:hidden@db/ost")
    monkeypatch.setenv("OST_BINANCE_API_SECRET", "very-secret")
    for arguments in (("--json",), ("--json", "--origin"), ("--origin",)):
        shown = ost("config", "show", *arguments).stdout
        assert "hidden" not in shown
        assert "very-secret" not in shown
    document = json.loads(ost("--set", "run.days=5", "config", "show", "--json", "--origin").stdout)
    assert document["ledger.url"] == {"value": "postgresql+pg8000://trader:***@db/ost", "origin": "environment"}
    assert document["run.days"] == {"value": 5, "origin": "command line"}
    assert json.loads(ost("config", "show", "--json").stdout)["risk"]["max_leverage"] == 2.0


def test_config_check_says_what_is_in_force() -> None:
    result = ost("--set", "run.days=5", "config", "check", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"ok": True, "mode": "paper", "changed": {"run.days": "command line"}}


def test_the_program_ends_with_one_line_and_its_exit_code(tmp_path: Path) -> None:
    program = "from shared.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", "none.yaml", "config", "check"],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: cannot read the settings file none.yaml: No such file or directory; name another one with --config"
    ]


def test_help_imports_nothing_heavy() -> None:
    program = f"import sys, shared.cli.main; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
