"""One WebSocket from handshake to end: subscribed before it is handed out, read until it is lost, and the reason why.

A silent peer is pinged by aiohttp (`heartbeat`); where not even a pong comes the connection is lost. Pings of the venue are
answered. Invariant: messages that come during the subscription are kept and told first; no error names the address, which
may hold the listen key.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from shared.adapters.exchange.client import HttpReply
from shared.adapters.exchange.errors import translate
from shared.adapters.exchange.params import StreamParams
from shared.domain.errors import VenueRejected, VenueUnreachable

SUBSCRIBED_AT_ONCE = 100
CLOSING_S = 1.0
"""longest wait for the venue's answer to our goodbye"""

Socket = aiohttp.ClientWebSocketResponse
Receive = Callable[[str], None]


def open_session(authorities: str, *, trust_env: bool) -> aiohttp.ClientSession:
    """What sockets are dialled with. `authorities` is a file of trusted certificates; needs a running event loop."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authorities))
    return aiohttp.ClientSession(connector=connector, trust_env=trust_env)


class StreamSocket:
    """A subscribed socket; `start` begins to read it."""

    def __init__(self, socket: Socket, backlog: Sequence[str], params: StreamParams) -> None:
        self._socket = socket
        self._backlog = backlog
        self._params = params
        self._reading: asyncio.Task[None] | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """done, with the reason, when nothing comes any more"""

    @classmethod
    async def dial(
        cls,
        session: aiohttp.ClientSession,
        address: str,
        names: Sequence[str],
        action: str,
        params: StreamParams,
        now_ms: int,
        headers: Mapping[str, str] | None = None,
    ) -> StreamSocket:
        """Connect and subscribe to `names`. Raises the `VenueError` tree; `action` names the stream in its messages."""
        try:
            async with asyncio.timeout(params.timeout_s):
                socket = await session.ws_connect(
                    address,
                    headers=headers,
                    heartbeat=params.heartbeat_s,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING_S),
                )
                try:
                    backlog = await _subscribe(socket, names, action)
                except BaseException:
                    await _say_goodbye(socket)
                    raise
        except aiohttp.WSServerHandshakeError as error:
            reply = HttpReply(error.status, dict(error.headers or {}))
            raise translate(error, reply, action, changes=False, now_ms=now_ms) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise translate(error, HttpReply(), action, changes=False, now_ms=now_ms) from None
        return cls(socket, backlog, params)

    def start(self, receive: Receive) -> None:
        """Read; `receive` is called with each text message and must not raise."""
        self._reading = asyncio.create_task(self._read(receive))
        self._reading.add_done_callback(self._ended)

    def drop(self, reason: str) -> None:
        """Believe it no longer: nothing that still comes is told."""
        if not self.lost.done():
            self.lost.set_result(reason)
        if self._reading is not None:
            self._reading.cancel()

    async def close(self) -> None:
        """Stop reading and say goodbye; takes at most `CLOSING_S`, also where nobody answers."""
        self.drop("closed by us")
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        await _say_goodbye(self._socket)

    async def _read(self, receive: Receive) -> None:
        for text in self._backlog:
            receive(text)
        self._backlog = ()
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                receive(message.data)
            elif message.type is not aiohttp.WSMsgType.BINARY:  # closed, in one of several ways
                return

    def _ended(self, reading: asyncio.Task[None]) -> None:
        if self.lost.done():
            return
        failure = None if reading.cancelled() else reading.exception()
        if failure is not None:
            self.lost.set_exception(failure)
        else:
            self.lost.set_result(self._why())

    def _why(self) -> str:
        if isinstance(self._socket.exception(), aiohttp.ServerTimeoutError):
            return f"no sign of life for {1.5 * self._params.heartbeat_s:g} s, not even the answer to a ping"
        code = self._socket.close_code
        return f"closed by the venue (code {code})" if code not in (None, 1006) else "the connection broke off"


async def _say_goodbye(socket: Socket) -> None:
    """Close in good form; a venue that goes on talking instead of answering is cut off (aiohttp would wait for its silence)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSING_S):
            await socket.close()


async def _subscribe(socket: Socket, names: Sequence[str], action: str) -> list[str]:
    """Subscribe and wait for the venue's answers; what else came meanwhile."""
    backlog: list[str] = []
    for number, first in enumerate(range(0, len(names), SUBSCRIBED_AT_ONCE), start=1):
        params = list(names[first : first + SUBSCRIBED_AT_ONCE])
        await socket.send_str(json.dumps({"method": "SUBSCRIBE", "params": params, "id": number}))
        while (answer := await _answer(socket, number, backlog, action)) is None:
            pass
        if answer.get("error") or answer.get("result") is not None:
            raise VenueRejected(f"{action}: the venue refused the subscription: {str(answer)[:300]}")
    return backlog


async def _answer(socket: Socket, number: int, backlog: list[str], action: str) -> dict[str, Any] | None:
    """The next message, if it answers request `number`; else it is added to `backlog`."""
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise VenueUnreachable(f"{action}: the venue closed the connection before it had answered the subscription")
    try:
        content = json.loads(message.data)
    except ValueError:
        content = None
    if isinstance(content, dict) and content.get("id") == number:
        return content
    backlog.append(message.data)
    return None
