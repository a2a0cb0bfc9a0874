"""Numbers, ages and markets as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.cli.texts import age, fixed, market_text, percent, price


def test_what_is_not_known_is_a_dash_and_no_zero() -> None:
    assert (fixed(None), percent(None)) == ("-", "-")
    assert (fixed(0.0), percent(0.0)) == ("0.00", "0.00%")


def test_numbers() -> None:
    assert fixed(Decimal("1234567.891")) == "1,234,567.89"
    assert fixed(0.5, 4) == "0.5000"
    assert percent(-0.1234, 1) == "-12.3%"
    assert [price(value) for value in ("60123.456", 0.0001234, Decimal(-1500))] == ["60,123.46", "0.0001234", "-1,500.00"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3, "3 s ago"), (119.4, "119 s ago"), (600, "10 min ago"), (7200, "2 h ago"), (67_357_680, "780 days ago")],
)
def test_an_age_is_told_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert age(seconds) == said


@pytest.mark.parametrize(
    ("label", "generated", "said"),
    [
        ("files in candles", False, "files in candles"),
        ("GENERATED market (seed 7)", True, "GENERATED market (seed 7), not real prices"),
        ("seed 7", True, "GENERATED market, not real prices: seed 7"),
    ],
)
def test_made_up_prices_are_called_so_once(label: str, generated: bool, said: str) -> None:
    assert market_text(label, generated) == said
