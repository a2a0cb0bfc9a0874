"""Which stream is believed: channels by themselves, a quiet market told from a dead one, trust only after reconciliation."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from live_world import BOOK, M1, START_MS, World

from shared.domain.errors import MalformedData, VenueUnreachable
from shared.domain.orders import OrderKind, OrderReport, OrderState, Position
from shared.domain.records import FundingPayment
from shared.domain.stream import BarMessage, Channel, OrderMessage, StreamState
from shared.trading.health import TraderState
from shared.trading.settlement import PARTS


def mute(w: World, *channels: Channel, symbol: str = "BTCUSDT") -> None:
    w.venue.market.muted |= {(channel, symbol) for channel in channels}


def open_bar(at_ms: int) -> BarMessage:
    """The second bar as it stands `at_ms` after the start."""
    return BarMessage("BTCUSDT", M1, START_MS + M1.ms, 100.0, 100.0, 100.0, 100.0, 3.0, False, START_MS + at_ms)


def frozen(w: World) -> list[str]:
    return [halt.reason for halt in w.ledger.real.halts(BOOK, START_MS + 3_600_000)]


# --- channels ----------------------------------------------------------------------------------------------------------------


def test_bars_that_the_stream_does_not_bring_prove_it_dead_although_quotes_and_marks_flow(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(70.0)
        w.venue.market.say(open_bar(70_000))  # no whole minute is silent before the bar is missed
        await asyncio.sleep(0.1)
        mute(w, Channel.BARS)
        await w.until(140.0)
        assert w.venue.market.channels == [Channel.BARS]
        w.venue.market.muted.clear()
        w.venue.market.notice(StreamState.CONNECTED)
        await w.until(185.0)
        assert w.trader.state is TraderState.TRADING
        assert w.venue.market.channels == [Channel.BARS]

    world.lived(story)
    assert "bars of BTCUSDT: silent for" in world.said()


def test_a_bar_that_is_only_late_proves_nothing(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(100.0)
        w.venue.market.say(open_bar(100_000))
        await w.until(119.5)
        mute(w, Channel.BARS)
        await w.until(122.5)  # fetched by REST after its patience of 1 s
        w.venue.market.muted.clear()
        w.venue.market.say(w.bar("BTCUSDT", START_MS + M1.ms))
        await w.until(150.0)
        assert w.venue.market.reconnects == []

    world.lived(story)


def test_marks_that_the_venue_tells_otherwise_prove_their_channel_dead(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        mute(w, Channel.MARKS)
        w.venue.prices["BTCUSDT"] = Decimal("100.1")
        await w.until(90.0)
        assert w.venue.market.channels == [Channel.MARKS]

    world.lived(story)


def test_quotes_that_miss_a_minute_of_trades_prove_their_channel_dead(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        mute(w, Channel.QUOTES)
        await w.until(178.0)
        assert w.venue.market.channels == []
        await w.until(190.0)
        assert w.venue.market.channels == [Channel.QUOTES]

    world.lived(story)


def test_a_dead_symbol_does_not_cost_the_others_their_stream(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        mute(w, *Channel, symbol="ETHUSDT")
        for second in range(66, 600):
            await w.until(float(second))
            if len(w.venue.market.reconnects) and w.trader.state is TraderState.DEGRADED:
                w.venue.market.notice(StreamState.CONNECTED)
        assert 1 <= len(w.venue.market.reconnects) <= 5
        assert w.trader.state is TraderState.TRADING
        assert w.held("BTCUSDT") > 0

    pair.lived(story)
    assert {d.bar_close_ms for d in pair.ledger.real.decisions(BOOK, symbol="ETHUSDT")} >= {START_MS + 9 * M1.ms}


def test_minutes_without_trades_are_asked_about_and_are_a_quiet_market(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        for minute in range(1, 5):
            w.bar("BTCUSDT", START_MS + minute * M1.ms, silent=True, volume=0.0)
        asked = len([call for call in w.venue.calls if call == "time"])
        await asyncio.sleep(230.0)  # nothing is said at all
        assert len([call for call in w.venue.calls if call == "time"]) > asked
        assert w.venue.market.reconnects == []
        assert w.trader.state is TraderState.TRADING

    world.lived(story)


def test_a_minute_with_trades_of_which_nothing_was_heard_is_a_dead_stream(world: World) -> None:
    world.params = replace(world.params, bar_patience_s=3600.0)  # no bar is fetched that would tell

    async def story(w: World) -> None:
        await w.until(65.0)
        for minute in range(1, 5):
            w.bar("BTCUSDT", START_MS + minute * M1.ms, silent=True)
        await asyncio.sleep(50.0)
        assert w.venue.market.reconnects == []
        await asyncio.sleep(10.0)
        assert len(w.venue.market.reconnects) == 1

    world.lived(story)
    assert "while the venue trades" in world.said()


# --- trust -------------------------------------------------------------------------------------------------------------------


def test_what_happened_while_the_user_stream_was_away_is_reconciled_before_it_is_believed(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        assert w.held() > 0
        w.venue.user.notice(StreamState.LOST, "gone")
        await w.until(66.0)
        w.venue.user.silent = True
        [stop] = w.venue.stops
        w.venue.trigger(stop)
        w.venue.user.silent = False
        w.venue.user.notice(StreamState.CONNECTED)
        await w.until(70.0)
        assert w.held() == 0
        assert w.trader.state is TraderState.TRADING

    world.lived(story)
    assert frozen(world) == []


def test_a_message_that_cannot_be_read_is_told_and_what_it_said_is_fetched(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        [stop] = w.venue.stops
        w.venue.user.silent = True
        w.venue.trigger(stop)
        w.venue.user.silent = False
        w.venue.user.notice(StreamState.UNREADABLE, "ORDER_TRADE_UPDATE: no such side")
        w.venue.user.notice(StreamState.CONNECTED)
        await w.until(68.0)
        assert w.held() == 0
        assert w.trader.state is TraderState.TRADING

    world.lived(story)
    [entry] = [row for row in world.ledger.real.agent_log(BOOK) if row["level"] == "error"]
    assert "ORDER_TRADE_UPDATE: no such side" in entry["message"]


def test_a_stop_that_was_executed_in_silence_proves_the_user_stream_dead(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        w.venue.user.silent = True
        [stop] = w.venue.stops
        w.venue.trigger(stop)
        await w.until(145.0)  # the account is looked at after the next step

    world.lived(story)
    assert [text for text in world.venue.user.reconnects if "came without a word" in text]


# --- reconciliation in parts -------------------------------------------------------------------------------------------------


def test_funding_that_cannot_be_had_holds_nothing_back_and_is_made_up_for(world: World) -> None:
    world.params = replace(world.params, reconcile_s=20.0)

    async def story(w: World) -> None:
        paid = w.venue.funding_paid

        async def refuse(_: int) -> Any:
            raise MalformedData("income: the venue's answer is not as documented")

        w.venue.funding_paid = refuse  # type: ignore[method-assign]
        await w.until(125.0)
        assert w.trader.state is TraderState.TRADING
        assert w.held() > 0
        assert len(w.venue.stops) == 1
        w.venue.funding.append(FundingPayment("f1", "BTCUSDT", Decimal("-0.5"), START_MS + 1000))
        w.venue.funding_paid = paid  # type: ignore[method-assign]
        await w.until(175.0)

    world.lived(story)
    assert [payment.id for payment in world.ledger.real.funding(BOOK)] == ["f1"]
    assert world.said().count("funding failed") == 1


def test_the_end_of_a_stop_whose_one_message_is_lost_is_noticed_within_half_a_minute(world: World) -> None:
    async def story(w: World) -> list[str]:
        await w.until(65.0)
        [stop] = w.venue.stops
        w.venue.stops.clear()
        w.venue.orders[stop] = replace(w.venue.orders[stop], state=OrderState.CANCELLED)
        await w.until(110.0)
        assert w.trader.state is TraderState.TRADING
        return [stop, *w.venue.stops]

    gone, placed = world.lived(story)
    assert gone != placed
    assert len(world.ledger.real.orders(BOOK, unfinished=True)) == 1


def test_resting_orders_that_cannot_be_read_do_not_stop_trading(world: World) -> None:
    async def unreadable() -> Any:
        raise MalformedData("order: the venue's answer is not as documented")

    async def story(w: World) -> None:
        w.venue.open_orders = unreadable  # type: ignore[method-assign]
        await w.until(65.0)
        assert w.trader.state is TraderState.TRADING
        assert w.held() > 0

    world.lived(story)
    assert "foreign orders failed" in world.said()


@pytest.mark.parametrize(("part", "left"), [("funding_paid", ["balance", "funding"]), ("open_orders", sorted(PARTS))])
def test_after_a_part_that_hangs_the_others_are_left_for_later(world: World, part: str, left: list[str]) -> None:
    async def hang(*_: int) -> Any:
        raise VenueUnreachable("no answer within 3 s")

    async def story(w: World) -> list[str]:
        await w.until(5.0)
        session = w.trader._session
        assert session is not None
        setattr(w.venue, part, hang)
        await session.reconcile(full=True)
        return sorted(session.unsettled)

    assert world.lived(story) == left


def test_an_execution_that_the_stream_tells_under_an_unknown_id_is_no_sign_of_a_dead_stream(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        [stop] = w.venue.stops.values()
        told = w.venue.user.say
        w.venue.user.say = lambda _: None  # type: ignore[method-assign]
        w.venue.trigger(stop.client_id)
        w.venue.user.say = told  # type: ignore[method-assign]
        child = replace(w.venue.orders[stop.client_id], client_id="venue-77")
        w.venue.user.say(OrderMessage(child, replace(w.venue.executions[-1], client_id="venue-77"), w.clock.now_ms()))
        await w.until(100.0)
        assert (w.held(), w.venue.user.reconnects) == (0, [])

    world.lived(story)
    assert world.ledger.real.halts(BOOK, START_MS + 100_000) == []


# --- what nobody of ours did -------------------------------------------------------------------------------------------------


def _rests(w: World) -> None:
    """A stop of somebody else rests, of which the stream says nothing."""
    report = OrderReport("web-1", "BTCUSDT", OrderState.OPEN, Decimal(0), "9", left=Decimal(-1))

    async def one() -> Any:
        return [(report, OrderKind.STOP)]

    w.venue.open_orders = one  # type: ignore[method-assign]


def test_a_foreign_order_is_found_at_the_start(world: World) -> None:
    async def story(w: World) -> None:
        _rests(w)
        running = asyncio.create_task(w.trader.run())
        await w.until(30.0)
        w.trader.stop("over")
        await running

    world.lived(story, run=False)
    assert frozen(world) == ["foreign order web-1 rests on the account"]


def test_a_foreign_order_is_found_on_schedule(world: World) -> None:
    world.params = replace(world.params, reconcile_s=20.0)

    async def story(w: World) -> None:
        await w.until(30.0)
        assert frozen(w) == []
        _rests(w)
        await w.until(55.0)

    world.lived(story)
    assert frozen(world) == ["foreign order web-1 rests on the account"]


def test_a_position_that_nothing_explains_is_found_on_schedule_with_the_exact_difference(world: World) -> None:
    world.params = replace(world.params, reconcile_s=20.0)

    async def story(w: World) -> None:
        await w.until(30.0)
        w.venue.positions["BTCUSDT"] = Position("BTCUSDT", Decimal("0.5"), Decimal(100))
        await w.until(58.0)

    world.lived(story)
    assert frozen(world) == [
        "position differs: BTCUSDT: the ledger holds 0, the venue 0.5 (difference 0.5)",
    ]
