"""A kept statement goes past SQLAlchemy to SQLite's driver, and nothing is different."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, insert, select, update
from sqlalchemy.exc import MultipleResultsFound, NoResultFound

from shared.adapters.sql.engine import close_engine, make_engine, reading, writing
from shared.adapters.sql.statements import kept
from shared.domain.errors import LedgerError, MalformedData
from tests.things import EMPTY, ROW, THINGS

INSERT = insert(THINGS)
OF_NAME = select(THINGS).where(THINGS.c.name == bindparam("key"))
ALL = select(THINGS).order_by(THINGS.c.name)
FIRST = ALL.limit(1)
CHANGE = update(THINGS).where(THINGS.c.name == bindparam("key"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'things.db'}")
    with writing(made) as connection:
        THINGS.create(connection)
    yield made
    close_engine(made)


def stored(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(ALL).mappings()]


def test_values_go_to_the_database_and_come_back_as_they_do_through_sqlalchemy(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(kept(INSERT), [ROW, EMPTY])
    plain = stored(engine)
    assert plain[0] == {**ROW, "said": {"x": [1, "Infinity"]}}
    assert plain[1] == EMPTY
    with reading(engine) as connection:
        assert list(connection.execute(kept(ALL)).mappings()) == plain
        assert connection.execute(kept(ALL)).all() == connection.execute(ALL).all()
        row = connection.execute(kept(OF_NAME), {"key": "a"}).one()
        assert (row.amount, row[2], row[-1]) == (Decimal("1.50"), 2.0, 3)
        assert type(row.amount) is Decimal
        assert row.flagged is True


def test_one_row_is_told_from_none_and_from_many(engine: Engine) -> None:
    one, every = kept(OF_NAME), kept(ALL)
    with writing(engine) as connection:
        assert connection.execute(one, {"key": "a"}).mappings().one_or_none() is None
        assert connection.execute(one, {"key": "a"}).scalar() is None
        with pytest.raises(NoResultFound):
            connection.execute(one, {"key": "a"}).one()
        assert connection.execute(kept(INSERT), ROW).rowcount == 1
        assert connection.execute(one, {"key": "a"}).scalar_one() == "a"
        connection.execute(INSERT, EMPTY)
        with pytest.raises(MultipleResultsFound):
            connection.execute(every).one_or_none()


def test_constants_of_a_statement_and_the_columns_of_a_change_are_its_own(engine: Engine) -> None:
    change, first = kept(CHANGE), kept(FIRST)
    with writing(engine) as connection:
        connection.execute(INSERT, [ROW, EMPTY])
        assert connection.execute(change, {"key": "b", "count": 7}).rowcount == 1
        assert connection.execute(change, {"key": "b", "amount": Decimal("0.10")}).rowcount == 1
        assert connection.execute(change.returning(THINGS.c.amount, THINGS.c.count), {"key": "b", "sized": 1.0}).one() == (
            Decimal("0.10"),
            7,
        )
        assert [row.name for row in connection.execute(first)] == ["a"]


def test_both_ways_are_one_transaction_that_leaves_nothing_where_it_fails(engine: Engine) -> None:
    def write_both() -> None:
        with writing(engine) as connection:
            connection.execute(kept(INSERT), ROW)
            connection.execute(INSERT, EMPTY)
            assert len(connection.execute(kept(ALL)).all()) == len(connection.execute(ALL).all()) == 2
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_both()
    assert stored(engine) == []


def test_a_connection_stays_at_hand_until_an_error(engine: Engine) -> None:
    with reading(engine) as first, reading(engine) as second:
        assert first is not second
    with writing(engine) as again:
        assert again in (first, second)
    with pytest.raises(LedgerError), writing(engine) as connection:
        connection.execute(kept(INSERT), [ROW, ROW])
    assert connection.closed
    with reading(engine) as fresh:
        assert fresh is not connection


def test_no_more_connections_stay_at_hand_than_leave_some_for_others(engine: Engine) -> None:
    with ExitStack() as all_at_once:
        used = [all_at_once.enter_context(reading(engine)) for _ in range(8)]
        assert len(set(used)) == 8
    assert 0 < sum(not connection.closed for connection in used) <= 4


def test_threads_never_share_a_connection(engine: Engine) -> None:
    def write(number: int) -> None:
        for turn in range(20):
            with writing(engine, durable=False) as connection:
                connection.execute(kept(INSERT), {**EMPTY, "name": f"{number} {turn}"})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert len(stored(engine)) == 80


def test_a_row_against_the_rules_is_told_alike(engine: Engine) -> None:
    told = []
    for statement in (INSERT, kept(INSERT)):
        with pytest.raises(LedgerError, match="refuses a row that breaks its rules") as caught, writing(engine) as connection:
            connection.execute(statement, [ROW, ROW])
        told.append(str(caught.value))
        with pytest.raises(MalformedData), writing(engine) as connection:
            connection.execute(statement, {**ROW, "amount": Decimal("NaN")})
    assert told[0] == told[1]
    assert stored(engine) == []


def test_a_statement_that_sqlalchemy_completes_each_time_is_not_kept(engine: Engine) -> None:
    named = kept(select(THINGS).where(THINGS.c.name.in_(bindparam("names", expanding=True))))
    with pytest.raises(TypeError, match="only SQLAlchemy can run"), reading(engine) as connection:
        connection.execute(named, {"names": ["a"]})


def test_what_was_not_committed_in_a_reading_block_is_undone(engine: Engine) -> None:
    with reading(engine) as connection:
        connection.exec_driver_sql("BEGIN")
        connection.execute(INSERT, ROW)
    assert stored(engine) == []
