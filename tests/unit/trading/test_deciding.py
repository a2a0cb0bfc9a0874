"""One decision from an analysis and the book around it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision, Vote
from shared.domain.ids import book_tag, decision_id
from shared.domain.interval import Interval, parse_date_ms
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderKind
from shared.domain.records import Halt, HaltKind
from shared.domain.regime import Regime, RegimeProbabilities
from shared.trading.analysis import Analysis, remembered
from shared.trading.deciding import BookView, decide, exit_only
from shared.trading.params import SystemParams

PARAMS = SystemParams()
CLOSE_MS = parse_date_ms("2025-07-01")
RULES = SymbolRules("BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(5))
LATCH = Halt("b", "max drawdown", 0, None, kind=HaltKind.DRAWDOWN)
PAUSE = Halt("b", "drawdown", 0, CLOSE_MS + 3_600_000)

ANALYSIS = Analysis(
    asset=Asset("binanceusdm", "BTCUSDT"),
    interval=Interval.H1,
    bar_close_ms=CLOSE_MS,
    window_start_ms=CLOSE_MS - 1000 * Interval.H1.ms,
    data_hash="c-1",
    model_id="m-1",
    probabilities=RegimeProbabilities(0.1, 0.8, 0.1),
    regime=Regime.BALANCED,
    strategy=PARAMS.strategies[Regime.BALANCED],
    features={"close": 100.0},
    alphas={"momentum": 0.5},
    votes=(Vote("trend_hunter", 0.9, True, 1.0, "up"),),
    score=0.9,
    price=100.0,
    volatility=0.005,
    atr_fraction=0.01,
    frozen=False,
    notes=("momentum: up",),
    memory=remembered(None),
)
VIEW = BookView(
    book="b",
    equity=Decimal(10_000),
    held=Decimal(0),
    protected=False,
    others_gross=0.0,
    kelly_cap=2.0,
    halts=(),
    rules=RULES,
    now_ms=CLOSE_MS + 1000,
    code_version="0",
)
LONG = replace(VIEW, held=Decimal(20), protected=True)


def decided(view: BookView = VIEW, **analysis: Any) -> tuple[Decision, tuple[OrderIntent, ...]]:
    return decide(replace(ANALYSIS, **analysis), view, PARAMS)


def test_a_strong_consensus_opens_a_position_with_its_protective_stop() -> None:
    decision, (market, stop) = decided()
    assert decision.action is Action.OPEN
    assert decision.target_fraction == decision.approved_fraction > 0
    assert (market.kind, stop.kind, stop.reduce_only) == (OrderKind.MARKET, OrderKind.STOP, True)
    assert stop.quantity == market.quantity
    assert decision.stop_price == float(stop.stop_price or 0) < decision.price
    assert decision.order_ids == (market.client_id, stop.client_id)


def test_what_a_bad_day_may_cost_bounds_the_position() -> None:
    decision, (market, _) = decided(exposure_cap=0.05)
    assert decision.target_fraction > decision.approved_fraction == 0.05
    assert market.quantity * Decimal(100) == Decimal(500)
    assert [approval.rule for approval in decision.approvals if not approval.passed] == ["value at risk"]


@pytest.mark.parametrize(("net", "room"), [(1.6, 0.5 / 0.3 - 1.6), (1.7, 0.0)])
def test_what_a_shock_may_cost_bounds_the_position_by_what_the_others_hold(net: float, room: float) -> None:
    decision, _ = decided(replace(VIEW, others_net=net))
    assert decision.approved_fraction == pytest.approx(room)
    assert [approval.rule for approval in decision.approvals if not approval.passed] == ["stress loss"]


def test_a_short_is_the_mirror_of_a_long() -> None:
    (long, long_orders), (short, short_orders) = decided(), decided(score=-0.9)
    assert short.approved_fraction == -long.approved_fraction
    assert [order.quantity for order in short_orders] == [order.quantity for order in long_orders]
    assert [order.side.sign for order in short_orders] == [-order.side.sign for order in long_orders]


def test_no_opinion_orders_nothing_and_is_recorded() -> None:
    decision, intents = decided(score=0.0)
    assert (decision.action, intents, decision.order_ids) == (Action.HOLD, (), ())
    assert "undecided" in decision.reasons[0]


def test_ids_are_the_same_in_every_process() -> None:
    first, again = decided(), decided()
    assert first == again
    decision, intents = first
    assert decision.id == decision_id("b", ANALYSIS.asset, CLOSE_MS, PARAMS.version)
    assert all(intent.client_id.startswith(book_tag("b")) and intent.decision_id == decision.id for intent in intents)
    other = decided(replace(VIEW, book="another"))[0]
    assert other.id != decision.id
    assert set(other.order_ids).isdisjoint(decision.order_ids)
    assert decided(bar_close_ms=CLOSE_MS + Interval.H1.ms)[0].id != decision.id


def test_the_decision_keeps_its_whole_lineage() -> None:
    decision, _ = decided()
    for name in ("asset", "interval", "bar_close_ms", "window_start_ms", "data_hash", "probabilities", "regime", "votes"):
        assert getattr(decision, name) == getattr(ANALYSIS, name)
    assert (decision.regime_model_id, decision.params_version, decision.code_version) == ("m-1", PARAMS.version, "0")
    assert len(decision.approvals) == 7
    assert decision.reasons[-1] == "momentum: up"


def test_a_latched_book_is_closed_whatever_the_agents_say() -> None:
    decision, (market,) = decided(replace(LONG, halts=(LATCH,)))
    assert decision.action is Action.CLOSE
    assert market.quantity * market.side.sign == -20
    assert decision.reasons[0] == "the position is closed: the book is latched: max drawdown"
    assert decided(replace(VIEW, halts=(LATCH,)))[1] == ()


def test_a_position_without_its_stop_is_closed() -> None:
    decision, (market,) = decided(replace(LONG, protected=False))
    assert decision.action is Action.CLOSE
    assert market.quantity == 20
    assert "no protective stop rests at the venue" in decision.reasons[0]


@pytest.mark.parametrize("halt", [PAUSE, replace(PAUSE, symbol="BTCUSDT"), replace(LATCH, symbol="BTCUSDT")])
def test_a_halt_lets_exits_through_and_no_entry(halt: Halt) -> None:
    entry, nothing = decided(replace(VIEW, halts=(halt,)))
    assert (entry.action, nothing, entry.approved_fraction) == (Action.HOLD, (), 0.0)
    assert entry.target_fraction > 0
    assert "risk control allows +0.00" in entry.reasons
    out, (market,) = decided(replace(LONG, halts=(halt,)), score=0.0)
    assert (out.action, market.quantity) == (Action.CLOSE, Decimal(20))
    turned, (closing,) = decided(replace(LONG, halts=(halt,)), score=-0.9)
    assert (turned.action, closing.quantity) == (Action.CLOSE, Decimal(20))


def test_a_bar_that_is_too_old_is_recorded_and_not_traded_in_either_direction() -> None:
    late = CLOSE_MS + round(PARAMS.max_decision_age * Interval.H1.ms) + 1
    for view, score in ((VIEW, 0.9), (LONG, 0.0), (LONG, -0.9)):
        decision, intents = decided(replace(view, now_ms=late), score=score)
        assert (decision.action, intents, decision.stop_price) == (Action.HOLD, (), None)
        assert [approval.rule for approval in decision.approvals if not approval.passed] == ["fresh"]
    assert decided(replace(VIEW, now_ms=late - 1))[1] != ()


@pytest.mark.parametrize("view", [VIEW, replace(VIEW, rules=replace(RULES, trading=False))])
def test_a_frozen_or_halted_market_is_not_entered(view: BookView) -> None:
    decision, intents = decided(view, frozen=view is VIEW)
    assert intents == ()
    assert [approval.rule for approval in decision.approvals if not approval.passed] == ["symbol trades"]


def test_full_books_leave_no_room() -> None:
    decision, intents = decided(replace(VIEW, others_gross=PARAMS.risk.max_total_exposure))
    assert (decision.approved_fraction, intents) == (0.0, ())


def test_unknown_volatility_opens_nothing() -> None:
    assert decided(volatility=np.nan)[1] == ()
    assert decided(atr_fraction=np.nan)[1] == ()


def test_equity_that_is_gone_still_lets_the_position_out() -> None:
    decision, intents = decide(ANALYSIS, replace(VIEW, equity=Decimal(-5), held=Decimal(10), halts=(LATCH,)), PARAMS)
    assert decision.action is Action.CLOSE
    assert [(intent.side, intent.quantity) for intent in intents] == [("sell", Decimal(10))]


def test_equity_that_is_gone_opens_nothing() -> None:
    assert decided(replace(VIEW, equity=Decimal(0)))[1] == ()
    assert decided(replace(VIEW, equity=Decimal(-5)))[1] == ()


@given(
    score=st.floats(-1, 1),
    held=st.decimals(-150, 150, places=3),
    halted=st.booleans(),
    protected=st.booleans(),
    others=st.floats(0, 3),
    stress=st.floats(0, 1),
)
def test_what_is_ordered_reaches_the_approved_size_and_stays_within_the_limits(
    score: float, held: Decimal, halted: bool, protected: bool, others: float, stress: float
) -> None:
    halts = (PAUSE,) if halted else ()
    view = replace(VIEW, held=held, protected=protected, others_gross=others, halts=halts)
    decision, intents = decided(view, score=score, probabilities=RegimeProbabilities(0.0, 1.0 - stress, stress))
    final = held + sum((i.quantity * i.side.sign for i in intents if i.kind is OrderKind.MARKET), Decimal(0))
    fraction = float(final) * ANALYSIS.price / float(view.equity)
    held_fraction = float(held) * ANALYSIS.price / float(view.equity)
    allowed = max(PARAMS.risk.max_asset_exposure, abs(held_fraction))
    assert abs(fraction) <= allowed + 1e-9
    if halted:
        assert abs(fraction) <= abs(held_fraction) + 1e-9
    if intents:
        assert fraction == pytest.approx(decision.approved_fraction, abs=0.001 * ANALYSIS.price / 10_000 + 1e-9)
        assert (final == 0) == (len(intents) == 1)


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (replace(LONG, halts=(LATCH,)), "the book is latched: max drawdown"),
        (replace(LONG, protected=False), "no protective stop rests at the venue"),
    ],
)
def test_an_asset_that_cannot_be_analysed_may_still_leave(view: BookView, why: str) -> None:
    bar = (ANALYSIS.asset, ANALYSIS.interval, CLOSE_MS)
    made = exit_only(*bar, 100.0, view, PARAMS, "no new bar")
    assert made is not None
    decision, (market,) = made
    assert decision.id == decision_id("b", ANALYSIS.asset, CLOSE_MS, PARAMS.version)
    assert (decision.action, market.reduce_only, market.quantity) == (Action.CLOSE, True, Decimal(20))
    assert decision.reasons == (f"the position is closed: {why}", "not analysed: no new bar")
    assert decision.order_ids == (market.client_id,)


@pytest.mark.parametrize(
    ("view", "price"),
    [(LONG, 100.0), (VIEW, 100.0), (replace(VIEW, halts=(LATCH,)), 100.0), (replace(LONG, halts=(LATCH,)), 0.0)],
    ids=["protected", "flat", "latched and flat", "no price"],
)
def test_an_asset_that_cannot_be_analysed_otherwise_stays_as_it_is(view: BookView, price: float) -> None:
    assert exit_only(ANALYSIS.asset, ANALYSIS.interval, CLOSE_MS, price, view, PARAMS, "no new bar") is None


def test_a_book_whose_symbol_is_frozen_for_a_person_is_not_closed() -> None:
    frozen = Halt("b", "the wallet differs", 0, None, kind=HaltKind.FROZEN)
    decision, intents = decided(replace(LONG, halts=(frozen,)))
    assert decision.action is not Action.CLOSE
    assert not any(intent.side.sign > 0 for intent in intents)


def test_without_trust_in_the_data_nothing_is_opened_and_everything_may_be_left() -> None:
    held_back = {"held_back": "user stream: lost"}
    opening, intents = decided(replace(VIEW, **held_back))
    assert (opening.action, intents) == (Action.HOLD, ())
    assert [approval.detail for approval in opening.approvals if not approval.passed] == ["user stream: lost"]
    leaving, (market,) = decided(replace(LONG, **held_back), score=0.0)
    assert (leaving.action, market.reduce_only) == (Action.CLOSE, True)


DELISTED = replace(RULES, delivery_ms=CLOSE_MS + 48 * Interval.H1.ms)


def test_nothing_is_opened_in_a_contract_that_is_about_to_end() -> None:
    decision, intents = decided(replace(VIEW, rules=DELISTED))
    assert (decision.action, intents) == (Action.HOLD, ())
    earlier = replace(RULES, delivery_ms=CLOSE_MS + 49 * Interval.H1.ms)
    assert decided(replace(VIEW, rules=earlier))[0].action is Action.OPEN


def test_a_position_in_a_contract_that_is_about_to_end_is_closed_and_the_reason_named() -> None:
    decision, (market,) = decided(replace(LONG, rules=DELISTED))
    assert (decision.action, market.reduce_only) == (Action.CLOSE, True)
    assert "the venue ends the contract at 2025-" in decision.reasons[0]
