"""What is held is looked after first: by a trader whatever else fails, and by a request until it is at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from live_world import BOOK, LONG, M1, PARAMS, START_MS, World

from shared.adapters.sql import SqlLedger
from shared.domain.errors import (
    LedgerUnavailable,
    MalformedData,
    NotAtRest,
    ReconciliationError,
    VenueRejected,
    VenueUnreachable,
)
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderReport, OrderState, Side
from shared.domain.records import Halt, HaltKind
from shared.domain.stream import OrderMessage, StreamState
from shared.risk.approval import ApprovedOrder
from shared.trading.health import TraderState
from shared.trading.schedule import run_once, tend_once
from shared.trading.trader import Trader


async def never(*_: Any) -> Any:
    raise VenueUnreachable("no answer (HTTP 502)")


def stop_cancelled_by_the_venue(w: World) -> None:
    [client_id] = w.venue.stops
    del w.venue.stops[client_id]
    w.venue.orders[client_id] = OrderReport(client_id, "BTCUSDT", OrderState.CANCELLED, Decimal(0), "7")
    w.venue.user.say(OrderMessage(w.venue.orders[client_id], None, w.clock.now_ms()))


def refusing(w: World, refuses: Callable[[ApprovedOrder], bool], error: Exception) -> Callable[[], None]:
    """Let the venue refuse some orders; returns what ends that."""
    send = w.venue.send

    async def sent(order: ApprovedOrder) -> OrderReport:
        if refuses(order):
            w.venue.calls.append(f"refused {order.intent.leg}")
            raise error
        return await send(order)

    w.venue.send = sent  # type: ignore[method-assign]

    def over() -> None:
        w.venue.send = send  # type: ignore[method-assign]

    return over


# --- a trader --------------------------------------------------------------------------------------------------------------


def test_a_question_for_the_record_that_fails_for_ever_stops_neither_trading_nor_protection(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(50.0)
        w.venue.funding_paid = never  # type: ignore[method-assign]
        w.venue.user.notice(StreamState.LOST, "gone")
        w.venue.user.notice(StreamState.CONNECTED)
        await w.until(65.0)
        assert w.held() > 0
        assert w.trader.state is TraderState.TRADING
        stop_cancelled_by_the_venue(w)
        await w.until(70.0)
        assert len(w.venue.stops) == 1

    world.lived(story)


def test_a_stop_that_was_refused_is_tried_again_while_nothing_can_be_reconciled(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        w.venue.account = never  # type: ignore[method-assign]
        w.venue.user.notice(StreamState.LOST, "gone")
        await w.until(105.0)  # the next attempt to reconcile is half a minute away
        assert w.trader.state is TraderState.DEGRADED
        refused: list[str] = []
        refusing(w, lambda order: not refused.append("") and len(refused) == 1, VenueRejected("busy", -1008))
        stop_cancelled_by_the_venue(w)
        await w.until(111.0)
        assert len(refused) > 1
        assert w.venue.stops or not w.venue.positions["BTCUSDT"].quantity

    world.lived(story)


def test_one_symbol_that_cannot_be_protected_keeps_no_other_waiting(ledger: SqlLedger, tmp_path: Path) -> None:
    ledger.register_book(BOOK, START_MS, {})
    pair = World(ledger, tmp_path, ("BTCUSDT", "ETHUSDT"))

    async def story(w: World) -> None:
        await w.until(65.0)
        hangs = w.venue.fills

        async def fills(symbol: str, since_ms: int) -> Any:
            if symbol == "BTCUSDT":
                await asyncio.sleep(3.0)
                raise VenueUnreachable("no answer")
            return await hangs(symbol, since_ms)

        w.venue.fills = fills  # type: ignore[method-assign]
        refusing(w, lambda order: order.intent.symbol == "BTCUSDT", VenueUnreachable("no answer"))
        for client_id, intent in list(w.venue.stops.items()):
            del w.venue.stops[client_id]
            w.venue.orders[client_id] = OrderReport(client_id, intent.symbol, OrderState.CANCELLED, Decimal(0), "7")
            w.venue.user.say(OrderMessage(w.venue.orders[client_id], None, w.clock.now_ms()))
        await w.until(68.0)
        assert [intent.symbol for intent in w.venue.stops.values()] == ["ETHUSDT"]
        [beat] = w.ledger.real.heartbeats(BOOK)
        assert beat.state["bare"] == ["BTCUSDT"]

    pair.lived(story)


def test_one_symbol_that_cannot_be_read_freezes_itself_and_leaves_the_others_as_they_are(pair: World) -> None:
    pair.params = replace(pair.params, operational_failures=3)

    async def story(w: World) -> None:
        await w.until(65.0)
        find, asked = w.venue.find, []

        async def unreadable(intent: OrderIntent) -> Any:
            if intent.symbol != "ETHUSDT":
                return await find(intent)
            asked.append(intent.client_id)
            raise MalformedData("order: the venue's answer has the unknown state 'SUSPENDED'")

        w.venue.find = w.venue.cancel = unreadable  # type: ignore[method-assign, assignment]
        for client_id, intent in list(w.venue.stops.items()):
            if intent.symbol == "ETHUSDT":
                del w.venue.stops[client_id]
        w.venue.user.notice(StreamState.LOST, "gone")
        w.venue.user.notice(StreamState.CONNECTED)
        await w.until(170.0)
        assert [(halt.symbol, halt.kind) for halt in w.ledger.real.halts(BOOK, w.clock.now_ms())] == [
            ("ETHUSDT", HaltKind.FROZEN)
        ]
        assert w.venue.positions["ETHUSDT"].quantity == 0
        assert w.venue.positions["BTCUSDT"].quantity > 0
        assert [intent.symbol for intent in w.venue.stops.values()] == ["BTCUSDT"]
        assert w.trader.state is TraderState.TRADING
        assert len(asked) < 90  # not at every look

    pair.lived(story)


def test_what_somebody_does_in_a_symbol_that_is_not_traded_is_left_alone(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(50.0)
        report = OrderReport("by-hand", "SOLUSDT", OrderState.FILLED, Decimal(1), "9", Decimal(150), w.clock.now_ms())
        fill = Fill("SOLUSDT", "1", "by-hand", "9", Side.BUY, Decimal(1), Decimal(150), Decimal("0.1"), w.clock.now_ms())
        w.venue.user.say(OrderMessage(report, fill, w.clock.now_ms()))
        await w.until(65.0)
        assert w.trader.state is TraderState.TRADING
        assert w.held() > 0

    world.lived(story)


def test_a_symbol_whose_orders_could_not_be_followed_is_looked_at_again_whatever_is_held_by_then(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        [stop] = [record for record in w.ledger.real.orders(BOOK, unfinished=True) if record.intent.kind is OrderKind.STOP]
        tend, failed = w.trader._session.follow_up.tend, []  # type: ignore[union-attr]

        async def once(symbols: Any) -> bool:
            if failed:
                return await tend(symbols)
            failed.append(symbols)
            raise VenueUnreachable("no answer (HTTP 502)")

        w.trader._session.follow_up.tend = once  # type: ignore[union-attr, method-assign]
        w.venue.trigger(stop.intent.client_id)  # flat: nothing of the symbol is left to look after
        await w.until(75.0)
        assert failed
        assert w.held() == 0
        assert w.trader.state is TraderState.TRADING

    world.lived(story)


def test_protection_waits_behind_no_more_than_one_answer_that_does_not_come(world: World) -> None:
    """Everything that is asked for the record hangs for three seconds, is due all the time, and fails."""
    world.params = replace(world.params, reconcile_s=2.0, rules_refresh_s=2.0, backoff_max_s=1.0)

    async def hanging(*_: Any) -> Any:
        await asyncio.sleep(3.0)
        raise VenueUnreachable("no answer within 3 s")

    async def story(w: World) -> None:
        await w.until(65.0)
        for what in ("rules", "funding_paid", "open_orders", "open_interest"):
            setattr(w.venue, what, hanging)
        await w.until(90.0)
        for _ in range(5):
            stop_cancelled_by_the_venue(w)
            await w.until(asyncio.get_running_loop().time() + 4.0)
            assert len(w.venue.stops) == 1
            await w.until(asyncio.get_running_loop().time() + 0.7)

    world.lived(story)


def test_a_stop_that_was_executed_in_silence_is_known_after_the_next_bar(world: World) -> None:
    world.params = replace(world.params, stops_s=300.0)

    async def story(w: World) -> None:
        await w.until(65.0)
        w.venue.user.silent = True
        [stop] = w.venue.stops
        w.venue.trigger(stop)
        await w.until(119.0)
        assert w.held() > 0  # nobody has told
        await w.until(123.0)
        assert w.held() == 0
        await w.until(140.0)
        assert w.venue.user.reconnects

    world.lived(story)


def test_a_stop_that_one_table_of_the_ledger_refuses_leaves_nothing_bare(world: World) -> None:
    """The rest of the ledger takes what it is given, so that it never counts as away for long."""

    async def story(w: World) -> None:
        def refused(*_: Any) -> Any:
            raise LedgerUnavailable("another transaction holds a lock")

        await w.until(65.0)
        w.ledger.add_intents = refused
        stop_cancelled_by_the_venue(w)
        await w.until(82.0)
        assert w.venue.positions["BTCUSDT"].quantity == 0
        del w.ledger.add_intents
        await w.until(90.0)
        assert w.held() == 0
        assert w.ports().exits.pending() == []

    world.lived(story)


# --- a request -------------------------------------------------------------------------------------------------------------


async def minute(w: World) -> None:
    """Live to the next full minute and let its bar close."""
    await asyncio.sleep(60.0 - asyncio.get_running_loop().time() % 60.0)
    w.bar("BTCUSDT", w.clock.now_ms() - M1.ms, silent=True)


async def asked(w: World) -> None:
    await run_once(w.ports(), w.spec(), w.params, analyst=LONG)


async def tended(w: World) -> None:
    await tend_once(w.ports(), w.spec(), w.params, LONG)


def is_free(w: World) -> bool:
    """Whether the lease was given up."""
    lease = w.ledger.real.acquire_lease(BOOK, "next", 1000, w.clock.now_ms())
    if lease is not None:
        w.ledger.real.release_lease(lease)
    return lease is not None


def test_a_request_does_not_end_before_its_position_is_protected(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        over = refusing(w, lambda order: order.intent.reduce_only, VenueUnreachable("refused"))
        asyncio.get_running_loop().call_later(25.0, over)
        await asked(w)
        assert not w.venue.positions["BTCUSDT"].quantity or w.venue.stops

    world.lived(story, run=False)
    assert any(call.startswith("refused") for call in world.venue.calls)


def test_a_request_that_leaves_a_position_bare_fails_and_says_so(world: World) -> None:
    world.params = replace(world.params, settle_s=20.0)

    async def story(w: World) -> None:
        await minute(w)
        over = refusing(w, lambda order: order.intent.reduce_only, VenueUnreachable("refused"))
        with pytest.raises(NotAtRest, match="BTCUSDT is held without its full stop"):
            await asked(w)
        assert is_free(w)
        [beat] = w.ledger.real.heartbeats(BOOK)
        assert (beat.state["state"], beat.state["bare"]) == ("degraded", ["BTCUSDT"])
        with pytest.raises(NotAtRest):
            await tended(w)
        over()
        await tended(w)
        assert not w.venue.positions["BTCUSDT"].quantity or w.venue.stops
        [beat] = w.ledger.real.heartbeats(BOOK)
        assert beat.state["bare"] == []

    world.lived(story, run=False)
    levels = [entry["level"] for entry in world.ledger.real.agent_log(BOOK) if "not at rest" in entry["message"]]
    assert levels == ["error", "error"]


def test_a_request_that_cannot_close_a_halted_book_fails(world: World) -> None:
    world.params = replace(world.params, settle_s=20.0)

    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        w.ledger.real.set_halt(Halt(BOOK, "by hand", w.clock.now_ms(), None, kind=HaltKind.MANUAL))
        over = refusing(w, lambda order: order.intent.kind is OrderKind.MARKET, VenueUnreachable("refused"))
        with pytest.raises(NotAtRest, match="the emergency is not over"):
            await tended(w)
        asyncio.get_running_loop().call_later(10.0, over)
        await tended(w)
        assert w.venue.positions["BTCUSDT"].quantity == 0
        assert not w.venue.stops

    world.lived(story, run=False)
    assert world.held() == 0


def test_a_stop_that_is_lost_between_bars_is_replaced_by_the_next_look(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        stop_cancelled_by_the_venue(w)
        await tended(w)
        assert len(w.venue.stops) == 1
        decisions = len(w.ledger.real.decisions(BOOK))
        await tended(w)
        assert len(w.ledger.real.decisions(BOOK)) == decisions

    world.lived(story, run=False)


def test_a_ledger_that_goes_away_within_a_request_leaves_nothing_bare(world: World) -> None:
    world.params = replace(world.params, settle_s=30.0)

    async def story(w: World) -> None:
        await minute(w)
        send = w.venue.send

        async def and_then_the_ledger_is_gone(order: Any) -> Any:
            report = await send(order)
            w.ledger.down = True
            return report

        w.venue.send = and_then_the_ledger_is_gone  # type: ignore[method-assign]
        with pytest.raises(NotAtRest, match="ledger"):
            await asked(w)
        assert w.venue.positions["BTCUSDT"].quantity == 0
        w.ledger.down = False
        w.venue.send = send  # type: ignore[method-assign]
        await asyncio.sleep(40.0)  # the lease could not be given up
        await tended(w)

    world.lived(story, run=False)
    assert world.held() == 0
    assert world.ports().exits.pending() == []


def test_nothing_of_a_request_stays_in_the_way_of_the_next_one(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        w.venue.rules = never  # type: ignore[method-assign]
        with pytest.raises(VenueUnreachable):
            await asked(w)
        assert is_free(w)

    world.lived(story, run=False)


# --- a start over something that is held ------------------------------------------------------------------------------------


async def refused_settings(*_: Any) -> Any:
    raise ReconciliationError("the account is in hedge mode")


def test_a_start_whose_settings_are_refused_protects_what_is_held_and_takes_no_new_risk(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        stop_cancelled_by_the_venue(w)
        before, w.venue.prepare = w.venue.prepare, refused_settings  # type: ignore[method-assign]
        running = asyncio.create_task(w.trader.run())
        await asyncio.sleep(5.0)
        assert len(w.venue.stops) == 1
        assert w.trader.state is TraderState.DEGRADED
        [beat] = [beat for beat in w.ledger.real.heartbeats(BOOK) if beat.role == "trader"]
        assert "hedge mode" in beat.state["reason"]
        w.venue.prepare = before  # type: ignore[method-assign]
        await asyncio.sleep(10.0)
        assert w.trader.state is TraderState.TRADING
        w.trader.stop("the test is over")
        await running

    world.lived(story, run=False)


def test_a_start_whose_policy_is_lost_looks_after_what_is_held(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        stop_cancelled_by_the_venue(w)
        lost = replace(PARAMS, strategy=replace(PARAMS.strategy, rl_policies=("lost",), rl_history_bars=200))
        trader = Trader(w.ports(), w.spec(params=lost), w.params)
        running = asyncio.create_task(trader.run())
        await asyncio.sleep(5.0)
        assert len(w.venue.stops) == 1
        [beat] = [beat for beat in w.ledger.real.heartbeats(BOOK) if beat.role == "trader"]
        assert "models/rl/lost.json is missing" in beat.state["reason"]
        trader.stop("the test is over")
        await running

    world.lived(story, run=False)


def test_a_start_whose_settings_are_refused_closes_a_halted_book(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        w.ledger.real.set_halt(Halt(BOOK, "by hand", w.clock.now_ms(), None, kind=HaltKind.MANUAL))
        w.venue.prepare = refused_settings  # type: ignore[method-assign]
        w.venue.rules = never  # type: ignore[method-assign]
        running = asyncio.create_task(w.trader.run())
        await asyncio.sleep(20.0)
        assert w.venue.positions["BTCUSDT"].quantity == 0
        w.trader.stop("the test is over")
        await running

    world.lived(story, run=False)


def test_a_request_whose_beginning_is_refused_protects_what_is_held_and_fails(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        for what in ("prepare", "rules"):
            setattr(w.venue, what, refused_settings)
            stop_cancelled_by_the_venue(w)
            with pytest.raises(ReconciliationError, match="hedge mode"):
                await tended(w)
            assert len(w.venue.stops) == 1
            assert is_free(w)

    world.lived(story, run=False)


def test_an_idle_book_is_refused(world: World) -> None:
    async def story(w: World) -> None:
        w.venue.prepare = refused_settings  # type: ignore[method-assign]
        with pytest.raises(ReconciliationError, match="hedge mode"):
            await w.trader.run()
        await minute(w)
        with pytest.raises(ReconciliationError, match="hedge mode"):
            await asked(w)
        assert w.sent() == []

    world.lived(story, run=False)
