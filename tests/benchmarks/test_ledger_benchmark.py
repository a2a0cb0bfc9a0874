"""The ledger's work between a candle and the order on the wire, beside plain pg8000 doing the same: PostgreSQL on loopback."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pg8000
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from shared.adapters.sql import SqlLedger, open_ledger
from shared.adapters.sql.engine import reading, writing
from shared.adapters.sql.types import dump_json
from shared.domain.orders import OrderReport, OrderState
from shared.domain.records import EquityPoint, Lease

_FIXTURES = Path(__file__).parents[1] / "integration" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("ledger_fixtures", _FIXTURES)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
postgres, _migrated_postgres, MAKE = _MODULE.postgres, _MODULE._migrated_postgres, _MODULE.LedgerFactory()

BARS = 300
WARM_UP = 50
TABLES = ("decisions", "order_intents", "orders", "equity")
READS = (
    """SELECT i.*, o.* FROM order_intents i JOIN orders o ON o.client_id = i.client_id
    WHERE o.book = %s AND o.state IN ('intent', 'unknown', 'open') ORDER BY i.created_ms, i.decision_id, i.position""",
    "SELECT * FROM positions WHERE book = %s ORDER BY symbol",
    "SELECT e.*, (SELECT max(forgotten_ms) FROM forgotten_peaks) FROM equity e WHERE book = %s ORDER BY time_ms DESC LIMIT 1",
    "SELECT * FROM halts WHERE book = %s AND lifted_ms IS NULL AND (until_ms IS NULL OR until_ms > 0)",
)

Step = Callable[[int], None]


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Iterator[SqlLedger]:
    server = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("_migrated_postgres"))
    opened = open_ledger(server.url(name), migrate=False)
    yield opened
    opened.close()
    server.drop(name)


def bars(book: str) -> list[tuple[Any, Any, EquityPoint]]:
    """Decision, its two intents and the equity point of each bar."""
    decisions = [MAKE.decision(n, book=book) for n in range(BARS)]
    money = Decimal(1000)
    return [(d, [MAKE.intent(d), MAKE.intent(d, "stop")], EquityPoint(n, money, money, money)) for n, d in enumerate(decisions)]


def our_step(ledger: SqlLedger, lease: Lease) -> Step:
    """What a step does between the candle and the order: read the book, commit the decision with its equity point."""
    work = bars(lease.book)

    def step(n: int) -> None:
        decision, intents, point = work[n]
        ledger.book_state(lease.book, n)
        assert ledger.commit_decision(decision, intents, lease, point)

    return step


def plain_step(ledger: SqlLedger, lease: Lease) -> Step:
    """The same rows and the same questions through a cursor of pg8000, in the same transactions."""
    url = make_url(ledger.engine.url)
    connection = pg8000.connect(url.username, host=url.host, port=url.port, database=url.database)
    stored = [_taken_out(ledger, lease, work) for work in bars(lease.book)]
    cursor = connection.cursor()

    def insert(name: str, rows: Sequence[dict[str, Any]]) -> None:
        cursor.executemany(
            f"INSERT INTO {name} ({', '.join(rows[0])}) VALUES ({', '.join(['%s'] * len(rows[0]))})",
            [list(row.values()) for row in rows],
        )

    def step(n: int) -> None:
        for query in READS:
            cursor.execute(query, (lease.book,))
            cursor.fetchall()
        connection.rollback()
        insert("equity", stored[n]["equity"])
        cursor.execute("SELECT holder, token FROM leases WHERE book = %s FOR SHARE", (lease.book,))
        assert tuple(cursor.fetchone()) == (lease.holder, lease.token)
        for name in TABLES[:3]:
            insert(name, stored[n][name])
        connection.commit()

    return step


def _taken_out(ledger: SqlLedger, lease: Lease, work: tuple[Any, Any, EquityPoint]) -> dict[str, list[dict[str, Any]]]:
    """The rows of a bar as the ledger stores them, deleted again."""
    decision, intents, point = work
    ledger.record_equity(lease.book, point)
    ledger.commit_decision(decision, intents, lease)
    found = {}
    with reading(ledger.engine) as connection:
        for name in TABLES:
            rows = connection.execute(text(f"SELECT * FROM {name} WHERE book = :book"), {"book": lease.book}).mappings()
            found[name] = [{column: _as_text(value) for column, value in row.items()} for row in rows]
    with writing(ledger.engine) as connection:
        for name in ("orders", "order_intents", "decisions", "equity"):
            connection.execute(text(f"DELETE FROM {name} WHERE book = :book"), {"book": lease.book})
    return found


def _as_text(value: Any) -> Any:
    return dump_json(value) if isinstance(value, dict | list) else value


def measured(ledger: SqlLedger, book: str, make_step: Callable[[SqlLedger, Lease], Step], bars_: int) -> np.ndarray:
    """Milliseconds of each bar's step; between the steps the orders of the bar are finished, unmeasured."""
    lease = ledger.acquire_lease(book, "bench", 10**12, 0)
    assert lease is not None
    step, taken = make_step(ledger, lease), []
    for n in range(bars_):
        start = time.perf_counter()
        step(n)
        taken.append((time.perf_counter() - start) * 1000)
        for record in ledger.orders(book, unfinished=True):
            done = OrderReport(record.intent.client_id, record.intent.symbol, OrderState.CANCELLED, Decimal(0))
            ledger.advance_order(done)
    return np.array(taken[WARM_UP:] or taken)


def test_from_candle_to_wire_against_plain_pg8000(benchmark, ledger: SqlLedger) -> None:
    result: dict[str, np.ndarray] = {}
    count = BARS if benchmark.enabled else 3

    def both() -> None:
        result["ours"] = measured(ledger, "ours", our_step, count)
        result["plain"] = measured(ledger, "plain", plain_step, count)

    benchmark.pedantic(both, rounds=1)
    assert len(ledger.decisions("ours")) == len(ledger.decisions("plain")) == count
    if benchmark.enabled:
        lines = [f"{name} p50 {np.median(ms):.2f} ms, p99 {np.quantile(ms, 0.99):.2f} ms" for name, ms in result.items()]
        ratio = np.median(result["plain"]) / np.median(result["ours"])
        print(f"\nledger between candle and wire, one symbol, 2 intents: {'; '.join(lines)}; ratio {ratio:.2f}")
