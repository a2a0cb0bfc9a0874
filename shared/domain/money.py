"""Money and quantities at the venue: Decimal, on the grid that the venue accepts.

The conversion between research floats and venue decimals happens here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from shared.domain.errors import MalformedData

ZERO = Decimal(0)


def to_decimal(value: float | int | str | Decimal) -> Decimal:
    """The decimal that prints like `value` (a float by its shortest exact form). Raises `MalformedData` if not finite."""
    number = value if isinstance(value, Decimal) else Decimal(repr(value) if isinstance(value, float) else str(value))
    if not number.is_finite():
        raise MalformedData(f"{value!r} is not a finite amount")
    return number


def on_grid(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """`value` rounded to a multiple of `step`."""
    return (value / step).to_integral_value(rounding=rounding) * step


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """What a venue accepts for a symbol (its exchange-info filters)."""

    symbol: str
    tick: Decimal
    """price step, quote currency"""
    step: Decimal
    """quantity step, base units"""
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    """smallest price × quantity that may open or increase a position, quote currency"""
    trading: bool = True
    """false while the venue has halted or is delisting the symbol"""
    delivery_ms: int | None = None
    """instant at which the venue settles and ends the contract, ms UTC; `None` for a perpetual one that goes on"""

    def price(self, value: float | Decimal) -> Decimal:
        """Nearest valid price."""
        return on_grid(to_decimal(value), self.tick, ROUND_HALF_EVEN)

    def price_below(self, value: float | Decimal) -> Decimal:
        """Highest valid price at or below `value`."""
        return on_grid(to_decimal(value), self.tick, ROUND_FLOOR)

    def price_above(self, value: float | Decimal) -> Decimal:
        """Lowest valid price at or above `value`."""
        return on_grid(to_decimal(value), self.tick, ROUND_CEILING)

    def quantity(self, value: float | Decimal) -> Decimal:
        """Largest valid size not above |value|, with its sign; zero where it is below the minimum."""
        number = to_decimal(value)
        size = min(on_grid(abs(number), self.step, ROUND_DOWN), self.max_quantity)
        if size < self.min_quantity:
            return ZERO
        return size.copy_sign(number)
