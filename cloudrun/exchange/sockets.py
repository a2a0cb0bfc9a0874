"""One WebSocket of the exchange: what it listens to, what waits to be sent, and how it can be made to fail.

`drop` breaks the connection off; `stall` makes it half-open: it stays connected, but nothing is sent or answered any more, not
even a ping.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

GOING_AWAY = 1001


class Connection:
    """A client's socket, made without `autoping`. `began_s`: when it was opened, on the clock that measures its life."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, began_s: float) -> None:
        self.socket = socket
        self.began_s = began_s
        self.names: dict[str, None] = {}
        """in the order of subscription"""
        self.key: str | None = None
        self.is_user = "listenKey" in request.query
        self._wrapped = "/stream" in request.path
        self._transport = request.transport
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._writing: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[bool] | None = None
        self._stalled = False

    def put(self, name: str, event: Any) -> None:
        """Queue an event of stream `name`."""
        self.say({"stream": name, "data": event} if self._wrapped else event)

    def say(self, body: Any) -> None:
        """Queue a message as it is."""
        if not self._stalled:
            self._outbox.put_nowait(json.dumps(body, separators=(",", ":")))

    async def run(self, command: Callable[[str], None]) -> None:
        """Read commands and send what is queued, until the connection ends."""
        self._writing = asyncio.create_task(self._write())
        try:
            async for message in self.socket:
                if self._stalled:
                    continue
                if message.type is WSMsgType.PING:
                    await self.socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    command(message.data)
        finally:
            self._writing.cancel()
            farewell = () if self._closing is None else (self._closing,)
            await asyncio.gather(self._writing, *farewell, return_exceptions=True)

    def drop(self) -> None:
        """Break off without a goodbye."""
        if self._transport is not None:
            self._transport.abort()

    def stall(self) -> None:
        """Stay connected and say nothing more."""
        self._stalled = True
        if self._writing is not None:
            self._writing.cancel()

    def go_away(self) -> None:
        """Close in good form, without waiting for it."""
        if self._closing is None:
            self._closing = asyncio.create_task(self.socket.close(code=GOING_AWAY))

    async def _write(self) -> None:
        """In order, until cancelled; a reader that is slow or gone delays nobody else."""
        while True:
            try:
                await self.socket.send_str(await self._outbox.get())
            except ConnectionError:
                return
