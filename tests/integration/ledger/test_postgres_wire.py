"""Pipelined statements mean what they meant one by one: same order, same errors, all or nothing; only round trips are fewer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from shared.adapters.sql import SqlLedger, open_ledger
from shared.adapters.sql.engine import make_engine, reading, writing
from shared.adapters.sql.models import LogRow
from shared.adapters.sql.postgres_wire import PromptConnection
from shared.adapters.sql.statements import insert_all, insert_missing
from shared.domain.errors import LeaseLost, LedgerError, LedgerUnavailable
from shared.domain.orders import OrderReport, OrderState
from shared.domain.records import EquityPoint, Lease


@pytest.fixture
def postgres_url(postgres: Any, _migrated_postgres: str) -> Iterator[str]:
    name = postgres.create(_migrated_postgres)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[SqlLedger]:
    opened = open_ledger(postgres_url, migrate=False)
    yield opened
    opened.close()


@pytest.fixture
def wire(postgres_url: str) -> Iterator[PromptConnection]:
    """A connection of the driver, with a table `t` of a unique number."""
    url = make_url(postgres_url)
    connection = PromptConnection(url.username, host=url.host, port=url.port, database=url.database)
    connection.cursor().execute("CREATE TABLE t (n bigint PRIMARY KEY)")
    connection.commit()
    yield connection
    connection.close()


class Counter:
    """The socket's file, counting how often the client turns from writing to waiting."""

    def __init__(self, file: Any) -> None:
        self._file, self.trips, self._has_sent = file, 0, False

    def flush(self) -> None:
        self._file.flush()
        self._has_sent = True

    def read(self, size: int) -> bytes:
        self.trips += self._has_sent
        self._has_sent = False
        content: bytes = self._file.read(size)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def trips(ledger: SqlLedger) -> Counter:
    """Count the round trips of the ledger's only connection from here."""
    with ledger.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
    counter = Counter(driver._sock)
    driver._sock = counter
    return counter


def rows(connection: PromptConnection) -> list[int]:
    with_cursor = connection.cursor()
    with_cursor.execute("SELECT n FROM t ORDER BY n")
    return [row[0] for row in with_cursor.fetchall()]


class TestRoundTrips:
    def test_each_step_of_a_decision_needs_at_most_two(self, ledger: SqlLedger, make: Any) -> None:
        lease = ledger.acquire_lease("b", "me", 10**9, 0)
        assert lease is not None

        def step(bar: int) -> dict[str, int]:
            decision = make.decision(bar)
            intents = [make.intent(decision), make.intent(decision, "stop")]
            report = OrderReport(intents[0].client_id, "BTCUSDT", OrderState.FILLED, Decimal("0.01"))
            fill = make.fill(bar + 1, "0.010", client_id=intents[0].client_id)
            point = EquityPoint(bar, Decimal(1), Decimal(1), Decimal(1))
            actions = {
                "renew": lambda: ledger.acquire_lease("b", "me", 10**9, bar),
                "state": lambda: ledger.book_state("b", bar),
                "equity": lambda: ledger.record_equity("b", point),
                "commit": lambda: ledger.commit_decision(decision, intents, lease, point),
                "advance": lambda: ledger.advance_order(report),
                "fills": lambda: ledger.add_fills("b", [fill]),
                "waiting": ledger.unpublished_events,
            }
            counted = {}
            for name, action in actions.items():
                before = counter.trips
                action()
                counted[name] = counter.trips - before
            return counted

        counter = trips(ledger)
        step(0), step(1)
        assert step(2) == {"renew": 2, "state": 4, "equity": 1, "commit": 1, "advance": 2, "fills": 4, "waiting": 1}

    def test_a_fenced_writer_is_found_out_by_its_own_commit(self, ledger: SqlLedger, make: Any) -> None:
        lease = ledger.acquire_lease("b", "me", 0, 0)
        assert lease is not None
        assert ledger.acquire_lease("b", "you", 1000, 5000) == Lease("b", "you", 2, 6000)
        with pytest.raises(LeaseLost, match="you with token 2"):
            ledger.commit_decision(make.decision(), [], lease)
        assert ledger.decisions("b") == []

    @pytest.mark.parametrize("ahead_ms", [-20_000, 20_000, 10**12])
    def test_a_lease_runs_out_by_the_servers_clock_whatever_its_callers_believe(self, ledger: SqlLedger, ahead_ms: int) -> None:
        now_ms = 1_751_328_000_000
        assert ledger.acquire_lease("b", "me", 15_000, now_ms) == Lease("b", "me", 1, now_ms + 15_000)
        assert ledger.acquire_lease("b", "ahead", 15_000, now_ms + ahead_ms) is None
        assert ledger.acquire_lease("b", "me", 0, now_ms) is not None
        theirs = now_ms + ahead_ms
        assert ledger.acquire_lease("b", "ahead", 15_000, theirs) == Lease("b", "ahead", 2, theirs + 15_000)

    def test_a_takeover_waits_for_the_commit_that_holds_the_lease(self, ledger: SqlLedger) -> None:
        lease = ledger.acquire_lease("b", "me", 0, 0)
        taken: list[Lease | None] = []
        with writing(ledger.engine) as connection:
            connection.execute(text("SELECT 1 FROM leases FOR SHARE"))
            other = threading.Thread(target=lambda: taken.append(ledger.acquire_lease("b", "you", 1000, 5000)))
            other.start()
            other.join(0.3)
            assert (lease, taken) == (Lease("b", "me", 1, 0), [])
        other.join(10)
        assert taken == [Lease("b", "you", 2, 6000)]


