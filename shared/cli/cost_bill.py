"""Usage × price = bill, line by line; what is free is taken off at the end, per kind, because it belongs to nobody.

Prices are in `cost_prices.yaml` with their date and source. Invariant: the total is the sum of the lines minus the free parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources

import yaml

from shared.cli.cost_usage import Usage

PRICED_REGION = "europe-west1"
"""whose prices the table holds"""


@dataclass(frozen=True, slots=True)
class Price:
    """List price of one kind of thing."""

    unit: str
    usd: float
    free: float
    """units a month that are not charged"""
    checked: date
    source: str


@dataclass(frozen=True, slots=True)
class Line:
    """What one component pays for one kind of thing in a month."""

    component: str
    sku: str
    quantity: float
    unit: str
    usd: float


@dataclass(frozen=True, slots=True)
class Bill:
    """A month."""

    lines: tuple[Line, ...]
    free: Mapping[str, float]
    """by kind, USD that are not charged"""

    @property
    def total_usd(self) -> float:
        """What is paid."""
        return sum(line.usd for line in self.lines) - sum(self.free.values())

    def by_component(self) -> dict[str, float]:
        """USD before what is free, dearest first."""
        sums: dict[str, float] = defaultdict(float)
        for line in self.lines:
            sums[line.component] += line.usd
        return dict(sorted(sums.items(), key=lambda item: -item[1]))


def price_table() -> dict[str, Price]:
    """The prices by kind."""
    rows = yaml.safe_load(resources.files("shared.cli").joinpath("cost_prices.yaml").read_text(encoding="utf-8"))
    return {sku: Price(**row) for sku, row in rows.items()}


def make_bill(usages: Iterable[Usage], prices: Mapping[str, Price], *, with_free: bool = True) -> Bill:
    """The bill for `usages`. `with_free`: the billing account has no other project that uses up what is free."""
    quantities: dict[tuple[str, str], float] = defaultdict(float)
    for usage in usages:
        quantities[usage.component, usage.sku] += usage.quantity
    lines = tuple(
        Line(component, sku, quantity, prices[sku].unit, quantity * prices[sku].usd)
        for (component, sku), quantity in quantities.items()
    )
    used: dict[str, float] = defaultdict(float)
    for line in lines:
        used[line.sku] += line.quantity
    free = {sku: min(quantity, prices[sku].free) * prices[sku].usd for sku, quantity in used.items() if prices[sku].free > 0}
    return Bill(lines, free if with_free else {})
