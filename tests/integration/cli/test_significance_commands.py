"""`ost significance null|power` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shared.cli.main import app

SMALL = ["--campaigns", "3", "--variants", "4", "--days", "100", "--confirm-days", "60"]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RESAMPLES", "SET_RESAMPLES"):
        monkeypatch.setenv(f"OST_SIGNIFICANCE__{name}", "200")


def ost(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["significance", *arguments])


def test_null_reports_every_rule_as_json_and_again_the_same() -> None:
    first = ost("null", *SMALL, "--seed", "3", "--json")
    assert first.exit_code == 0
    document = json.loads(first.stdout)
    assert document["campaigns"] == 3
    assert document["scenario"]["process"] == "garch"
    names = [rate["name"] for rate in document["rates"]]
    assert names[0] == "promoted"
    assert {"spa", "stepm", "ledoit_wolf", "deflated_sharpe", "plain: t-test of returns"} <= set(names)
    assert ost("null", *SMALL, "--seed", "3", "--json").stdout == first.stdout


def test_power_shows_a_table() -> None:
    result = ost("power", *SMALL, "--better-by", "2", "--process", "iid")
    assert result.exit_code == 0
    assert "promoted the better one" in result.stdout
    assert "one better by 2" in result.stdout


def test_an_unknown_process_is_a_usage_error() -> None:
    result = ost("null", *SMALL, "--process", "levy")
    assert result.exit_code == 2
    assert "process 'levy' is unknown; expected iid or garch" in result.stderr


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [("null", "--leverage", "inf"), ("null", "--sharpe", "inf"), ("null", "--sharpe", "nan"), ("power", "--better-by", "inf")],
)
def test_numbers_that_are_not_finite_are_usage_errors(command: str, option: str, value: str) -> None:
    result = ost(command, *SMALL, option, value)
    assert result.exit_code == 2
    assert "expected finite numbers" in result.stderr


def test_a_leverage_that_is_no_number_is_refused_too() -> None:
    assert ost("null", *SMALL, "--leverage", "nan").exit_code == 2
