"""Between bars: halts bind at once, breakers see what is held at the newest known price, exits without the ledger are exact."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from live_world import BOOK, START_MS, World

from shared.domain.errors import MalformedData, NotApproved, VenueRejected, VenueUnreachable
from shared.domain.ids import client_order_id
from shared.domain.orders import OrderIntent, OrderKind, OrderReport, Side
from shared.domain.records import Halt, HaltKind
from shared.domain.stream import Channel, OrderMessage, StreamState
from shared.risk.approval import ApprovedOrder
from shared.trading.emergency_exits import NO_DECISION, adopted, exit_id
from shared.trading.health import TraderState
from shared.trading.order_desk import Move


def bought(w: World, quantity: str, client_id: str, symbol: str = "BTCUSDT") -> None:
    """An order of that client id is executed at the venue, and only there."""
    size = Decimal(quantity)
    intent = OrderIntent(client_id, BOOK, "d", "market", symbol, Side.of(size), OrderKind.MARKET, abs(size), w.clock.now_ms())
    w.venue._filled(intent)


def at_venue(w: World, symbol: str = "BTCUSDT") -> Decimal:
    return w.venue.positions[symbol].quantity


def refused(error: Exception) -> Any:
    """What answers every question with `error`."""

    async def refuse(*_: Any) -> Any:
        raise error

    return refuse


def reasons(w: World, kind: HaltKind) -> list[str]:
    return [halt.reason for halt in w.ledger.real.halts(BOOK, START_MS + 3_600_000) if halt.kind is kind]


# --- while the ledger is away ------------------------------------------------------------------------------------------------


def test_without_the_ledger_only_what_no_stop_covers_is_closed(world: World) -> None:
    async def story(w: World) -> Decimal:
        await w.until(65.0)
        covered = at_venue(w)
        w.ledger.down = True
        bought(w, "0.5", client_order_id(BOOK, "d", "more"))
        await w.until(70.0)
        assert at_venue(w) == covered + Decimal("0.5")  # the deadline is not over
        await w.until(100.0)
        assert at_venue(w) == covered
        assert len(w.venue.stops) == 1
        return covered

    assert world.lived(story) > 0


def test_without_the_ledger_a_stop_of_the_other_side_covers_nothing(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        w.ledger.down = True
        bought(w, str(-at_venue(w) - 1), client_order_id(BOOK, "d", "reverse"))
        assert at_venue(w) == -1
        assert len(w.venue.stops) == 1
        await w.until(100.0)
        assert at_venue(w) == 0

    world.lived(story)


@pytest.mark.parametrize("client_id", ["web-1", client_order_id("another", "d", "market")])
def test_without_the_ledger_what_is_not_the_books_is_left_alone(world: World, client_id: str) -> None:
    async def story(w: World) -> None:
        await w.until(30.0)
        w.ledger.down = True
        bought(w, "3", client_id)
        bought(w, "0.5", client_order_id(BOOK, "d", "more"))
        await w.until(100.0)
        assert at_venue(w) == 3

    world.lived(story)


@pytest.mark.parametrize("error", [MalformedData("execution: not as documented"), VenueUnreachable("no answer within 3 s")])
def test_without_ledger_and_executions_what_was_held_at_the_last_reconciliation_is_closed(
    world: World, error: Exception
) -> None:
    world.params = replace(world.params, reconcile_s=5.0)

    async def story(w: World) -> None:
        await w.until(70.0)
        held = at_venue(w)
        assert held > 0
        w.ledger.down = True
        w.venue.stops.clear()
        bought(w, "3", "web-1")
        w.venue.fills = refused(error)  # type: ignore[method-assign]
        await w.until(82.0)
        assert at_venue(w) == 3

    world.lived(story)


def test_without_ledger_and_executions_what_a_person_holds_is_not_closed_in_place_of_what_was(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        w.ledger.down = True
        w.venue.stops.clear()
        bought(w, "30", "web-1")
        w.venue.fills = refused(VenueUnreachable("no answer within 3 s"))  # type: ignore[method-assign]
        await w.until(200.0)
        assert at_venue(w) == 30

    world.lived(story)


@pytest.mark.parametrize("error", [MalformedData("execution: not as documented"), VenueUnreachable("no answer within 3 s")])
def test_what_is_filled_and_cannot_be_booked_is_closed_within_the_deadline_and_booked_later(
    world: World, error: Exception
) -> None:
    world.params = replace(world.params, reconcile_s=20.0)

    async def story(w: World) -> None:
        await w.until(50.0)
        fills, say = w.venue.fills, w.venue.user.say

        def without_executions(message: Any) -> None:
            say(replace(message, fill=None) if isinstance(message, OrderMessage) else message)

        w.venue.fills = refused(error)  # type: ignore[method-assign]
        w.venue.user.say = without_executions  # type: ignore[method-assign]
        await w.until(62.0)
        assert at_venue(w) > 0
        await w.until(85.0)
        assert at_venue(w) == 0
        w.venue.fills, w.venue.user.say = fills, say  # type: ignore[method-assign]
        await w.until(119.0)
        assert len(w.ledger.real.fills(BOOK)) == 2

    world.lived(story)
    assert world.held() == 0
    assert [halt for halt in reasons(world, HaltKind.FROZEN) if "cannot be read" not in halt] == []


@pytest.mark.parametrize("error", [MalformedData("order: the unknown state 'SUSPENDED'"), VenueUnreachable("no answer")])
def test_one_symbol_that_cannot_be_closed_does_not_hold_up_the_others(pair: World, error: Exception) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        send = w.venue.send

        async def not_of_the_first(order: ApprovedOrder) -> OrderReport:
            if order.intent.symbol == "BTCUSDT":
                raise error
            return await send(order)

        w.ledger.down = True
        w.venue.stops.clear()
        w.venue.send = not_of_the_first  # type: ignore[method-assign]
        await w.until(90.0)
        assert at_venue(w, "ETHUSDT") == 0
        assert at_venue(w, "BTCUSDT") > 0

    pair.lived(story)


def test_the_exits_of_two_emergencies_under_one_decision_are_two_legs_of_it(world: World) -> None:
    async def story(w: World) -> list[str]:
        await w.until(65.0)
        decision = w.ledger.real.decisions(BOOK)[-1]
        exits = [
            OrderIntent(
                exit_id(BOOK, emergency, "BTCUSDT", 1), BOOK, NO_DECISION, "emergency-1", "BTCUSDT", Side.SELL,
                OrderKind.MARKET, Decimal(1), w.clock.now_ms(), reduce_only=True,
            )
            for emergency in ("ledger-1", "ledger-2")
        ]  # fmt: skip
        first = adopted(exits[:1], w.ledger.real)
        assert w.trader._session is not None
        w.ledger.real.add_intents(first, w.trader._session.lease)
        again = adopted(exits, w.ledger.real)
        assert again[0] == first[0]
        assert {intent.decision_id for intent in again} == {decision.id}
        return [intent.leg for intent in again] + [intent.leg for intent in adopted(exits[1:] + exits[1:], w.ledger.real)]

    assert world.lived(story) == ["emergency-1", "emergency-2", "emergency-2", "emergency-3"]


def test_an_emergency_without_the_ledger_goes_through_the_journal_and_is_booked_afterwards(world: World) -> None:
    journalled: list[int] = []

    async def story(w: World) -> None:
        await w.until(65.0)
        w.ledger.real.set_halt(Halt(BOOK, "by hand", w.clock.now_ms(), None, kind=HaltKind.MANUAL))
        account = w.venue.account

        async def and_the_ledger_is_gone() -> Any:
            w.ledger.down = True  # in the first round, before the exit is committed
            w.venue.account = account  # type: ignore[method-assign]
            return await account()

        w.venue.account = and_the_ledger_is_gone  # type: ignore[method-assign]
        await w.until(75.0)
        assert w.ledger.down
        assert at_venue(w) == 0
        journalled.append(len(w.ports().exits.pending()))
        w.ledger.down = False
        await w.until(119.0)

    world.lived(story)
    assert journalled == [1]
    assert world.ports().exits.pending() == []
    assert world.held() == 0
    assert len(world.ledger.real.fills(BOOK)) == 2
    assert not world.venue.stops
    [record] = world.ledger.real.emergencies(BOOK)
    assert record.finished_ms is not None


# --- halts -------------------------------------------------------------------------------------------------------------------


def test_a_halt_that_the_ledger_did_not_take_binds_every_order_at_once_and_holds_back(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(30.0)
        desk = w.trader._desk
        assert desk is not None
        w.ledger.down = True
        desk._guardian.halt(HaltKind.FROZEN, "something is wrong", None)
        assert desk._health.ails("ledger")
        w.ledger.down = False
        session = w.trader._session
        assert session is not None
        now_ms = w.clock.now_ms()
        client_id = client_order_id(BOOK, "d", "market")
        size = Decimal(1)
        intent = OrderIntent(client_id, BOOK, "d", "market", "BTCUSDT", Side.BUY, OrderKind.MARKET, size, now_ms)
        with pytest.raises(NotApproved, match="something is wrong"):
            session.desk.approved(intent, Move("BTCUSDT", (intent,), Decimal(10_000), Decimal(100), now_ms))
        assert [halt.reason for halt in session.desk.unwritten] == ["something is wrong"]
        await w.until(125.0)
        assert session.desk.unwritten == []

    world.lived(story)
    assert world.held() == 0
    assert reasons(world, HaltKind.FROZEN) == ["something is wrong"]


def test_repeated_failures_halt_the_book_and_close_it(world: World) -> None:
    world.params = replace(world.params, operational_failures=3)

    async def story(w: World) -> None:
        await w.until(65.0)
        assert w.held() > 0
        account = w.venue.account
        refused = 0

        async def refuse() -> Any:
            nonlocal refused
            refused += 1
            if refused <= 3:
                raise VenueRejected("internal error", -1000)
            return await account()

        w.venue.account = refuse  # type: ignore[method-assign]
        w.venue.user.notice(StreamState.LOST, "gone")
        await w.until(110.0)
        assert w.trader.state is TraderState.HALTED
        assert w.held() == 0

    world.lived(story)
    [reason] = reasons(world, HaltKind.OPERATIONAL)
    assert "3 failures within 900 s" in reason


# --- marks -------------------------------------------------------------------------------------------------------------------


def test_one_symbol_without_a_mark_does_not_switch_the_breakers_off(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        assert w.held("ETHUSDT") > 0
        w.venue.market.muted = {(channel, "ETHUSDT") for channel in Channel}
        await w.until(75.0)
        w.venue.prices["BTCUSDT"] = Decimal(40)
        w.venue.trouble = VenueUnreachable("no route")  # not even the venue can be asked about the silent one
        await w.until(80.0)
        assert w.trader.state is TraderState.HALTED
        w.venue.trouble = None
        await w.until(110.0)
        assert (w.held("BTCUSDT"), w.held("ETHUSDT")) == (0, 0)

    pair.lived(story)
    assert "marks of ETHUSDT are silent: the venue is asked for them" in pair.said()
    assert reasons(pair, HaltKind.DRAWDOWN)


def test_where_the_stream_tells_no_marks_the_venue_is_asked_and_its_breakers_are_obeyed(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        w.venue.market.muted = {(Channel.MARKS, "BTCUSDT")}
        await w.until(72.0)
        assert w.trader.state is TraderState.TRADING  # the venue's own word is as good
        w.venue.prices["BTCUSDT"] = Decimal(50)
        await w.until(78.0)
        assert w.held() == 0

    world.lived(story)
    assert reasons(world, HaltKind.DRAWDOWN)


def test_a_price_that_nobody_tells_holds_new_risk_back(world: World) -> None:
    async def story(w: World) -> str:
        await w.until(65.0)
        w.venue.market.muted = {(Channel.MARKS, "BTCUSDT")}
        w.venue.trouble = VenueUnreachable("no route")
        await w.until(75.0)
        desk = w.trader._desk
        assert desk is not None
        said = desk._health.reason
        w.venue.trouble = None
        await w.until(119.0)
        assert not desk._health.ails("marks")
        return said

    assert "marks: no price of BTCUSDT is known that is not old" in world.lived(story)


def test_an_account_that_is_not_known_is_asked_for(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        assert w.held() > 0
        w.venue.user.notice(StreamState.LOST, "gone")  # and does not come back
        await w.until(75.0)
        w.venue.wallet -= Decimal(3000)
        w.venue.prices["BTCUSDT"] = Decimal(100)
        await w.until(85.0)
        assert at_venue(w) == 0

    world.lived(story)
    assert reasons(world, HaltKind.DRAWDOWN)
