"""What happened to the position of a symbol between two decisions, in the words of reference document 4.

The position is folded from the executions (`orders.Position`), so that the register and the ledger cannot disagree. A step has
the executions from the bar close before (exclusive) up to its own, and those of the orders that carry it out: a stop or an exit
that filled between two bars shows in the row of the later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.domain.decision import Decision
from shared.domain.interval import Interval
from shared.domain.money import ZERO, to_decimal
from shared.domain.orders import Fill, OrderRecord, OrderState, Position
from shared.trading.legs import is_decided

UNSENT = (OrderState.REJECTED, OrderState.ABANDONED, OrderState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Held:
    """A position and how it came about."""

    position: Position
    opened_by: str | None = None
    """id of the decision in whose step it was opened; it names the trade"""
    opened_ms: int = 0
    """close of that decision's bar"""


@dataclass(frozen=True, slots=True)
class Change:
    """What the executions of a step add up to."""

    added: Decimal = ZERO
    """base units that opened or increased"""
    added_value: Decimal = ZERO
    reduced: Decimal = ZERO
    """base units that closed"""
    reduced_value: Decimal = ZERO
    reduced_cost: Decimal = ZERO
    """the closed units at their entry prices"""
    was_flat: bool = False
    """whether nothing was held in between, or the side changed"""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision and what happened since the one before."""

    decision: Decision
    orders: tuple[OrderRecord, ...]
    fills: tuple[Fill, ...]
    before: Held
    after: Held
    change: Change
    is_last: bool
    """of a finished run"""


def steps(
    decisions: Sequence[Decision], orders: Sequence[OrderRecord], fills: Sequence[Fill], *, is_finished: bool
) -> Iterator[Step]:
    """The steps of one symbol, from its decisions, the orders of the book, and its executions, oldest first each."""
    by_decision: dict[str, list[OrderRecord]] = {}
    for record in orders:
        by_decision.setdefault(record.intent.decision_id, []).append(record)
    held, done = Held(Position(decisions[0].asset.symbol)) if decisions else Held(Position("")), 0
    for place, decision in enumerate(decisions):
        placed = tuple(by_decision.get(decision.id, ()))
        own = {record.intent.client_id for record in placed if is_decided(record.intent.leg)}
        first = done
        while done < len(fills) and (fills[done].time_ms < decision.bar_close_ms or fills[done].client_id in own):
            done += 1
        before, happened = held, tuple(fills[first:done])
        held, change = _folded(held, happened, decision)
        yield Step(decision, placed, happened, before, held, change, is_finished and place == len(decisions) - 1)


def account_after(step: Step, interval: Interval) -> dict[str, Any]:
    """The position that is held after the step."""
    position = step.after.position
    is_open = position.quantity != 0
    mark = to_decimal(step.decision.price)
    return {
        "posicion_abierta": is_open,
        "trade_id_activo": step.after.opened_by if is_open else None,
        "tipo_posicion_activa": _side(position.quantity),
        "precio_entrada_activa": float(position.entry_price) if is_open else None,
        "cantidad_activa": float(abs(position.quantity)),
        "velas_activa": _bars(step.after, step.decision, interval) if is_open else 0,
        "pnl_no_realizado": float(position.unrealised(mark)),
    }


def operation(step: Step, leverage: int, equity: Decimal | None, interval: Interval) -> dict[str, Any]:
    """What was done: orders, executions, costs, margin and profit."""
    change, decision = step.change, step.decision
    bought = sum((fill.signed_quantity for fill in step.fills), ZERO)
    of = step.after if change.added else step.before
    traded, price = change.added + change.reduced, to_decimal(decision.price)
    realised = step.after.position.realised - step.before.position.realised
    closed = bool(change.reduced) and change.was_flat
    is_open = step.after.position.quantity != 0
    return {
        "tipo_accion": "LONG" if bought > 0 else "SHORT" if bought < 0 else "MANTENER",
        "operacion": _name(step),
        "resultado": _outcome(step),
        "error": "; ".join(record.reason for record in step.orders if record.state in UNSENT and record.reason) or None,
        "trade_id": of.opened_by if traded else None,
        "tipo_posicion": _side(of.position.quantity) if traded else None,
        "precio_entrada": _entry(step),
        "precio_salida": _ratio(change.reduced_value, change.reduced),
        "cantidad": float(traded),
        "cantidad_adicional": float(change.added) if step.before.position.quantity and not change.was_flat else 0.0,
        "cantidad_total": float(abs(step.after.position.quantity)),
        "cantidad_restante": float(abs(step.after.position.quantity)) if change.reduced else None,
        "cantidad_reducida": float(change.reduced),
        "porcentaje_inversion": float(abs(step.after.position.quantity) * price / equity) if equity else None,
        "comision": float(sum((fill.fee for fill in step.fills), ZERO)),
        "slippage": float(sum((fill.signed_quantity * (fill.price - price) for fill in _of_orders(step)), ZERO)),
        "margen": float(abs(step.after.position.quantity) * step.after.position.entry_price / leverage) if is_open else 0.0,
        "margen_liberado": float(change.reduced_cost / leverage),
        "pnl_realizado": float(realised) if closed else 0.0,
        "pnl_parcial": float(realised) if change.reduced and not closed else 0.0,
        "velas_abiertas": _bars(step.before, decision, interval) if closed and step.before.opened_by else None,
    }


def _folded(held: Held, fills: Sequence[Fill], decision: Decision) -> tuple[Held, Change]:
    """The position after the executions, and what they add up to."""
    position, opened_by, opened_ms = held.position, held.opened_by, held.opened_ms
    added = added_value = reduced = reduced_value = reduced_cost = ZERO
    was_flat = False
    for fill in fills:
        after = position.after(fill)
        closing = min(fill.quantity, abs(position.quantity)) if position.quantity * fill.signed_quantity < 0 else ZERO
        opening = fill.quantity - closing
        reduced, reduced_value = reduced + closing, reduced_value + closing * fill.price
        reduced_cost += closing * position.entry_price
        added, added_value = added + opening, added_value + opening * fill.price
        if closing and (after.quantity == 0 or after.quantity * position.quantity < 0):
            was_flat = True
        if opening and (position.quantity == 0 or closing):
            opened_by, opened_ms = decision.id, decision.bar_close_ms
        position = after
    return Held(position, opened_by, opened_ms), Change(added, added_value, reduced, reduced_value, reduced_cost, was_flat)


def _of_orders(step: Step) -> list[Fill]:
    """Executions of the step's own orders: their slippage is measured from the decided price."""
    own = {record.intent.client_id for record in step.orders if is_decided(record.intent.leg)}
    return [fill for fill in step.fills if fill.client_id in own]


