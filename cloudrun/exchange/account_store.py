"""The account as an object of a bucket: what brings it back in another instance, on another machine.

Unlike the journal (`journal.py`), which is a file of this machine, it is written after a command and before its answer, by
compare-and-swap, and only when something has happened: time that passes without an event changes nothing but the time.
Invariant: nobody is answered for what is not stored. Where another instance was faster, its account is taken over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import fields
from decimal import Decimal
from typing import Any, TypeVar

from cloudrun.exchange.engine import Engine
from cloudrun.exchange.state import Account, AlgoOrder, IncomeRow, Order, PositionState, TradeRow
from shared.domain.errors import ConfigError, Conflict, MalformedData, StorageError
from shared.ports import Bucket, StoredObject

_T = TypeVar("_T", Order, AlgoOrder, TradeRow, IncomeRow, PositionState)


class AccountStore:
    """The object `name` of `bucket`, and the account of `engine`, which becomes what is stored."""

    def __init__(self, bucket: Bucket, name: str, engine: Engine) -> None:
        self._bucket, self._name, self._engine = bucket, name, engine
        found = bucket.read(name)
        if found is None:
            content = to_bytes(engine.core.account)
            found = StoredObject(content, bucket.write(name, content, if_generation=0))
        self._stored = found
        self._take(found)

    def keep(self, before_ms: int) -> None:
        """Store the account after a command that began at `before_ms`.

        Raises `StorageError` where that fails; the account is then as before the command, or as another instance left it.
        """
        content = to_bytes(self._engine.core.account)
        try:
            generation = self._bucket.write(self._name, content, if_generation=self._stored.generation)
        except (Conflict, StorageError) as error:
            self._undo(before_ms)
            raise StorageError(f"the account could not be stored, so nothing was done: {error}") from error
        self._stored = StoredObject(content, generation)

    def _undo(self, before_ms: int) -> None:
        known = self._stored
        with suppress(StorageError):  # then the last known one: the next write tells whether it is still the newest
            self._stored = self._bucket.read(self._name) or known
        self._take(self._stored)
        if self._stored.generation == known.generation:
            # From then until the command nothing has happened, or it would have been stored.
            self._engine.core.account.now_ms = before_ms

    def _take(self, stored: StoredObject) -> None:
        account = from_bytes(stored.content, self._name)
        known = self._engine.core.account.positions
        lost = {position.symbol for position in account.positions.values() if position.quantity} - known.keys()
        resting: list[Order | AlgoOrder] = [*account.open_orders.values(), *account.open_algos.values()]
        lost |= {order.symbol for order in resting} - known.keys()
        if lost:
            raise ConfigError(
                f"the account {self._name} holds {' '.join(sorted(lost))}, which the market lacks; add its candles"
            )
        account.positions = {symbol: account.positions.get(symbol, position) for symbol, position in known.items()}
        self._engine.core.account = account


def to_bytes(account: Account) -> bytes:
    """The account as JSON; amounts are texts."""
    return json.dumps(
        {
            "now_ms": account.now_ms,
            "capital": account.capital,
            "wallet": account.wallet,
            "next_id": account.next_id,
            "fee_burn": account.fee_burn,
            "positions": _written(account.positions.values()),
            "orders": _written(account.orders.values()),
            "algos": _written(account.algos.values()),
            "trades": _written(account.trades),
            "income": _written(account.income),
        },
        default=str,
        separators=(",", ":"),
    ).encode()


def from_bytes(content: bytes, name: str) -> Account:
    """The account that `to_bytes` wrote. Raises `MalformedData` for anything else."""
    try:
        found = json.loads(content)
        orders = {order.id: order for order in _read(Order, found["orders"])}
        algos = {algo.id: algo for algo in _read(AlgoOrder, found["algos"])}
        return Account(
            found["now_ms"],
            Decimal(found["capital"]),
            Decimal(found["wallet"]),
            {position.symbol: position for position in _read(PositionState, found["positions"])},
            orders,
            algos,
            open_orders={number: order for number, order in orders.items() if order.is_open},
            open_algos={number: algo for number, algo in algos.items() if algo.is_open},
            by_client={order.client_id: number for number, order in orders.items()},
            algo_by_client={algo.client_id: number for number, algo in algos.items()},
            trades=_read(TradeRow, found["trades"]),
            income=_read(IncomeRow, found["income"]),
            next_id=found["next_id"],
            fee_burn=found["fee_burn"],
        )
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise MalformedData(
            f"{name} is no account of this paper exchange ({error!r}); restore it or name another one"
        ) from None


def _written(rows: Iterable[Any]) -> list[list[Any]]:
    return [[getattr(row, field.name) for field in fields(row)] for row in rows]


def _read(kind: type[_T], rows: list[list[Any]]) -> list[_T]:
    make: Callable[..., _T] = kind
    amounts = [field.type == "Decimal" for field in fields(kind)]
    return [make(*(Decimal(one) if is_amount else one for one, is_amount in zip(row, amounts, strict=True))) for row in rows]
