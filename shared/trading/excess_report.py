"""Does a position stand beyond what was decided? It is trimmed at once (`overshoot.py`); what is still there is told.

A position that is found beyond its decision's target in two reconciliations was not trimmed, for whatever reason: a person is
told with the exact quantity, once for each decision. Nothing is closed here.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.money import SymbolRules
from shared.ports import Clock, Ledger
from shared.trading.target import excess


class ExcessReport:
    """Looks for positions of one book that stand beyond their target."""

    def __init__(self, ledger: Ledger, clock: Clock, book: str) -> None:
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._seen: set[str] = set()
        self._told: set[str] = set()

    def look(self, rules: Mapping[str, SymbolRules]) -> list[str]:
        """Decision ids whose excess stands and was told now. Raises what the ledger raises."""
        seen, told = set(), []
        for symbol, position in self._ledger.positions(self._book).items():
            if symbol not in rules or position.quantity == 0:
                continue
            beyond, decision = excess(self._ledger, self._book, symbol, position.quantity, rules[symbol])
            if beyond == 0 or decision is None:
                continue
            seen.add(decision.id)
            if decision.id in self._seen - self._told:
                reason = f"{symbol}: {beyond} is held beyond the target of {decision.id} and was not trimmed"
                self._ledger.log(self._book, "reconciliation", "warning", reason, self._clock.now_ms())
                told.append(decision.id)
        self._seen = seen
        self._told = (self._told | set(told)) & seen
        return told