class TestDeferring:
    ROW: ClassVar[dict[str, Any]] = {"book": "b", "time_ms": 1, "source": "s", "level": "info", "context": None}

    def test_deferred_statements_are_seen_by_the_next_one_and_in_order(self, wire: PromptConnection) -> None:
        cursor = wire.cursor()
        cursor.defer("INSERT INTO t VALUES (%s)", [(1,), (2,)])
        cursor.defer("UPDATE t SET n = n + %s", [(10,)])
        cursor.execute("SELECT count(*) FROM t WHERE n > %s", (10,))
        assert cursor.fetchone() == [2]
        assert cursor.rowcount == 1
        cursor.defer("INSERT INTO t VALUES (%s)", [(3,)])
        assert rows(wire) == [3, 11, 12]

    def test_many_rows_go_in_parts_that_the_sockets_can_hold(self, wire: PromptConnection) -> None:
        cursor = wire.cursor()
        cursor.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(25_000)])
        assert cursor.rowcount == 25_000
        cursor.defer("INSERT INTO t VALUES (%s)", [(-n,) for n in range(1, 25_001)])
        cursor.execute("SELECT count(*) FROM t WHERE n < %s", (0,))
        assert cursor.fetchone() == [25_000]

    def test_a_rollback_forgets_them(self, wire: PromptConnection) -> None:
        wire.cursor().defer("INSERT INTO t VALUES (%s)", [(1,)])
        wire.rollback()
        wire.commit()
        assert rows(wire) == []

    def test_an_error_of_a_deferred_statement_surfaces_and_takes_everything_back(self, ledger: SqlLedger) -> None:
        def write(*values: int) -> None:
            with writing(ledger.engine) as connection:
                for value in values:
                    insert_all(connection, LogRow, [{**self.ROW, "id": value, "message": str(value)}])

        def write_and_read() -> None:
            with writing(ledger.engine) as connection:
                insert_all(connection, LogRow, [{**self.ROW, "id": 1, "message": "again"}])
                insert_missing(connection, LogRow, {**self.ROW, "id": 3, "message": "never reached"})

        write(1)
        with pytest.raises(LedgerError, match="refuses a row"):
            write(2, 1)
        with pytest.raises(LedgerError, match="refuses a row"):
            write_and_read()
        assert [entry["message"] for entry in ledger.agent_log("b")] == ["1"]
        write(2)
        assert [entry["message"] for entry in ledger.agent_log("b")] == ["1", "2"]

    def test_a_connection_that_is_lost_with_them_stores_nothing(self, ledger: SqlLedger, postgres: Any) -> None:
        admin = make_engine(postgres.url("postgres"))
        kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")

        def lose_it() -> None:
            with writing(ledger.engine) as connection:
                insert_all(connection, LogRow, [{**self.ROW, "message": "lost"}])
                with writing(admin) as other:
                    other.execute(kill, {"name": ledger.engine.url.database})

        ledger.books()
        with pytest.raises(LedgerUnavailable):
            lose_it()
        assert ledger.agent_log("b") == []
        admin.dispose()


class TestPreparing:
    def test_a_statement_that_a_migration_made_stale_works_at_the_next_attempt(self, ledger: SqlLedger) -> None:
        everything = text("SELECT * FROM books WHERE book <> :book")

        def read() -> int:
            with reading(ledger.engine) as connection:
                return len(connection.execute(everything, {"book": "x"}).keys())

        before = read()
        with writing(ledger.engine) as connection:
            connection.execute(text("ALTER TABLE books ADD COLUMN more bigint"))
        with pytest.raises(LedgerError, match="result type"):
            read()
        assert read() == before + 1

    def test_more_statements_than_are_kept_still_work(self, wire: PromptConnection) -> None:
        cursor = wire.cursor()
        for n in range(600):
            cursor.execute(f"SELECT %s::bigint + {n}", (1,))
            assert cursor.fetchone() == [n + 1]
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name <> %s", ("",))
        assert cursor.fetchone()[0] <= 251

    def test_a_bad_statement_leaves_the_connection_usable(self, wire: PromptConnection) -> None:
        with pytest.raises(wire_error(), match="does not exist"):
            wire.cursor().execute("SELECT absent FROM t WHERE n = %s", (1,))
        wire.rollback()
        assert rows(wire) == []

    def test_nulls_and_signs_of_every_alphabet_pass(self, wire: PromptConnection) -> None:
        cursor = wire.cursor()
        cursor.execute("SELECT %s::text, %s::text, %s::numeric, 100 %% 7", (None, "α'\"\\ 漢", Decimal("1E-20")))
        assert cursor.fetchone() == [None, "α'\"\\ 漢", Decimal("1E-20"), 2]


def wire_error() -> type[Exception]:
    import pg8000

    kind: type[Exception] = pg8000.Error
    return kind


def test_only_relaxed_transactions_may_be_lost_by_a_crash_of_the_server(ledger: SqlLedger) -> None:
    """The test server's own default is not to wait for its disk; what must last does not follow it."""

    def setting(*, durable: bool) -> str:
        with writing(ledger.engine, durable=durable) as connection:
            return str(connection.execute(text("SELECT current_setting('synchronous_commit')")).scalar_one())

    assert [setting(durable=durable) for durable in (True, False, True)] == ["on", "off", "on"]
