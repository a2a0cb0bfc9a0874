"""`ost slippage` through the real command line, on a real ledger in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shared.adapters.sql import SqlLedger, open_ledger
from shared.cli.main import app
from shared.domain.interval import DAY_MS, parse_date_ms
from shared.domain.orders import Fill, Side
from shared.domain.records import Arrival

DAY = parse_date_ms("2026-11-20")


def ost(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["slippage", *arguments], env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlLedger]:
    """A book with one order on each of two days."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    monkeypatch.setenv("OST_LEDGER__URL", url)
    opened = open_ledger(url)
    opened.register_book("live-1", DAY, {})
    for number in (0, 1):
        time_ms, client_id = DAY + number * DAY_MS, f"o-{number}"
        price, fee = Decimal(101 + number), Decimal("0.05")
        opened.add_fills("live-1", [Fill("BTCUSDT", str(number), client_id, "1", Side.BUY, Decimal(1), price, fee, time_ms)])
        opened.record_arrival(Arrival(client_id, "live-1", "BTCUSDT", Decimal(100), Decimal("100.5"), time_ms, time_ms + 12))
    yield opened
    opened.close()


def test_the_table_shows_each_day() -> None:
    result = ost()
    assert result.exit_code == 0, result.output
    assert "slippage and fees of live-1" in result.stdout
    assert "2026-11-20" in result.stdout
    assert "2026-11-21" in result.stdout


def test_no_cell_is_broken_on_a_narrow_terminal(ledger: SqlLedger) -> None:
    fill = Fill("1000PEPEUSDT", "9", "o-9", "1", Side.BUY, Decimal(9_999), Decimal(100), Decimal("0.05"), DAY)
    ledger.add_fills("live-1", [fill])
    result = CliRunner().invoke(app, ["slippage"], env={"COLUMNS": "80"})
    rows = [line for line in result.stdout.splitlines() if line.startswith("│")]
    assert [line.split()[1] for line in rows] == ["2026-11-20", "2026-11-20", "2026-11-21"]
    assert "1000PEPEUSDT" in rows[0]
    assert "999,900.00" in rows[0]
    assert "1 orders have no recorded arrival" in result.stdout


def test_one_day_as_json() -> None:
    data = json.loads(ost("--day", "2026-11-21", "--json").stdout)
    [row] = data["rows"]
    assert (row["orders"], row["against_decision"], row["against_arrival"], row["answer_ms"]) == (1, "2", "1.5", 12.0)
    assert row["decision_bps"] == pytest.approx(200.0)


def test_a_day_without_executions_says_so_and_a_wrong_day_is_refused() -> None:
    assert "has no executions then" in ost("--since", "2026-12-01").stdout
    assert ost("--day", "yesterday").exit_code == 2
    assert ost("--day", "2026-11-20", "--since", "2026-11-20").exit_code == 2
