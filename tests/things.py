"""A table with a column of each type of the ledger, for tests of how statements reach a driver."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, MetaData, Table, Text

from shared.adapters.sql.types import Amount, Json

THINGS = Table(
    "things",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("amount", Amount),
    Column("sized", Double),
    Column("flagged", Boolean),
    Column("said", Json),
    Column("count", BigInteger),
)
ROW: dict[str, Any] = {
    "name": "a",
    "amount": Decimal("1.50"),
    "sized": 2.0,
    "flagged": True,
    "said": {"x": [1, float("inf")]},
    "count": 3,
}
EMPTY: dict[str, Any] = {"name": "b", "amount": None, "sized": None, "flagged": None, "said": None, "count": None}
