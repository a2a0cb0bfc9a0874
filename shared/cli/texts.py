"""Numbers, ages and markets as people read them, the same in every view.

What is not known is a dash: never a zero, and never an empty cell that could be taken for one.
"""

from __future__ import annotations

from decimal import Decimal

UNKNOWN = "-"


def fixed(value: float | Decimal | None, digits: int = 2) -> str:
    """With `digits` decimals."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in per cent."""
    return UNKNOWN if value is None else f"{value:.{digits}%}"


def price(value: float | Decimal | str) -> str:
    """A price or an amount: cents from a thousand on, six digits below."""
    number = float(value)
    return f"{number:,.2f}" if abs(number) >= 1000 else f"{number:,.6g}"


def age(seconds: float) -> str:
    """How long ago, in the unit that a person would choose."""
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / size:,.0f} {unit} ago"
    return f"{seconds / 86_400:,.0f} days ago"


def market_text(label: str, generated: bool) -> str:
    """A market by its label; made-up prices are said to be made up, once."""
    if not generated:
        return label
    return f"{label}, not real prices" if "GENERATED" in label else f"GENERATED market, not real prices: {label}"
