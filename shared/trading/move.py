"""The committed orders of one decision on their way to the venue, with what they were sized and decided with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.orders import OrderIntent
from shared.domain.records import Halt

HALTS_FRESH_MS = 20
"""For so long an order goes out under the halts that it was committed under: the ledger said them in the same breath."""


@dataclass(frozen=True, slots=True)
class Move:
    """The committed orders of one decision."""

    symbol: str
    intents: tuple[OrderIntent, ...]
    equity: Decimal
    price: Decimal
    """close of the decided bar"""
    bar_close_ms: int
    halts: Sequence[Halt] = ()
    """those in force when it was committed"""
    halts_ms: int = 0
    """when the ledger was asked for them"""

    def halts_at(self, now_ms: int) -> Sequence[Halt] | None:
        """The halts in force at `now_ms`, ms UTC; `None` where they were asked for too long ago to be relied on."""
        return self.halts if 0 <= now_ms - self.halts_ms <= HALTS_FRESH_MS else None
