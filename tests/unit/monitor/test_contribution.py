"""An asset's contribution to a book, against hand-made books."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.interval import HOUR_MS
from shared.domain.orders import Fill, Side
from shared.domain.records import EquityPoint, FundingPayment
from shared.monitor.contribution import contribution

START = 1_751_328_000_000


def at(hour: int) -> int:
    return START + hour * HOUR_MS


def fill(hour: int, quantity: float, price: float, fee: float = 0.0) -> Fill:
    size = Decimal(str(quantity))
    side = Side.of(size)
    return Fill("BTCUSDT", f"{hour}", None, "1", side, abs(size), Decimal(str(price)), Decimal(str(fee)), at(hour))


def equity(*values: float) -> list[EquityPoint]:
    return [EquityPoint(at(hour), Decimal(str(v)), Decimal(str(v)), Decimal(str(max(values)))) for hour, v in enumerate(values)]


def test_a_book_of_one_asset_is_its_own_contribution() -> None:
    # 1 BTC is bought at the open after hour 0 for 100, fee 1; it is worth 100, 110, 99 and sold after hour 2 for 98, fee 1.
    closes = [(at(0), 100.0), (at(1), 110.0), (at(2), 99.0), (at(3), 97.0)]
    points = equity(1000, 1000 - 1 + 10, 1000 - 1 - 1, 1000 - 2 - 2)
    time_ms, curve = contribution(points, closes, [fill(0, 1, 100, 1), fill(2, -1, 98, 1)], [])
    assert time_ms.tolist() == [at(0), at(1), at(2), at(3)]
    assert curve * 1000 == pytest.approx([1000, 1009, 998, 996])


def test_funding_counts_at_its_instant() -> None:
    closes = [(at(hour), 100.0) for hour in range(3)]
    payment = FundingPayment("1", "BTCUSDT", Decimal(-5), at(1))
    _, curve = contribution(equity(1000, 995, 995), closes, [], [payment])
    assert curve * 1000 == pytest.approx([1000, 995, 995])


def test_instants_without_a_price_or_without_equity_are_left_out() -> None:
    time_ms, curve = contribution(equity(1000, 1000, 1000), [(at(0), 1.0), (at(2), 1.0), (at(9), 1.0)], [], [])
    assert time_ms.tolist() == [at(0), at(2)]
    assert curve.tolist() == [1.0, 1.0]


def test_a_book_that_never_traded_has_a_flat_curve_and_an_empty_one_none() -> None:
    assert len(contribution([], [], [], [])[1]) == 0
    assert contribution(equity(1000), [(at(0), 1.0)], [], [])[1].tolist() == [1.0]


def test_the_curve_ends_at_ruin() -> None:
    closes = [(at(0), 100.0), (at(1), 50.0), (at(2), 60.0)]
    time_ms, curve = contribution(equity(50, 0, 10), closes, [fill(0, 1, 100)], [])
    assert len(time_ms) == len(curve) == 1


@given(
    moves=st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=30),
    sizes=st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=5),
)
@settings(max_examples=100, deadline=None)
def test_contributions_of_two_assets_add_up_to_the_books_return(moves: list[float], sizes: list[int]) -> None:
    prices = [100 * np.cumprod([1, *moves]), 50 * np.cumprod([1, *reversed(moves)])]
    books = [
        [fill(hour, size * sign, round(float(price[hour]), 6)) for hour, size in enumerate(sizes[: len(moves)])]
        for price, sign in zip(prices, (1, -1), strict=True)
    ]
    profits = []
    for price, fills in zip(prices, books, strict=True):
        held = np.array([sum(float(f.quantity) * f.side.sign for f in fills if f.time_ms < at(h)) for h in range(len(price))])
        spent = [
            sum(float(f.quantity) * f.side.sign * float(f.price) for f in fills if f.time_ms < at(h)) for h in range(len(price))
        ]
        profits.append(held * price - np.array(spent))
    total = equity(*(100_000 + profits[0] + profits[1]).tolist())
    curves = []
    for price, fills in zip(prices, books, strict=True):
        closes = [(at(hour), float(p)) for hour, p in enumerate(price)]
        curves.append(contribution(total, closes, fills, [])[1])
    together = sum(np.diff(curve) / curve[:-1] for curve in curves)
    whole = np.array([float(point.equity) for point in total])
    assert together == pytest.approx(np.diff(whole) / whole[:-1], abs=1e-12)
