"""Column types that mean the same on SQLite and PostgreSQL.

Money is exact: NUMERIC on PostgreSQL, decimal text on SQLite, whose own numbers are floats. Text does not sort like
numbers, so the type refuses comparisons in SQL: amounts are compared in Python, as Decimals.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, Numeric, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

from shared.domain.money import ZERO, to_decimal
from shared.domain.text import storable

_COMPARISONS = (lt, le, gt, ge, eq)


class Amount(TypeDecorator[Decimal]):
    """An exact, finite Decimal of any size. Raises `MalformedData` for NaN and infinities."""

    impl = Numeric
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[Decimal]):
        """Refuses comparisons that would mean something else on SQLite."""

        def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> Any:
            """The comparison, or `TypeError`."""
            if op in _COMPARISONS and other[0] is not None:
                raise TypeError("amounts are text on SQLite and do not compare there; compare Decimals in Python")
            return super().operate(op, *other, **kwargs)

    comparator_factory = Comparator

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, unlimited NUMERIC elsewhere."""
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else Numeric(asdecimal=True))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """What the driver gets."""
        if value is None:
            return None
        number = to_decimal(value)
        return str(number) if dialect.name == "sqlite" else number

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """What Python gets."""
        return None if value is None else Decimal(value)


EXACT_SUM = "exact_sum"
"""Name under which SQLite knows `ExactSum`"""


class ExactSum:
    """Aggregate for SQLite, which adds amounts as floats itself. `None` of no rows, as SQL's `sum`."""

    def __init__(self) -> None:
        self._total: Decimal | None = None

    def step(self, amount: Any, /) -> None:
        """One more row."""
        self._total = (self._total or ZERO) + Decimal(amount)

    def finalize(self) -> Any:
        """The sum as an amount is stored."""
        return None if self._total is None else str(self._total)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON text on SQLite, JSONB on PostgreSQL; written by `dump_json`."""

AutoId = BigInteger().with_variant(Integer(), "sqlite")
"""A counter that the database fills; SQLite counts only in INTEGER columns."""


def dump_json(value: Any) -> str:
    """JSON that both databases accept: NaN and infinities become the strings that `float()` reads, text becomes `storable`.

    Decimals become strings and numpy scalars numbers. Raises `TypeError` for what has no JSON form.
    """
    try:
        text = _encode(value)
    except ValueError:
        return dump_json(_storable(value))
    suspect = "\\u0000" in text or "\\ud" in text
    return dump_json(_storable(value)) if suspect and not _is_storable(value) else text


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form; store plain values")


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain).encode
"""made once: `json.dumps` makes one for each value"""


def _storable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else _storable(_plain(value))


def _is_storable(value: Any) -> bool:
    if isinstance(value, str):
        return value == storable(value)
    if isinstance(value, dict):
        return all(_is_storable(key) and _is_storable(item) for key, item in value.items())
    return not isinstance(value, list | tuple) or all(map(_is_storable, value))
