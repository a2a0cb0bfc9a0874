"""From whatever id a person has at hand to the decisions behind it, read from the ledger.

A decision id or a unique prefix of it, the client id of an order, or the id of a closed trade (or a unique prefix): a trade
leads to the decision that opened it and to the one that closed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.errors import UsageError
from shared.trading.explain import History, explain

if TYPE_CHECKING:
    from shared.domain.decision import Decision
    from shared.domain.records import Trade
    from shared.ports import Ledger
    from shared.trading.explanation import Explanation

_SHOWN_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What an id stands for: `decision`, `order` or `trade`, and the decisions behind it, oldest first."""

    kind: str
    id: str
    decisions: tuple[Decision, ...]


def find(ledger: Ledger, text: str) -> Found:
    """The decisions that `text` leads to. Raises `UsageError` for an unknown id and for an ambiguous prefix."""
    if not text.strip():
        raise UsageError("the id is empty; list decisions with: ost decisions list")
    order = ledger.order(text)
    if order is not None:
        decision = ledger.decision(order.intent.decision_id)
        return Found("order", text, () if decision is None else (decision,))
    trade = _trade(ledger, text)
    if trade is not None:
        ids = dict.fromkeys(i for i in (trade.open_decision_id, trade.close_decision_id) if i is not None)
        return Found("trade", trade.id, tuple(d for i in ids if (d := ledger.decision(i)) is not None))
    decision = ledger.decision(text)
    if decision is None:
        raise UsageError(
            f"no decision, order or closed trade has the id {text!r}; list decisions with: ost decisions list --traded"
        )
    return Found("decision", decision.id, (decision,))


def lineage(ledger: Ledger, decision: Decision) -> Explanation:
    """Everything that the ledger holds about a decision."""
    book, symbol = decision.book, decision.asset.symbol
    orders = ledger.orders(book, decision_id=decision.id)
    filled = {order.intent.client_id: ledger.fills(book, client_id=order.intent.client_id) for order in orders}
    traded = any(filled.values())
    states = ledger.regimes(book, decision.asset)
    history = History(
        orders=orders,
        fills_by_order=filled,
        symbol_fills=ledger.fills(book, symbol=symbol) if traded else (),
        trades=ledger.trades(book) if traded else (),
        funding=ledger.funding(book) if traded else (),
        regime_state=next((state for state in states if state.bar_close_ms == decision.bar_close_ms), None),
    )
    return explain(decision, history)


def _trade(ledger: Ledger, text: str) -> Trade | None:
    if not text.startswith("t-"):
        return None
    trades = [trade for book in ledger.books() for trade in ledger.trades(book.book) if trade.id.startswith(text)]
    exact = [trade for trade in trades if trade.id == text] or trades
    if len(exact) > 1:
        shown = " ".join(trade.id for trade in exact[:_SHOWN_CANDIDATES]) + (" …" if len(exact) > _SHOWN_CANDIDATES else "")
        raise UsageError(f"{text!r} is the start of several trades: {shown}; write more of the id")
    return exact[0] if exact else None
