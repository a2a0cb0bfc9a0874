"""The venue's grid in floating point: what `SymbolRules` and `costs.venue_price` do in Decimal, for the compiled kernel.

A step is the fraction numerator / denominator of whole numbers, and an amount is a whole number k of steps. Its value
k · numerator / denominator is then the float nearest to the exact decimal, so that comparing floats rounds as the decimals do.
Invariant: equal to the Decimal functions for every float that fits in 2^52 steps (tested).
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

_SNAP = 1e-7  # a price this close to its grid, in ticks, is on it: the exact decimal was, before it was computed in floats


def as_fraction(step: Decimal) -> tuple[float, float]:
    """(numerator, denominator) of a step."""
    fraction = Fraction(step)
    return float(fraction.numerator), float(fraction.denominator)


def steps_within(value: float, numerator: float, denominator: float) -> float:
    """Largest whole number of steps that is not above `value` (finite, not negative)."""
    nearest = math.floor(value * denominator / numerator + 0.5) * 1.0
    return nearest if nearest * numerator / denominator <= value else nearest - 1.0


def steps_reaching(value: float, numerator: float, denominator: float) -> float:
    """Smallest whole number of steps that is not below `value` (finite, not negative)."""
    nearest = math.floor(value * denominator / numerator + 0.5) * 1.0
    return nearest if nearest * numerator / denominator >= value else nearest + 1.0


def against_taker(price: float, sign: int, numerator: float, denominator: float) -> float:
    """`price` on the grid, rounded up for a purchase (`sign` > 0) and down for a sale; never below one tick."""
    ticks = price * denominator / numerator
    whole = math.ceil(ticks - _SNAP) * 1.0 if sign > 0 else math.floor(ticks + _SNAP) * 1.0
    return max(whole, 1.0) * numerator / denominator
