"""Three outcomes of a request, and what becomes of an order whose outcome is unknown: never lost, never doubled."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.domain.errors import (
    ClockRefused,
    ConfigError,
    LeaseLost,
    LedgerUnavailable,
    NotApproved,
    NotNow,
    OutcomeUnknown,
    RateLimited,
    VenueRejected,
    VenueUnreachable,
)
from shared.domain.orders import OrderState
from shared.domain.stream import QuoteMessage
from shared.risk.approval import OrderContext, approve
from shared.trading.execution import ExecutionParams, Executor
from tests.unit.trading.conftest import RULES

TIMEOUT = OutcomeUnknown("timeout")


def refused(_: Any) -> Any:
    raise NotApproved("too old")


async def test_an_answered_order_is_recorded_as_the_venue_says(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(desk.report(intent))
    record = await desk.executor.place(desk.approved(intent))
    assert (record.state, record.filled) == (OrderState.FILLED, Decimal(1))
    assert desk.ledger.order(intent.client_id) == record


async def test_a_rejection_is_final_and_keeps_the_venues_words(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(VenueRejected("Margin is insufficient.", -2019))
    record = await desk.executor.place(desk.approved(intent))
    assert record.state is OrderState.REJECTED
    assert "Margin is insufficient" in record.reason
    assert desk.ledger.orders(desk.book, unfinished=True) == []


async def test_an_order_that_never_reached_the_venue_stays_an_intent(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(VenueUnreachable("connection refused"))
    record = await desk.executor.place(desk.approved(intent))
    assert record.state is OrderState.INTENT
    assert [one.state for one in desk.ledger.orders(desk.book, unfinished=True)] == [OrderState.INTENT]
    assert desk.exchange.looked_up == []


async def test_an_order_whose_time_was_refused_is_approved_anew_before_it_is_sent_again(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send += [ClockRefused("-1021"), desk.report(intent)]
    asked: list[str] = []

    def again(one: Any) -> Any:
        asked.append(one.client_id)
        return desk.approved(one)

    record = await desk.executor.place(desk.approved(intent), again=again)
    assert record.state is OrderState.FILLED
    assert desk.exchange.sent == [intent.client_id] * 2
    assert asked == [intent.client_id]
    assert desk.exchange.looked_up == []


async def test_an_order_whose_time_was_refused_and_that_may_not_go_any_more_is_abandoned(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(ClockRefused("-1021"))
    record = await desk.executor.place(desk.approved(intent), again=refused)
    assert (record.state, record.reason) == (OrderState.ABANDONED, "never reached the venue; too old")
    assert desk.exchange.sent == [intent.client_id]


async def test_an_order_whose_time_was_refused_is_left_alone_by_a_process_without_the_lease(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(ClockRefused("-1021"))

    def lost(_: Any) -> Any:
        raise LeaseLost("another process has taken over")

    with pytest.raises(LeaseLost):
        await desk.executor.place(desk.approved(intent), again=lost)
    assert desk.exchange.sent == [intent.client_id]
    assert desk.ledger.order(intent.client_id).state is OrderState.INTENT


async def test_a_time_that_is_refused_again_and_again_is_not_hurried(desk: Any) -> None:
    intent = desk.intent()
    record = desk.committed(intent)
    desk.exchange.on_send += [ClockRefused("-1021")] * 3
    executor = desk.executor
    record = await executor.place(desk.approved(intent), again=desk.approved)
    assert desk.exchange.sent == [intent.client_id] * 2
    await executor.settle(record, desk.approved)
    assert desk.exchange.sent == [intent.client_id] * 2
    desk.clock.set(desk.start_ms + 1000)
    await executor.settle(record, desk.approved)
    assert desk.exchange.sent == [intent.client_id] * 3


async def test_what_was_denied_before_an_order_was_sent_again_says_nothing_about_it(desk: Any) -> None:
    intent = desk.intent()
    record = desk.committed(intent)
    desk.exchange.on_find += [None, None, TIMEOUT, TIMEOUT, TIMEOUT, None, desk.report(intent)]
    desk.exchange.on_send.append(TIMEOUT)
    executor = desk.executor
    record = await desk.finished(executor.settle(record, desk.approved))
    record = await desk.finished(executor.settle(record, refused))
    assert record.state is OrderState.FILLED
    assert desk.exchange.sent == [intent.client_id]


async def test_an_order_that_went_out_while_the_ledger_went_away_is_not_taken_for_one_that_did_not(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(TIMEOUT)
    executor = desk.executor

    class Away:
        def advance_order(self, *_: Any) -> Any:
            raise LedgerUnavailable("away")

        def __getattr__(self, name: str) -> Any:
            return getattr(desk.ledger, name)

    executor._ledger = Away()
    with pytest.raises(LedgerUnavailable):
        await executor.place(desk.approved(intent))
    assert executor.may_be_out(intent.client_id)
    executor._ledger = desk.ledger
    desk.exchange.on_find.append(desk.report(intent))
    record = await executor.settle(desk.ledger.order(intent.client_id), refused)
    assert record.state is OrderState.FILLED
    assert not executor.may_be_out(intent.client_id)


async def test_a_process_without_the_lease_abandons_nothing(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    old = desk.ledger.acquire_lease(desk.book, "test", 1, desk.clock.now_ms())
    newer = desk.ledger.acquire_lease(desk.book, "another", 60_000, desk.clock.now_ms() + 120_000)
    executor = Executor(desk.exchange, desk.ledger, desk.clock, desk.book, desk.params, lease=lambda: old)
    with pytest.raises(LeaseLost):
        executor.abandon(intent, "not wanted")
    assert desk.ledger.order(intent.client_id).state is OrderState.INTENT
    executor = Executor(desk.exchange, desk.ledger, desk.clock, desk.book, desk.params, lease=lambda: newer)
    assert executor.abandon(intent, "not wanted").state is OrderState.ABANDONED


async def test_an_unknown_outcome_is_looked_up_and_not_sent_again(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(TIMEOUT)
    desk.exchange.on_find += [TIMEOUT, desk.report(intent)]
    record = await desk.finished(desk.executor.place(desk.approved(intent)))
    assert record.state is OrderState.FILLED
    assert desk.exchange.sent == [intent.client_id]
    assert desk.exchange.looked_up == [intent.client_id] * 2


async def test_a_missing_order_is_sent_again_under_its_id_after_two_denials_with_grace_between(desk: Any) -> None:
    intent = desk.intent()
    record = desk.committed(intent)
    desk.exchange.on_find += [None, None]
    desk.exchange.on_send.append(desk.report(intent))
    settled = await desk.finished(desk.executor.settle(record, desk.approved))
    assert settled.state is OrderState.FILLED
    assert desk.exchange.sent == [intent.client_id]
    assert desk.clock.now_ms() == desk.start_ms + 4000


async def test_looking_at_an_order_that_found_no_connection_is_no_order(desk: Any) -> None:
    intent = desk.intent()
    record = desk.committed(intent)
    desk.exchange.on_send += [VenueUnreachable("connection refused")] * 2
    executor = desk.executor
    record = await executor.place(desk.approved(intent))
    for _ in range(12):
        desk.clock.set(desk.clock.now_ms() + 100)
        record = await executor.settle(record, desk.approved)
    assert desk.exchange.sent == [intent.client_id] * 2
    assert executor.pace.recent(desk.clock.now_ms()) == (0, 0)
    desk.exchange.on_send.append(desk.report(intent))
    desk.clock.set(desk.clock.now_ms() + 1000)
    assert (await executor.settle(record, desk.approved)).state is OrderState.FILLED
    assert executor.pace.recent(desk.clock.now_ms()) == (1, 1)


@pytest.mark.parametrize("error", [TIMEOUT, VenueRejected("no", -2019)])
async def test_an_order_that_may_have_reached_the_venue_counts_and_one_that_only_closes_does_not(
    desk: Any, error: Exception
) -> None:
    entry, stop = desk.intent(), desk.intent("stop")
    desk.committed(entry, stop)
    desk.exchange.on_send += [error, error]
    executor = desk.executor
    await desk.finished(executor.place(desk.approved(entry)))
    await desk.finished(executor.place(desk.approved(stop, held="1")))
    assert executor.pace.recent(desk.clock.now_ms())[0] == 1


async def test_a_stop_is_sent_again_under_its_id_after_one_denial(desk: Any) -> None:
    """The venue takes an id once while it rests: a late first one makes this a duplicate, and a position should not wait."""
    stop = desk.intent("stop")
    record = desk.committed(stop)
    desk.exchange.on_find.append(None)
    settled = await desk.finished(desk.executor.settle(record, lambda intent: desk.approved(intent, held="1")))
    assert (desk.exchange.sent, settled.state) == ([stop.client_id], OrderState.OPEN)
    assert desk.clock.now_ms() == desk.start_ms


@pytest.mark.parametrize(("answer_s", "given_up_s"), [(0.0, 6.5), (4.0, 8.0)])
async def test_a_stop_is_given_up_only_when_a_slow_venue_can_take_it_no_longer(
    desk: Any, answer_s: float, given_up_s: float
) -> None:
    """How long it may be under way is known from its approval."""
    stop = desk.intent("stop")
    desk.committed(stop)
    desk.exchange.on_send.append(TIMEOUT)
    desk.exchange.on_find += [None, None]
    executor, approved_ms = desk.executor, desk.clock.now_ms() - round(1000 * answer_s)
    order = approve(stop, OrderContext(RULES, Decimal(1), Decimal(100), Decimal(10_000), Decimal(1), approved_ms=approved_ms))
    record = await desk.finished(executor.place(order))
    while record.state is not OrderState.ABANDONED:
        record = await desk.finished(executor.settle(record, refused))
        assert desk.clock.now_ms() <= approved_ms + round(1000 * given_up_s)
        desk.clock.set(desk.clock.now_ms() + 500)
    assert desk.exchange.sent == [stop.client_id]
    assert desk.clock.now_ms() == approved_ms + round(1000 * given_up_s) + 500


async def test_a_stop_that_rested_needs_no_longer_to_be_known_as_gone(desk: Any) -> None:
    stop = desk.intent("stop")
    desk.committed(stop)
    record = desk.ledger.advance_order(desk.report(stop, OrderState.OPEN))
    desk.exchange.on_find += [None, None]
    settled = await desk.finished(desk.executor.settle(record, None))
    assert settled.state is OrderState.CANCELLED
    assert desk.clock.now_ms() == desk.start_ms + 4000


async def test_a_stop_that_was_sent_twice_is_not_cancelled_before_its_first_sending_is_dead(desk: Any) -> None:
    """Once the second rests no more, the venue would take a late first one as another stop under the same id."""
    stop = desk.intent("stop")
    desk.committed(stop)
    desk.exchange.on_send.append(TIMEOUT)
    desk.exchange.on_find.append(None)
    executor = desk.executor
    record = await desk.finished(executor.place(desk.approved(stop, held="1")))
    record = await desk.finished(executor.settle(record, lambda intent: desk.approved(intent, held="1")))
    assert (desk.exchange.sent, record.state) == ([stop.client_id] * 2, OrderState.OPEN)
    assert await executor.cancel(record) == record
    assert desk.exchange.cancelled == []
    desk.clock.set(desk.start_ms + 6500)
    assert (await executor.cancel(record)).state is OrderState.CANCELLED


async def test_an_order_that_is_held_back_for_the_moment_goes_out_once_that_is_over(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(RateLimited("slow down", -1003, 4.0))
    executor = desk.executor
    record = await executor.place(desk.approved(intent))

    def not_now(_: Any) -> Any:
        raise NotNow("the venue has asked to wait")

    desk.clock.set(desk.start_ms + 4000)
    record = await executor.settle(record, not_now)
    assert record.state is OrderState.INTENT
    assert (await executor.settle(record, desk.approved)).state is OrderState.FILLED
    assert desk.exchange.sent == [intent.client_id] * 2


async def test_a_stop_that_was_denied_before_it_was_there_is_asked_about_anew(desk: Any) -> None:
    stop = desk.intent("stop")
    desk.committed(stop)
    desk.exchange.on_send.append(TIMEOUT)
    desk.exchange.on_find += [None, desk.report(stop, OrderState.OPEN)]
    executor = desk.executor
    await desk.finished(executor.place(desk.approved(stop, held="1")))
    record = desk.ledger.advance_order(desk.report(stop, OrderState.OPEN))  # it was only late, says the stream
    assert not executor.is_doubted(stop.client_id)
    assert (await executor.settle(record, None, patience_s=0.0)).state is OrderState.OPEN
    assert desk.exchange.looked_up == [stop.client_id] * 2


async def test_one_denial_is_not_believed(desk: Any) -> None:
    intent = desk.intent()
    record = desk.committed(intent)
    desk.exchange.on_find += [None, desk.report(intent)]
    settled = await desk.finished(desk.executor.settle(record, desk.approved))
    assert settled.state is OrderState.FILLED
    assert desk.exchange.sent == []


async def test_a_missing_order_that_risk_control_refuses_is_abandoned(desk: Any) -> None:
    record = desk.committed(desk.intent())
    desk.exchange.on_find += [None, None]
    settled = await desk.finished(desk.executor.settle(record, refused))
    assert settled.state is OrderState.ABANDONED
    assert settled.reason == "never reached the venue; too old"
    assert desk.exchange.sent == []


async def test_without_risk_control_at_hand_a_missing_order_waits(desk: Any) -> None:
    record = desk.committed(desk.intent())
    desk.exchange.on_find += [None, None]
    assert await desk.finished(desk.executor.settle(record, None)) == record
    assert desk.halted() == []


async def test_an_order_that_cannot_be_looked_up_freezes_its_symbol_for_a_person(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(TIMEOUT)
    desk.exchange.on_find += [TIMEOUT] * 4
    executor = desk.executor
    record = await desk.finished(executor.place(desk.approved(intent)))
    assert record.state is OrderState.UNKNOWN
    assert desk.halted() == []  # whoever sent it does not wait for long; the questions go on
    assert await desk.finished(executor.settle(record, None)) == record
    [(symbol, reason)] = desk.halted()
    assert symbol == "BTCUSDT"
    assert intent.client_id in reason
    [halt] = desk.ledger.halts(desk.book, desk.clock.now_ms())
    assert halt.until_ms is None


async def test_restarts_do_not_put_the_bound_of_the_questions_off(desk: Any) -> None:
    desk.params = ExecutionParams(query_bound_s=60.0)
    intent = desk.intent()
    desk.committed(intent)
    record = desk.ledger.advance_order(desk.report(intent, OrderState.UNKNOWN))
    desk.clock.set(desk.start_ms + 60_000)
    desk.exchange.on_find += [TIMEOUT] * 8
    await desk.finished(desk.executor.settle(record, None, patience_s=5.0))
    assert [symbol for symbol, _ in desk.halted()] == ["BTCUSDT"]
    assert len(desk.exchange.looked_up) == 4


async def test_a_venue_that_is_away_as_a_whole_freezes_nothing(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    intent = desk.intent()
    desk.committed(intent)
    record = desk.ledger.advance_order(desk.report(intent, OrderState.UNKNOWN))
    desk.clock.set(desk.start_ms + 3000)
    desk.exchange.on_find += [VenueUnreachable("refused")] * 6
    executor = desk.executor

    async def away() -> int:
        raise VenueUnreachable("refused")

    with monkeypatch.context() as patched:
        patched.setattr(desk.exchange, "server_time_ms", away)
        for _ in range(3):
            assert await desk.finished(executor.settle(record, refused)) == record
            desk.clock.set(desk.clock.now_ms() + 30_000)
        assert desk.halted() == []
    desk.exchange.on_find.clear()
    desk.exchange.on_find.append(TIMEOUT)
    await desk.finished(executor.settle(record, refused))
    assert [symbol for symbol, _ in desk.halted()] == ["BTCUSDT"]


async def test_a_stop_that_has_rested_for_long_is_not_called_unanswered_at_once(desk: Any) -> None:
    intent = desk.intent("stop")
    desk.committed(intent)
    record = desk.ledger.advance_order(desk.report(intent, OrderState.OPEN))
    desk.clock.set(desk.start_ms + 3_000_000)
    desk.exchange.on_find += [TIMEOUT] * 4
    await desk.finished(desk.executor.settle(record, None, patience_s=2.0))
    assert desk.halted() == []


async def test_an_open_order_that_the_venue_forgot_is_cancelled(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    record = desk.ledger.advance_order(desk.report(intent, OrderState.OPEN))
    desk.exchange.on_find += [None, None]
    settled = await desk.finished(desk.executor.settle(record, desk.approved))
    assert settled.state is OrderState.CANCELLED
    assert desk.exchange.sent == []


async def test_the_wait_that_the_venue_asks_for_is_kept(desk: Any) -> None:
    intent = desk.intent()
    record = desk.committed(intent)
    desk.exchange.on_find += [RateLimited("slow down", -1003, retry_after_s=17.0), desk.report(intent)]
    await desk.finished(desk.executor.settle(record, desk.approved))
    assert desk.clock.now_ms() == desk.start_ms + 17_000


async def test_cancelling_is_recorded_and_an_unreachable_venue_leaves_the_order_for_later(desk: Any) -> None:
    first, second, third = desk.intent("stop"), desk.intent("stop2"), desk.intent("stop3")
    desk.committed(first, second, third)
    records = [desk.ledger.advance_order(desk.report(one, OrderState.OPEN)) for one in (first, second, third)]
    desk.exchange.on_cancel += [desk.report(first, OrderState.CANCELLED), VenueUnreachable("refused"), None]
    states = [(await desk.executor.cancel(record)).state for record in records]
    assert states == [OrderState.CANCELLED, OrderState.OPEN, OrderState.CANCELLED]


@pytest.mark.parametrize("wrong", [{"resend_grace_s": -1.0}, {"query_bound_s": float("inf")}, {"query_backoff_s": 0.0}])
def test_impatient_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="execution:"):
        ExecutionParams(**wrong)


async def test_an_order_is_judged_by_the_mid_that_it_arrived_at_and_a_stop_by_its_own_price(desk: Any) -> None:
    quoted = QuoteMessage("BTCUSDT", Decimal("99.5"), Decimal("100.1"), desk.start_ms)
    asked = {"BTCUSDT": quoted}
    executor = Executor(desk.exchange, desk.ledger, desk.clock, desk.book, ExecutionParams(), asked.get)
    market, stop, leaving, unquoted = desk.intent(), desk.intent("stop"), desk.intent("exit"), desk.intent("rest-market")
    desk.committed(market, stop, leaving, unquoted)
    await executor.place(desk.approved(market), Decimal(98))
    await executor.place(desk.approved(stop, held="1"), Decimal(98))
    await executor.place(desk.approved(leaving), Decimal(98))
    asked.clear()
    await executor.place(desk.approved(unquoted), Decimal(98))
    met = {row.client_id: (row.decision_price, row.arrival_mid) for row in desk.ledger.arrivals(desk.book, 0)}
    assert met[market.client_id] == (Decimal(98), Decimal("99.8"))
    assert met[stop.client_id] == (Decimal(90), None)
    assert met[leaving.client_id] == (Decimal("99.8"), Decimal("99.8"))  # an exit is decided when it is sent
    assert met[unquoted.client_id] == (Decimal(98), None)
