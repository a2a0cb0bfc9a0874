"""Ledger = exchange, or the symbol freezes with the exact difference."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.local.exit_journal import FileExitJournal
from shared.domain.errors import VenueUnreachable
from shared.domain.ids import book_tag
from shared.domain.orders import OrderKind, OrderReport, OrderState
from shared.domain.records import FundingPayment
from shared.trading.execution import Executor
from shared.trading.reconciliation import Reconciler


async def bought(desk: Any) -> None:
    """One unit is held, in the ledger and at the venue."""
    intent = desk.intent()
    desk.committed(intent, desk.intent("stop"))
    desk.ledger.advance_order(desk.report(intent))
    desk.exchange.executions.append(desk.fill(1, "1", intent.client_id))
    await desk.reconciler.book_fills("BTCUSDT")
    assert desk.held() == 1


async def settled(desk: Any, held: str) -> Any:
    """The differences that are left when the venue says that it holds `held`, however often it is asked."""
    desk.exchange.holding = Decimal(held)
    return await desk.finished(desk.reconciler.settle_positions(["BTCUSDT"], desk.account(held)))


async def settled_orders(desk: Any) -> None:
    """Settle twice, with the grace period between the two denials of an order past in the meantime."""
    reconciler = desk.reconciler
    for _ in range(2):
        await reconciler.settle_orders(lambda intent: desk.approved(intent, str(desk.held())))
        desk.clock.set(desk.clock.now_ms() + round(1000 * desk.params.closing_grace_s))


async def resting_stop(desk: Any) -> Any:
    """The stop of one unit that is held."""
    await bought(desk)
    stop = desk.intent("stop")
    desk.ledger.advance_order(desk.report(stop, OrderState.OPEN))
    return stop


def of_one_process(desk: Any) -> tuple[Executor, Reconciler]:
    executor = desk.executor
    return executor, Reconciler(desk.exchange, desk.ledger, desk.clock, executor, desk.book, desk.start_ms)


async def test_equal_positions_ask_for_nothing(desk: Any) -> None:
    await bought(desk)
    assert await settled(desk, "1") == []
    assert desk.exchange.looked_up == []
    assert desk.halted() == []


async def test_a_missing_fill_is_fetched(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.ledger.advance_order(desk.report(intent))
    desk.exchange.executions += [desk.fill(1, "0.4", intent.client_id), desk.fill(2, "0.6", intent.client_id)]
    assert await settled(desk, "1") == []
    assert desk.held() == 1
    assert desk.halted() == []


async def test_a_fill_is_booked_once_however_often_it_is_fetched(desk: Any) -> None:
    await bought(desk)
    assert await desk.reconciler.book_fills("BTCUSDT") == []
    assert desk.held() == 1
    assert len(desk.ledger.fills(desk.book)) == 1


async def test_a_stop_that_fired_between_two_bars_is_booked(desk: Any) -> None:
    await bought(desk)
    stop = desk.intent("stop")
    desk.ledger.advance_order(desk.report(stop, OrderState.OPEN))
    desk.exchange.on_find.append(desk.report(stop, OrderState.FILLED))
    desk.exchange.executions.append(desk.fill(60, "-1", stop.client_id))
    assert await settled(desk, "0") == []
    assert desk.held() == 0
    record = desk.ledger.order(stop.client_id)
    assert record is not None
    assert record.state is OrderState.FILLED
    assert desk.halted() == []
    assert len(desk.ledger.trades(desk.book)) == 1


async def test_a_foreign_fill_freezes_the_symbol_with_the_exact_difference(desk: Any) -> None:
    await bought(desk)
    desk.exchange.executions.append(desk.fill(60, "0.25", "web_abc"))
    [difference] = await settled(desk, "1.25")
    assert (difference.ledger, difference.venue) == (Decimal(1), Decimal("1.25"))
    assert desk.held() == 1
    reasons = [reason for symbol, reason in desk.halted() if symbol == "BTCUSDT"]
    assert any("foreign execution 60: buy 0.25 at 100" in reason for reason in reasons)
    assert any("the ledger holds 1, the venue 1.25 (difference 0.25)" in reason for reason in reasons)


async def test_a_difference_that_nothing_explains_freezes_the_symbol_once(desk: Any) -> None:
    await bought(desk)
    for _ in range(2):
        await settled(desk, "3")
    assert len(desk.halted()) == 1


async def test_where_a_stream_has_told_of_all_executions_of_an_order_nobody_is_asked(desk: Any) -> None:
    await bought(desk)

    async def hang(*_: Any) -> None:
        raise VenueUnreachable("no answer within 3 s")

    desk.exchange.fills = hang
    assert await desk.reconciler.book_fills_of(desk.ledger.order(desk.intent().client_id)) == []


async def test_a_fill_of_another_book_is_foreign(desk: Any) -> None:
    desk.exchange.executions.append(desk.fill(1, "1", f"{book_tag('another')}-market-x"))
    assert await desk.reconciler.book_fills("BTCUSDT") == []
    assert len(desk.halted()) == 1


async def test_a_fill_without_a_client_id_is_foreign(desk: Any) -> None:
    desk.exchange.executions.append(desk.fill(1, "1", None))
    assert await desk.reconciler.book_fills("BTCUSDT") == []
    assert len(desk.halted()) == 1


async def test_a_liquidation_by_the_venue_is_booked_and_latches_the_symbol(desk: Any) -> None:
    await bought(desk)
    desk.exchange.executions.append(desk.fill(60, "-1", "autoclose-1751328060000"))
    await settled(desk, "0")
    assert desk.held() == 0
    [halt] = desk.ledger.halts(desk.book, desk.clock.now_ms())
    assert (halt.symbol, halt.until_ms) == ("BTCUSDT", None)
    assert "the venue closed 1 at 100 by itself (autoclose-1751328060000)" in halt.reason


async def test_an_order_that_we_did_not_place_freezes_its_symbol(desk: Any) -> None:
    ours = desk.intent("stop")
    desk.committed(ours)
    foreign = OrderReport("web_abc", "ETHUSDT", OrderState.OPEN, Decimal(0))
    desk.exchange.resting += [(desk.report(ours, OrderState.OPEN), OrderKind.STOP), (foreign, OrderKind.LIMIT)]
    assert await desk.reconciler.find_foreign_orders() == {ours.client_id, "web_abc"}
    assert desk.halted() == [("ETHUSDT", "foreign order web_abc rests on the account")]


async def test_a_journalled_exit_that_is_being_filled_is_nobody_elses(desk: Any, tmp_path: Path) -> None:
    exits, leaving = FileExitJournal(tmp_path / "exits.jsonl"), desk.intent("emergency-1")
    exits.append(leaving)
    reconciler = Reconciler(desk.exchange, desk.ledger, desk.clock, desk.executor, desk.book, desk.start_ms, exits=exits)
    desk.exchange.resting.append((desk.report(leaving, OrderState.OPEN), OrderKind.MARKET))
    assert await reconciler.find_foreign_orders() == {leaving.client_id}
    assert desk.halted() == []


async def test_an_order_of_ours_that_has_ended_in_the_ledger_and_rests_at_the_venue_is_cancelled(desk: Any) -> None:
    stop = await resting_stop(desk)
    desk.ledger.advance_order(desk.report(stop, OrderState.CANCELLED))
    desk.exchange.resting.append((desk.report(stop, OrderState.OPEN), OrderKind.STOP))
    await desk.reconciler.find_foreign_orders()
    assert (desk.exchange.cancelled, desk.halted()) == ([stop.client_id], [])


async def test_an_execution_under_an_unknown_id_may_be_what_a_stop_of_ours_has_become(desk: Any) -> None:
    stop = await resting_stop(desk)
    told = desk.fill(2, "-1", "venue-77")
    desk.exchange.on_find.append(desk.report(stop))
    desk.exchange.executions.append(desk.fill(2, "-1", stop.client_id))  # the list knows which order the stop has become
    reconciler, report = desk.reconciler, OrderReport("venue-77", "BTCUSDT", OrderState.FILLED, Decimal(1))
    assert len(await reconciler.told_of_unknown(report, told)) == 1
    assert await reconciler.told_of_unknown(report, told) == []
    assert (desk.held(), desk.ledger.order(stop.client_id).state, desk.halted()) == (0, OrderState.FILLED, [])


async def test_an_execution_that_no_stop_of_ours_explains_is_foreign(desk: Any) -> None:
    await resting_stop(desk)
    told = desk.fill(2, "-1", "web-77")
    desk.exchange.executions.append(told)
    await desk.reconciler.told_of_unknown(OrderReport("web-77", "BTCUSDT", OrderState.FILLED, Decimal(1)), told)
    assert len(desk.halted()) == 1


@pytest.mark.parametrize("rests", [True, False])
async def test_an_unknown_order_is_foreign_where_the_venue_lists_it(desk: Any, rests: bool) -> None:
    report = OrderReport("web-77", "BTCUSDT", OrderState.OPEN, Decimal(0))
    desk.exchange.resting += [(report, OrderKind.LIMIT)] * rests
    await desk.reconciler.told_of_unknown(report, None)
    assert len(desk.halted()) == rests


async def test_settling_leaves_resting_stops_alone(desk: Any) -> None:
    market, stop = desk.intent(), desk.intent("stop")
    desk.committed(market, stop)
    desk.ledger.advance_order(desk.report(stop, OrderState.OPEN))
    desk.exchange.on_find.append(desk.report(market))
    desk.exchange.executions.append(desk.fill(1, "1", market.client_id))
    await desk.reconciler.settle_orders(desk.approved)
    assert desk.exchange.looked_up == [market.client_id]
    assert desk.held() == 1


async def test_a_stop_that_the_venue_lists_is_not_asked_about(desk: Any) -> None:
    stop = await resting_stop(desk)
    await desk.reconciler.confirm_stops({stop.client_id})
    assert desk.exchange.looked_up == []


@pytest.mark.parametrize("listed", [set(), None])
async def test_a_stop_that_is_denied_once_is_doubted_and_given_up_with_the_second_denial(desk: Any, listed: Any) -> None:
    stop = await resting_stop(desk)
    executor, reconciler = of_one_process(desk)
    desk.exchange.on_find += [None, None]
    await desk.finished(reconciler.confirm_stops(listed))
    assert (executor.is_doubted(stop.client_id), desk.ledger.order(stop.client_id).state) == (True, OrderState.OPEN)
    desk.clock.set(desk.start_ms + 4000)
    await desk.finished(reconciler.confirm_stops(listed))
    assert (executor.is_doubted(stop.client_id), desk.ledger.order(stop.client_id).state) == (False, OrderState.CANCELLED)


async def test_a_stop_that_is_neither_listed_nor_answered_for_is_doubted_until_it_is_listed(desk: Any) -> None:
    stop = await resting_stop(desk)
    executor, reconciler = of_one_process(desk)
    desk.exchange.on_find += [VenueUnreachable("502")] * 20
    await desk.finished(reconciler.confirm_stops(set()))
    assert executor.is_doubted(stop.client_id)
    await desk.finished(reconciler.confirm_stops({stop.client_id}))
    assert not executor.is_doubted(stop.client_id)


async def test_where_the_venue_tells_of_a_stop_in_no_way_the_reconciliation_has_failed(desk: Any) -> None:
    stop = await resting_stop(desk)
    executor, reconciler = of_one_process(desk)
    desk.exchange.on_find += [VenueUnreachable("502")] * 20
    with pytest.raises(VenueUnreachable, match=stop.client_id):
        await desk.finished(reconciler.confirm_stops(None))
    assert not executor.is_doubted(stop.client_id)


async def test_a_hanging_question_about_stops_holds_up_as_long_as_one_of_them(desk: Any) -> None:
    one, names = desk.intent("stop"), [f"stop{number}" for number in range(20)]
    stops = [replace(one, client_id=name, leg=name, symbol=name.upper()) for name in names]
    desk.committed(desk.intent(), *stops)
    for stop in stops:
        desk.ledger.advance_order(desk.report(stop, OrderState.OPEN))

    async def hang(_: Any) -> None:
        await desk.clock.sleep(3.0)
        raise VenueUnreachable("no answer within 3 s")

    desk.exchange.find = hang
    await desk.finished(desk.reconciler.confirm_stops(set()))
    assert desk.clock.now_ms() - desk.start_ms <= 4000


async def test_the_fills_of_an_entry_are_booked_before_its_stop_is_sent_again(desk: Any) -> None:
    market, stop = desk.intent(), desk.intent("stop")
    desk.committed(market, stop)
    desk.exchange.on_find += [desk.report(market), None, None]
    desk.exchange.executions.append(desk.fill(1, "1", market.client_id))
    desk.exchange.on_send.append(desk.report(stop, OrderState.OPEN))
    # The stop is only approved where the ledger holds what it protects.
    await settled_orders(desk)
    assert desk.exchange.sent == [stop.client_id]
    assert desk.ledger.order(stop.client_id).state is OrderState.OPEN


async def test_an_entry_that_is_known_as_filled_is_booked_before_its_stop_is_sent_again(desk: Any) -> None:
    market, stop = desk.intent(), desk.intent("stop")
    desk.committed(market, stop)
    desk.ledger.advance_order(desk.report(market))  # and the process was killed before the fill was booked
    desk.exchange.executions.append(desk.fill(1, "1", market.client_id))
    desk.exchange.on_find += [None, None]
    desk.exchange.on_send.append(desk.report(stop, OrderState.OPEN))
    await settled_orders(desk)
    assert desk.held() == 1
    assert desk.exchange.sent == [stop.client_id]


async def test_a_stop_whose_market_leg_was_refused_is_never_sent(desk: Any) -> None:
    market, stop = desk.intent(), desk.intent("stop")
    desk.committed(market, stop)
    refusal = OrderReport(market.client_id, "BTCUSDT", OrderState.REJECTED, Decimal(0), reason="no margin")
    desk.ledger.advance_order(refusal)
    await desk.reconciler.settle_orders(desk.approved)
    assert desk.exchange.sent == []
    record = desk.ledger.order(stop.client_id)
    assert (record.state, record.reason) == (
        OrderState.ABANDONED,
        "not sent: the market leg of its decision ended without a fill",
    )


async def test_funding_is_booked_once(desk: Any) -> None:
    desk.exchange.payments.append(FundingPayment("f1", "BTCUSDT", Decimal("-0.5"), desk.start_ms + 1))
    assert [await desk.reconciler.book_funding(), await desk.reconciler.book_funding()] == [1, 0]


async def test_a_foreign_fill_that_a_person_has_seen_to_does_not_freeze_the_symbol_again(desk: Any) -> None:
    await bought(desk)
    desk.clock.set(desk.start_ms + 60_000)
    desk.exchange.executions += [desk.fill(2, "1", "web_x"), desk.fill(3, "-1", "web_y")]
    await desk.reconciler.book_fills("BTCUSDT")
    assert len(desk.halted()) == 2
    now_ms = desk.clock.now_ms()
    desk.ledger.lift_halts(desk.ledger.halts(desk.book, now_ms), "me", "undone by hand", now_ms)
    desk.clock.set(desk.start_ms + 61_000)
    logged = len(desk.ledger.agent_log(desk.book))
    await desk.reconciler.book_fills("BTCUSDT")
    assert desk.halted() == []
    assert len(desk.ledger.agent_log(desk.book)) == logged
    desk.exchange.executions.append(desk.fill(61, "1", "web_z"))
    await desk.reconciler.book_fills("BTCUSDT")
    assert len(desk.halted()) == 1


async def test_what_a_believed_stream_has_not_told_is_remembered_until_it_is_heard(desk: Any) -> None:
    reconciler, intent = desk.reconciler, desk.intent()
    desk.committed(intent)
    first, second = desk.fill(1, "0.4", intent.client_id), desk.fill(2, "0.6", intent.client_id)
    desk.exchange.executions.append(first)
    await reconciler.book_fills("BTCUSDT")
    assert reconciler.unheard == {}  # nobody listens
    reconciler.listen(trusted=True)
    desk.exchange.executions.append(second)
    await reconciler.book_fills("BTCUSDT")
    reconciler.listen(trusted=True)  # a reconciliation is no word of the stream
    assert list(reconciler.unheard) == [("BTCUSDT", "2")]
    reconciler.heard(first)
    assert list(reconciler.unheard) == [("BTCUSDT", "2")]
    reconciler.heard(second)
    assert reconciler.unheard == {}


async def test_a_fee_in_another_currency_is_booked_and_freezes_the_symbol_with_its_amount(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.executions.append(desk.fill(1, "1", intent.client_id, fee=Decimal(0), foreign_fee="0.0001 BNB"))
    await desk.reconciler.book_fills("BTCUSDT")
    assert desk.held() == 1
    [(symbol, reason)] = desk.halted()
    assert symbol == "BTCUSDT"
    assert "the fee 0.0001 BNB of execution 1 is not in the books" in reason


async def test_a_difference_that_moves_while_an_order_is_filled_in_parts_is_not_foreign(desk: Any) -> None:
    intent = desk.intent(quantity="3")
    desk.committed(intent)
    desk.ledger.advance_order(desk.report(intent, OrderState.OPEN))
    listed = desk.exchange.fills

    async def one_more(symbol: str, since_ms: int) -> Any:
        desk.exchange.executions.append(desk.fill(len(desk.exchange.executions) + 1, "0.5", intent.client_id))
        return await listed(symbol, since_ms)

    desk.exchange.fills = one_more
    assert await settled(desk, "2.5") == []
    assert desk.held() == 1
    assert desk.halted() == []


async def test_executions_that_cancelled_each_other_out_while_none_could_be_read_are_booked_afterwards(desk: Any) -> None:
    reconciler = desk.reconciler
    entry = desk.intent()
    desk.committed(entry)
    reconciler.unread["BTCUSDT"] = desk.start_ms
    desk.exchange.executions += [desk.fill(1, "1", entry.client_id), desk.fill(2, "-1", entry.client_id)]
    await reconciler.settle_positions(["BTCUSDT"], desk.account("0"))
    assert len(desk.ledger.fills(desk.book)) == 2
    assert not reconciler.unread
