"""What the venue accepts for each symbol, in a backtest and on the paper exchange: grids, minimum notional, maintenance tiers.

Facts come from `venue_rules.yaml`; an unlisted symbol gets a tick of about one hundred-thousandth of its first price and a step
worth less than the minimum notional, so that any candle file can be traded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from shared.domain.money import ZERO

_QUOTES = ("USDT", "USDC", "BUSD", "FDUSD")


@dataclass(frozen=True, slots=True)
class Bracket:
    """A maintenance tier: up to `cap` notional, at most `leverage`, margin = ratio · notional - `cum`."""

    floor: Decimal
    cap: Decimal
    leverage: int
    ratio: Decimal
    cum: Decimal


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """The rules of one symbol; prices in quote currency, quantities in base units."""

    symbol: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    brackets: tuple[Bracket, ...]

    def bracket(self, notional: Decimal) -> Bracket:
        """The tier of a position's `notional` (the last one beyond its cap)."""
        return next((tier for tier in self.brackets if notional <= tier.cap), self.brackets[-1])

    def maintenance(self, notional: Decimal) -> Decimal:
        """Maintenance margin of a position of `notional`, quote currency."""
        tier = self.bracket(notional)
        return max(notional * tier.ratio - tier.cum, ZERO)

    def max_notional(self, leverage: int) -> Decimal:
        """Largest position at `leverage`."""
        return max((tier.cap for tier in self.brackets if tier.leverage >= leverage), default=ZERO)

    @property
    def max_leverage(self) -> int:
        """Largest leverage of any tier."""
        return self.brackets[0].leverage


@cache
def _facts() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(files(__package__).joinpath("venue_rules.yaml").read_text(encoding="utf-8"))
    return loaded


def _brackets(name: str) -> tuple[Bracket, ...]:
    """Tiers with `cum` chosen so that the margin is continuous at each cap."""
    tiers: list[Bracket] = []
    floor, cum, previous = ZERO, ZERO, None
    for cap, leverage, ratio_text in _facts()["brackets"][name]:
        ratio = Decimal(ratio_text)
        if previous is not None:
            cum += floor * (ratio - previous)
        tiers.append(Bracket(floor, Decimal(cap), int(leverage), ratio, cum))
        floor, previous = Decimal(cap), ratio
    return tuple(tiers)


def _split(symbol: str) -> tuple[str, str]:
    quote = next((quote for quote in _QUOTES if symbol.endswith(quote) and symbol != quote), "")
    return (symbol.removesuffix(quote), quote) if quote else (symbol[:-4] or symbol, symbol[-4:])


def symbol_spec(symbol: str, first_price: float) -> SymbolSpec:
    """The rules of `symbol`; `first_price` decides the grid where the table does not know it."""
    base, quote = _split(symbol)
    known = _facts()["symbols"].get(symbol)
    if known is not None:
        return SymbolSpec(
            symbol,
            base,
            quote,
            Decimal(known["tick"]),
            Decimal(known["step"]),
            Decimal(known["max_quantity"]),
            Decimal(known["min_notional"]),
            _brackets(known["brackets"]),
        )
    magnitude = math.floor(math.log10(first_price))
    step = Decimal(1).scaleb(min(max(-magnitude, -5), 0))
    return SymbolSpec(
        symbol,
        base,
        quote,
        Decimal(1).scaleb(min(max(magnitude - 4, -8), -1)),
        step,
        Decimal(10_000_000),
        Decimal(5),
        _brackets("small"),
    )
