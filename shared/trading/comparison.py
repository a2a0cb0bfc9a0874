"""Whether a decision that was made again is the one that is stored, and if not, why probably.

Texts, ids and orders must be equal, numbers equal to `TOLERANCE`. The cause is guessed from the lineage: other settings, other
candles, another model, another code, another book, or a row that was altered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from shared.domain.asset import Universe
from shared.domain.decision import Decision
from shared.domain.interval import Interval
from shared.domain.orders import OrderIntent

TOLERANCE = 1e-9
"""Largest difference of two numbers that count as the same, relative to the larger of them and 1"""

Again = tuple[Decision, tuple[OrderIntent, ...]] | str
"""A decision with its orders, or why none can be made"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one decision that did not come out as it is stored."""

    decision_id: str
    symbol: str
    bar_close_ms: int
    what: str
    """dotted field name"""
    stored: Any
    replayed: Any
    cause: str
    """the most probable one"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A stored decision beside the one that was made again."""

    differences: tuple[Difference, ...]
    exact: bool
    """whether every number is equal to the last bit"""


def compared(
    symbol: str,
    bar_ms: int,
    stored: Decision | None,
    orders: Iterable[OrderIntent],
    again: Again,
    code_version: str,
) -> Comparison:
    """Field by field: the stored decision with its orders, and what came out `again` (or why nothing did)."""

    def difference(what: str, one: Any, other: Any, cause: str) -> Difference:
        return Difference(stored.id if stored else "", symbol, bar_ms, what, one, other, cause)

    if isinstance(again, str) or stored is None:
        one, other = ("decided" if stored else "no decision"), (again if isinstance(again, str) else "decided")
        cause = "candles or models are no longer what they were" if stored else "a stored decision was removed"
        return Comparison((difference("decision", one, other, cause),), exact=False)
    decision, intents = again
    left = {**_flat("", asdict(stored)), **_flat("orders", {intent.client_id: asdict(intent) for intent in orders})}
    right = {**_flat("", asdict(decision)), **_flat("orders", {intent.client_id: asdict(intent) for intent in intents})}
    wrong = [name for name in {**left, **right} if not _same(left.get(name), right.get(name))]
    cause = _cause(stored, decision, wrong, code_version)
    found = tuple(difference(name, left.get(name), right.get(name), cause) for name in wrong)
    return Comparison(found, exact=left == right)


def unplaced(decisions: Sequence[Decision], universe: Universe, interval: Interval, marked: Set[int]) -> list[Difference]:
    """Stored decisions that no bar and no asset of a book leads to, so that nothing can be made again beside them.

    `marked` are the instants (ms) at which the book has an equity row.
    """
    kept = {(decision.bar_close_ms, decision.asset): decision.id for decision in decisions}
    found = []
    for decision in decisions:
        bar_ms, asset = decision.bar_close_ms, decision.asset
        if asset not in universe:
            cause = "the book does not trade this asset: the row was added or altered"
        elif bar_ms % interval.ms:
            cause = f"a decision at an instant at which no {interval} bar closes: the row was added or altered"
        elif bar_ms not in marked:
            cause = "its equity row is gone: the account that it was decided on is not known any more"
        elif kept[bar_ms, asset] != decision.id:
            cause = f"a second decision on this bar, beside {kept[bar_ms, asset]}: one of them was added or altered"
        else:
            continue
        found.append(Difference(decision.id, asset.symbol, bar_ms, "decision", "decided", "cannot be made again", cause))
    return found


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    """Leaves by dotted name."""
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {prefix: value.value if isinstance(value, Enum) else value}
    flat: dict[str, Any] = {}
    for name, entry in items:
        flat |= _flat(f"{prefix}.{name}" if prefix else str(name), entry)
    return flat


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or abs(one - other) <= TOLERANCE * max(1.0, abs(one), abs(other))
    return bool(one == other)


_BOOK_FIELDS = ("target_fraction", "approved_fraction", "action", "stop_price", "reasons", "approvals", "order_ids", "orders")


def _cause(stored: Decision, again: Decision, wrong: Sequence[str], code_version: str) -> str:
    """The most probable reason, from what differs."""
    if stored.params_version != again.params_version:
        return f"the settings differ: decided with {stored.params_version}, replayed with {again.params_version}"
    if stored.data_hash != again.data_hash:
        return "the candles differ from those that were decided on: the data were revised, or the stored hash was altered"
    if stored.regime_model_id != again.regime_model_id:
        return "another regime model is in force: a model was removed, added or fitted again"
    if stored.code_version != code_version:
        return f"the code changed from {stored.code_version} to {code_version}"
    if all(name.split(".")[0] in _BOOK_FIELDS for name in wrong):
        return "the book around it (equity, fills, orders, halts) is not what it was, or the stored decision was altered"
    return "the same data, settings, model and code give another result: the stored decision was altered"
