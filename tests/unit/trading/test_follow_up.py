"""Between two decisions: slices, remainders, open questions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.errors import OutcomeUnknown, VenueRejected, VenueUnreachable
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderRecord, OrderReport, OrderState
from shared.domain.records import EquityPoint, Halt, Lease
from shared.trading.book import BookState
from shared.trading.execution import Executor
from shared.trading.execution_params import ExecutionParams
from shared.trading.follow_up import FollowUp
from shared.trading.legs import remainder
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
    book: BookState = field(init=False)
    follow_up: FollowUp = field(init=False)
    orders: OrderDesk = field(init=False)

    def __post_init__(self) -> None:
        desk, execution = self.desk, PARAMS.execution
        self.book = BookState(desk.ledger, desk.book)
        executor = Executor(desk.exchange, desk.ledger, desk.clock, desk.book, execution)
        reconciler = Reconciler(desk.exchange, desk.ledger, desk.clock, executor, desk.book, desk.start_ms, execution)
        self.orders = OrderDesk(
            ledger=desk.ledger,
            book=self.book,
            executor=executor,
            reconciler=reconciler,
            rules={SYMBOL: RULES},
            params=PARAMS,
            max_age_ms=MAX_AGE_MS,
            check_lease=lambda: None,
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

    def committed(self, *intents: OrderIntent) -> None:
        """A decision of 10,000 of equity at 100 that wants what its market orders add up to, on what is held."""
        desk = self.desk
        legs = [intent for intent in intents if intent.stop_price is None]
        wanted = desk.held() + sum((intent.quantity * intent.side.sign for intent in legs), Decimal(0))
        decision = replace(desk.decision(), stop_price=90.0, approved_fraction=float(wanted) / 100)
        desk.ledger.record_equity(
            desk.book, EquityPoint(decision.bar_close_ms, Decimal(10_000), Decimal(10_000), Decimal(10_000))
        )
        assert desk.ledger.commit_decision(decision, intents, self.lease())
        self.book.changed()

    async def tend(self, seconds: float = 0.0) -> bool:
        self.desk.clock.set(self.desk.clock.now_ms() + round(1000 * seconds))
        return bool(await self.desk.finished(self.follow_up.tend([SYMBOL])))

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
