"""No position without its stop: placed, resized, replaced, and where that fails: closed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.sql.decisions import origin as origin_of
from shared.adapters.sql.memory import memory_ledger
from shared.domain.decision import Action
from shared.domain.errors import OutcomeUnknown, RateLimited, VenueRejected, VenueUnreachable, WouldTrigger
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, OrderReport, OrderState
from shared.domain.records import HaltKind, Lease
from shared.risk.approval import ApprovedOrder
from shared.trading.book import BookState
from shared.trading.execution import Executor
from shared.trading.protection import Guard
from shared.trading.reconciliation import Reconciler
from shared.trading.workbench import Workbench

SYMBOL = "BTCUSDT"
RULES = SymbolRules(SYMBOL, Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(5))
REFUSED = VenueRejected("no", -1)


@dataclass
class Watched:
    """A guard on a desk, as a process holds it; another one on the same desk is the process after a restart."""

    desk: Any
    rules: SymbolRules = RULES
    guard: Guard = field(init=False)
    executor: Executor = field(init=False)
    book: BookState = field(init=False)

    def __post_init__(self) -> None:
        desk = self.desk
        self.book = BookState(desk.ledger, desk.book)
        self.executor = Executor(desk.exchange, desk.ledger, desk.clock, desk.book, desk.params)
        reconciler = Reconciler(
            desk.exchange, desk.ledger, desk.clock, self.executor, desk.book, desk.start_ms - 86_400_000, desk.params
        )
        bench = Workbench(
            ledger=desk.ledger,
            clock=desk.clock,
            name=desk.book,
            book=self.book,
            executor=self.executor,
            reconciler=reconciler,
            rules=lambda: {SYMBOL: self.rules},
            approve=self.approve,
            lease=self.lease,
        )
        self.guard = Guard(bench, desk.params)

    def lease(self) -> Lease:
        lease = self.desk.ledger.acquire_lease(self.desk.book, "test", 60_000, self.desk.clock.now_ms())
        assert lease is not None
        return lease

    def approve(self, intent: OrderIntent) -> ApprovedOrder:
        approved: ApprovedOrder = self.desk.approved(intent, str(self.desk.held()))
        return approved

    async def protect(self, planned: OrderIntent | None = None) -> bool:
        self.book.changed()
        return bool(await self.desk.finished(self.guard.protect(SYMBOL, planned)))

    def stops(self) -> list[tuple[str, Decimal]]:
        """Leg and size of the stops that rest."""
        return [(record.intent.leg, record.intent.quantity) for record in self.book.open_stops(SYMBOL)]

    def pass_seconds(self, seconds: float) -> None:
        self.desk.clock.set(self.desk.clock.now_ms() + round(1000 * seconds))


def entered(desk: Any, filled: str = "1", quantity: str = "1") -> OrderIntent:
    """An entry of `quantity` whose market leg filled `filled`; returns the stop that was planned with it."""
    market, stop = desk.intent("market", quantity), desk.intent("stop", quantity)
    lease = desk.ledger.acquire_lease(desk.book, "test", 60_000, desk.clock.now_ms())
    desk.ledger.commit_decision(replace(desk.decision(), stop_price=90.0), [market, stop], lease)
    state = OrderState.FILLED if filled == quantity else OrderState.EXPIRED
    report = OrderReport(market.client_id, SYMBOL, state, Decimal(filled), "7", Decimal(100), desk.clock.now_ms())
    desk.ledger.advance_order(report)
    fill = desk.fill(0, filled, market.client_id)
    desk.exchange.executions.append(fill)
    desk.ledger.add_fills(desk.book, [fill])
    return stop  # type: ignore[no-any-return]


@pytest.fixture
def watched(desk: Any) -> Watched:
    return Watched(desk)


async def test_the_planned_stop_goes_out_at_once_and_then_nobody_is_asked(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    assert await watched.protect(stop)
    assert (desk.exchange.sent, watched.stops()) == ([stop.client_id], [("stop", Decimal(1))])
    assert await watched.protect()
    assert (len(desk.exchange.sent), desk.exchange.looked_up) == (1, [])


async def test_a_partly_filled_entry_gets_a_stop_of_what_was_filled(desk: Any, watched: Watched) -> None:
    stop = entered(desk, "0.4")
    assert await watched.protect(stop)
    assert watched.stops() == [("stop2", Decimal("0.4"))]
    assert desk.ledger.order(stop.client_id).state is OrderState.ABANDONED
    [record] = watched.book.open_stops(SYMBOL)
    assert (record.intent.stop_price, record.intent.reduce_only) == (Decimal("90"), True)


async def test_a_grown_position_gets_its_new_stop_before_the_old_one_is_cancelled(desk: Any, watched: Watched) -> None:
    old = entered(desk)
    await watched.protect(old)
    more = desk.fill(5, "0.5", desk.intent().client_id)
    desk.ledger.add_fills(desk.book, [more])
    cancelled_when_sent: list[int] = []
    send = desk.exchange.send

    async def noting(order: ApprovedOrder) -> OrderReport:
        cancelled_when_sent.append(len(desk.exchange.cancelled))
        report: OrderReport = await send(order)
        return report

    desk.exchange.send = noting
    assert await watched.protect()
    assert watched.stops() == [("stop2", Decimal("1.5"))]
    assert (cancelled_when_sent, desk.exchange.cancelled) == ([0], [old.client_id])


async def test_a_stop_that_was_executed_without_a_word_does_not_count_as_cover(desk: Any, watched: Watched) -> None:
    old = entered(desk)
    await watched.protect(old)
    # A slice came to the venue after the stop had been executed; only executions were read, not the order of the stop.
    fills = [desk.fill(1, "-1", old.client_id), desk.fill(2, "0.4", desk.intent().client_id)]
    desk.exchange.executions += fills
    desk.ledger.add_fills(desk.book, fills)
    desk.exchange.on_send.append(WouldTrigger("crossed"))
    desk.exchange.on_find.append(desk.report(old))
    await watched.protect()
    assert desk.held() == 0
    assert [record.intent.leg for record in desk.ledger.orders(desk.book) if record.filled == Decimal("0.4")] == ["exit"]


async def test_a_stop_that_is_refused_until_the_deadline_closes_the_position_and_pauses_the_symbol(
    desk: Any, watched: Watched
) -> None:
    stop = entered(desk)
    desk.exchange.on_send += [REFUSED] * 3
    assert not await watched.protect(stop)
    for _ in range(2):
        watched.pass_seconds(4)
        assert not await watched.protect()
    assert desk.held() == 1
    desk.exchange.on_send.append(REFUSED)
    watched.pass_seconds(2)
    assert await watched.protect()
    assert desk.held() == 0
    closing = desk.ledger.order(desk.exchange.sent[-1]).intent
    assert (closing.leg, closing.reduce_only, closing.kind, closing.quantity) == ("exit", True, OrderKind.MARKET, Decimal(1))
    [halt] = desk.ledger.halts(desk.book, desk.clock.now_ms())
    assert (halt.symbol, halt.kind, halt.until_ms - halt.since_ms) == (SYMBOL, HaltKind.FROZEN, 3_600_000)


async def test_a_stop_whose_price_is_crossed_closes_the_position_at_once(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    desk.exchange.on_send.append(WouldTrigger("Order would immediately trigger.", -2021))
    assert await watched.protect(stop)
    assert desk.held() == 0
    assert desk.clock.now_ms() == desk.start_ms


async def test_a_stop_that_the_venue_cancelled_is_placed_again_under_another_id(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    await watched.protect(stop)
    desk.ledger.advance_order(desk.report(stop, OrderState.CANCELLED, updated_ms=desk.start_ms + 500))
    assert await watched.protect()
    assert watched.stops() == [("stop2", Decimal(1))]
    assert len(set(desk.exchange.sent)) == 2


async def test_a_stop_that_the_venue_denies_covers_nothing_any_more_and_is_replaced_at_once(
    desk: Any, watched: Watched
) -> None:
    stop = entered(desk)
    await watched.protect(stop)
    desk.exchange.on_find.append(None)  # cancelled while nobody listened, and forgotten
    await watched.executor.confirm(desk.ledger.order(stop.client_id), unlisted=False)
    desk.exchange.on_cancel.append(None)
    assert await watched.protect()
    assert (watched.stops(), desk.clock.now_ms()) == ([("stop2", Decimal(1))], desk.start_ms)
    assert desk.ledger.order(stop.client_id).state is OrderState.CANCELLED


async def test_a_stop_that_was_denied_once_and_does_rest_keeps_its_position_where_no_other_can_be_placed(
    desk: Any, watched: Watched
) -> None:
    stop = entered(desk)
    await watched.protect(stop)
    watched.pass_seconds(3600)
    desk.exchange.on_find.append(None)
    await watched.executor.confirm(desk.ledger.order(stop.client_id), unlisted=True)
    desk.exchange.on_send += [REFUSED] * 20
    for _ in range(12):
        await watched.protect()
        watched.pass_seconds(1)
    assert (desk.held(), watched.stops(), await watched.protect()) == (1, [("stop", Decimal(1))], True)


async def unanswered_exit(desk: Any, watched: Watched) -> OrderIntent:
    """An exit whose answer is lost and that cannot be looked up; no stop can be placed."""
    entered(desk)
    desk.clock.set(desk.start_ms + 60_000)
    desk.exchange.on_find += [None, *[VenueUnreachable("502")] * 40]  # the planned stop never reached the venue
    desk.exchange.on_send += [REFUSED, REFUSED, OutcomeUnknown("timeout")]
    assert not await watched.protect()
    first = desk.ledger.order(desk.exchange.sent[-1])
    assert (first.intent.leg, first.state) == ("exit", OrderState.UNKNOWN)
    desk.exchange.on_send += [REFUSED] * 4
    return first.intent  # type: ignore[no-any-return]


async def test_an_exit_that_nobody_answers_for_is_followed_by_another_one_once_it_is_too_late(
    desk: Any, watched: Watched
) -> None:
    first = await unanswered_exit(desk, watched)
    watched.pass_seconds(3)
    assert not await watched.protect()
    assert desk.held() == 1
    watched.pass_seconds(4)
    desk.exchange.on_send.clear()
    desk.exchange.on_send.append(REFUSED)
    assert await watched.protect()
    assert (desk.held(), desk.ledger.order(desk.exchange.sent[-1]).intent.leg) == (0, "exit2")
    assert desk.ledger.order(first.client_id).state is OrderState.UNKNOWN


async def test_an_exit_that_nobody_answers_for_and_that_was_executed_is_not_followed(desk: Any, watched: Watched) -> None:
    first = await unanswered_exit(desk, watched)
    desk.exchange.executions.append(desk.fill(9, "-1", first.client_id))
    watched.pass_seconds(7)
    await watched.protect()
    assert desk.held() == 0
    assert [record.intent.leg for record in desk.ledger.orders(desk.book) if record.intent.leg.startswith("exit")] == ["exit"]


async def test_a_position_whose_stop_is_known_as_filled_before_its_execution_is_not_bare(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    await watched.protect(stop)
    desk.ledger.advance_order(desk.report(stop))
    desk.exchange.executions.append(desk.fill(9, "-1", stop.client_id))
    desk.exchange.on_send.append(WouldTrigger("crossed", -2021))
    await watched.protect()
    assert (desk.held(), desk.exchange.sent, desk.halted()) == (0, [stop.client_id], [])
    assert await watched.protect()


async def test_the_deadline_of_a_lost_stop_counts_from_its_end_not_from_the_entry(desk: Any) -> None:
    stop = entered(desk)
    await Watched(desk).protect(stop)
    desk.clock.set(desk.start_ms + 3_600_000)
    desk.ledger.advance_order(desk.report(stop, OrderState.CANCELLED, updated_ms=desk.clock.now_ms() - 3000))
    desk.exchange.on_send.append(REFUSED)
    restarted = Watched(desk)
    assert not await restarted.protect()
    assert desk.held() == 1
    restarted.pass_seconds(7)
    desk.exchange.on_send.append(REFUSED)
    assert await restarted.protect()
    assert desk.held() == 0


async def test_after_a_restart_beyond_the_deadline_one_stop_is_tried_and_then_the_position_is_closed(desk: Any) -> None:
    entered(desk)
    desk.clock.set(desk.start_ms + 60_000)
    desk.exchange.on_find.append(None)  # the planned stop never reached the venue
    desk.exchange.on_send += [REFUSED, REFUSED]
    restarted = Watched(desk)
    assert await restarted.protect()
    assert desk.held() == 0


async def test_after_a_restart_beyond_the_deadline_the_planned_stop_is_placed_at_once(desk: Any) -> None:
    stop = entered(desk)
    desk.clock.set(desk.start_ms + 60_000)
    desk.exchange.on_find.append(None)
    restarted = Watched(desk)
    assert await restarted.protect()
    assert restarted.stops() == [("stop", Decimal(1))]
    assert desk.exchange.sent == [stop.client_id]


async def test_a_stop_with_an_unknown_outcome_is_looked_up_and_not_doubled(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    desk.exchange.on_send.append(OutcomeUnknown("timeout"))
    desk.exchange.on_find += [VenueUnreachable("cut"), desk.report(stop, OrderState.OPEN)]
    await watched.protect(stop)
    watched.pass_seconds(1)
    assert await watched.protect()
    assert (desk.exchange.sent, watched.stops()) == ([stop.client_id], [("stop", Decimal(1))])


async def test_a_throttled_stop_waits_as_asked_and_keeps_its_id(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    desk.exchange.on_send.append(RateLimited("slow down", -1003, retry_after_s=3.0))
    assert not await watched.protect(stop)
    watched.pass_seconds(1)
    assert not await watched.protect()
    assert len(desk.exchange.sent) == 1
    watched.pass_seconds(2.5)
    assert await watched.protect()
    assert (desk.exchange.sent, desk.exchange.looked_up) == ([stop.client_id] * 2, [])


async def test_without_a_position_no_stop_rests(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    await watched.protect(stop)
    desk.ledger.add_fills(desk.book, [desk.fill(9, "-1", desk.intent().client_id)])
    assert await watched.protect()
    assert (watched.stops(), desk.exchange.cancelled) == ([], [stop.client_id])


async def test_a_stop_that_is_filling_is_left_alone(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    await watched.protect(stop)
    desk.ledger.advance_order(desk.report(stop, OrderState.OPEN, filled=Decimal("0.3")))
    desk.ledger.add_fills(desk.book, [desk.fill(9, "-0.3", stop.client_id)])
    assert await watched.protect()
    assert (len(desk.exchange.sent), desk.exchange.cancelled) == (1, [])


async def test_while_a_stop_is_filling_the_one_before_it_covers_the_rest(desk: Any, watched: Watched) -> None:
    """The remainder of a triggered stop may expire: what it has left bare then has a stop all the time."""
    await watched.protect(entered(desk))
    desk.ledger.add_fills(desk.book, [desk.fill(5, "0.5", desk.intent().client_id)])
    desk.exchange.on_cancel.append(VenueUnreachable("502"))
    assert await watched.protect()
    old, new = watched.book.open_stops(SYMBOL)
    desk.ledger.advance_order(desk.report(new.intent, OrderState.OPEN, filled=Decimal("1.3")))
    desk.ledger.add_fills(desk.book, [desk.fill(9, "-1.3", new.intent.client_id)])
    watched.pass_seconds(60)
    tried = len(desk.exchange.cancelled)
    assert await watched.protect()
    assert len(desk.exchange.cancelled) == tried
    desk.ledger.advance_order(desk.report(new.intent, OrderState.EXPIRED, filled=Decimal("1.3")))
    assert await watched.protect()
    assert [quantity for _, quantity in watched.stops()] == [Decimal("0.2")]
    assert desk.exchange.cancelled[tried:] == [old.intent.client_id]


async def test_dust_is_noted_once_and_not_chased(desk: Any) -> None:
    stop = entered(desk)
    coarse = Watched(desk, replace(RULES, min_quantity=Decimal(2)))
    assert await coarse.protect(stop)
    for _ in range(2):
        assert await coarse.protect()
    assert desk.exchange.sent == []
    assert desk.ledger.order(stop.client_id).state is OrderState.ABANDONED
    assert sum("is dust" in entry["message"] for entry in desk.ledger.agent_log(desk.book)) == 1


async def test_a_stop_that_never_arrived_is_given_up_with_its_position(desk: Any) -> None:
    stop = entered(desk)
    desk.ledger.add_fills(desk.book, [desk.fill(8, "-1", None)])  # closed by something else, before the stop was sent
    desk.exchange.on_find += [None, None]
    restarted = Watched(desk)
    assert not await restarted.protect()  # it may still arrive
    assert desk.ledger.order(stop.client_id).state is OrderState.INTENT
    restarted.pass_seconds(7)
    assert await restarted.protect()
    assert desk.ledger.order(stop.client_id).state is OrderState.ABANDONED
    assert desk.exchange.sent == []


ANSWERS = st.sampled_from(
    ["fine", "fine", "refused", "unreachable", "unknown and there", "unknown and lost", "throttled", "crossed"]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(ANSWERS, max_size=12), filled=st.sampled_from(["0.2", "1"]))
async def test_whatever_the_venue_answers_the_position_ends_protected_or_closed(
    desk: Any, answers: list[str], filled: str
) -> None:
    desk = replace(desk, ledger=memory_ledger(), exchange=type(desk.exchange)(), clock=type(desk.clock)(desk.start_ms))
    told, normal, resting = list(answers), desk.exchange.send, dict[str, OrderReport]()

    async def send(order: ApprovedOrder) -> OrderReport:
        answer = told.pop(0) if told else "fine"
        if answer == "crossed" and order.intent.kind is not OrderKind.STOP:
            answer = "refused"
        if answer in ("fine", "unknown and there"):
            resting[order.intent.client_id] = await normal(order)
        problems = {
            "refused": REFUSED,
            "unreachable": VenueUnreachable("refused"),
            "throttled": RateLimited("slow down", -1003, 1.0),
            "crossed": WouldTrigger("crossed", -2021),
        }
        if answer.startswith("unknown"):
            raise OutcomeUnknown("timeout")
        if answer in problems:
            raise problems[answer]
        return resting[order.intent.client_id]

    async def find(intent: OrderIntent) -> OrderReport | None:
        return resting.get(intent.client_id)

    desk.exchange.send, desk.exchange.find = send, find
    stop = entered(desk, filled)
    watched = Watched(desk)
    done = await watched.protect(stop)
    for _ in range(400):  # twelve refusals in a row, half a minute apart in the end
        if done:
            break
        watched.pass_seconds(1)
        done = await watched.protect()
    assert done
    held = desk.held()
    assert held >= 0
    assert watched.stops() == [] if held == 0 else sum(size for _, size in watched.stops()) == held


async def test_a_stop_that_is_lost_after_many_bars_is_found_again_as_fast_as_after_one(desk: Any, watched: Watched) -> None:
    stop = entered(desk)
    await watched.protect(stop)
    early = _work(desk)
    lease = watched.lease()
    for bar in range(1, 300):
        desk.ledger.commit_decision(replace(desk.decision(bar), action=Action.HOLD), [], lease)
    desk.ledger.advance_order(OrderReport(stop.client_id, SYMBOL, OrderState.CANCELLED, Decimal(0), "7", None, 1))
    desk.exchange.resting.clear()
    assert await watched.protect()
    assert len(watched.stops()) == 1
    assert _work(desk) <= 2 * early, "the cost of finding where a position came from grows with its age"


def _work(desk: Any) -> int:
    """How many steps the database takes to find where a long position came from, in tens."""
    steps: list[int] = []
    with desk.ledger.engine.connect() as connection:
        raw = connection.connection.driver_connection
        raw.set_progress_handler(lambda: steps.append(1), 10)
        try:
            origin_of(connection, desk.book, SYMBOL, is_long=True)
        finally:
            raw.set_progress_handler(None, 0)
    return len(steps)
