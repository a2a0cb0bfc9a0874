"""Where a decision wants the position to be, in the venue's units, and what else has moved it since.

    target = wanted(equity of the decided bar, approved fraction, price)          (the same formula that made the orders)
    moved by others = held - fills of the decision's orders - (target - planned)  (a stop, an exit: anything but the decision)

All of it is in the ledger, so that a restart knows it, and nothing of it depends on clocks: fills and position are written
together. A plan that the venue's largest order has cut short does not reach its target; it counts as moved, the safe side.
"""

from __future__ import annotations

from decimal import Decimal

from shared.domain.decision import Action, Decision
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import OrderKind
from shared.ports import Ledger
from shared.trading.legs import MARKET, REST, wanted_quantity
from shared.trading.origin import newest_decision
from shared.trading.twap import SLICE

PLANNED = (MARKET, SLICE)
"""Legs that were planned with the decision; what follows from a partial fill begins with `REST`"""


def target(ledger: Ledger, decision: Decision, rules: SymbolRules) -> Decimal | None:
    """Signed position that a decision wants, base units; `None` where the equity that it was sized with is not known."""
    for point in ledger.equity(decision.book, decision.bar_close_ms, until_ms=decision.bar_close_ms):
        return wanted_quantity(rules, point.equity, decision.approved_fraction, decision.price)
    return None


def moved_by_others(ledger: Ledger, decision_id: str, held: Decimal, rules: SymbolRules) -> Decimal | None:
    """By how much anything but the orders of a decision has moved the position since, signed; `None` where nobody can say.

    `held` is the booked position, signed base units.
    """
    decision = ledger.decision(decision_id)
    wanted = None if decision is None else target(ledger, decision, rules)
    if decision is None or wanted is None:
        return None
    legs = [
        record.intent
        for record in ledger.orders(decision.book, decision_id=decision.id)
        if record.intent.kind is OrderKind.MARKET and record.intent.leg.startswith((*PLANNED, REST))
    ]
    planned = sum((leg.quantity * leg.side.sign for leg in legs if leg.leg.startswith(PLANNED)), ZERO)
    fills = [fill for leg in legs for fill in ledger.fills(decision.book, client_id=leg.client_id)]
    return held - sum((fill.signed_quantity for fill in fills), ZERO) - (wanted - planned)


def excess(ledger: Ledger, book: str, symbol: str, held: Decimal, rules: SymbolRules) -> tuple[Decimal, Decision | None]:
    """What of the position goes beyond the newest decision's target, signed base units, and that decision.

    Only a reversal can overshoot: its one order is sized for the position of its moment, and the stop of that position may be
    executed before the order is. Every other order only reduces, or its stop moves the position away from the target.
    """
    decision = newest_decision(ledger, book, symbol)
    if decision is None or decision.action is not Action.REVERSE:
        return ZERO, None
    wanted = target(ledger, decision, rules)
    if wanted is None or held * wanted <= 0:
        return ZERO, decision
    return rules.quantity(max(abs(held) - abs(wanted), ZERO)).copy_sign(held), decision
