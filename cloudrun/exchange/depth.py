"""How much a market order can take at once, where the market is not infinitely deep: the rest fills second by second.

Without a depth (the default) a market order fills completely at once. With one, `notional` is taken at once and again with each
second, and what is left when the order's life is over expires, as at the venue when a book runs dry. For simulations.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from shared.domain.money import on_grid

SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class Depth:
    """What the other side of the book offers."""

    notional: Decimal
    """quote currency, at once and with every second"""
    life_ms: int = 10_000
    """age at which the rest of a market order expires"""

    def slice_of(self, remaining: Decimal, price: Decimal, step: Decimal, times: int = 1) -> Decimal:
        """What of `remaining` fills when `times` helpings are offered: each at least one step, on the grid."""
        helping = max(on_grid(self.notional / price, step, ROUND_DOWN), step)
        return min(remaining, helping * times)

    def helpings(self, created_ms: int, start_ms: int, end_ms: int) -> int:
        """Helpings that an order of `created_ms` is offered in (start, end]."""
        until_ms = min(end_ms, created_ms + self.life_ms)
        return max(0, (until_ms - created_ms) // SECOND_MS - (start_ms - created_ms) // SECOND_MS)
