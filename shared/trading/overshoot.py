"""A reversal that went too far is brought back to what was decided, at once.

A reversal is one order of the old and the new size. The stop of the old position may be executed between the moment that the
order was sized in and its execution; then the new position is larger than decided, by what the stop has closed. What is beyond
the target is closed by a reduce-only order with a name of its own in its decision: sent again it is the same order, and it can
neither open nor turn anything.
"""

from __future__ import annotations

from decimal import Decimal

from shared.domain.orders import OrderKind
from shared.trading.legs import TRIM, leg_order, next_leg
from shared.trading.target import excess
from shared.trading.workbench import Workbench

MOST = 3
"""Corrections of one decision; what is beyond its target then is told to a person"""


class Trimmer:
    """Keeps the positions of one book within what was decided."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._within: dict[str, Decimal] = {}
        """by symbol: the position that was looked at last and found to be as decided"""

    async def trim(self, symbol: str) -> None:
        """Close what is held beyond the decided target. Asks the ledger only after the position has changed, and nobody else.

        Raises what ledger and lease raise; what the venue does not answer is settled like any other order.
        """
        bench = self._bench
        held = bench.book.held(symbol)
        if held == 0 or self._within.get(symbol) == held or self._is_moving(symbol):
            return
        beyond, decision = excess(bench.ledger, bench.name, symbol, held, bench.rules()[symbol])
        if beyond == 0 or decision is None:
            self._within[symbol] = held
            return
        legs = bench.ledger.orders(bench.name, decision_id=decision.id)
        now_ms = bench.clock.now_ms()
        if sum(record.intent.leg.startswith(TRIM) for record in legs) >= MOST:
            self._within[symbol] = held
            bench.log("error", f"{held} {symbol} is {beyond} beyond what was decided, and {MOST} orders could not correct it")
            return
        bench.log(
            "warning", f"{held} {symbol} is {beyond} beyond what was decided (a stop was executed meanwhile): it is closed"
        )
        intent = leg_order(bench.name, decision.id, next_leg(TRIM, legs), symbol, -beyond, now_ms, reduce_only=True)
        bench.commit(intent)
        await bench.reconciler.book_fills_of(await bench.send(intent))
        bench.book.changed()

    def _is_moving(self, symbol: str) -> bool:
        """Whether the fate of an order is open that may change the position yet."""
        return any(
            record.intent.symbol == symbol and record.intent.kind is OrderKind.MARKET
            for record in self._bench.book.open_questions()
        )
