"""Between two decisions: slices, remainders, open questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.decision import Action
from shared.domain.errors import (
    LedgerUnavailable,
    NotApproved,
    OutcomeUnknown,
    RateLimited,
    VenueRejected,
    VenueUnreachable,
    WouldTrigger,
)
from shared.domain.ids import client_order_id
from shared.domain.interval import HOUR_MS
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderRecord, OrderReport, OrderState
from shared.domain.records import EquityPoint, Halt, Lease
from shared.trading.book import BookState
from shared.trading.execution import Executor
from shared.trading.execution_params import ExecutionParams
from shared.trading.follow_up import FollowUp
from shared.trading.legs import remainder
from shared.trading.move import HALTS_FRESH_MS, Move
from shared.trading.order_desk import OrderDesk
from shared.trading.params import SystemParams
from shared.trading.reconciliation import Reconciler
from shared.trading.twap import slices

SYMBOL = "BTCUSDT"
RULES = SymbolRules(SYMBOL, Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(5))
PARAMS = SystemParams(execution=ExecutionParams(twap_notional=100.0, twap_slices=3, twap_seconds=20.0, stop_deadline_s=15.0))
MAX_AGE_MS = 900_000


@dataclass
class Tended:
    """The order desk of one process on a scripted exchange."""

    desk: Any
    on_check: Callable[[], None] = lambda: None
    """what happens while the lease is looked at"""
    execution: ExecutionParams = PARAMS.execution
    params: SystemParams = PARAMS
    book: BookState = field(init=False)
    reconciler: Reconciler = field(init=False)
    follow_up: FollowUp = field(init=False)
    orders: OrderDesk = field(init=False)

    def __post_init__(self) -> None:
        desk, execution = self.desk, self.execution
        self.book = BookState(desk.ledger, desk.book)
        executor = Executor(desk.exchange, desk.ledger, desk.clock, desk.book, execution)
        reconciler = Reconciler(desk.exchange, desk.ledger, desk.clock, executor, desk.book, desk.start_ms, execution)
        self.reconciler = reconciler
        self.orders = OrderDesk(
            ledger=desk.ledger,
            book=self.book,
            executor=executor,
            reconciler=reconciler,
            rules={SYMBOL: RULES},
            params=self.params,
            max_age_ms=MAX_AGE_MS,
            check_lease=lambda: self.on_check(),
            lease=self.lease,
            clock=desk.clock,
            equity=lambda: Decimal(10_000),
            price=lambda _: Decimal(100),
            name=desk.book,
        )
        self.follow_up = FollowUp(
            ledger=desk.ledger,
            clock=desk.clock,
            book=self.book,
            executor=executor,
            reconciler=reconciler,
            desk=self.orders,
            params=execution,
        )

    def lease(self) -> Lease:
        lease = self.desk.ledger.acquire_lease(self.desk.book, "test", 60_000, self.desk.clock.now_ms())
        assert lease is not None
        return lease

    def committed(self, *intents: OrderIntent, action: Action = Action.OPEN, bar: int = 0) -> None:
        """A decision of 10,000 of equity at 100 that wants what its market orders add up to, on what is held."""
        desk = self.desk
        legs = [intent for intent in intents if intent.stop_price is None]
        wanted = desk.held() + sum((intent.quantity * intent.side.sign for intent in legs), Decimal(0))
        stop_price = 90.0 if wanted > 0 else 110.0
        decision = replace(desk.decision(bar), stop_price=stop_price, approved_fraction=float(wanted) / 100, action=action)
        desk.ledger.record_equity(
            desk.book, EquityPoint(decision.bar_close_ms, Decimal(10_000), Decimal(10_000), Decimal(10_000))
        )
        assert desk.ledger.commit_decision(decision, intents, self.lease())
        self.book.changed()

    async def tend(self, seconds: float = 0.0) -> bool:
        self.desk.clock.set(self.desk.clock.now_ms() + round(1000 * seconds))
        return bool(await self.desk.finished(self.follow_up.tend([SYMBOL])))

    def stopped_out(self, trade_id: int) -> None:
        """The stop that rests is executed at the venue, and the user stream says so."""
        desk = self.desk
        [stop] = self.book.open_stops()
        fill = desk.fill(trade_id, str(stop.intent.quantity * stop.intent.side.sign), stop.intent.client_id)
        desk.exchange.executions.append(fill)
        desk.ledger.advance_order(desk.report(stop.intent))
        desk.ledger.add_fills(desk.book, [fill])
        self.book.changed()

    async def carried_out(self, *intents: OrderIntent, action: Action = Action.OPEN, bar: int = 0) -> None:
        """A decision is committed and its first orders are sent."""
        self.committed(*intents, action=action, bar=bar)
        decided, all_decided = self.desk.decision(bar), asyncio.Event()
        all_decided.set()
        move = Move(SYMBOL, intents, Decimal(10_000), Decimal(100), decided.bar_close_ms)
        await self.desk.finished(self.orders.carry_out(move, all_decided))

    def states(self) -> dict[str, str]:
        """State of every order by leg."""
        return {record.intent.leg: record.state.value for record in self.desk.ledger.orders(self.desk.book)}


@pytest.fixture
def tended(desk: Any) -> Tended:
    return Tended(desk)


def sliced(desk: Any, quantity: str = "3") -> tuple[OrderIntent, ...]:
    return slices(desk.intent(quantity=quantity), RULES, Decimal(quantity) * 100, PARAMS.execution, desk.start_ms + MAX_AGE_MS)


async def test_slices_go_out_in_their_time_and_the_stop_grows_with_them(desk: Any, tended: Tended) -> None:
    tended.committed(*sliced(desk))
    first, _, _ = sliced(desk)
    await desk.finished(tended.orders.send_slice(first))
    assert not await tended.tend(1)
    assert desk.held() == 1
    assert not await tended.tend(9)
    assert (desk.held(), [stop.intent.quantity for stop in tended.book.open_stops()]) == (2, [2])
    assert not await tended.tend(5)
    assert desk.held() == 2
    await tended.tend(5)
    assert await tended.tend(1)
    assert (desk.held(), [stop.intent.quantity for stop in tended.book.open_stops()]) == (3, [3])


async def test_no_slice_goes_out_while_the_position_so_far_is_not_protected(desk: Any, tended: Tended) -> None:
    tended.committed(*sliced(desk))
    await desk.finished(tended.orders.send_slice(sliced(desk)[0]))
    desk.clock.set(desk.start_ms + 10_000)
    desk.exchange.on_send.append(VenueRejected("no stop now", -1))
    assert not await tended.tend()
    assert desk.held() == 1
    assert tended.states()["slice2"] == "intent"


async def test_a_halt_ends_the_slices_that_were_not_sent(desk: Any, tended: Tended) -> None:
    tended.committed(*sliced(desk))
    await desk.finished(tended.orders.send_slice(sliced(desk)[0]))
    desk.ledger.set_halt(Halt(desk.book, "by hand", desk.start_ms, None))
    for _ in range(3):
        await tended.tend(10)
    assert desk.held() == 1
    assert {leg: state for leg, state in tended.states().items() if leg.startswith("slice")} == {
        "slice1": "filled",
        "slice2": "abandoned",
        "slice3": "abandoned",
    }


async def test_a_stop_that_was_executed_ends_the_slices_and_nothing_is_opened_again(desk: Any, tended: Tended) -> None:
    await tended.carried_out(*sliced(desk))
    await tended.tend(1)
    assert desk.held() == 1
    tended.stopped_out(5)
    await tended.tend(1)
    for _ in range(5):
        await tended.tend(10)
    assert desk.held() == 0
    assert (tended.states()["slice2"], tended.states()["slice3"]) == ("abandoned", "abandoned")
    assert desk.ledger.order(sliced(desk)[2].client_id).reason.startswith("a stop or an exit has moved the position by -1")


async def test_an_exit_for_want_of_a_stop_ends_the_slices(desk: Any, tended: Tended) -> None:
    tended.committed(*sliced(desk))
    await desk.finished(tended.orders.send_slice(sliced(desk)[0]))
    desk.exchange.on_send.append(WouldTrigger("crossed"))
    await tended.tend(1)
    assert (desk.held(), tended.states()["exit"]) == (0, "filled")
    desk.exchange.on_find += [None, None]
    for _ in range(5):
        await tended.tend(10)
    assert (desk.held(), tended.states()["slice2"], tended.states()["slice3"]) == (0, "abandoned", "abandoned")


async def test_a_stop_of_the_old_position_ends_the_slices_of_a_reversal(desk: Any, tended: Tended) -> None:
    await tended.carried_out(desk.intent(quantity="1"), desk.intent("stop", "1"))
    desk.clock.set(desk.start_ms + HOUR_MS)
    parts = slices(desk.intent(quantity="-3", bar=1), RULES, Decimal(300), PARAMS.execution, desk.start_ms + 2 * HOUR_MS)
    parts = tuple(replace(part, created_ms=desk.start_ms + HOUR_MS) for part in parts)
    await tended.carried_out(*parts, action=Action.REVERSE, bar=1)
    assert desk.held() == 0
    [stop] = [record.intent for record in desk.ledger.orders(desk.book) if record.intent.leg == "stop"]
    fill = desk.fill(5, "-1", stop.client_id)  # it was executed before it could be cancelled
    desk.exchange.executions.append(fill)
    desk.ledger.add_fills(desk.book, [fill])
    tended.book.changed()
    await tended.tend(1)
    for _ in range(5):
        await tended.tend(10)
    assert desk.held() == -1
    assert [tended.states()[leg] for leg in ("slice1", "slice2", "slice3")] == ["filled", "abandoned", "abandoned"]


async def test_slices_wait_while_something_is_not_trusted(desk: Any, tended: Tended) -> None:
    await tended.carried_out(*sliced(desk))
    tended.orders.held_back = "the user stream is lost"
    await tended.tend(12)
    assert (desk.held(), tended.states()["slice2"]) == (1, "intent")
    tended.orders.held_back = ""
    await tended.tend(1)
    assert (desk.held(), tended.states()["slice2"]) == (2, "filled")


async def test_a_slice_that_went_out_while_the_ledger_went_away_is_not_given_up(
    desk: Any, tended: Tended, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tended.carried_out(*sliced(desk))
    await tended.tend(1)
    desk.exchange.on_send.append(OutcomeUnknown("timeout"))

    def away(*_: Any) -> Any:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(desk.ledger, "advance_order", away)
        with pytest.raises(LedgerUnavailable):
            await tended.tend(9)
    desk.ledger.set_halt(Halt(desk.book, "by hand", desk.start_ms, None))
    second = sliced(desk)[1]
    desk.exchange.executions.append(desk.fill(2, "1", second.client_id))
    desk.exchange.on_find.append(desk.report(second))
    await tended.tend(1)
    assert (desk.held(), tended.states()["slice2"]) == (2, "filled")


async def test_slices_that_have_waited_hold_up_no_newer_bar(desk: Any, tended: Tended) -> None:
    await tended.carried_out(*sliced(desk))
    tended.orders.held_back = "the user stream is lost"
    await tended.tend(1)
    await tended.tend(30)
    await tended.follow_up.supersede(desk.start_ms + HOUR_MS)
    assert desk.exchange.looked_up == []
    assert (tended.states()["slice2"], tended.states()["slice3"]) == ("abandoned", "abandoned")


async def test_a_reversal_beside_its_stop_is_brought_back_to_what_was_decided_at_once(desk: Any, tended: Tended) -> None:
    await tended.carried_out(desk.intent(quantity="1"), desk.intent("stop", "1"))
    desk.clock.set(desk.start_ms + HOUR_MS)
    market, stop = desk.intent(quantity="-2", bar=1), desk.intent("stop", "-1", bar=1, stop_price=Decimal(110))
    resting = tended.book.open_stops()[0].intent
    desk.exchange.executions.append(desk.fill(2, "-1", resting.client_id))  # while the order is on its way; nobody was told
    await tended.carried_out(market, stop, action=Action.REVERSE, bar=1)
    assert desk.held() == -1
    [trim] = [record for record in desk.ledger.orders(desk.book) if record.intent.leg == "trim"]
    assert (trim.state.value, trim.intent.quantity, trim.intent.reduce_only) == ("filled", 1, True)
    assert trim.intent.client_id == client_order_id(desk.book, desk.decision(1).id, "trim")


async def test_a_stop_that_is_known_only_later_is_made_up_for_as_soon_as_it_is(desk: Any, tended: Tended) -> None:
    await tended.carried_out(desk.intent(quantity="1"), desk.intent("stop", "1"))
    desk.clock.set(desk.start_ms + HOUR_MS)
    market, stop = desk.intent(quantity="-2", bar=1), desk.intent("stop", "-1", bar=1, stop_price=Decimal(110))
    [resting] = tended.book.open_stops()
    desk.exchange.on_cancel.append(VenueUnreachable("refused"))
    await tended.carried_out(market, stop, action=Action.REVERSE, bar=1)
    assert desk.held() == -1
    fill = desk.fill(2, "-1", resting.intent.client_id)
    desk.exchange.executions.append(fill)
    desk.ledger.advance_order(desk.report(resting.intent))
    desk.ledger.add_fills(desk.book, [fill])
    tended.book.changed()
    for _ in range(5):
        await tended.tend(1)
    assert (desk.held(), tended.states()["trim"]) == (-1, "filled")


async def test_a_reversal_that_went_as_decided_is_left_alone(desk: Any, tended: Tended) -> None:
    await tended.carried_out(desk.intent(quantity="1"), desk.intent("stop", "1"))
    desk.clock.set(desk.start_ms + HOUR_MS)
    market, stop = desk.intent(quantity="-2", bar=1), desk.intent("stop", "-1", bar=1, stop_price=Decimal(110))
    await tended.carried_out(market, stop, action=Action.REVERSE, bar=1)
    for _ in range(3):
        assert await tended.tend(1)
    assert desk.held() == -1
    assert "trim" not in tended.states()


async def test_what_a_partial_fill_left_is_not_ordered_after_a_stop(desk: Any, tended: Tended) -> None:
    market = desk.intent()
    tended.committed(market)
    stop = desk.intent("stop", "0.4")
    desk.ledger.add_intents([stop], tended.lease())
    desk.ledger.advance_order(desk.report(stop))
    desk.ledger.advance_order(desk.report(market, OrderState.EXPIRED, filled=Decimal("0.4")))
    desk.exchange.executions += [desk.fill(0, "0.4", market.client_id), desk.fill(1, "-0.4", stop.client_id)]
    await desk.finished(tended.follow_up.finished(market.client_id))
    assert (desk.held(), desk.exchange.sent) == (0, [])


async def test_a_newer_bar_ends_the_slices_of_the_older_decision_only(desk: Any, tended: Tended) -> None:
    tended.committed(*sliced(desk))
    await tended.follow_up.supersede(desk.start_ms)
    assert tended.states()["slice2"] == "intent"
    await tended.follow_up.supersede(desk.start_ms + 3_600_000)
    assert set(tended.states().values()) == {"intent", "abandoned"}
    assert tended.states()["slice3"] == "abandoned"


async def test_a_slice_that_a_killed_process_may_have_sent_is_looked_up_before_it_is_given_up(
    desk: Any, tended: Tended
) -> None:
    tended.committed(*sliced(desk))
    second = sliced(desk)[1]
    desk.clock.set(desk.start_ms + 12_000)
    desk.exchange.on_find.append(desk.report(second))
    await desk.finished(tended.follow_up.supersede(desk.start_ms + 3_600_000))
    assert tended.states()["slice2"] == "filled"


async def test_an_older_slice_that_nobody_answers_for_holds_up_the_next_bar_for_a_moment_only_and_is_never_sent(
    desk: Any, tended: Tended
) -> None:
    tended.committed(*sliced(desk))
    desk.clock.set(desk.start_ms + 25_000)  # both may have been sent by a process that was killed
    desk.exchange.on_find.extend([VenueUnreachable("no answer")] * 20)
    began_ms = desk.clock.now_ms()
    await desk.finished(tended.follow_up.supersede(desk.start_ms + HOUR_MS))
    assert desk.clock.now_ms() - began_ms <= 1000 * PARAMS.execution.answer_patience_s
    assert (tended.states()["slice2"], tended.states()["slice3"]) == ("unknown", "unknown")
    assert len(tended.book.open_questions()) == 3  # while they are, no new risk is taken
    desk.exchange.on_find.clear()
    desk.exchange.on_find.extend([None] * 20)
    for _ in range(8):
        await tended.tend(8)
    assert (tended.states()["slice2"], tended.states()["slice3"]) == ("abandoned", "abandoned")
    assert not {intent.client_id for intent in sliced(desk)[1:]} & set(desk.exchange.sent)


async def test_no_slice_goes_out_while_the_executions_of_its_symbol_cannot_be_read(desk: Any, tended: Tended) -> None:
    await tended.carried_out(*sliced(desk))
    tended.reconciler.unread[SYMBOL] = desk.start_ms
    await tended.tend(10)
    assert desk.held() == 1
    tended.reconciler.unread.clear()
    await tended.tend(1)
    assert desk.held() == 2


async def test_slices_of_a_bar_that_an_earlier_process_has_superseded_are_not_sent(desk: Any, tended: Tended) -> None:
    tended.committed(*sliced(desk))
    tended.committed(desk.intent(bar=1, quantity="1"), bar=1)
    restarted = Tended(desk, execution=PARAMS.execution)
    with pytest.raises(NotApproved, match="newer bar"):
        restarted.orders.again(sliced(desk)[1])


async def test_what_a_partial_fill_left_is_ordered_again_as_a_leg_of_its_own(desk: Any, tended: Tended) -> None:
    market = desk.intent()
    tended.committed(market)
    desk.ledger.advance_order(desk.report(market, OrderState.EXPIRED, filled=Decimal("0.4")))
    desk.exchange.executions.append(desk.fill(0, "0.4", market.client_id))
    await desk.finished(tended.follow_up.finished(market.client_id))
    assert desk.held() == 1
    assert tended.states() == {"market": "expired", "rest-market": "filled"}
    await desk.finished(tended.follow_up.finished(market.client_id))
    assert len(desk.exchange.sent) == 1


async def test_a_remainder_of_an_old_bar_is_not_ordered(desk: Any, tended: Tended) -> None:
    market = desk.intent()
    tended.committed(market)
    desk.ledger.advance_order(desk.report(market, OrderState.EXPIRED, filled=Decimal("0.4")))
    desk.clock.set(desk.start_ms + MAX_AGE_MS + 1)
    await desk.finished(tended.follow_up.finished(market.client_id))
    assert (desk.exchange.sent, tended.states()["rest-market"]) == ([], "abandoned")


async def test_an_order_that_cannot_be_looked_up_is_known_by_its_executions(desk: Any, tended: Tended) -> None:
    market = desk.intent()
    tended.committed(market)
    desk.ledger.advance_order(OrderReport(market.client_id, SYMBOL, OrderState.UNKNOWN, Decimal(0)))
    tended.book.changed()
    desk.exchange.executions.append(desk.fill(0, "1", market.client_id))
    desk.exchange.on_find.append(OutcomeUnknown("timeout"))
    await tended.tend()
    assert (desk.held(), tended.states()["market"]) == (1, "filled")
    assert [stop.intent.quantity for stop in tended.book.open_stops()] == [1]


async def test_an_order_that_never_reached_the_venue_is_sent_again_with_pauses_while_its_bar_is_fresh(
    desk: Any, tended: Tended
) -> None:
    market = desk.intent()
    tended.committed(market)
    desk.exchange.on_send += [VenueUnreachable("refused")] * 2
    desk.exchange.on_find += [None, None]
    sent_by = []
    for _ in range(30):
        await tended.tend(0.25)
        sent_by.append(desk.exchange.sent.count(market.client_id))
    first, second, third = (sent_by.index(number) for number in (1, 2, 3))
    assert first >= 16  # two denials, four seconds apart
    assert (second - first, third - second) == (2, 4)
    assert (sent_by[-1], desk.held()) == (3, 1)


async def test_an_increase_that_waits_is_given_up_where_the_stop_of_its_position_was_executed(
    desk: Any, tended: Tended
) -> None:
    await tended.carried_out(desk.intent(quantity="1"), desk.intent("stop", "1"))
    await tended.tend(1)
    desk.clock.set(desk.start_ms + HOUR_MS)
    more = replace(desk.intent(quantity="1", bar=1), created_ms=desk.start_ms + HOUR_MS)
    tended.committed(more, action=Action.INCREASE, bar=1)
    desk.exchange.on_send.append(VenueUnreachable("refused"))
    desk.exchange.on_find += [None, None]
    await tended.tend(0.25)
    tended.stopped_out(5)
    for _ in range(20):
        await tended.tend(1)
    assert (desk.held(), desk.exchange.sent.count(more.client_id)) == (0, 0)
    assert "a stop or an exit has moved the position by -1" in desk.ledger.order(more.client_id).reason


async def test_an_approval_bears_the_instant_before_anything_was_asked(desk: Any, tended: Tended) -> None:
    """The venue refuses what was signed with it and leaves late: also from a process that was stopped in the middle."""
    market = desk.intent()
    tended.committed(market)
    tended.on_check = lambda: desk.clock.set(desk.start_ms + 5000)
    move = Move(SYMBOL, (market,), Decimal(10_000), Decimal(100), desk.start_ms)
    assert tended.orders.approved(market, move).approved_ms == desk.start_ms


async def test_a_halt_binds_before_the_ledger_has_it(desk: Any, tended: Tended) -> None:
    tended.orders.unwritten.append(Halt(desk.book, "drawdown", desk.start_ms, None))
    await tended.carried_out(desk.intent())
    assert (desk.exchange.sent, tended.states()) == ([], {"market": "abandoned"})


@pytest.mark.parametrize(
    ("state", "filled", "quantity", "why_not"),
    [
        (OrderState.EXPIRED, "0", "1", ""),
        (OrderState.REJECTED, "0", "1", ""),
        (OrderState.FILLED, "1", "1", ""),
        (OrderState.OPEN, "0.5", "1", ""),
        (OrderState.EXPIRED, "0.99", "1", "below what the venue accepts"),
        (OrderState.EXPIRED, "0.5", "1", None),
    ],
)
def test_only_a_partly_filled_order_that_has_ended_has_a_remainder(
    desk: Any, state: OrderState, filled: str, quantity: str, why_not: str | None
) -> None:
    record = OrderRecord(desk.intent(quantity=quantity), state, Decimal(filled))
    further, reason = remainder(record, [record], RULES, Decimal(100), 2, desk.start_ms)
    if why_not is None:
        assert further is not None
        assert (further.leg, further.quantity) == ("rest-market", Decimal("0.5"))
    else:
        assert further is None
        assert why_not in reason


def test_remainders_are_bounded(desk: Any) -> None:
    record = OrderRecord(desk.intent(), OrderState.EXPIRED, Decimal("0.5"))
    legs = [record]
    names = []
    while True:
        further, reason = remainder(legs[-1], legs, RULES, Decimal(100), 2, desk.start_ms)
        if further is None:
            break
        names.append(further.leg)
        legs.append(OrderRecord(further, OrderState.EXPIRED, further.quantity / 2))
    assert names == ["rest-market", "rest-rest-market"]
    assert "2 further orders were tried" in reason


@pytest.mark.parametrize(("later_ms", "is_sent"), [(HALTS_FRESH_MS, True), (HALTS_FRESH_MS + 1, False)])
async def test_an_order_goes_out_under_the_halts_it_was_decided_under_only_in_the_same_breath(
    desk: Any, tended: Tended, later_ms: int, is_sent: bool
) -> None:
    intent = desk.intent()
    tended.committed(intent)
    close_ms = tended.desk.decision().bar_close_ms
    move = Move(SYMBOL, (intent,), Decimal(10_000), Decimal(100), close_ms, (), desk.clock.now_ms())
    desk.ledger.set_halt(Halt(desk.book, "by hand", desk.start_ms, None))
    desk.clock.set(desk.clock.now_ms() + later_ms)
    record = await desk.finished(tended.orders.send(intent, move))
    assert (record.state is not OrderState.ABANDONED) == is_sent


async def test_the_stop_of_an_entry_that_was_not_booked_in_time_goes_out_under_its_own_id(desk: Any) -> None:
    """A process was killed when it knew that its entry was filled and had not booked the execution."""
    tended = Tended(desk, execution=replace(PARAMS.execution, resend_grace_s=0.05, closing_grace_s=0.05))
    entry, stop = desk.intent(), desk.intent("stop")
    tended.committed(entry, stop)
    desk.ledger.advance_order(desk.report(entry))
    desk.exchange.executions.append(desk.fill(1, "1", entry.client_id))
    desk.exchange.on_find.extend([None, None])  # the stop never arrived
    assert tended.book.open_questions()  # what a step asks first: the position is not booked yet
    await desk.finished(tended.orders.settle(await desk.exchange.account()))
    assert tended.states() == {"market": "filled", "stop": "open"}
    assert desk.exchange.sent == [stop.client_id]


@pytest.mark.parametrize(("ending", "state"), [(False, "intent"), (True, "abandoned")])
async def test_an_entry_that_did_not_reach_the_venue_waits_for_a_trouble_of_the_moment_but_not_for_the_next_process(
    desk: Any, tended: Tended, ending: bool, state: str
) -> None:
    desk.exchange.on_send.append(RateLimited("slow down", -1003, 4.0))
    await tended.carried_out(desk.intent(), desk.intent("stop"))
    tended.orders.held_back, tended.orders.is_ending = "venue: asked to wait", ending
    await tended.tend(5)
    assert tended.states()["market"] == state
    tended.orders.held_back = ""
    await tended.tend(1)
    assert (tended.states()["market"] == "filled") is not ending


async def test_an_entry_that_is_held_back_until_it_is_too_old_is_not_sent(desk: Any, tended: Tended) -> None:
    desk.exchange.on_send.append(RateLimited("slow down", -1003, 4.0))
    await tended.carried_out(desk.intent(), desk.intent("stop"))
    tended.orders.held_back = "venue: asked to wait"
    await tended.tend(5)
    await tended.tend(MAX_AGE_MS / 1000)
    assert tended.states()["market"] == "abandoned"


async def test_an_exit_that_was_given_up_for_a_younger_one_is_not_sent_any_more(desk: Any, tended: Tended) -> None:
    await tended.carried_out(desk.intent(), desk.intent("stop"))
    first = desk.intent("exit", "-1", reduce_only=True)
    desk.ledger.add_intents([first], tended.lease())
    assert tended.orders.protective(first).intent == first
    desk.ledger.add_intents([desk.intent("exit2", "-1", reduce_only=True, created_ms=first.created_ms + 1)], tended.lease())
    with pytest.raises(NotApproved, match="another exit was sent"):
        tended.orders.protective(first)


async def test_the_orders_of_an_earlier_process_count_in_the_pace(desk: Any) -> None:
    pace = replace(PARAMS, risk=replace(PARAMS.risk, max_orders_day=3))
    before = Tended(desk, params=pace)
    await before.carried_out(desk.intent(), desk.intent("stop"))
    assert before.states() == {"market": "filled", "stop": "open"}
    after = Tended(desk, params=pace)
    await after.carried_out(desk.intent("more", bar=1), bar=1)
    await after.carried_out(desk.intent("much", bar=2), bar=2)
    assert after.states()["more"] == "filled"
    assert after.states()["much"] == "abandoned"
    [record] = [record for record in desk.ledger.orders(desk.book) if record.intent.leg == "much"]
    assert "max_orders_day 3" in record.reason


async def test_an_order_without_a_connection_is_not_lost_to_the_pace_for_being_looked_at(desk: Any) -> None:
    tended = Tended(desk, params=replace(PARAMS, risk=replace(PARAMS.risk, max_orders_minute=2)))
    desk.exchange.on_send.append(VenueUnreachable("connection refused"))
    await tended.carried_out(desk.intent())
    for _ in range(4):
        desk.clock.set(desk.clock.now_ms() + 100)
        await desk.finished(tended.orders.settle(await desk.exchange.account()))
        assert tended.states() == {"market": "intent"}
    desk.clock.set(desk.clock.now_ms() + 1000)
    await desk.finished(tended.orders.settle(await desk.exchange.account()))
    assert tended.states() == {"market": "filled"}


@pytest.mark.parametrize("fails", ["record_arrival", "advance_order"])
async def test_a_slice_is_not_sent_again_where_the_ledger_has_failed_after_it(
    desk: Any, tended: Tended, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = sliced(desk)
    await tended.carried_out(*sliced(desk))
    written = getattr(desk.ledger, fails)

    def answer_lost(*arguments: Any) -> None:
        written(*arguments)
        monkeypatch.undo()
        raise LedgerUnavailable("the ledger's answer was lost")

    monkeypatch.setattr(desk.ledger, fails, answer_lost)
    with pytest.raises(LedgerUnavailable):
        await tended.tend(10)
    await tended.tend(1)
    assert [sent for sent in desk.exchange.sent if sent in (first.client_id, second.client_id)] == [
        first.client_id,
        second.client_id,
    ]
    assert tended.states()["slice2"] == "filled"
