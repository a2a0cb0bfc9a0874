"""Orders, fills and balances of one account as they happen: the `UserStream` port (`streams.py` says why it is made so).

The listen key belongs to the account, and every process of the account shares it: it is prolonged, and never deleted, because
deleting it would end the stream of a standby that has just taken over. Invariant: after KEY_EXPIRED come LOST and CONNECTED
with another key; what happened in between is not on the stream and has to be fetched. So has what an unreadable message
said: UNREADABLE tells of it, and CONNECTED follows at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import aiohttp
import numpy as np

from shared.adapters.exchange.client import Admission
from shared.adapters.exchange.connection import Connection
from shared.adapters.exchange.endpoints import KEEP_LISTEN_KEY, TAKE_LISTEN_KEY
from shared.adapters.exchange.params import StreamParams
from shared.adapters.exchange.payloads import Json
from shared.adapters.exchange.stream_addresses import StreamAddresses
from shared.adapters.exchange.stream_connection import Consumer, StreamConnection, Subscription
from shared.adapters.exchange.stream_inbox import Inbox
from shared.adapters.exchange.stream_payloads import KEY_EXPIRED, TOLD, UserReader, kind_of
from shared.adapters.exchange.stream_reading import CLOSED, NO_EVENT, Malformed, read_safely
from shared.adapters.exchange.stream_socket import open_session
from shared.domain.errors import MalformedData, VenueError, VenueRejected, VenueUnreachable
from shared.domain.stream import StreamNotice, StreamState, UserMessage
from shared.ports import Clock

NO_SUCH_KEY = -1125
_LOG = logging.getLogger(__name__)


class CcxtUserStream:
    """Orders, fills and balances of one account. `currency` is the one that the wallet is told in."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        rng: np.random.Generator,
        params: StreamParams | None = None,
        *,
        venue: str = "binanceusdm",
        base_url: str | None = None,
        demo: bool = False,
        admission: Admission | None = None,
        currency: str = "USDT",
    ) -> None:
        self._rest = connection
        self._addresses = StreamAddresses(venue, base_url=base_url, demo=demo, admission=admission)
        self._clock, self._rng, self._params = clock, rng, params or StreamParams()
        self._reader = UserReader(currency)
        self._inbox: Inbox[UserMessage] = Inbox()
        self._malformed = Malformed("user stream")
        self._session: aiohttp.ClientSession | None = None
        self._stream: StreamConnection | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._key: str | None = None

    @property
    def malformed(self) -> Counter[str]:
        """How many messages of each kind could not be read."""
        return self._malformed.counts

    async def open(self) -> None:
        """Take a key and connect. Raises `VenueRejected` where the venue refuses the account's key; what may pass is LOST."""
        self._session = open_session(self._addresses.authorities, trust_env=self._addresses.trust_env)
        subscription = Subscription("user stream", self._address, headers=self._addresses.headers)
        consumer = Consumer(self._receive, self._notify, self._inbox.fail)
        self._stream = StreamConnection(subscription, consumer, self._session, self._clock, self._rng, self._params)
        try:
            await self._stream.open()
        except BaseException:
            await self.close()
            raise
        self._renewing = asyncio.create_task(self._renew(), name="listen key")
        self._renewing.add_done_callback(self._stopped_renewing)

    async def next(self) -> UserMessage:
        """The next message, in the order of arrival. Raises `VenueUnreachable` once the stream was closed."""
        return await self._inbox.next()

    async def reconnect(self, reason: str) -> None:
        """Drop the connection; a new one is made in the background. LOST and CONNECTED tell of it."""
        if self._stream is not None:
            self._stream.drop(reason)

    async def close(self) -> None:
        """Release the connection; the key is left to the account's other processes and to its end."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if self._stream is not None:
            await self._stream.close()
        if self._session is not None:
            await self._session.close()
        self._inbox.fail(VenueUnreachable(f"user stream: {CLOSED}"))

    async def _address(self) -> str:
        """Where to connect: the account's key in force, prolonged, or a new one."""
        answer = await self._rest.read(TAKE_LISTEN_KEY)
        if not (isinstance(answer, dict) and answer.get("listenKey")):
            raise VenueUnreachable("user stream: the venue answered without a listen key")
        self._key = str(answer["listenKey"])
        return self._addresses.user(self._key)

    async def _renew(self) -> None:
        """Prolong the key for ever; where the venue knows it no longer, connect with a new one."""
        pause_s = self._params.keep_alive_s
        while True:
            await self._clock.sleep(pause_s)
            key, pause_s = self._key, self._params.keep_alive_s
            try:
                answer = await self._rest.read(KEEP_LISTEN_KEY)
            except VenueError as error:
                if isinstance(error, VenueRejected) and error.code == NO_SUCH_KEY:
                    self._key_expired(key, "the venue does not know the listen key any more")
                else:
                    _LOG.warning("%s", error)
                    pause_s = min(pause_s, self._params.backoff_limit_s)
                continue
            if isinstance(answer, dict) and answer.get("listenKey", key) != key:
                self._key_expired(key, "the account has another listen key now")

    def _key_expired(self, key: str | None, detail: str) -> None:
        """`key` has ended; where it is not the one in use (any more), nothing is to be done."""
        if key is None or key != self._key or self._stream is None:
            return
        self._key = None
        self._notify(StreamState.KEY_EXPIRED, detail)
        self._stream.drop(detail)

    def _notify(self, state: StreamState, detail: str) -> None:
        self._inbox.barrier(StreamNotice(state, detail, self._clock.now_ms()))

    def _receive(self, text: str) -> None:
        read_safely(text, self._take, self._malformed, self._unreadable)

    def _unreadable(self, kind: str, error: MalformedData, is_first: bool) -> None:
        """Something may have happened that nobody was told. An event of a kind that is not known is looked into once."""
        if is_first or kind in TOLD or kind == NO_EVENT:
            self._notify(StreamState.UNREADABLE, f"user stream: a message could not be read: {error}")
            self._notify(StreamState.CONNECTED, "user stream")

    def _take(self, event: Json) -> None:
        if kind_of(event) == KEY_EXPIRED:
            self._key_expired(event.get("listenKey", self._key), "the venue says that the listen key has expired")
            return
        message = self._reader.read(event)
        if message is not None:
            self._inbox.put(message)

    def _stopped_renewing(self, renewing: asyncio.Task[None]) -> None:
        if not renewing.cancelled() and (error := renewing.exception()) is not None:
            self._inbox.fail(error)
