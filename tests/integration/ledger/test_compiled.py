"""A compiled statement is for the driver what SQLAlchemy would have given it, on both databases.

It reads attributes of SQLAlchemy's compiler that the manual does not promise: a version that means something else by them
fails here, for every statement is compared with what reaches the driver on SQLAlchemy's own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    event,
    func,
    insert,
    select,
    update,
)

from shared.adapters.sql import SqlLedger
from shared.adapters.sql.compiled import Compiled
from tests.things import EMPTY, ROW, THINGS

NUMBERS = (THINGS.c.amount, THINGS.c.sized)
OTHERS = (THINGS.c.name, THINGS.c.flagged, THINGS.c.said, THINGS.c.count)
OF_KEY = THINGS.c.name == bindparam("key")
CASES: dict[str, tuple[Any, Mapping[str, Any]]] = {
    "a whole row": (insert(THINGS).inline(), {**ROW, "name": "c"}),
    "an empty row": (insert(THINGS).inline(), {**EMPTY, "name": "c"}),
    "some columns": (insert(THINGS).inline(), {"name": "c", "amount": Decimal("0.10")}),
    "a value found by a question": (
        insert(THINGS).inline().values(name=bindparam("name"), count=select(func.max(THINGS.c.count)).scalar_subquery()),
        {"name": "c"},
    ),
    "a change": (update(THINGS).where(OF_KEY), {"key": "a", "amount": Decimal(7), "said": [None, "%"]}),
    "a constant change": (update(THINGS).where(OF_KEY, THINGS.c.count == 3).values(count=None, said=["x"]), {"key": "a"}),
    "a removal": (delete(THINGS).where(OF_KEY), {"key": "a"}),
    "a constant before a value": (select(*OTHERS).where(THINGS.c.count == 3, OF_KEY, THINGS.c.flagged.is_(True)), {"key": "a"}),
    "one value in two places": (select(*OTHERS).where(OF_KEY).where(THINGS.c.name <= bindparam("key")), {"key": "a"}),
    "a bounded number of rows": (select(*OTHERS).order_by(THINGS.c.name).limit(bindparam("most")), {"most": 1}),
    "a constant number of rows": (select(*OTHERS).order_by(THINGS.c.name.desc()).limit(1), {}),
    "a sign that drivers read": (select(THINGS.c.name).where(THINGS.c.name.startswith("a%", autoescape=True)), {}),
    "what has no name": (select(func.count(), func.max(THINGS.c.name)).where(OF_KEY), {"key": "a"}),
}


@pytest.fixture
def connection(ledger: SqlLedger) -> Iterator[Connection]:
    """A connection that goes SQLAlchemy's way, with two things; nothing of it stays."""
    with ledger.engine.connect() as made, made.begin() as transaction:
        THINGS.create(made)
        made.execute(insert(THINGS), [ROW, EMPTY])
        yield made
        transaction.rollback()


def sent(connection: Connection, statement: Any, given: Mapping[str, Any]) -> tuple[tuple[str, list[Any]], Any]:
    """What reaches the driver on SQLAlchemy's way: the text and its values; and the outcome."""
    seen: list[tuple[str, list[Any]]] = []

    def note(_connection: Any, _cursor: Any, text: str, values: Any, _context: Any, _many: bool) -> None:
        seen.append((text, list(values)))

    event.listen(connection, "before_cursor_execute", note)
    try:
        outcome = connection.execute(statement, dict(given))
    finally:
        event.remove(connection, "before_cursor_execute", note)
    (one,) = seen
    return one, outcome


@pytest.mark.parametrize("case", CASES)
def test_the_driver_is_given_what_sqlalchemy_would_give_it(connection: Connection, case: str) -> None:
    statement, given = CASES[case]
    ready = Compiled(statement, connection.dialect, tuple(given))
    (text, values), outcome = sent(connection, statement, given)
    assert (ready.text, ready.values(given)) == (text, values)
    assert list(map(type, ready.values(given))) == list(map(type, values))
    assert ready.returns_rows == outcome.returns_rows


@pytest.mark.parametrize("case", [name for name, (statement, _) in CASES.items() if statement.is_select])
def test_rows_of_the_driver_are_read_as_sqlalchemy_reads_them(connection: Connection, case: str) -> None:
    statement, given = CASES[case]
    ready = Compiled(statement, connection.dialect, tuple(given))
    cursor: Any = connection.connection.cursor()
    cursor.execute(ready.text, ready.values(given))
    found = cursor.fetchall()
    expected = connection.execute(statement, dict(given)).all()
    assert [ready.row(row) for row in found] == [tuple(row) for row in expected]
    by_name = connection.execute(statement, dict(given)).mappings().all()
    assert [ready.mapping(row) for row in found] == [dict(row) for row in by_name]


def test_what_an_answer_returns_after_a_change_is_read_alike(connection: Connection) -> None:
    change = update(THINGS).where(OF_KEY)
    assert not Compiled(change, connection.dialect, ("key", "count")).returns_rows
    statement = change.returning(*OTHERS)
    ready = Compiled(statement, connection.dialect, ("key", "count"))
    cursor: Any = connection.connection.cursor()
    cursor.execute(ready.text, ready.values({"key": "a", "count": 9}))
    assert ready.mapping(cursor.fetchone()) == {"name": "a", "flagged": True, "said": {"x": [1, "Infinity"]}, "count": 9}


def test_numbers_that_are_not_whole_are_read_on_sqlite_and_refused_on_postgresql(connection: Connection) -> None:
    statement = select(*NUMBERS).where(OF_KEY)
    if connection.dialect.name == "postgresql":  # of which an answer says only when it comes what kind they are
        for number in NUMBERS:
            with pytest.raises(TypeError, match="only SQLAlchemy can read a column of type"):
                Compiled(select(number), connection.dialect, ())
        return
    ready = Compiled(statement, connection.dialect, ("key",))
    cursor: Any = connection.connection.cursor()
    cursor.execute(ready.text, ready.values({"key": "a"}))
    assert ready.row(cursor.fetchone()) == (Decimal("1.50"), 2.0)


def test_a_statement_that_sqlalchemy_completes_at_each_execution_is_refused(connection: Connection) -> None:
    counted = Table("counted", MetaData(), Column("name", Text), Column("turn", Integer, default=1, onupdate=lambda: 2))
    completed = {
        "a list of values": (select(THINGS).where(THINGS.c.name.in_(bindparam("names", expanding=True))), ("names",)),
        "a default": (insert(counted).inline(), ("name",)),
        "a default of a change": (update(counted), ("name",)),
    }
    for statement, names in completed.values():
        with pytest.raises(TypeError, match="completes at each execution"):
            Compiled(statement, connection.dialect, names)


def test_a_value_that_is_not_given_is_not_taken_for_nothing(connection: Connection) -> None:
    ready = Compiled(select(THINGS.c.name).where(OF_KEY), connection.dialect, ("key",))
    with pytest.raises(KeyError, match="key"):
        ready.values({})
