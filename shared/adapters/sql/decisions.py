"""Decisions and the intents committed with them, in one transaction under the lease.

It is the last thing before an order is sent, so nothing of it is asked and waited for: whatever stands against the commit (the
decision is there already, the lease is lost) is an error of one of its statements, and `is_there` finds out afterwards which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Float,
    Insert,
    RowMapping,
    Select,
    bindparam,
    cast,
    exists,
    func,
    insert,
    not_,
    select,
)

from shared.adapters.sql import account, halts, leases, orders
from shared.adapters.sql.models import SETS_STOP, DecisionRow, IntentRow, OrderRow
from shared.adapters.sql.statements import insert_all, insert_missing, insert_unread, kept, row_by_id, table, values_of
from shared.domain.asset import Asset
from shared.domain.decision import Action, Approval, Decision, Vote
from shared.domain.errors import UsageError
from shared.domain.interval import Interval
from shared.domain.orders import OrderIntent, OrderKind
from shared.domain.records import EquityPoint, Halt, Lease
from shared.domain.regime import Regime, RegimeProbabilities

_TABLE = table(DecisionRow)
_BOOK: BindParameter[str] = bindparam("book_key")
_SYMBOL: BindParameter[str] = bindparam("symbol_key")
_DECISION: BindParameter[str] = bindparam("decision_key")
_IS_THERE = kept(select(_TABLE.c.id).where(_TABLE.c.id == _DECISION))
_INTENTS_SO_FAR = kept(select(func.count()).where(orders.INTENTS.c.decision_id == _DECISION))


def commit(
    connection: Connection, decision: Decision, intents: Sequence[OrderIntent], lease: Lease, point: EquityPoint | None
) -> Callable[[], tuple[Halt, ...]]:
    """Store a decision with its intents and the equity point that they were sized with; the halts in force, to be called after
    the commit, with which they come.

    Raises `UsageError` for an intent or a lease of something else; a transaction that cannot be committed ends with a
    `LedgerError`.
    """
    strangers = [i.client_id for i in intents if (i.book, i.decision_id) != (decision.book, decision.id)]
    if strangers or lease.book != decision.book:
        wrong = " ".join(strangers) or f"the lease of book {lease.book}"
        raise UsageError(f"decision {decision.id} of book {decision.book} was given what belongs to another one: {wrong}")
    row = {**_row(decision), "held_token": lease.token, "held_book": lease.book, "held_by": lease.holder}
    insert_unread(connection, _COMMITTING, [row])
    insert_all(connection, IntentRow, [orders.intent_row(intent, n) for n, intent in enumerate(intents)])
    insert_all(connection, OrderRow, [orders.new_order_row(intent) for intent in intents])
    if point is not None:
        account.record_equity(connection, decision.book, point)
    return halts.in_force_at_commit(connection, decision.book, decision.decided_ms)


def is_there(connection: Connection, decision: Decision, lease: Lease) -> bool:
    """Whether a decision could not be committed because it is there already. Raises `LeaseLost` where that was the reason."""
    leases.check(connection, lease)
    return connection.execute(_IS_THERE, {"decision_key": decision.id}).one_or_none() is not None


def add_intents(connection: Connection, intents: Sequence[OrderIntent], lease: Lease) -> list[OrderIntent]:
    """Store further intents of stored decisions; return those that were new.

    Raises `LeaseLost`, and `UsageError` for intents of another book than the lease's.
    """
    strangers = [intent.client_id for intent in intents if intent.book != lease.book]
    if strangers:
        raise UsageError(f"the lease of book {lease.book} was given intents of another one: {' '.join(strangers)}")
    leases.check(connection, lease)
    return [intent for intent in intents if _add_intent(connection, intent)]


def find(connection: Connection, decision_id: str) -> Decision | None:
    """One decision by its id or a unique prefix of it. Raises `UsageError` naming the candidates of an ambiguous one."""
    row = row_by_id(connection, DecisionRow, decision_id, noun="decision", listing="ost decisions list")
    return None if row is None else _decision(row)


def listed(connection: Connection, book: str, symbol: str | None, since_ms: int, limit: int | None) -> list[Decision]:
    """Decisions of a book from `since_ms` on, oldest first; with `limit` the newest ones."""
    newest_first = _LISTED[symbol is not None, limit is not None]
    values = {"book_key": book, "symbol_key": symbol, "since_ms": since_ms, "most": limit}
    return [_decision(row) for row in reversed(connection.execute(newest_first, values).mappings().all())]


def origin(connection: Connection, book: str, symbol: str, *, is_long: bool) -> Decision | None:
    """The newest decision whose stop lies on the losing side of a position, with an order of its own that was filled."""
    row = connection.execute(_ORIGINS[is_long], {"book_key": book, "symbol_key": symbol}).mappings().one_or_none()
    return None if row is None else _decision(row)


def _add_intent(connection: Connection, intent: OrderIntent) -> bool:
    place = connection.execute(_INTENTS_SO_FAR, {"decision_key": intent.decision_id}).scalar_one()
    if not insert_missing(connection, IntentRow, orders.intent_row(intent, place)):
        return False
    insert_all(connection, OrderRow, [orders.new_order_row(intent)])
    return True


def _listing(*, of_symbol: bool, limited: bool) -> Select[Any]:
    query = select(_TABLE).where(_TABLE.c.book == _BOOK, _TABLE.c.bar_close_ms >= bindparam("since_ms"))
    if of_symbol:
        query = query.where(_TABLE.c.symbol == _SYMBOL)
    query = query.order_by(_TABLE.c.bar_close_ms.desc(), _TABLE.c.symbol.desc(), _TABLE.c.id.desc())
    return kept(query.limit(bindparam("most")) if limited else query)


_LISTED = {(of, some): _listing(of_symbol=of, limited=some) for of in (False, True) for some in (False, True)}


def _origin(*, is_long: bool) -> Select[Any]:
    below = _TABLE.c.stop_price < _TABLE.c.price
    filled = exists().where(
        orders.INTENTS.c.decision_id == _TABLE.c.id,
        orders.INTENTS.c.kind != OrderKind.STOP.value,
        orders.ORDERS.c.client_id == orders.INTENTS.c.client_id,
        cast(orders.ORDERS.c.filled, Float) > 0,  # its sign, which an amount in text has as well
    )
    return kept(
        select(_TABLE)
        .where(_TABLE.c.book == _BOOK, _TABLE.c.symbol == _SYMBOL, SETS_STOP, below if is_long else not_(below), filled)
        .order_by(_TABLE.c.bar_close_ms.desc(), _TABLE.c.id.desc())
        .limit(1)
    )


_ORIGINS = {is_long: _origin(is_long=is_long) for is_long in (False, True)}


def _made_committing() -> Insert:
    """A new decision's row. The token comes from the lease's row, held to the end of the transaction; none is an error."""
    held = select(leases.LEASES.c.token).where(
        leases.LEASES.c.book == bindparam("held_book"),
        leases.LEASES.c.holder == bindparam("held_by"),
        leases.LEASES.c.token == bindparam("held_token"),
    )
    values: dict[str, Any] = {name: bindparam(name, type_=column.type) for name, column in _TABLE.c.items()}
    return insert(_TABLE).values({**values, "lease_token": held.with_for_update(read=True).scalar_subquery()})


_COMMITTING = _made_committing()


def _row(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "book": decision.book,
        "venue": decision.asset.venue,
        "symbol": decision.asset.symbol,
        "interval": decision.interval.value,
        "bar_close_ms": decision.bar_close_ms,
        "params_version": decision.params_version,
        "code_version": decision.code_version,
        "data_hash": decision.data_hash,
        "window_start_ms": decision.window_start_ms,
        "regime_model_id": decision.regime_model_id,
        **decision.probabilities.as_dict(),
        "regime": decision.regime.value,
        "alphas": decision.alphas,
        "votes": [values_of(vote) for vote in decision.votes],
        "score": decision.score,
        "price": decision.price,
        "target_fraction": decision.target_fraction,
        "approved_fraction": decision.approved_fraction,
        "action": decision.action.value,
        "stop_price": decision.stop_price,
        "features": decision.features,
        "reasons": decision.reasons,
        "approvals": [values_of(approval) for approval in decision.approvals],
        "order_ids": decision.order_ids,
        "decided_ms": decision.decided_ms,
    }


def _decision(row: RowMapping) -> Decision:
    return Decision(
        id=row["id"],
        book=row["book"],
        asset=Asset(row["venue"], row["symbol"]),
        interval=Interval(row["interval"]),
        bar_close_ms=row["bar_close_ms"],
        params_version=row["params_version"],
        code_version=row["code_version"],
        data_hash=row["data_hash"],
        window_start_ms=row["window_start_ms"],
        regime_model_id=row["regime_model_id"],
        probabilities=RegimeProbabilities(row["calm"], row["balanced"], row["stress"]),
        regime=Regime(row["regime"]),
        alphas=_floats(row["alphas"]),
        votes=tuple(Vote(**{**vote, "score": float(vote["score"]), "weight": float(vote["weight"])}) for vote in row["votes"]),
        score=row["score"],
        price=row["price"],
        target_fraction=row["target_fraction"],
        approved_fraction=row["approved_fraction"],
        action=Action(row["action"]),
        stop_price=row["stop_price"],
        features=_floats(row["features"]),
        reasons=tuple(row["reasons"]),
        approvals=tuple(Approval(**approval) for approval in row["approvals"]),
        order_ids=tuple(row["order_ids"]),
        decided_ms=row["decided_ms"],
    )


def _floats(values: dict[str, Any]) -> dict[str, float]:
    """JSON has no NaN and JSONB no float: both come back through `float`."""
    return {name: float(value) for name, value in values.items()}
