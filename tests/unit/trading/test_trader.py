"""The trader between bars and streams: what it does when everything is well, and what it refuses when something is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from live_world import BOOK, FLAT, M1, START_MS, World

from cloudrun.simulation.analyst import ScriptedAnalyst
from cloudrun.simulation.loop import VirtualLoop, run_virtual
from shared.domain.decision import Action
from shared.domain.errors import ClockSetBack, LeaseLost, ModelError, VenueRejected, VenueUnreachable
from shared.domain.orders import OrderKind, OrderState
from shared.domain.records import Halt, HaltKind
from shared.domain.stream import Channel, OrderMessage, StreamState
from shared.trading.health import TraderState
from shared.trading.trader import Trader


def test_a_closed_bar_becomes_an_order_and_a_stop_without_a_question_before_the_order(world: World) -> None:
    async def story(w: World) -> list[str]:
        await w.until(59.5)
        del w.venue.calls[:]
        await w.until(61.0)
        return w.venue.calls

    calls = world.lived(story)
    assert calls[0] == "send market BTCUSDT"
    assert "send stop BTCUSDT" in calls
    assert world.held() > 0
    assert world.ledger.real.orders(BOOK, unfinished=True)[0].intent.kind is OrderKind.STOP


def test_what_happened_before_the_start_is_recorded_and_not_traded(world: World) -> None:
    world.lived(lambda w: w.until(30.0))
    [decision] = world.ledger.real.decisions(BOOK)
    assert decision.bar_close_ms == START_MS


def test_bars_that_come_twice_late_or_revised_change_nothing(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(70.0)
        sent = w.sent()
        again = w.bar("BTCUSDT", START_MS)
        w.venue.market.say(again)
        w.venue.market.say(replace(again, close=again.close + 0.5))
        w.venue.market.say(replace(again, open_ms=START_MS - 5 * M1.ms))
        await w.until(80.0)
        assert w.sent() == sent

    world.lived(story)
    assert len(world.ledger.real.decisions(BOOK)) == 2
    assert "was revised; ignored" in world.said()


def test_a_step_waits_for_every_symbol(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.5)
        w.bar("BTCUSDT", START_MS)
        await asyncio.sleep(0.6)
        assert len(w.ledger.real.decisions(BOOK)) == 2  # those of the start
        w.bar("ETHUSDT", START_MS)
        await asyncio.sleep(0.2)
        assert len(w.ledger.real.decisions(BOOK)) == 4

    pair.lived(story)
    assert not [call for call in pair.venue.calls if call.startswith("candles")][4:]


def test_a_symbol_whose_bar_does_not_come_is_asked_for_by_rest(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.5)
        w.bar("BTCUSDT", START_MS)
        w.bar("ETHUSDT", START_MS, silent=True)
        await asyncio.sleep(3.0)

    pair.lived(story)
    assert len([d for d in pair.ledger.real.decisions(BOOK) if d.bar_close_ms == START_MS + M1.ms]) == 2


def test_a_symbol_that_is_too_late_to_be_traded_is_recorded(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.5)
        w.bar("BTCUSDT", START_MS)
        await asyncio.sleep(45.0)
        w.bar("ETHUSDT", START_MS)
        await asyncio.sleep(1.0)

    pair.lived(story)
    late = [d for d in pair.ledger.real.decisions(BOOK, symbol="ETHUSDT") if d.bar_close_ms == START_MS + M1.ms]
    assert [decision.order_ids for decision in late] == [()]
    assert pair.held("BTCUSDT") > 0
    assert pair.held("ETHUSDT") == 0


def test_bars_that_closed_while_the_venue_did_not_answer_are_recorded_afterwards(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.0)
        w.venue.market.muted.update((Channel.BARS, symbol) for symbol in w.symbols)
        w.venue.trouble = VenueUnreachable("the venue is away")
        await w.until(200.0)
        w.venue.trouble = None
        await w.until(290.0)

    pair.lived(story)
    closes = [d.bar_close_ms - START_MS for d in pair.ledger.real.decisions(BOOK, symbol="ETHUSDT")]
    assert closes == [n * M1.ms for n in range(5)]


def test_bars_of_the_stream_wait_for_the_history_that_a_start_could_not_have(pair: World) -> None:
    async def before(w: World) -> None:
        await w.until(30.0)

    async def story(w: World) -> None:
        candles = w.venue.candles
        w.venue.candles = _unanswered  # type: ignore[method-assign]
        await w.until(200.0)
        w.venue.candles = candles  # type: ignore[method-assign]
        await w.until(290.0)

    pair.lived(before, FLAT)
    pair.lived(story, FLAT)
    closes = [d.bar_close_ms - START_MS for d in pair.ledger.real.decisions(BOOK, symbol="ETHUSDT")]
    assert closes == [n * M1.ms for n in range(5)]


def test_a_symbol_that_the_venue_never_answers_for_does_not_hold_the_missed_bars_of_the_others_up(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.0)
        w.venue.market.muted.update((Channel.BARS, symbol) for symbol in w.symbols)
        w.venue.trouble = VenueUnreachable("the venue is away")
        await w.until(200.0)
        w.venue.trouble, candles = None, w.venue.candles

        async def but_one(symbol: str, *rest: Any) -> Any:
            if symbol == "ETHUSDT":
                raise VenueUnreachable("candles: no answer within 3 s")
            return await candles(symbol, *rest)

        w.venue.candles = but_one  # type: ignore[method-assign]
        await w.until(540.0)

    pair.lived(story)
    assert [d.bar_close_ms - START_MS for d in pair.ledger.real.decisions(BOOK, symbol="BTCUSDT")][:5] == [
        n * M1.ms for n in range(5)
    ]


def test_a_symbol_that_is_late_is_decided_when_it_comes_and_only_once(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.5)
        w.bar("BTCUSDT", START_MS)
        await asyncio.sleep(4.0)
        assert [d.asset.symbol for d in w.ledger.real.decisions(BOOK)].count("ETHUSDT") == 1
        w.bar("ETHUSDT", START_MS)
        await asyncio.sleep(1.0)

    pair.lived(story)
    later = [d for d in pair.ledger.real.decisions(BOOK) if d.bar_close_ms == START_MS + M1.ms]
    assert sorted(d.asset.symbol for d in later) == ["BTCUSDT", "ETHUSDT"]
    assert pair.held("ETHUSDT") > 0


def test_a_stream_that_misses_trades_is_replaced_and_nothing_is_opened_meanwhile(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(30.0)
        await w.until(150.0, tell=False)
        for minute in range(3):
            w.bar("BTCUSDT", START_MS + minute * M1.ms, silent=True)
        await w.until(175.0, tell=False)
        assert w.venue.market.reconnects
        assert w.trader.state is TraderState.DEGRADED
        w.venue.market.notice(StreamState.CONNECTED)
        await w.until(182.0)  # it has said something again
        assert w.trader.state is TraderState.TRADING

    world.lived(story)
    assert "while the venue trades" in world.said()


def test_a_quiet_market_is_not_a_dead_stream(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(5.0)
        await asyncio.sleep(50.0)
        assert w.trader.state is TraderState.TRADING
        assert not w.venue.market.reconnects

    world.lived(story)


@pytest.mark.parametrize("state", [StreamState.LOST, StreamState.KEY_EXPIRED])
def test_after_a_loss_of_the_user_stream_only_a_snapshot_is_trusted(world: World, state: StreamState) -> None:
    async def story(w: World) -> None:
        await w.until(50.0)
        w.venue.user.notice(state, "gone")
        await w.until(65.0)
        assert w.trader.state is TraderState.DEGRADED
        assert w.held() == 0
        w.venue.user.notice(StreamState.CONNECTED)
        await w.until(70.0)
        assert w.trader.state is TraderState.TRADING
        await w.until(121.0)
        assert w.held() > 0

    world.lived(story)
    first = next(d for d in world.ledger.real.decisions(BOOK) if d.bar_close_ms == START_MS + M1.ms)
    assert first.action is Action.HOLD
    assert any(approval.rule == "trader ready" and not approval.passed for approval in first.approvals)


def test_executions_without_a_word_of_the_user_stream_replace_it(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(30.0)
        w.venue.user.silent = True
        await w.until(80.0)
        assert w.venue.user.reconnects == ["execution 1 of BTCUSDT came without a word"]

    world.lived(story)


def test_a_message_that_comes_twice_books_once(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(61.0)
        held = w.held()
        fill = w.venue.executions[0]
        report = w.venue.orders[fill.client_id or ""]
        for _ in range(3):
            w.venue.user.say(OrderMessage(report, fill, w.clock.now_ms()))
        await w.until(70.0)
        assert w.held() == held

    world.lived(story)
    assert len(world.ledger.real.fills(BOOK)) == 1


def test_a_stop_that_was_executed_is_booked_from_the_stream(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(61.0)
        [stop] = w.venue.stops
        del w.venue.calls[:]
        w.venue.trigger(stop)
        await w.until(63.0)
        assert w.held() == 0
        assert not w.sent()

    world.lived(story)


def test_events_reach_the_bus_even_if_it_was_away(world: World) -> None:
    async def story(w: World) -> None:
        w.bus.down = True
        await w.until(65.0)
        assert w.trader.state is TraderState.TRADING  # what cannot be told is no reason not to trade
        w.bus.down = False
        await w.until(110.0)

    world.lived(story)
    assert "trade.executed" in [event.kind.value for event in world.bus.published]
    assert world.ledger.real.unpublished_events() == []


def test_while_the_ledger_is_down_nothing_is_opened_and_afterwards_it_goes_on(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(50.0)
        w.ledger.down = True
        await w.until(75.0)
        assert w.sent() == []
        assert w.trader.state is TraderState.DEGRADED
        w.ledger.down = False
        await w.until(125.0)
        assert w.trader.state is TraderState.TRADING
        assert w.held() > 0

    world.lived(story)


def test_a_position_without_a_stop_does_not_wait_for_the_ledger(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.5)
        send = w.venue.send

        async def and_then_the_ledger_is_gone(order: Any) -> Any:
            report = await send(order)
            w.ledger.down = True
            return report

        w.venue.send = and_then_the_ledger_is_gone  # type: ignore[method-assign]
        await w.until(65.0)
        assert w.venue.positions["BTCUSDT"].quantity > 0
        assert not w.venue.stops
        await w.until(85.0)
        assert w.venue.positions["BTCUSDT"].quantity == 0
        w.ledger.down = False
        w.venue.send = send  # type: ignore[method-assign]
        await w.until(119.0)
        assert w.held() == 0
        assert w.trader.state is TraderState.TRADING

    world.lived(story)
    assert world.ports().exits.pending() == []
    assert len(world.ledger.real.fills(BOOK)) == 2


def test_a_drawdown_is_obeyed_while_the_ledger_is_away(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        w.ledger.down = True
        w.venue.prices["BTCUSDT"] = Decimal(50)
        await w.until(80.0)
        assert w.venue.positions["BTCUSDT"].quantity == 0
        w.ledger.down = False
        await w.until(119.0)
        assert w.trader.state is TraderState.HALTED

    world.lived(story)
    assert world.held() == 0
    assert HaltKind.DRAWDOWN in [halt.kind for halt in world.ledger.real.halts(BOOK, START_MS + 119_000)]


def test_a_venue_that_is_away_for_long_pauses_the_book_and_tells(world: World) -> None:
    world.params = replace(world.params, outage_pause_s=60.0)

    async def story(w: World) -> None:
        await w.until(50.0)
        w.venue.trouble = VenueUnreachable("maintenance (HTTP 503)")
        w.venue.user.notice(StreamState.LOST, "gone")
        w.venue.user.notice(StreamState.CONNECTED)
        await w.until(150.0)
        assert w.trader.state is TraderState.DEGRADED
        w.venue.trouble = None
        await w.until(200.0)
        assert w.trader.state is TraderState.TRADING

    world.lived(story)
    [halt] = world.ledger.real.halts(BOOK, START_MS + 200_000)
    assert "the venue has been away" in halt.reason
    assert halt.until_ms is not None


def test_a_book_of_which_nothing_can_be_decided_is_degraded_and_a_person_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyse, broken = ScriptedAnalyst.analyse, [True]

    def damaged(*arguments: Any) -> Any:
        if broken:
            raise ModelError("the model of BTCUSDT cannot be read")
        return analyse(*arguments)

    monkeypatch.setattr(ScriptedAnalyst, "analyse", damaged)

    async def story(w: World) -> None:
        await w.until(130.0)
        assert w.trader.state is TraderState.DEGRADED
        await w.until(440.0)
        told = [row["message"] for row in w.ledger.real.agent_log(BOOK) if row["level"] == "error"]
        assert told == [
            "not well for more than 5 min: decisions: nothing is decided: BTCUSDT: the model of BTCUSDT cannot be read"
        ]
        [beat] = w.ledger.real.heartbeats(BOOK)
        assert beat.state["lasting"] == ["decisions: nothing is decided: BTCUSDT: the model of BTCUSDT cannot be read"]
        broken.clear()
        await w.until(490.0)
        assert w.trader.state is TraderState.TRADING
        assert w.held() > 0  # the first bar that could be decided was traded

    world.lived(story)


def test_the_loss_of_the_lease_ends_everything_and_touches_nothing(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(61.0)
        sent = w.sent()
        lease = w.ledger.real.acquire_lease(BOOK, "test", 1, w.clock.now_ms())
        assert lease is not None
        w.ledger.real.release_lease(lease)
        assert w.ledger.real.acquire_lease(BOOK, "another", 60_000, w.clock.now_ms())
        await w.until(130.0)
        assert w.sent() == sent

    with pytest.raises(LeaseLost):
        _raised(world, story)
    assert world.ledger.real.acquire_lease(BOOK, "third", 1000, START_MS + 100_000) is None


def _raised(world: World, story: Callable[[World], Any]) -> None:
    """Like `lived`, but raises what the trader ended with."""

    async def main(w: World) -> None:
        running = asyncio.create_task(w.trader.run())
        try:
            await story(w)
        finally:
            w.trader.stop("over")
            await running

    world.lived(main, run=False)


def test_an_error_that_nobody_expects_ends_the_trader_and_is_recorded(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(30.0)
        w.venue.trouble = RuntimeError("a bug")
        await w.until(130.0)

    with pytest.raises(RuntimeError, match="a bug"):
        _raised(world, story)
    assert "the trader ended: RuntimeError: a bug" in world.said()
    assert world.venue.market.closed
    assert world.venue.user.closed
    assert world.ledger.real.acquire_lease(BOOK, "next", 1000, START_MS + 131_000) is not None


def test_a_start_is_refused_with_the_venues_reason(world: World) -> None:
    async def story(w: World) -> None:
        w.venue.trouble = VenueRejected("Invalid API-key", -2015)
        await w.trader.run()

    with pytest.raises(VenueRejected, match="Invalid API-key"):
        world.lived(story, run=False)


def test_stopping_keeps_position_and_stop_and_gives_the_lease_up(world: World) -> None:
    async def story(w: World) -> float:
        await w.until(61.0)
        began = asyncio.get_running_loop().time()
        w.trader.stop("SIGTERM")
        await asyncio.sleep(9.0)
        return asyncio.get_running_loop().time() - began

    world.lived(story)
    assert world.held() > 0
    assert len(world.venue.stops) == 1
    assert world.ledger.real.acquire_lease(BOOK, "next", 1000, START_MS + 62_000) is not None
    [beat] = world.ledger.real.heartbeats(BOOK)
    assert (beat.state["state"], beat.state["reason"]) == ("stopping", "SIGTERM")


def test_a_step_that_hangs_does_not_hold_the_end_up(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.0)

        async def never(_: Any) -> Any:
            await asyncio.sleep(3600)

        w.venue.send = never  # type: ignore[method-assign]
        await w.until(62.0)
        w.trader.stop("SIGTERM")
        await asyncio.sleep(9.5)  # the order may still arrive: the lease is renewed no more, and not given back
        assert w.ledger.real.acquire_lease(BOOK, "next", 1000, w.clock.now_ms()) is None
        await asyncio.sleep(30.0)
        assert w.ledger.real.acquire_lease(BOOK, "next", 1000, w.clock.now_ms()) is not None

    world.lived(story)


def test_a_standby_takes_over_when_the_other_one_is_silent(world: World) -> None:
    async def story(w: World) -> None:
        assert w.ledger.real.acquire_lease(BOOK, "dead", 30_000, w.clock.now_ms())
        running = asyncio.create_task(w.trader.run())
        await w.until(40.0)
        assert w.trader.state is TraderState.STANDBY
        assert [beat.role for beat in w.ledger.real.heartbeats(BOOK)] == ["standby"]
        assert not w.venue.calls
        await w.until(56.0)
        assert w.trader.state is TraderState.TRADING
        w.trader.stop("over")
        await running

    world.lived(story, run=False, standby=True)


def test_a_start_waits_for_a_silent_lease_and_not_for_a_living_one(world: World) -> None:
    async def story(w: World) -> None:
        for second in range(60):
            assert w.ledger.real.acquire_lease(BOOK, "alive", 30_000, w.clock.now_ms()), second
            await asyncio.sleep(1.0)
            w.venue.calls.clear()

    async def both(w: World) -> None:
        w.ledger.real.acquire_lease(BOOK, "alive", 30_000, w.clock.now_ms())
        alive = asyncio.create_task(story(w))
        try:
            await w.trader.run()
        finally:
            alive.cancel()

    with pytest.raises(LeaseLost, match="another process trades the book live"):
        world.lived(both, run=False)


def test_a_book_that_was_halted_by_hand_is_closed_within_seconds(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        assert w.held() > 0
        w.ledger.real.set_halt(Halt(BOOK, "by hand", w.clock.now_ms(), None, kind=HaltKind.MANUAL))
        await w.until(70.0)
        assert w.trader.state is TraderState.HALTED
        assert w.held() == 0
        assert not w.venue.stops
        await w.until(130.0)
        assert w.held() == 0

    world.lived(story)


def test_a_drawdown_between_bars_is_not_waited_out(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(65.0)
        assert w.held() > 0
        w.venue.wallet -= Decimal(3000)
        w.venue.user.say(_wallet(w))
        await w.until(75.0)
        assert w.held() == 0

    world.lived(story)
    kinds = [halt.kind for halt in world.ledger.real.halts(BOOK, START_MS + 75_000)]
    assert HaltKind.DRAWDOWN in kinds


def _wallet(w: World) -> Any:
    from shared.domain.stream import AccountMessage

    return AccountMessage(w.venue.wallet, (), "MARGIN_TRANSFER", w.clock.now_ms())


def test_an_exit_of_an_earlier_process_is_taken_over(world: World) -> None:
    async def earlier(w: World) -> None:
        await w.until(61.0)

    world.lived(earlier)
    [decision] = [d for d in world.ledger.real.decisions(BOOK) if d.order_ids]
    held = world.held()

    async def story(w: World) -> None:
        record = world.ledger.real.order(decision.order_ids[0])
        assert record is not None
        left = replace(
            record.intent, client_id=f"{record.intent.client_id[:20]}-exit", leg="exit", side=_other(record.intent.side)
        )
        left = replace(left, quantity=held, reduce_only=True)
        w.ports().exits.append(left)
        w.venue._filled(record.intent)
        w.venue._filled(left)
        await w.trader.run()

    async def limited(w: World) -> None:
        running = asyncio.create_task(story(w))
        await asyncio.sleep(5.0)
        w.trader.stop("over")
        await running

    world.lived(limited, FLAT, run=False)
    assert world.held() == 0
    assert world.ports().exits.pending() == []
    exits = [o for o in world.ledger.real.orders(BOOK) if o.intent.leg == "exit"]
    assert [o.state for o in exits] == [OrderState.FILLED]


def _other(side: Any) -> Any:
    from shared.domain.orders import Side

    return Side.SELL if side is Side.BUY else Side.BUY


def test_no_task_is_left_behind(world: World) -> None:
    left: list[str] = []

    async def main() -> None:
        await asyncio.sleep(0)

    async def story(w: World) -> None:
        await w.until(61.0)
        w.trader.stop("over")
        await asyncio.sleep(5.0)
        left.extend(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())

    world.lived(story)
    run_virtual(main(), VirtualLoop())
    assert left == []


def test_the_trader_is_one_value_to_build(world: World) -> None:
    async def story(w: World) -> None:
        assert Trader(w.ports(), w.spec(), w.params).state is TraderState.STARTING

    world.lived(story, run=False)


async def _unanswered(*_: Any) -> Any:
    raise VenueUnreachable("candles: no answer within 3 s")


def test_a_clock_that_is_set_back_far_ends_the_process_and_frees_the_lease(world: World) -> None:
    async def story(w: World) -> None:
        running = asyncio.create_task(w.trader.run())
        await w.until(65.0)
        w.clock.offset_ms = -60_000
        with pytest.raises(ClockSetBack, match="set back by 5"):
            await asyncio.wait_for(running, 10.0)

    world.lived(story, run=False)
    assert world.ledger.real.acquire_lease(BOOK, "next", 1000, START_MS + 6_000) is not None
