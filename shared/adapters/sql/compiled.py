"""How does a statement reach a database's driver without SQLAlchemy's care for each execution, which takes longer than SQLite
needs for the answer, and a third of a commit on PostgreSQL?

SQLAlchemy compiles the statement once for each database and each set of given values; from then on only the processors of
the column types stand between Python and the driver. Invariant: what is stored and what is read are what SQLAlchemy itself
would store and read; a statement for which that cannot be is refused.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.types import TypeEngine

Found = Sequence[Any]
"""a row as the driver gives it"""

_MOST_COMPILED = 512
"""Statements that a process keeps; a ledger has about a hundred, and more are only compiled anew."""


class Compiled:
    """A statement as the driver of a database takes it. Raises `TypeError` for one that only SQLAlchemy can run.

    `names` are those of the values that will be given. SQLAlchemy's manual promises none of the compiler's attributes that are
    read here, `_result_columns` not even by its name, but nothing else says which value goes where and what a row consists of:
    the public properties remember what they were asked for the same statement before it had its RETURNING. So each is compared
    with what SQLAlchemy does by itself (`tests/integration/ledger/test_compiled.py`).
    """

    def __init__(self, statement: Any, dialect: Dialect, names: Sequence[str]) -> None:
        made = statement.compile(dialect=dialect, column_keys=list(names))
        if made.post_compile_params or made.literal_execute_params or made.prefetch:
            raise TypeError(f"only SQLAlchemy can run this statement, which it completes at each execution: {made}")
        self.text = str(made)
        binds = {name: made.binds[name] for name in made.positiontup}
        self._places = [(name, _writing(binds[name].type, dialect)) for name in made.positiontup]
        self._constants = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        columns = made._result_columns
        self._names = [column.keyname for column in columns]
        row: Any = namedtuple("Row", self._names, rename=True)  # type: ignore[misc]
        self._tuple: Callable[[Found], Any] = row._make
        processes = [_reading(column.type, dialect) for column in columns]
        self._processes = [(place, process) for place, process in enumerate(processes) if process is not None]
        self.returns_rows = bool(self._names)

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """What the driver gets for the placeholders. Raises `KeyError` with the name of a value that is not given."""
        named = {**self._constants, **given} if self._constants else given
        return [named[name] if process is None else process(named[name]) for name, process in self._places]

    def row(self, found: Found) -> Any:
        """A row as Python has it, its values by place and as attributes."""
        return self._tuple(self._processed(found))

    def mapping(self, found: Found) -> dict[str, Any]:
        """A row as Python has it, its values by name."""
        return dict(zip(self._names, self._processed(found), strict=True))

    def _processed(self, found: Found) -> Found:
        if not self._processes:
            return found
        values = list(found)
        for place, process in self._processes:
            values[place] = process(values[place])
        return values


@lru_cache(maxsize=_MOST_COMPILED)
def compiled(statement: Any, dialect: Dialect, names: tuple[str, ...]) -> Compiled:
    """The statement for the values `names`, made once: pass the same object each time. Raises as `Compiled`."""
    return Compiled(statement, dialect, names)


def _writing(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reading(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    try:
        return kind.dialect_impl(dialect).result_processor(dialect, None)
    except (InvalidRequestError, TypeError) as error:  # PostgreSQL's numbers: which kind came is known with each answer only
        raise TypeError(f"only SQLAlchemy can read a column of type {kind!r} from {dialect.name}") from error
