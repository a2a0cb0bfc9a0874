"""`ost exchange serve` teaches itself and refuses bad arguments before it reads any candles."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cloudrun.exchange.__main__ import main, parser
from shared.cli.exchange import app
from shared.domain.errors import UsageError


def test_help_shows_an_example():
    result = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0
    assert "ost exchange serve --market" in result.output
    assert "example: python -m cloudrun.exchange" in parser().format_help()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--capital", "much"], "amount"),
        (["--interval", "7m"], "interval"),
        (["--speed", "-3"], "speed"),
        (["--start", "x"], "date"),
    ],
)
def test_a_bad_argument_is_refused_at_once(tmp_path, arguments, message):
    result = CliRunner().invoke(app, ["serve", "--market", str(tmp_path), *arguments])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--account", "a.json"], "add --real-time"),
        (["--real-time", "--start", "2025-07-01"], "without --start and --journal"),
        (["--real-time", "--journal", "j"], "without --start and --journal"),
        (["--real-time", "--speed", "2"], "without --speed"),
    ],
)
def test_what_does_not_go_with_real_time_is_refused(tmp_path, capsys, arguments, message):
    assert main(["--market", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
