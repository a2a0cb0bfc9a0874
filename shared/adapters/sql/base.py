"""The base of every table: constraint names that migrations can rely on, and the column kinds that repeat."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Boolean, Double, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

from shared.adapters.sql.types import Amount, AutoId, Json

Key = Annotated[str, mapped_column(Text, primary_key=True)]
KeyMs = Annotated[int, mapped_column(BigInteger, primary_key=True)]
Counter = Annotated[int, mapped_column(AutoId, primary_key=True, autoincrement=True)]


class Base(DeclarativeBase):
    """Tables of the ledger. Instants are ms UTC (`_ms`), money is `Amount`, measurements are doubles."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        int: BigInteger(),
        float: Double(),
        bool: Boolean(),
        Decimal: Amount(),
        dict[str, Any]: Json,
        list[Any]: Json,
    }
