"""Bars, quotes and mark prices of several symbols: the `MarketStream` port (`streams.py` says why it is made so).

Binance serves quotes on another path than bars and mark prices, so there is a socket for each path; they are told as one:
connected while all of them are, LOST naming the one that went. A socket that is not believed is replaced alone, by a channel
that it serves. Invariant: closed bars are never dropped; of what only shows the present, the newest is kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import aiohttp
import numpy as np

from shared.adapters.exchange.client import Admission
from shared.adapters.exchange.params import StreamParams
from shared.adapters.exchange.payloads import Json
from shared.adapters.exchange.stream_addresses import StreamAddresses
from shared.adapters.exchange.stream_connection import Consumer, StreamConnection, Subscription
from shared.adapters.exchange.stream_inbox import Inbox
from shared.adapters.exchange.stream_payloads import read_market
from shared.adapters.exchange.stream_reading import CLOSED, Malformed, read_safely
from shared.adapters.exchange.stream_socket import open_session
from shared.domain.errors import VenueUnreachable
from shared.domain.interval import Interval
from shared.domain.stream import BarMessage, Channel, MarketMessage, StreamNotice, StreamState
from shared.ports import Clock

_CHANNELS = {"kline": Channel.BARS, "bookTicker": Channel.QUOTES, "markPrice": Channel.MARKS}


class CcxtMarketStream:
    """Bars, quotes and mark prices of several symbols, on one socket for each path on which the venue serves them."""

    def __init__(
        self,
        venue: str,
        clock: Clock,
        rng: np.random.Generator,
        params: StreamParams | None = None,
        *,
        base_url: str | None = None,
        demo: bool = False,
        admission: Admission | None = None,
    ) -> None:
        self._addresses = StreamAddresses(venue, base_url=base_url, demo=demo, admission=admission)
        self._clock, self._rng, self._params = clock, rng, params or StreamParams()
        self._inbox: Inbox[MarketMessage] = Inbox()
        self._malformed = Malformed("market stream")
        self._session: aiohttp.ClientSession | None = None
        self._connections: dict[str, StreamConnection] = {}
        self._serving: dict[Channel, str] = {}
        """address of the socket that serves a channel"""
        self._missing: set[str] = set()
        self._told: StreamState | None = None

    @property
    def malformed(self) -> Counter[str]:
        """How many messages of each kind could not be read."""
        return self._malformed.counts

    async def open(self, symbols: Sequence[str], interval: Interval) -> None:
        """Subscribe to bars, quotes and mark prices. Raises `VenueRejected` or `AccessBlocked`; what may pass is LOST."""
        self._session = open_session(self._addresses.authorities, trust_env=self._addresses.trust_env)
        suffixes = {"kline": f"kline_{interval.value}", "bookTicker": "bookTicker", "markPrice": "markPrice@1s"}
        for address, channels in self._addresses.market(_CHANNELS).items():
            names = [f"{symbol.lower()}@{suffixes[channel]}" for channel in channels for symbol in symbols]
            self._connections[address] = self._connection(self._session, address, channels, names)
            self._serving |= {_CHANNELS[channel]: address for channel in channels}
            self._missing.add(address)
        try:
            async with asyncio.TaskGroup() as opening:
                for connection in self._connections.values():
                    opening.create_task(connection.open())
        except BaseExceptionGroup as group:
            await self.close()
            raise group.exceptions[0] from None

    async def next(self) -> MarketMessage:
        """The next message; of open bars, quotes and mark prices that were not taken yet, the newest of each symbol.

        Raises `VenueUnreachable` once the stream was closed.
        """
        return await self._inbox.next()

    async def reconnect(self, reason: str, channel: Channel | None = None) -> None:
        """Drop the connection that serves `channel`, or all: new ones are made by themselves. LOST and CONNECTED tell of it."""
        for address, connection in self._connections.items():
            if channel is None or self._serving[channel] == address:
                connection.drop(reason)

    async def close(self) -> None:
        """Release the connections."""
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))
        if self._session is not None:
            await self._session.close()
        self._inbox.fail(VenueUnreachable(f"market stream: {CLOSED}"))

    def _connection(
        self, session: aiohttp.ClientSession, address: str, channels: Sequence[str], names: Sequence[str]
    ) -> StreamConnection:
        async def same_address() -> str:
            return address

        def notify(state: StreamState, detail: str) -> None:
            self._notify(address, state, detail)

        subscription = Subscription(f"market stream ({', '.join(channels)})", same_address, names, self._addresses.headers)
        consumer = Consumer(self._receive, notify, self._inbox.fail)
        return StreamConnection(subscription, consumer, session, self._clock, self._rng, self._params)

    def _notify(self, address: str, state: StreamState, detail: str) -> None:
        """Tell of the sockets as of one: connected while all of them are."""
        if state is StreamState.LOST:
            self._missing.add(address)
        elif state is StreamState.CONNECTED:
            self._missing.discard(address)
            if self._missing:
                return
            detail = "market stream"
        if state in (StreamState.LOST, StreamState.CONNECTED):
            if state is self._told:
                return
            self._told = state
        self._inbox.barrier(StreamNotice(state, detail, self._clock.now_ms()), outdates=state is StreamState.LOST)

    def _receive(self, text: str) -> None:
        read_safely(text, self._take, self._malformed)

    def _take(self, event: Json) -> None:
        message = read_market(event)
        if message is None:
            return
        key = (type(message), message.symbol)
        if isinstance(message, BarMessage) and message.closed:
            open_bar = self._inbox.untaken(key)
            if isinstance(open_bar, BarMessage) and open_bar.open_ms <= message.open_ms:
                self._inbox.drop(key)
            self._inbox.put(message)
        else:
            self._inbox.put(message, key)
