"""The end of a trader: from SIGTERM on nothing is opened, what protects goes on, and it is over within ten seconds."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from live_world import BOOK, LONG, START_MS, World

from cloudrun.simulation.loop import VirtualLoop
from shared.domain.errors import LedgerUnavailable, ModelError, VenueUnreachable
from shared.domain.orders import OrderKind, OrderState
from shared.domain.records import Halt
from shared.trading.session import Session


def test_a_bar_that_closes_after_the_order_to_stop_is_left_to_the_next_process(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.0)
        await asyncio.sleep(0.5)
        w.trader.stop("SIGTERM")
        w.bar("BTCUSDT", START_MS)
        await asyncio.sleep(9.0)
        assert w.sent() == []

    world.lived(story)
    assert not [d for d in world.ledger.real.decisions(BOOK) if d.bar_close_ms > START_MS]


def test_a_step_that_is_running_opens_nothing_more_and_protects_what_it_has_opened(pair: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.0)
        send = w.venue.send

        async def and_then_stop(order: Any) -> Any:
            w.trader.stop("SIGTERM")
            return await send(order)

        w.venue.send = and_then_stop  # type: ignore[method-assign]
        await w.until(61.0)
        assert w.sent() == ["send market BTCUSDT", "send stop BTCUSDT"]
        await asyncio.sleep(9.0)

    pair.lived(story)
    assert (pair.held("BTCUSDT") > 0, pair.held("ETHUSDT")) == (True, 0)


def test_an_order_stays_unsent_where_a_halt_came_while_its_bar_was_decided(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.0)
        commit = w.ledger.real.commit_decision

        def just_after_a_halt(*arguments: Any) -> Any:
            w.ledger.real.set_halt(Halt(BOOK, "by hand", w.clock.now_ms(), None))
            return commit(*arguments)

        w.ledger.commit_decision = just_after_a_halt
        await w.until(61.0)
        assert w.sent() == []

    world.lived(story)
    orders = world.ledger.real.orders(BOOK)
    assert orders
    assert {order.state for order in orders} == {OrderState.ABANDONED}


def test_what_has_no_stop_when_the_order_to_stop_comes_gets_it_first(world: World) -> None:
    async def story(w: World) -> float:
        running = asyncio.create_task(w.trader.run())
        await w.until(59.0)
        send = w.venue.send

        async def refused_once(order: Any) -> Any:
            if order.intent.kind is OrderKind.STOP:
                w.venue.send = send  # type: ignore[method-assign]
                w.trader.stop("SIGTERM")
                raise VenueUnreachable("503")
            return await send(order)

        w.venue.send = refused_once  # type: ignore[method-assign]
        await w.until(61.0)
        began_s = asyncio.get_running_loop().time()
        await running
        assert len(w.venue.stops) == 1
        return asyncio.get_running_loop().time() - began_s

    assert world.lived(story, run=False) < 9.0


def test_an_order_that_was_decided_but_not_sent_stays_unsent(world: World) -> None:
    async def story(w: World) -> None:
        await w.until(59.0)
        commit = w.ledger.real.commit_decision

        def and_then_stop(*arguments: Any) -> Any:
            w.trader.stop("SIGTERM")
            return commit(*arguments)

        w.ledger.commit_decision = and_then_stop
        await w.until(61.0)
        assert w.sent() == []
        await asyncio.sleep(9.0)

    world.lived(story)
    orders = world.ledger.real.orders(BOOK)
    assert {order.state for order in orders} == {OrderState.ABANDONED}
    assert "the trader stops: SIGTERM" in orders[0].reason


def test_it_ends_within_ten_seconds_though_every_call_of_the_ledger_hangs(world: World) -> None:
    async def story(w: World) -> float:
        loop = cast(VirtualLoop, asyncio.get_running_loop())
        running = asyncio.create_task(w.trader.run())
        await w.until(65.0)

        class Hanging:
            """As a ledger that fails fast: one call waits for its timeout, the others fail at once for some seconds."""

            until_s = 0.0

            def __getattr__(self, name: str) -> Any:
                def call(*_: Any, **__: Any) -> Any:
                    if loop.time() >= self.until_s:
                        loop.block(2.0)
                        Hanging.until_s = loop.time() + 5.0
                    raise LedgerUnavailable("no answer within 2 s")

                return call

        w.ledger.real, real = Hanging(), w.ledger.real  # type: ignore[assignment]
        try:
            await asyncio.sleep(20.0)
            began_s = loop.time()
            w.trader.stop("SIGTERM")
            await running
            return loop.time() - began_s
        finally:
            w.ledger.real = real

    assert world.lived(story, run=False) < 10.0


def test_a_session_that_cannot_be_made_gives_the_lease_back(world: World) -> None:
    def broken(*_: Any) -> Any:
        raise ModelError("the policy is corrupt")

    async def story(w: World) -> None:
        w.ledger.last_equity = broken
        with pytest.raises(ModelError):
            Session.take(w.ports(), w.spec(), LONG)
        assert w.ledger.real.acquire_lease(BOOK, "next", 1000, w.clock.now_ms()) is not None

    world.lived(story, run=False)
