"""What goes into a column comes out of it, whichever database is behind."""

from __future__ import annotations

import json
import math
import sqlite3
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select

from shared.adapters.sql.errors import translated
from shared.adapters.sql.types import Amount, dump_json
from shared.domain.errors import MalformedData

_TABLE = Table("t", MetaData(), Column("amount", Amount()))


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_amounts_are_exact_on_sqlite(amounts: list[Decimal]) -> None:
    with create_engine("sqlite://").connect() as connection:
        _TABLE.create(connection)
        connection.execute(insert(_TABLE), [{"amount": amount} for amount in amounts])
        assert list(connection.execute(select(_TABLE.c.amount)).scalars()) == amounts


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("Infinity")])
def test_amounts_are_finite(amount: Decimal) -> None:
    with create_engine("sqlite://").connect() as connection:
        _TABLE.create(connection)
        with pytest.raises(MalformedData, match="finite"), translated(lambda: "x", sqlite3.Error):
            connection.execute(insert(_TABLE), {"amount": amount})


def test_amounts_refuse_to_be_compared_as_text() -> None:
    for compare in (lambda c: c < Decimal(1), lambda c: c >= Decimal(1), lambda c: c == Decimal(1)):
        with pytest.raises(TypeError, match="compare Decimals in Python"):
            compare(_TABLE.c.amount)
    assert str(_TABLE.c.amount.is_(None)) == "t.amount IS NULL"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"x": math.nan, "y": [math.inf, -math.inf]}, {"x": "NaN", "y": ["Infinity", "-Infinity"]}),
        ({"a\0": "b\0c"}, {"a": "bc"}),
        ({"literal": "\\u0000"}, {"literal": "\\u0000"}),
        (
            {"price": Decimal("1.50"), "n": np.int64(3), "v": np.array([1.5, np.nan])},
            {"price": "1.50", "n": 3, "v": [1.5, "NaN"]},
        ),
        ((1, None, True, "α"), [1, None, True, "α"]),
        ({"f": np.float64("nan")}, {"f": "NaN"}),
    ],
)
def test_json_is_what_both_databases_accept(value: Any, expected: Any) -> None:
    assert json.loads(dump_json(value)) == expected


def test_values_without_a_json_form_are_refused() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        dump_json({"x": object()})
