"""One subscription kept alive for ever: dialled, watched, dialled again with growing pauses, rotated before the venue ends it.

The pause before attempt n is min(limit, first · 2ⁿ), less up to half of it by chance; it is short again once a connection has
lived longer than the limit. Rotation: the new socket is subscribed first, both are read for a while, then the old one is
closed, so that nothing is missed and some messages come twice. Only where the old one broke meanwhile may something have been
missed: that is told as a loss. Invariant: LOST and CONNECTED alternate; whatever else fails here reaches the consumer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np

from shared.adapters.exchange.errors import AccessBlocked
from shared.adapters.exchange.params import StreamParams
from shared.adapters.exchange.stream_socket import Receive, StreamSocket
from shared.domain.errors import RateLimited, VenueError, VenueRejected, VenueUnreachable
from shared.domain.stream import StreamState
from shared.ports import Clock

_LOG = logging.getLogger(__name__)
_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is subscribed, and where."""

    action: str
    """what to call it in messages"""
    address: Callable[[], Awaitable[str]]
    """asked anew for every connection; may raise the `VenueError` tree"""
    names: Sequence[str] = ()
    """streams by the venue's names; none where the address says it all"""
    headers: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    """of the handshake, asked anew for every connection; may raise the `VenueError` tree"""


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who is told."""

    receive: Receive
    """each message; must not raise"""
    notify: Callable[[StreamState, str], None]
    """what became of the connection, in order with the messages"""
    failed: Callable[[BaseException], None]
    """a fault of our own: nothing comes any more"""


class StreamConnection:
    """Keeps one subscription connected."""

    def __init__(
        self,
        subscription: Subscription,
        consumer: Consumer,
        session: aiohttp.ClientSession,
        clock: Clock,
        rng: np.random.Generator,
        params: StreamParams,
    ) -> None:
        self._subscription = subscription
        self._action = subscription.action
        self._receive, self._notify, self._failed = consumer.receive, consumer.notify, consumer.failed
        self._session = session
        self._clock = clock
        self._rng = rng
        self._params = params
        self._sockets: list[StreamSocket] = []
        self._keeping: asyncio.Task[None] | None = None
        self._failures = 0

    async def open(self) -> None:
        """Connect. Raises `VenueRejected` or `AccessBlocked`; what may pass is told as LOST and tried again."""
        first: StreamSocket | None = None
        try:
            first = await self._dial()
        except (VenueUnreachable, RateLimited) as error:
            if isinstance(error, AccessBlocked):
                raise
            self._notify(StreamState.LOST, str(error))
        self._keeping = asyncio.create_task(self._keep(first), name=self._action)
        self._keeping.add_done_callback(self._stopped)

    def drop(self, reason: str) -> None:
        """Give up the present connection; a new one follows."""
        for socket in self._sockets:
            socket.drop(reason)

    async def close(self) -> None:
        """End everything."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)  # what failed in it was told by `_stopped`
        await self._release(*self._sockets)

    async def _keep(self, socket: StreamSocket | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if socket is None:
                socket = await self._dial_again()
            began_s = loop.time()  # measured on the loop: a clock may stand still while one waits (lockstep)
            self._notify(StreamState.CONNECTED, self._action)
            socket.start(self._receive)
            reason = await self._hold(socket)
            self._notify(StreamState.LOST, f"{self._action}: {reason}")
            await self._release(*self._sockets)
            socket = None
            if loop.time() - began_s >= self._params.backoff_limit_s:
                self._failures = 0

    async def _hold(self, socket: StreamSocket) -> str:
        """Until the connection is lost, rotating it in time; why it was lost."""
        while await self._outlives(socket, self._params.rotate_after_s):
            successor = await self._successor(socket)
            if successor is None:
                break
            successor.start(self._receive)
            unbroken = await self._outlives(socket, self._params.overlap_s)
            if not unbroken and not successor.lost.done():
                self._notify(StreamState.LOST, f"{self._action}: {await socket.lost}")
                self._notify(StreamState.CONNECTED, self._action)
            await self._release(socket)
            if unbroken and not successor.lost.done():
                self._notify(StreamState.ROTATED, self._action)
            socket = successor
        return await socket.lost

    async def _successor(self, socket: StreamSocket) -> StreamSocket | None:
        """A new connection while `socket` lives; `None` where it was lost first."""
        while not socket.lost.done():
            dialling = asyncio.ensure_future(self._dial())
            try:
                await asyncio.wait((dialling, socket.lost), return_when=asyncio.FIRST_COMPLETED)
                if dialling.done() and not socket.lost.done():
                    return dialling.result()
            except VenueError as error:
                _LOG.warning("%s: no new connection before the old one ends: %s", self._action, error)
            finally:
                dialling.cancel()
                await asyncio.gather(dialling, return_exceptions=True)
            await self._outlives(socket, self._params.backoff_limit_s)
        return None

    async def _outlives(self, socket: StreamSocket, seconds: float) -> bool:
        """Wait `seconds`, at most until `socket` is lost; whether it was not."""
        waiting = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((waiting, socket.lost), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return not socket.lost.done()

    async def _dial_again(self) -> StreamSocket:
        """A new connection, however long it takes."""
        least_s = 0.0
        while True:
            await self._clock.sleep(max(least_s, self._pause_s()))
            self._failures += 1
            try:
                return await self._dial()
            except VenueError as error:
                least_s = (error.retry_after_s or 0.0) if isinstance(error, RateLimited) else 0.0
                level = logging.ERROR if isinstance(error, VenueRejected) else logging.WARNING
                _LOG.log(level, "attempt %d: %s", self._failures, error)

    async def _dial(self) -> StreamSocket:
        now_ms = self._clock.now_ms()
        address = await self._subscription.address()
        headers = await self._subscription.headers() if self._subscription.headers is not None else {}
        names = self._subscription.names
        socket = await StreamSocket.dial(self._session, address, names, self._action, self._params, now_ms, headers)
        self._sockets.append(socket)
        return socket

    async def _release(self, *sockets: StreamSocket) -> None:
        self._sockets = [socket for socket in self._sockets if socket not in sockets]
        await asyncio.gather(*(socket.close() for socket in sockets))

    def _pause_s(self) -> float:
        pause_s: float = self._params.backoff_s * 2 ** min(self._failures, _MOST_DOUBLINGS)
        return min(self._params.backoff_limit_s, pause_s) * float(self._rng.uniform(0.5, 1.0))

    def _stopped(self, keeping: asyncio.Task[None]) -> None:
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            self._failed(error)
