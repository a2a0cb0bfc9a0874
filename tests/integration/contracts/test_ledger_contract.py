"""What every ledger does, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.asset import Asset
from shared.domain.errors import LeaseLost, LedgerError, MalformedData, UsageError
from shared.domain.events import EventKind, failed, halted, regime_changed, trade_executed
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import OrderKind, OrderRecord, OrderReport, OrderState, Position
from shared.domain.records import (
    Arrival,
    EmergencyRecord,
    EquityPoint,
    FundingPayment,
    Halt,
    HaltKind,
    Heartbeat,
    Lease,
    RegimeState,
    Trade,
    UnitReturns,
    next_peak,
)
from shared.domain.regime import Regime, RegimeProbabilities
from shared.ports import BookState, Committed, Ledger

BTC = Asset("binanceusdm", "BTCUSDT")
ETH = Asset("binanceusdm", "ETHUSDT")


@pytest.fixture
def lease(ledger: Ledger) -> Lease:
    taken = ledger.acquire_lease("b", "me", 60_000, 0)
    assert taken is not None
    return taken


def take_over(ledger: Ledger, lease: Lease) -> None:
    """The lease runs out, and another process takes it."""
    ledger.acquire_lease(lease.book, lease.holder, 0, 1)
    assert ledger.acquire_lease(lease.book, "other", 60_000, 2) is not None


class TestLease:
    def test_the_first_one_gets_it_and_others_wait_until_it_expires(self, ledger: Ledger) -> None:
        assert ledger.acquire_lease("b", "one", 60_000, 5) == Lease("b", "one", 1, 60_005)
        assert ledger.acquire_lease("b", "two", 1000, 6) is None
        assert ledger.acquire_lease("b", "one", 0, 7) == Lease("b", "one", 1, 7)  # which runs out at once
        assert ledger.acquire_lease("b", "two", 60_000, 8) == Lease("b", "two", 2, 60_008)
        assert ledger.acquire_lease("b", "one", 1000, 9) is None

    def test_renewing_keeps_the_token_even_of_one_that_has_run_out(self, ledger: Ledger) -> None:
        ledger.acquire_lease("b", "one", 1000, 0)
        assert ledger.acquire_lease("b", "one", 0, 500) == Lease("b", "one", 1, 500)
        assert ledger.acquire_lease("b", "one", 1000, 9000) == Lease("b", "one", 1, 10_000)

    def test_each_book_has_its_own(self, ledger: Ledger) -> None:
        ledger.acquire_lease("b", "one", 1000, 0)
        assert ledger.acquire_lease("c", "two", 1000, 0) == Lease("c", "two", 1, 1000)

    def test_a_released_lease_is_free_at_once_and_its_token_never_comes_back(self, ledger: Ledger) -> None:
        first = ledger.acquire_lease("b", "one", 60_000, 0)
        assert first is not None
        ledger.release_lease(first)
        assert ledger.acquire_lease("b", "one", 1000, 1) == Lease("b", "one", 2, 1001)

    def test_releasing_a_lost_lease_is_silent_and_does_not_harm_the_new_holder(self, ledger: Ledger) -> None:
        lost = ledger.acquire_lease("b", "one", 0, 0)
        assert lost is not None
        ledger.acquire_lease("b", "two", 60_000, 1)
        ledger.release_lease(lost)
        assert ledger.acquire_lease("b", "one", 1000, 2) is None

    def test_a_lease_is_renewed_for_as_long_as_nobody_else_has_taken_it(self, ledger: Ledger) -> None:
        mine = ledger.acquire_lease("b", "one", 0, 0)  # has run out
        assert mine is not None
        assert ledger.renew_lease(mine, 0, 5) == Lease("b", "one", 1, 5)
        other = ledger.acquire_lease("b", "two", 60_000, 6)
        assert other is not None
        assert ledger.renew_lease(mine, 60_000, 7) is None
        assert ledger.renew_lease(other, 60_000, 7) == Lease("b", "two", 2, 60_007)
        assert ledger.acquire_lease("b", "three", 1000, 8) is None

    def test_a_lost_lease_that_is_free_again_is_not_taken_by_renewing_it(self, ledger: Ledger) -> None:
        mine = ledger.acquire_lease("b", "one", 60_000, 0)
        assert mine is not None
        ledger.release_lease(mine)
        assert ledger.renew_lease(mine, 60_000, 1) is None
        again = ledger.acquire_lease("b", "one", 60_000, 2)
        assert again == Lease("b", "one", 2, 60_002)
        assert ledger.renew_lease(mine, 60_000, 3) is None


class TestDecisions:
    def test_a_decision_comes_back_as_it_was(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision = make.decision(order_ids=("x", "y"))
        assert ledger.commit_decision(decision, [], lease)
        assert ledger.decision(decision.id) == decision

    def test_undefined_features_come_back_as_nan(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision = make.decision(features={"rsi": math.nan, "adx": math.inf, "close": 1.0})
        ledger.commit_decision(decision, [], lease)
        found = ledger.decision(decision.id)
        assert found is not None
        assert math.isnan(found.features["rsi"])
        assert found.features["adx"] == math.inf

    def test_the_same_bar_is_decided_once(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision = make.decision()
        assert ledger.commit_decision(decision, [make.intent(decision)], lease)
        again = replace(decision, score=-1.0)
        assert not ledger.commit_decision(again, [make.intent(decision, "stop")], lease)
        assert ledger.decision(decision.id) == decision
        assert [record.intent.leg for record in ledger.orders("b")] == ["market"]

    def test_who_lost_the_lease_commits_nothing(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        take_over(ledger, lease)
        decision = make.decision()
        with pytest.raises(LeaseLost, match="other with token 2"):
            ledger.commit_decision(decision, [make.intent(decision)], lease)
        assert ledger.decision(decision.id) is None
        assert ledger.orders("b") == []

    def test_a_released_or_invented_lease_commits_nothing(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        with pytest.raises(LeaseLost):
            ledger.commit_decision(make.decision(), [], replace(lease, token=99))
        ledger.release_lease(lease)
        with pytest.raises(LeaseLost, match="nobody"):
            ledger.commit_decision(make.decision(), [], lease)

    def test_intents_of_another_decision_are_refused(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        with pytest.raises(UsageError, match="another"):
            ledger.commit_decision(make.decision(0), [make.intent(make.decision(1))], lease)
        with pytest.raises(UsageError, match="lease of book c"):
            ledger.commit_decision(make.decision(0), [], replace(lease, book="c"))

    def test_a_failing_intent_takes_the_decision_back(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision = make.decision()
        intent = make.intent(decision)
        with pytest.raises(LedgerError, match="refuses a row"):
            ledger.commit_decision(decision, [intent, intent], lease)
        assert ledger.decision(decision.id) is None

    def test_the_equity_that_it_was_sized_with_is_stored_with_it_or_not_at_all(
        self, ledger: Ledger, lease: Lease, make: Any
    ) -> None:
        point = EquityPoint(make.start_ms, Decimal(1000), Decimal(1000), Decimal(1000))
        decision, other = make.decision(), make.decision(1)
        with pytest.raises(LeaseLost):
            ledger.commit_decision(decision, [], replace(lease, token=9), point)
        with pytest.raises(LedgerError, match="refuses a row"):
            ledger.commit_decision(decision, [make.intent(decision)] * 2, lease, point)
        assert ledger.equity("b") == []
        assert ledger.commit_decision(decision, [make.intent(decision)], lease, point)
        assert ledger.commit_decision(other, [], lease)
        assert ledger.equity("b") == [point]

    def test_a_commit_tells_the_halts_that_are_in_force_by_then(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision, other = make.decision(), make.decision(1)
        at_ms = decision.decided_ms
        assert ledger.commit_decision(other, [make.intent(other)], lease).halts == ()
        standing = [Halt("b", "x", 1, None, "BTCUSDT"), Halt("b", "y", 2, at_ms + 1, kind=HaltKind.PAUSE)]
        for halt in (*standing, Halt("b", "over", 3, at_ms), Halt("c", "elsewhere", 1, None)):
            ledger.set_halt(halt)
        committed = ledger.commit_decision(decision, [make.intent(decision)], lease)
        assert committed.is_new
        assert list(committed.halts) == standing == ledger.halts("b", at_ms)
        assert ledger.commit_decision(decision, [], lease) == Committed(is_new=False)

    def test_a_unique_prefix_is_enough(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        first, second = make.decision(0, id="d-abcd"), make.decision(1, id="d-abce")
        for decision in (first, second):
            ledger.commit_decision(decision, [], lease)
        assert ledger.decision("d-abcd") == first
        assert ledger.decision("d-abce") == second
        assert ledger.decision("d-x") is None
        assert ledger.decision("d_ab") is None
        with pytest.raises(UsageError, match="d-abcd d-abce"):
            ledger.decision("d-ab")
        with pytest.raises(UsageError, match="empty"):
            ledger.decision("")

    def test_lists_are_ordered_and_can_be_narrowed(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        made = [make.decision(bar, asset=asset) for bar in (2, 0, 1) for asset in (ETH, BTC)]
        for decision in made:
            ledger.commit_decision(decision, [], lease)
        found = ledger.decisions("b")
        assert [(d.bar_close_ms, d.asset.symbol) for d in found] == sorted((d.bar_close_ms, d.asset.symbol) for d in made)
        assert ledger.decisions("b", limit=2) == found[-2:]
        assert ledger.decisions("b", symbol="ETHUSDT", limit=2) == [d for d in found if d.asset == ETH][-2:]
        assert ledger.decisions("b", since_ms=make.start_ms + HOUR_MS) == found[2:]
        assert ledger.decisions("c") == []

    def test_the_origin_of_a_position_is_the_newest_decision_with_a_stop_that_was_filled(
        self, ledger: Ledger, lease: Lease, make: Any
    ) -> None:
        below, above = {"stop_price": make.decision().price * 0.9}, {"stop_price": make.decision().price * 1.1}
        made = {
            "long": make.decision(0, **below),
            "short": make.decision(1, **above),
            "partly": make.decision(2, **below),
            "never filled": make.decision(3, **below),
            "its stop only": make.decision(4, **below),
            "held": make.decision(5, stop_price=None),
            "elsewhere": make.decision(6, **below, asset=ETH),
        }
        filled = {"long": "0.5", "short": "0.5", "partly": "0.001", "never filled": "0.000", "held": "0.5", "elsewhere": "0.5"}
        assert ledger.origin("b", "BTCUSDT", is_long=True) is None
        for name, decision in made.items():
            intent = make.intent(decision, symbol=decision.asset.symbol)
            stop = make.intent(decision, "stop", symbol=decision.asset.symbol, kind=OrderKind.STOP)
            ledger.commit_decision(decision, [intent, stop], lease)
            of, quantity = (intent, filled[name]) if name in filled else (stop, "0.5")
            ledger.advance_order(OrderReport(of.client_id, of.symbol, OrderState.OPEN, Decimal(quantity)))
        assert ledger.origin("b", "BTCUSDT", is_long=True) == made["partly"]
        assert ledger.origin("b", "BTCUSDT", is_long=False) == made["short"]
        assert ledger.origin("b", "ETHUSDT", is_long=True) == made["elsewhere"]
        assert ledger.origin("c", "BTCUSDT", is_long=True) is None


class TestOrders:
    @pytest.fixture
    def order(self, ledger: Ledger, lease: Lease, make: Any) -> OrderRecord:
        decision = make.decision()
        ledger.commit_decision(decision, [make.intent(decision), make.intent(decision, "stop")], lease)
        return ledger.orders("b")[0]

    def test_an_intent_comes_back_as_it_was(self, ledger: Ledger, order: OrderRecord, make: Any) -> None:
        decision = make.decision()
        market, stop = make.intent(decision), make.intent(decision, "stop")
        assert order == OrderRecord(market, OrderState.INTENT)
        assert ledger.order(stop.client_id) == OrderRecord(stop, OrderState.INTENT)
        assert ledger.order("nobody") is None

    def test_states_only_move_forward(self, ledger: Ledger, order: OrderRecord) -> None:
        client_id = order.intent.client_id

        def report(state: OrderState, filled: str, at_ms: int) -> OrderRecord:
            price = Decimal("106000.5") if Decimal(filled) else None
            return ledger.advance_order(OrderReport(client_id, "BTCUSDT", state, Decimal(filled), "77", price, at_ms, "r"))

        assert report(OrderState.UNKNOWN, "0", 1).state is OrderState.UNKNOWN
        assert report(OrderState.OPEN, "0.004", 3).filled == Decimal("0.004")
        late = report(OrderState.UNKNOWN, "0", 2)
        assert (late.state, late.filled, late.updated_ms) == (OrderState.OPEN, Decimal("0.004"), 3)
        done = report(OrderState.FILLED, "0.010", 4)
        assert report(OrderState.CANCELLED, "0.004", 5).state is OrderState.FILLED
        found = ledger.order(client_id)
        assert found is not None
        assert found == replace(done, updated_ms=5)
        assert (found.venue_id, found.average_price) == ("77", Decimal("106000.5"))

    def test_a_report_of_an_unknown_order_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(LedgerError, match="not in the ledger"):
            ledger.advance_order(OrderReport("foreign", "BTCUSDT", OrderState.OPEN, Decimal(0)))

    def test_unfinished_orders_are_those_that_may_still_happen(self, ledger: Ledger, order: OrderRecord) -> None:
        assert len(ledger.orders("b", unfinished=True)) == 2
        ledger.advance_order(OrderReport(order.intent.client_id, "BTCUSDT", OrderState.REJECTED, Decimal(0), reason="-2019"))
        assert [record.intent.leg for record in ledger.orders("b", unfinished=True)] == ["stop"]
        assert [record.state for record in ledger.orders("b")] == [OrderState.REJECTED, OrderState.INTENT]
        assert ledger.orders("c", unfinished=True) == []

    def test_what_the_venue_did_not_say_is_written_by_the_holder_of_the_lease_alone(
        self, ledger: Ledger, lease: Lease, order: OrderRecord
    ) -> None:
        abandoned = OrderReport(order.intent.client_id, "BTCUSDT", OrderState.ABANDONED, Decimal(0), reason="too old")
        take_over(ledger, lease)
        with pytest.raises(LeaseLost, match="other with token 2"):
            ledger.advance_order(abandoned, lease)
        assert ledger.order(order.intent.client_id) == order
        filled = replace(abandoned, state=OrderState.FILLED, filled=order.intent.quantity, reason="")
        assert ledger.advance_order(filled).state is OrderState.FILLED  # the venue's word counts, whoever brings it

    def test_the_holder_of_the_lease_abandons(self, ledger: Ledger, lease: Lease, order: OrderRecord) -> None:
        report = OrderReport(order.intent.client_id, "BTCUSDT", OrderState.ABANDONED, Decimal(0), reason="too old")
        assert ledger.advance_order(report, lease).state is OrderState.ABANDONED

    def test_orders_can_be_asked_by_decision(self, ledger: Ledger, lease: Lease, order: OrderRecord, make: Any) -> None:
        other = make.decision(1)
        ledger.commit_decision(other, [make.intent(other)], lease)
        assert [r.intent.decision_id for r in ledger.orders("b", decision_id=other.id)] == [other.id]
        assert len(ledger.orders("b", decision_id=order.intent.decision_id)) == 2


class TestLaterIntents:
    def test_they_join_their_decision_once(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision = make.decision()
        first, stop = make.intent(decision), make.intent(decision, "stop")
        smaller = make.intent(decision, "stop2", due_ms=5)
        ledger.commit_decision(decision, [first, stop], lease)
        assert ledger.add_intents([smaller], lease) == [smaller]
        assert ledger.add_intents([smaller, stop], lease) == []
        assert [record.intent for record in ledger.orders("b")] == [first, stop, smaller]
        assert ledger.orders("b", unfinished=True)[-1] == OrderRecord(smaller, OrderState.INTENT)
        assert ledger.add_intents([], lease) == []

    def test_without_the_lease_the_book_or_the_decision_nothing_is_stored(
        self, ledger: Ledger, lease: Lease, make: Any
    ) -> None:
        decision = make.decision()
        ledger.commit_decision(decision, [], lease)
        with pytest.raises(LeaseLost):
            ledger.add_intents([make.intent(decision)], replace(lease, token=9))
        with pytest.raises(UsageError, match="book b"):
            ledger.add_intents([make.intent(decision, book="c")], lease)
        with pytest.raises(LedgerError, match="refuses a row"):
            ledger.add_intents([make.intent(decision), make.intent(make.decision(1))], lease)
        assert ledger.orders("b") == []

    def test_the_newest_orders_of_a_symbol_are_told_without_the_others(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        made = []
        for bar, asset in enumerate((BTC, BTC, ETH, BTC)):
            decision = make.decision(bar, asset=asset)
            legs = [make.intent(decision), make.intent(decision, "stop")]
            ledger.commit_decision(decision, legs, lease)
            made += legs if asset == BTC else []
        assert [record.intent for record in ledger.orders("b", symbol="BTCUSDT")] == made
        assert [record.intent for record in ledger.orders("b", symbol="BTCUSDT", limit=3)] == made[-3:]
        assert ledger.orders("b", symbol="XRPUSDT", limit=3) == []

    def test_orders_that_filled_more_than_is_booked_are_told(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision = make.decision()
        legs = ("market", "stop", "half", "unfilled", "none", "thirds")
        intents = {leg: make.intent(decision, leg, quantity=Decimal(3)) for leg in legs}
        ledger.commit_decision(decision, list(intents.values()), lease)
        filled = {"market": "0.30000000001", "stop": "0.2", "half": "0.2", "none": "0.1", "thirds": "0.3"}
        for leg, quantity in filled.items():
            fill_id = "algo-7" if leg == "stop" else None
            one = OrderReport(intents[leg].client_id, "BTCUSDT", OrderState.OPEN, Decimal(quantity), fill_client_id=fill_id)
            ledger.advance_order(one)
        booked = (("market", "0.3"), ("half", "0.1"), ("thirds", "0.1"), ("thirds", "0.1"), ("thirds", "0.1"))
        fills = [make.fill(n, size, client_id=intents[leg].client_id) for n, (leg, size) in enumerate(booked)]
        ledger.add_fills("b", [*fills, make.fill(9, "0.2", client_id="algo-7")])
        assert [record.intent.leg for record in ledger.unbooked_orders("b", "BTCUSDT")] == ["market", "half", "none"]
        assert ledger.unbooked_orders("b", "ETHUSDT") == ledger.unbooked_orders("c", "BTCUSDT") == []


class TestFills:
    def test_fills_make_the_position(self, ledger: Ledger, make: Any) -> None:
        fills = [make.fill(1, "2", "100"), make.fill(2, "2", "110"), make.fill(3, "-1", "120")]
        assert ledger.add_fills("b", fills) == fills
        expected = Position("BTCUSDT", Decimal(3), Decimal(105), Decimal(15), Decimal("0.54"))
        assert ledger.positions("b") == {"BTCUSDT": expected}
        assert ledger.positions("c") == {}

    def test_a_repeated_fill_changes_nothing(self, ledger: Ledger, make: Any) -> None:
        first, second = make.fill(1, "2"), make.fill(2, "1")
        ledger.add_fills("b", [first, first])
        before = ledger.positions("b")
        assert ledger.add_fills("b", [first]) == []
        assert ledger.positions("b") == before
        assert ledger.add_fills("b", [first, second]) == [second]
        assert ledger.fills("b") == [first, second]
        assert ledger.add_fills("b", []) == []

    def test_the_key_is_book_symbol_and_trade_id(self, ledger: Ledger, make: Any) -> None:
        btc, eth = make.fill(1, "2"), make.fill(1, "3", symbol="ETHUSDT")
        assert ledger.add_fills("b", [eth, btc]) == [eth, btc]
        assert ledger.add_fills("c", [btc]) == [btc]
        assert ledger.positions("b")["ETHUSDT"].quantity == 3
        assert ledger.fills("b", symbol="ETHUSDT") == [eth]

    def test_arrival_out_of_order_gives_the_same_position_and_trades(self, ledger: Ledger, make: Any) -> None:
        fills = [make.fill(1, "2", "100"), make.fill(9, "-3", "110"), make.fill(10, "1", "90"), make.fill(11, "1", "95")]
        ledger.add_fills("b", fills)
        for fill in (fills[2], fills[0], fills[3], fills[1]):
            ledger.add_fills("c", [fill])
        assert ledger.positions("c") == ledger.positions("b")
        assert [replace(t, book="b", id="") for t in ledger.trades("c")] == [replace(t, id="") for t in ledger.trades("b")]
        assert ledger.fills("c") == fills

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_order_of_arrival_gives_the_same_to_the_last_digit(
        self, ledger: Ledger, make: Any, data: st.DataObject
    ) -> None:
        """Positions that are flat now and then, so that a late fill is folded from such a moment on."""
        book, steps = (
            f"flat-{uuid.uuid4()}",
            data.draw(st.lists(st.sampled_from(["1", "-1", "3", "-3"]), min_size=2, max_size=12)),
        )
        prices = data.draw(st.lists(st.sampled_from(["100.07", "99.999", "3"]), min_size=len(steps), max_size=len(steps)))
        pace = data.draw(st.sampled_from([1, 2, 5]))  # fills in the same millisecond, too
        fills = [
            make.fill(n, step, price, time_ms=make.start_ms + n // pace, fee=Decimal("0.0123"))
            for n, (step, price) in enumerate(zip(steps, prices, strict=True), start=10)
        ]
        ledger.add_fills(f"{book}-sorted", fills)
        for fill in data.draw(st.permutations(fills)):
            ledger.add_fills(book, [fill])
        assert ledger.positions(book) == ledger.positions(f"{book}-sorted")
        one, other = (
            [repr(replace(trade, book="", id="")) for trade in ledger.trades(name)] for name in (book, f"{book}-sorted")
        )
        assert sorted(one) == sorted(other)

    def test_amounts_are_exact(self, ledger: Ledger, make: Any) -> None:
        tiny = make.fill(1, "0.00000001", "0.000000000123456789", fee=Decimal("-1E-20"))
        huge = make.fill(2, "123456789012345678.123456789", "99999999.99999999")
        ledger.add_fills("b", [tiny, huge])
        assert ledger.fills("b") == [tiny, huge]

    def test_fills_are_found_by_the_id_under_which_the_venue_booked_them(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        decision = make.decision()
        stop = make.intent(decision, "stop")
        ledger.commit_decision(decision, [stop], lease)
        ours, theirs = make.fill(1, "1", client_id="else"), make.fill(2, "-1", client_id="algo-7")
        ledger.add_fills("b", [ours, theirs])
        ledger.advance_order(OrderReport(stop.client_id, "BTCUSDT", OrderState.FILLED, Decimal(1), fill_client_id="algo-7"))
        ledger.advance_order(OrderReport(stop.client_id, "BTCUSDT", OrderState.OPEN, Decimal(0)))
        assert ledger.fills("b", client_id=stop.client_id) == [theirs]
        assert ledger.fills("b", client_id="else") == [ours]
        assert ledger.trades("b")[0].close_decision_id == decision.id

    def test_the_newest_fills_and_a_single_one_are_told_without_the_others(self, ledger: Ledger, make: Any) -> None:
        fills = [make.fill(n, "1", time_ms=make.start_ms + n // 4) for n in (1, 8, 9, 10, 11)]
        ledger.add_fills("b", [*fills, make.fill(12, "1", symbol="ETHUSDT")])
        assert ledger.fills("b", symbol="BTCUSDT", limit=1) == fills[-1:]  # at one instant the larger number is the later one
        assert ledger.fills("b", symbol="BTCUSDT", limit=4) == fills[1:]
        assert ledger.fills("b", symbol="BTCUSDT", trade_id="9") == [fills[2]]
        assert ledger.fills("b", symbol="BTCUSDT", trade_id="7") == ledger.fills("b", symbol="ETHUSDT", trade_id="9") == []


class TestTrades:
    def test_a_round_trip_knows_its_decisions_and_profit(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        opening, closing = make.decision(0), make.decision(1)
        for decision in (opening, closing):
            ledger.commit_decision(decision, [make.intent(decision)], lease)
        entry, leave = make.intent(opening).client_id, make.intent(closing).client_id
        fills = [
            make.fill(1, "1", "100", client_id=entry),
            make.fill(2, "1", "110", client_id=entry),
            make.fill(3, "-0.5", "120", client_id=leave),
        ]
        ledger.add_fills("b", fills)
        assert ledger.trades("b") == []
        ledger.add_fills("b", [make.fill(4, "-1.5", "124", client_id=leave)])
        (trade,) = ledger.trades("b")
        assert trade == Trade(
            id=trade.id,
            book="b",
            symbol="BTCUSDT",
            side="long",
            quantity=Decimal(2),
            entry_price=Decimal(105),
            exit_price=Decimal(123),
            opened_ms=make.start_ms + 1000,
            closed_ms=make.start_ms + 4000,
            profit=Decimal(36) - Decimal("0.456"),
            fees=Decimal("0.456"),
            open_decision_id=opening.id,
            close_decision_id=closing.id,
        )

    def test_turning_the_position_closes_one_trade_and_opens_another(self, ledger: Ledger, make: Any) -> None:
        ledger.add_fills("b", [make.fill(1, "1", "100"), make.fill(2, "-3", "110"), make.fill(3, "2", "105")])
        long, short = ledger.trades("b")
        assert (long.side, long.quantity, long.exit_price, long.fees) == ("long", 1, 110, Decimal("0.21"))
        assert (short.side, short.quantity, short.entry_price, short.exit_price) == ("short", 2, 110, 105)
        position = ledger.positions("b")["BTCUSDT"]
        assert long.profit + short.profit == position.realised - position.fees == Decimal("20") - Decimal("0.64")

    def test_fills_of_nobody_make_trades_without_decisions(self, ledger: Ledger, make: Any) -> None:
        ledger.add_fills("b", [make.fill(1, "-1"), make.fill(2, "1", client_id="autoclose-1")])
        (trade,) = ledger.trades("b")
        assert (trade.side, trade.open_decision_id, trade.close_decision_id) == ("short", None, None)


class TestMoney:
    def test_funding_is_kept_once(self, ledger: Ledger) -> None:
        late = FundingPayment("9", "BTCUSDT", Decimal("-0.123456789012345678"), 20)
        early = FundingPayment("8", "BTCUSDT", Decimal("1"), 10)
        assert ledger.add_funding("b", [late, early]) == 2
        assert ledger.add_funding("b", [late, FundingPayment("10", "ETHUSDT", Decimal(0), 30)]) == 1
        assert ledger.funding("b")[:2] == [early, late]
        assert ledger.funding("c") == []
        assert ledger.add_funding("b", []) == 0

    def test_the_newest_funding_and_the_sum_of_all_are_told_exactly(self, ledger: Ledger) -> None:
        assert (ledger.funding_total("b"), ledger.funding("b", limit=1)) == (0, [])
        amounts = ("0.1", "0.2", "-0.123456789012345678", "1000000000")
        payments = [FundingPayment(str(n), "BTCUSDT", Decimal(amount), n // 2) for n, amount in enumerate(amounts)]
        ledger.add_funding("b", payments)
        ledger.add_funding("c", payments[:1])
        assert ledger.funding_total("b") == Decimal("1000000000.176543210987654322")
        assert ledger.funding("b", limit=1) == payments[-1:]
        assert ledger.funding("b", limit=3) == payments[1:]

    def test_equity_points_are_replaced_by_instant(self, ledger: Ledger) -> None:
        assert ledger.last_equity("b") is None
        points = [EquityPoint(t, Decimal(equity), Decimal("0.1"), Decimal(1000)) for t, equity in ((2, "999.5"), (1, "1000"))]
        for point in points:
            ledger.record_equity("b", point)
        newer = replace(points[0], equity=Decimal("998.000000000000000001"))
        ledger.record_equity("b", newer)
        assert ledger.equity("b") == [points[1], newer]
        assert ledger.equity("b", since_ms=2) == [newer]
        assert ledger.last_equity("b") == newer

    def test_equity_points_are_listed_whole_however_many_there_are(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shared.adapters.sql.account._PAGE_ROWS", 2)
        points = [EquityPoint(t, Decimal(t), Decimal(1), Decimal(1000)) for t in range(1, 6)]
        for count, point in enumerate(points, 1):
            ledger.record_equity("b", point)
            assert ledger.equity("b") == points[:count]

    def test_the_first_the_newest_and_those_of_a_time_are_told_without_the_others(self, ledger: Ledger) -> None:
        assert ledger.first_equity("b") is None
        points = [EquityPoint(t, Decimal(t), Decimal(1), Decimal(1000)) for t in range(1, 6)]
        for point in points:
            ledger.record_equity("b", point)
        assert ledger.first_equity("b") == points[0]
        assert ledger.equity("b", until_ms=3, limit=1) == [points[2]]
        assert ledger.equity("b", until_ms=0, limit=1) == []
        assert ledger.equity("b", 2, until_ms=2) == [points[1]]
        assert ledger.equity("b", 2, limit=2) == points[3:]

    def test_the_record_of_returns_comes_back_to_the_bit(self, ledger: Ledger) -> None:
        record = UnitReturns(3, 0.1 + 0.2, 1e-17 / 3)
        point = EquityPoint(1, Decimal(1), Decimal(1), Decimal(1), returns=record)
        ledger.record_equity("b", point)
        ledger.record_equity("b", replace(point, time_ms=2, returns=UnitReturns()))
        assert ledger.equity("b")[0].returns == record
        assert ledger.last_equity("b") == replace(point, time_ms=2, returns=UnitReturns())

    def test_after_a_resume_the_next_mark_is_its_own_peak(self, ledger: Ledger) -> None:
        ledger.rebase_peak("b", 50)
        assert ledger.peak_forgotten_ms("b") is None
        lost = EquityPoint(100, Decimal(79), Decimal(79), Decimal(100))
        ledger.record_equity("b", lost)
        ledger.rebase_peak("b", 150)
        ledger.rebase_peak("b", 160)
        assert ledger.last_equity("b") == lost
        assert ledger.peak_forgotten_ms("b") == 100
        assert ledger.peak_forgotten_ms("c") is None
        assert next_peak(Decimal(78), ledger.last_equity("b"), ledger.peak_forgotten_ms("b")) == 78
        ledger.record_equity("b", EquityPoint(120, Decimal(78), Decimal(78), Decimal(78)))
        assert next_peak(Decimal(77), ledger.last_equity("b"), ledger.peak_forgotten_ms("b")) == 78

    def test_the_state_of_a_book_is_its_parts(self, ledger: Ledger, lease: Lease, make: Any) -> None:
        assert ledger.book_state("b", 0) == BookState([], {}, None, None, [])
        decision = make.decision()
        ledger.commit_decision(decision, [make.intent(decision)], lease)
        ledger.add_fills("b", [make.fill(1, "1")])
        ledger.record_equity("b", EquityPoint(100, Decimal(79), Decimal(79), Decimal(100)))
        ledger.set_halt(Halt("b", "pause", 1, 200, kind=HaltKind.PAUSE))
        ledger.rebase_peak("b", 150)
        for now_ms in (150, 200):
            assert ledger.book_state("b", now_ms) == BookState(
                ledger.orders("b", unfinished=True),
                ledger.positions("b"),
                ledger.last_equity("b"),
                ledger.peak_forgotten_ms("b"),
                ledger.halts("b", now_ms),
            )


class TestRegimes:
    def test_states_are_replaced_by_bar(self, ledger: Ledger) -> None:
        first = RegimeState(BTC, 1, RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m", (0.1, 0.2, 0.7), 5, 2)
        second = replace(first, bar_close_ms=2, ema=(0.30000000000000004, 0.2, 0.5))
        other = replace(first, asset=ETH)
        ledger.record_regimes("b", [second, first, other])
        changed = replace(second, stress_bars=3)
        ledger.record_regimes("b", iter([changed]))
        assert ledger.regimes("b", BTC) == [first, changed]
        assert ledger.last_regime("b", BTC) == changed
        assert ledger.last_regime("c", BTC) is None
        ledger.record_regimes("b", [])


class TestHalts:
    def test_a_latch_stays_until_a_person_lifts_it(self, ledger: Ledger) -> None:
        latch = Halt("b", "drawdown 21 %", 100, None)
        ledger.set_halt(latch)
        ledger.set_halt(replace(latch, until_ms=5))
        assert ledger.halts("b", 10**15) == [latch]
        assert ledger.halts("c", 200) == []
        assert ledger.lift_halts([latch], "ada", "looked at it", 300) == 1
        assert ledger.halts("b", 301) == []
        ledger.set_halt(latch)
        assert ledger.halts("b", 302) == []
        assert ledger.lift_halts([latch], "ada", "again", 303) == 0

    def test_a_pause_ends_by_itself(self, ledger: Ledger) -> None:
        pause = Halt("b", "breaker 5 %", 100, 200, "BTCUSDT")
        ledger.set_halt(pause)
        assert ledger.halts("b", 199) == [pause]
        assert ledger.halts("b", 200) == []
        assert ledger.lift_halts([pause], "ada", "nothing left", 300) == 0

    def test_another_reason_symbol_or_moment_is_another_halt(self, ledger: Ledger) -> None:
        halts = [
            Halt("b", "x", 1, None),
            Halt("b", "x", 1, None, "BTCUSDT"),
            Halt("b", "y", 1, None, "BTCUSDT"),
            Halt("b", "x", 2, None),
        ]
        for halt in halts:
            ledger.set_halt(halt)
        assert ledger.halts("b", 5) == halts
        assert ledger.lift_halts(halts, "ada", "all", 6) == 4

    def test_kinds_are_kept_and_only_the_halts_that_are_named_are_lifted(self, ledger: Ledger) -> None:
        halts = [Halt("b", kind.value, 1, None, symbol, kind) for kind in HaltKind for symbol in (None, "BTCUSDT", "ETHUSDT")]
        later = replace(halts[1], reason="another difference", since_ms=2)
        for halt in (*halts, later):
            ledger.set_halt(halt)
        assert set(ledger.halts("b", 5)) == {*halts, later}
        assert ledger.lift_halts([], "ada", "looked", 6) == 0
        assert ledger.lift_halts([halts[1], halts[4]], "ada", "looked", 6) == 2
        assert set(ledger.halts("b", 7)) == {later, *halts} - {halts[1], halts[4]}
        assert ledger.lift_halts(halts, "ada", "the others too", 8) == len(halts) - 2
        assert ledger.halts("b", 9) == [later]


class TestOutbox:
    STATE = RegimeState(BTC, 1, RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m", (0.1, 0.2, 0.7), 5, 2)

    def test_each_new_execution_is_told_once(self, ledger: Ledger, make: Any) -> None:
        fills = [make.fill(1, "1"), make.fill(2, "1", symbol="ETHUSDT"), make.fill(3, "-1")]
        ledger.add_fills("b", fills[:2])
        ledger.add_fills("b", fills)
        assert ledger.unpublished_events() == [trade_executed("b", fill) for fill in fills]

    def test_a_regime_is_told_where_it_changes(self, ledger: Ledger) -> None:
        calm = replace(self.STATE, bar_close_ms=2, regime=Regime.CALM)
        still, other = replace(calm, bar_close_ms=3), replace(calm, asset=ETH)
        for states in ([self.STATE], [self.STATE], [still, calm, other], [still]):
            ledger.record_regimes("b", states)
        told = [regime_changed("b", None, self.STATE), regime_changed("b", self.STATE, calm), regime_changed("b", None, other)]
        assert ledger.unpublished_events() == told

    def test_what_is_older_than_the_newest_regime_is_no_news(self, ledger: Ledger) -> None:
        newest = replace(self.STATE, bar_close_ms=5)
        ledger.record_regimes("b", [newest])
        ledger.record_regimes("b", [replace(self.STATE, bar_close_ms=4, regime=Regime.CALM)])
        assert ledger.unpublished_events() == [regime_changed("b", None, newest)]

    def test_a_new_halt_is_told_as_what_it_is(self, ledger: Ledger) -> None:
        halts = [Halt("b", "why", n, None, None, kind) for n, kind in enumerate(HaltKind)]
        for halt in [*halts, *halts]:
            ledger.set_halt(halt)
        told = ledger.unpublished_events()
        kinds = dict.fromkeys(HaltKind, EventKind.ERROR)
        kinds |= dict.fromkeys((HaltKind.PAUSE, HaltKind.DRAWDOWN), EventKind.DRAWDOWN_THRESHOLD)
        assert told == [halted(kinds[halt.kind], halt) for halt in halts]

    def test_an_error_in_the_log_is_told_and_a_warning_is_not(self, ledger: Ledger) -> None:
        ledger.log("b", "trader", "warning", "slow", 1)
        ledger.log("b", "trader", "error", "dead\0", 2, {"x": Decimal("1.5"), "bad": math.nan})
        ledger.log("b", "trader", "error", "dead", 3)
        told = [failed("b", "trader", "dead", 2, {"x": "1.5", "bad": "NaN"}), failed("b", "trader", "dead", 3, None)]
        assert ledger.unpublished_events() == told

    def test_what_fails_tells_nothing(self, ledger: Ledger, make: Any) -> None:
        with pytest.raises(MalformedData):
            ledger.add_fills("b", [make.fill(1, "1"), make.fill(2, "1", fee=Decimal("NaN"))])
        assert ledger.unpublished_events() == []

    def test_published_events_are_gone_and_the_others_stay_in_order(self, ledger: Ledger, make: Any) -> None:
        ledger.add_fills("b", [make.fill(n, "1") for n in range(1, 6)])
        events = ledger.unpublished_events()
        assert ledger.unpublished_events(limit=2) == events[:2]
        ledger.mark_published([events[1].id, events[0].id, "e-unknown"], 9)
        ledger.mark_published([], 9)
        assert ledger.unpublished_events() == events[2:]
        ledger.add_fills("b", [make.fill(1, "1")])
        assert ledger.unpublished_events() == events[2:]


class TestOperations:
    ARRIVAL = Arrival("o-1", "b", "BTCUSDT", Decimal("106000.1"), Decimal("106000.15"), 10)

    def test_an_arrival_gets_its_answer_once(self, ledger: Ledger) -> None:
        blind = replace(self.ARRIVAL, client_id="o-0", arrival_mid=None, sent_ms=20, answered_ms=25)
        for arrival in (blind, self.ARRIVAL):
            ledger.record_arrival(arrival)
        assert ledger.arrivals("b") == [self.ARRIVAL, blind]
        ledger.record_arrival(replace(self.ARRIVAL, sent_ms=11, arrival_mid=None, answered_ms=15))
        ledger.record_arrival(replace(self.ARRIVAL, answered_ms=99))
        assert ledger.arrivals("b") == [replace(self.ARRIVAL, answered_ms=15), blind]
        assert ledger.arrivals("b", since_ms=11) == [blind]
        assert ledger.arrivals("b", limit=1) == [blind]
        assert ledger.arrivals("c") == []

    def test_an_emergency_is_kept_as_far_as_it_has_come(self, ledger: Ledger) -> None:
        begun = EmergencyRecord("em-2", "b", HaltKind.DRAWDOWN, "21 %", 10, None, None, None, (), ("cancel o-1",))
        ended = replace(begun, finished_ms=30, wallet=Decimal("790.50"), equity=Decimal("790.5"), closed=("BTCUSDT",))
        ended = replace(ended, steps=(*begun.steps, "flat ✓"))
        earlier = replace(begun, id="em-1", kind=HaltKind.MANUAL, started_ms=5)
        for emergency in (begun, earlier):
            ledger.record_emergency(emergency)
        assert ledger.emergencies("b") == [earlier, begun]
        ledger.record_emergency(ended)
        assert ledger.emergencies("b") == [earlier, ended]
        assert ledger.emergencies("c") == []

    def test_the_newest_heartbeat_of_each_process_is_kept(self, ledger: Ledger) -> None:
        trader = Heartbeat("b", "trader", "one", 10, {"bar": 1, "lag_s": 0.25})
        standby, other = replace(trader, role="standby", holder="two"), replace(trader, holder="two", time_ms=11)
        for heartbeat in (trader, standby, other):
            ledger.beat(heartbeat)
        newer = replace(trader, time_ms=20, state={"bar": 2})
        for heartbeat in (newer, trader):
            ledger.beat(heartbeat)
        assert ledger.heartbeats("b") == [standby, newer, other]
        assert ledger.heartbeats("c") == []


class TestJournal:
    def test_the_log_gives_the_newest_entries_oldest_first(self, ledger: Ledger) -> None:
        for n in range(5):
            ledger.log("b", "session", "info", f"step {n}\0", n, {"n": n, "x": Decimal("1.50"), "bad": math.nan} if n else None)
        entries = ledger.agent_log("b", limit=2)
        assert [entry["message"] for entry in entries] == ["step 3", "step 4"]
        assert entries[1] == {
            "time_ms": 4,
            "source": "session",
            "level": "info",
            "message": "step 4",
            "context": {"n": 4, "x": "1.50", "bad": "NaN"},
        }
        assert ledger.agent_log("b")[0]["context"] is None
        assert ledger.agent_log("c") == []

    def test_books_are_remembered_once_and_finished(self, ledger: Ledger) -> None:
        ledger.register_book("late", 20, {"mode": "paper"})
        ledger.register_book("early", 10, {"symbols": ["BTCUSDT"]})
        ledger.register_book("early", 99, {})
        ledger.finish_book("early", {"sharpe": 1.5, "calmar": None}, 50)
        early, late = ledger.books()
        assert (early.book, early.created_ms, early.settings) == ("early", 10, {"symbols": ["BTCUSDT"]})
        assert (early.finished_ms, early.summary) == (50, {"sharpe": 1.5, "calmar": None})
        assert (late.finished_ms, late.summary) == (None, None)
        with pytest.raises(LedgerError, match="never registered"):
            ledger.finish_book("nobody", {}, 1)

    def test_quality_reports_are_stored(self, ledger: Ledger) -> None:
        ledger.record_quality(BTC, Interval.H1, {"gaps": [[1, 2]], "rows": 5}, 7)
        ledger.record_quality(BTC, Interval.H1, {"gaps": []}, 7)


class TestVenuePauses:
    def test_the_latest_pause_of_a_venue_is_known_to_everybody(self, ledger: Ledger) -> None:
        assert ledger.pause_until_ms("binanceusdm") == 0
        for until_ms in (500, 900, 700):
            ledger.note_pause("binanceusdm", until_ms)
        assert ledger.pause_until_ms("binanceusdm") == 900
        assert ledger.pause_until_ms("elsewhere") == 0
