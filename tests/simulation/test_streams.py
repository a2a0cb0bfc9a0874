"""The links of the simulation fall silent channel by channel, are replaced socket by socket, and garble messages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from cloudrun.simulation.faults import FaultPlan, Part, Rates, Window
from cloudrun.simulation.process import Process
from cloudrun.simulation.scenarios.base import CALM
from cloudrun.simulation.sessions import live_ports
from cloudrun.simulation.spec import WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import Interval
from shared.domain.stream import BarMessage, Channel, MarkMessage, QuoteMessage, StreamNotice, StreamState

SPEC = WorldSpec(1, bars=0, quiet_bars=2, shape=CALM, tick_s=1.0)


def heard(spec: WorldSpec, deed: Any = None) -> list[tuple[float, Any]]:
    """What a process hears of the market in 60 s: (at_s, message)."""
    messages: list[tuple[float, Any]] = []
    doing: list[asyncio.Task[None]] = []

    async def program(world: World, process: Process) -> None:
        stream = live_ports(world, process).market_stream
        await stream.open(["BTCUSDT"], Interval.M1)
        if deed is not None:
            doing.append(asyncio.create_task(deed(stream)))
        while world.loop.time() < 60.0:
            try:
                async with asyncio.timeout(2.0):
                    message = await stream.next()
            except TimeoutError:
                continue
            messages.append((world.loop.time(), message))
        await stream.close()

    World(spec, program).run()
    return messages


def times(messages: list[tuple[float, Any]], kind: type) -> list[float]:
    return [at_s for at_s, message in messages if isinstance(message, kind)]


def silent(part: Part) -> WorldSpec:
    return replace(SPEC, plan=FaultPlan(windows=(Window(part, 10.0, 50.0),)))


def test_bars_fall_silent_while_marks_and_quotes_live():
    messages = heard(silent(Part.BARS))
    assert not [at_s for at_s in times(messages, BarMessage) if 11.0 < at_s < 50.0]
    assert len([at_s for at_s in times(messages, MarkMessage) if 11.0 < at_s < 50.0]) > 20
    assert len([at_s for at_s in times(messages, QuoteMessage) if 11.0 < at_s < 50.0]) > 20


def test_a_new_connection_brings_the_silent_channel_back_and_another_channels_does_not():
    def after(channel: Channel) -> list[float]:
        async def deed(stream: Any) -> None:
            await asyncio.sleep(20.0)
            await stream.reconnect("for the test", channel)

        return [at_s for at_s in times(heard(silent(Part.MARKS), deed), MarkMessage) if 22.0 < at_s < 50.0]

    assert after(Channel.MARKS)
    assert after(Channel.BARS), "bars and marks share a connection"
    assert not after(Channel.QUOTES)


def test_what_cannot_be_read_is_left_out_of_the_market_stream():
    spec = replace(SPEC, plan=FaultPlan(Rates(malformed=1.0), until_s=30.0))
    messages = [(at_s, message) for at_s, message in heard(spec) if not isinstance(message, StreamNotice)]
    assert messages
    assert all(at_s > 30.0 for at_s, _ in messages)


def test_what_cannot_be_read_of_the_account_is_told():
    notices: list[StreamState] = []

    async def program(world: World, process: Process) -> None:
        stream = live_ports(world, process).user_stream
        await stream.open()
        await asyncio.sleep(5.0)
        stream.push({"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": {"s": "BTCUSDT"}})
        while len(notices) < 3:
            message = await stream.next()
            if isinstance(message, StreamNotice):
                notices.append(message.state)
        await stream.close()

    World(replace(SPEC, plan=FaultPlan(Rates(malformed=1.0), until_s=30.0)), program).run()
    assert notices == [StreamState.CONNECTED, StreamState.UNREADABLE, StreamState.CONNECTED]


def test_a_market_that_says_nothing_is_silent_without_a_fault():
    messages: list[Any] = []

    async def program(world: World, process: Process) -> None:
        world.venue.streams.silent = lambda _: True
        stream = live_ports(world, process).market_stream
        await stream.open(["BTCUSDT"], Interval.M1)
        while not world.closing:
            try:
                async with asyncio.timeout(5.0):
                    messages.append(await stream.next())
            except TimeoutError:
                continue
        await stream.close()

    World(SPEC, program).run()
    assert [type(message) for message in messages] == [StreamNotice]