def _name(step: Step) -> str:
    before, after, change = step.before.position.quantity, step.after.position.quantity, step.change
    if not (change.added or change.reduced):
        return "mantener"
    if before == 0:
        return "abrir" if after else "abrir y cerrar"
    if after == 0:
        return "cerrar"
    if before * after < 0:
        return "invertir"
    if change.was_flat:
        return "cerrar y abrir"
    return "aumentar" if abs(after) > abs(before) else "reducir"


def _outcome(step: Step) -> str | None:
    """Of the step's orders; `stop` where only a stop or an exit between two bars was executed."""
    orders = [record for record in step.orders if is_decided(record.intent.leg)]
    if not orders:
        return "stop" if step.fills else None
    if all(record.state is OrderState.FILLED for record in orders):
        return "ejecutada"
    return "parcial" if any(record.filled for record in orders) else "rechazada"


def _entry(step: Step) -> float | None:
    if step.change.added:
        return float(step.after.position.entry_price) if step.after.position.quantity else None
    return _ratio(step.change.reduced_cost, step.change.reduced)


def _ratio(value: Decimal, quantity: Decimal) -> float | None:
    return float(value / quantity) if quantity else None


def _bars(held: Held, decision: Decision, interval: Interval) -> int:
    return (decision.bar_close_ms - held.opened_ms) // interval.ms


def _side(quantity: Decimal) -> str | None:
    return "LONG" if quantity > 0 else "SHORT" if quantity < 0 else None
