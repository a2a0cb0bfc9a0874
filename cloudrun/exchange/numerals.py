"""Numbers as the venue writes them: plain decimals in strings, never an exponent."""

from __future__ import annotations

from decimal import Decimal

from cloudrun.exchange.state import quantised


def decimal_text(value: Decimal) -> str:
    """A price or quantity, at most 12 decimals, without trailing zeros."""
    text = f"{value:.12f}"
    return text.rstrip("0").rstrip(".") or "0"


def money_text(value: Decimal) -> str:
    """An amount with the venue's eight decimals."""
    return f"{quantised(value):f}"


def float_text(value: float) -> str:
    """The shortest decimal that reads back as the same float, without an exponent."""
    text = repr(float(value))
    return f"{Decimal(text):f}" if "e" in text else text
