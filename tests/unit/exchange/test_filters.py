"""Refusals of the paper exchange carry the venue's real codes and texts."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from cloudrun.exchange.filters import order_request
from cloudrun.exchange.refusal import Refusal
from shared.backtest.venue_rules import symbol_spec

PAYLOADS = Path(__file__).resolve().parents[4] / "shared" / "data" / "binance_payloads"
LAST = Decimal(100_000)
GOOD = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.002", "price": "60000.1"}


def refusal_of(**changes: str | None) -> Refusal:
    parameters = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(Refusal) as caught:
        order_request(parameters, symbol_spec("BTCUSDT", 60_000), LAST)
    return caught.value


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"side": None}, -1102),
        ({"side": "HOLD"}, -1117),
        ({"type": None}, -1102),
        ({"type": "STOP_MARKET"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"type": "ICEBERG"}, -1116),
        ({"timeInForce": None}, -1102),
        ({"timeInForce": "DAY"}, -1115),
        ({"quantity": None}, -1102),
        ({"quantity": "NaN"}, -1102),
        ({"quantity": "many"}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "-1"}, -4003),
        ({"quantity": "0.0021"}, -1111),
        ({"quantity": "1001"}, -4005),
        ({"price": "60000.11"}, -1111),
        ({"price": "-1"}, -4001),
        ({"price": "20000"}, -4164),
        ({"positionSide": "LONG"}, -4061),
        ({"newClientOrderId": "no spaces"}, -4015),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"reduceOnly": "maybe"}, -1130),
    ],
)
def test_a_bad_parameter_is_refused_with_its_code(changes, code):
    assert refusal_of(**changes).code == code


def test_a_price_between_two_ticks_of_the_same_precision_is_minus_4014():
    parameters = {**GOOD, "symbol": "XUSDT", "price": "100.03", "quantity": "1"}
    spec = symbol_spec("SOLUSDT", 100)
    coarse = type(spec)(
        spec.symbol, "X", "USDT", Decimal("0.05"), spec.step, spec.max_quantity, spec.min_notional, spec.brackets
    )
    with pytest.raises(Refusal) as caught:
        order_request(parameters, coarse, Decimal(100))
    assert caught.value.code == -4014


def test_the_minimum_notional_does_not_bind_a_reduction():
    parameters = {**GOOD, "type": "MARKET", "quantity": "0.001", "reduceOnly": "true"}
    assert order_request(parameters, symbol_spec("BTCUSDT", 60_000), Decimal(50)).reduce_only


def test_texts_are_those_that_were_recorded_from_the_venue():
    if not PAYLOADS.is_dir():
        pytest.skip("the recorded payloads are not beside the repository")
    rows = json.loads((PAYLOADS / "errors.json").read_text())["errors"]
    recorded = {(row["body"]["code"], row["body"]["msg"]) for row in rows}
    for error in (refusal_of(quantity="0.0021"), refusal_of(price="20000"), refusal_of(quantity="0")):
        assert (error.code, str(error)) in recorded


def test_maintenance_margin_is_continuous_at_every_tier():
    for symbol in ("BTCUSDT", "SOLUSDT", "UNHEARDUSDT"):
        spec = symbol_spec(symbol, 7.0)
        for lower, upper in zip(spec.brackets, spec.brackets[1:], strict=False):
            assert lower.cap == upper.floor
            assert lower.cap * lower.ratio - lower.cum == upper.floor * upper.ratio - upper.cum


def test_known_tiers_equal_the_published_cumulative_amounts():
    # recorded leverage brackets of BTCUSDT: cum 0, 50, 950, 11450, 131450 …
    assert [int(tier.cum) for tier in symbol_spec("BTCUSDT", 1).brackets[:5]] == [0, 50, 950, 11450, 131450]


@pytest.mark.parametrize("price", [0.00001234, 0.5, 7.0, 1234.5, 98765.4])
def test_an_unlisted_symbol_gets_a_grid_that_fits_its_price(price):
    spec = symbol_spec("UNHEARDUSDT", price)
    assert (spec.base, spec.quote) == ("UNHEARD", "USDT")
    assert Decimal("1e-8") <= spec.tick <= Decimal(price) / 100
    assert spec.step * Decimal(price) <= 10
