"""The lineage of a decision: its fills, what they cost, and which trades it had a part in."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.asset import Asset
from shared.domain.decision import Action, Approval, Decision, Vote
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderRecord, OrderState, Side
from shared.domain.records import FundingPayment, RegimeState, Trade
from shared.domain.regime import Regime, RegimeProbabilities
from shared.trading.explain import History, explain, slippage_bps
from shared.trading.explanation import Role

START_MS = 1_751_328_000_000
ASSET = Asset("binanceusdm", "BTCUSDT")
DECISION = Decision(
    id="d-1",
    book="b",
    asset=ASSET,
    interval=Interval.H1,
    bar_close_ms=START_MS,
    params_version="p-1",
    code_version="0.1.0",
    data_hash="c-1",
    window_start_ms=START_MS - 500 * Interval.H1.ms,
    regime_model_id="m-1",
    probabilities=RegimeProbabilities(0.7, 0.2, 0.1),
    regime=Regime.CALM,
    alphas={"momentum": 0.3},
    votes=(Vote("trend_hunter", 0.8, True, 1.0, "ADX 31"),),
    score=0.8,
    price=100.0,
    target_fraction=0.5,
    approved_fraction=0.4,
    action=Action.OPEN,
    stop_price=95.0,
    features={"close": 100.0},
    reasons=("the trend holds",),
    approvals=(Approval("asset exposure", False, "cut"),),
    order_ids=("o-market", "o-stop"),
)
TRADE = Trade(
    id="t-1",
    book="b",
    symbol="BTCUSDT",
    side="long",
    quantity=Decimal(2),
    entry_price=Decimal("100.1"),
    exit_price=Decimal(110),
    opened_ms=START_MS,
    closed_ms=START_MS + 10_000,
    profit=Decimal("19.5"),
    fees=Decimal("0.3"),
    open_decision_id="d-1",
    close_decision_id="d-9",
)


def order(leg: str = "market", **changes: object) -> OrderRecord:
    """An order of the decision: the entry, or its stop at 95."""
    kind = OrderKind.STOP if leg == "stop" else OrderKind.MARKET
    intent = OrderIntent(
        client_id=f"o-{leg}",
        book="b",
        decision_id="d-1",
        leg=leg,
        symbol="BTCUSDT",
        side=Side.SELL if leg == "stop" else Side.BUY,
        kind=kind,
        quantity=Decimal(2),
        created_ms=START_MS,
        stop_price=Decimal(95) if leg == "stop" else None,
        reduce_only=leg == "stop",
    )
    return OrderRecord(replace(intent, **changes), OrderState.FILLED, filled=Decimal(2), venue_id="7")  # type: ignore[arg-type]


def fill(number: int, quantity: str, price: str = "100", seconds: int = 0) -> Fill:
    """A fill of the signed `quantity`."""
    size = Decimal(quantity)
    return Fill(
        symbol="BTCUSDT",
        trade_id=str(number),
        client_id=None,
        venue_order_id="7",
        side=Side.of(size),
        quantity=abs(size),
        price=Decimal(price),
        fee=Decimal("0.1"),
        time_ms=START_MS + seconds * 1000,
    )


def test_a_market_leg_is_measured_against_the_decided_close_and_a_stop_against_its_stop_price() -> None:
    filled = {"o-market": [fill(1, "2", "100.1")], "o-stop": [fill(2, "-2", "94.905", 60)]}
    found = explain(DECISION, History(orders=(order(), order("stop")), fills_by_order=filled))
    entry, stop = (explained.fills[0] for explained in found.orders)
    assert (entry.reference, entry.reference_price) == ("decision price", 100.0)
    assert entry.slippage_bps == pytest.approx(10.0)  # bought 0.1 % above 100
    assert (stop.reference, stop.reference_price) == ("stop price", 95.0)
    assert stop.slippage_bps == pytest.approx(10.0)  # sold 0.1 % below 95


@given(price=st.decimals("0.01", "100000", places=2), reference=st.floats(0.01, 100_000), size=st.sampled_from(["1", "-1"]))
def test_a_purchase_above_and_a_sale_below_the_reference_are_costs(price: Decimal, reference: float, size: str) -> None:
    cost = slippage_bps(fill(1, size, str(price)), reference)
    assert (cost > 0) == ((float(price) - reference) * int(size) > 0) or abs(cost) < 1e-6


@pytest.mark.parametrize(
    ("opened_by", "closed_by", "seconds", "role"),
    [
        ("d-1", "d-9", 0, Role.OPENED),
        ("d-0", "d-1", 10, Role.CLOSED),
        ("d-1", "d-1", 0, Role.OPENED_AND_CLOSED),
        ("d-0", "d-9", 5, Role.RESIZED),
        ("d-0", "d-9", 20, None),
        ("d-0", None, 20, None),
    ],
)
def test_a_round_trip_says_what_the_decision_did_to_it(
    opened_by: str, closed_by: str | None, seconds: int, role: Role | None
) -> None:
    trade = replace(TRADE, open_decision_id=opened_by, close_decision_id=closed_by)
    history = History(orders=(order(),), fills_by_order={"o-market": [fill(1, "2", seconds=seconds)]}, trades=(trade,))
    assert [trip.role for trip in explain(DECISION, history).round_trips] == ([] if role is None else [role])


def test_trades_of_another_symbol_or_book_are_left_out() -> None:
    others = (replace(TRADE, symbol="ETHUSDT"), replace(TRADE, book="other"))
    assert explain(DECISION, History(trades=others)).round_trips == ()


def test_funding_counts_while_the_trade_is_open() -> None:
    payments = [
        FundingPayment(str(seconds), symbol, Decimal(amount), START_MS + seconds * 1000)
        for seconds, symbol, amount in [
            (0, "BTCUSDT", "8"),
            (1, "BTCUSDT", "-0.5"),
            (10, "BTCUSDT", "-0.25"),
            (11, "BTCUSDT", "4"),
            (5, "ETHUSDT", "2"),
        ]
    ]
    found = explain(DECISION, History(trades=(TRADE,), funding=payments))
    assert found.round_trips[0].funding == Decimal("-0.75")


@pytest.mark.parametrize(
    ("later", "quantity", "opened_s"),
    [
        ([], "2", 0),
        ([fill(2, "1", "130", 60)], "3", 0),
        ([fill(2, "-2", "130", 60)], None, None),
        ([fill(2, "-2", "130", 60), fill(3, "1", "130", 90)], None, None),
        ([fill(2, "-3", "130", 60)], None, None),
    ],
    ids=["held", "increased", "closed", "closed, then opened anew", "turned"],
)
def test_a_trade_that_lasts_is_shown_to_the_decisions_that_made_it(
    later: list[Fill], quantity: str | None, opened_s: int | None
) -> None:
    mine = fill(1, "2")
    found = explain(
        DECISION, History(orders=(order(),), fills_by_order={"o-market": [mine]}, symbol_fills=[mine, *later])
    ).open_trip
    if quantity is None or opened_s is None:
        assert found is None
    else:
        assert found is not None
        assert (found.position.quantity, found.opened_ms) == (Decimal(quantity), START_MS + opened_s * 1000)


def test_a_fill_that_turns_the_position_belongs_to_the_trade_that_it_opens() -> None:
    turn = fill(2, "-3", "120", 60)
    history = History(orders=(order(),), fills_by_order={"o-market": [turn]}, symbol_fills=[fill(1, "2"), turn])
    found = explain(DECISION, history).open_trip
    assert found is not None
    assert (found.position.quantity, found.position.entry_price) == (Decimal(-1), Decimal(120))
    assert found.opened_ms == turn.time_ms


def test_an_order_of_another_decision_is_refused() -> None:
    with pytest.raises(MalformedData, match="o-market belong to another decision than d-1"):
        explain(DECISION, History(orders=(order(decision_id="d-2"),)))


def test_the_plain_form_goes_from_candles_to_profit() -> None:
    state = RegimeState(ASSET, START_MS, DECISION.probabilities, Regime.CALM, "m-1", (0.6, 0.3, 0.1), 9, 2)
    history = History(
        orders=(order(),), fills_by_order={"o-market": [fill(1, "2", "100.1")]}, trades=(TRADE,), regime_state=state
    )
    plain = explain(DECISION, history).as_dict()
    assert plain["window"]["data_hash"] == "c-1"
    assert plain["window"]["start"] == "2025-06-10 04:00"
    assert plain["features"] == {"close": 100.0}
    assert plain["regime"] == {
        "held": "calm",
        "probabilities": {"calm": 0.7, "balanced": 0.2, "stress": 0.1},
        "model_id": "m-1",
        "smoothed": [0.6, 0.3, 0.1],
        "stress_bars": 2,
    }
    assert plain["votes"] == [{"agent": "trend_hunter", "score": 0.8, "active": True, "weight": 1.0, "reason": "ADX 31"}]
    assert plain["target"]["approved_fraction"] == 0.4
    assert plain["approvals"] == [{"rule": "asset exposure", "passed": False, "detail": "cut"}]
    assert plain["orders"][0]["fills"][0]["fee"] == "0.1"
    assert plain["round_trips"][0]["profit"] == "19.5"
    assert plain["open_trip"] is None
    assert json.loads(json.dumps(plain)) == plain
