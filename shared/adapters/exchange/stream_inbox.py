"""What has arrived and was not yet taken by the one consumer, in the order of arrival, bounded where that loses nothing.

A message with a key (an open bar, a quote, a mark price) takes the place of an untaken one with the same key: a slow consumer
finds the newest one. A message without a key (a closed bar, an order, the account, a notice) is never replaced or dropped. A
notice is a barrier: nothing that came after it is told before it. The untaken messages are at most one for each key plus those
that must not be lost.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

Message = TypeVar("Message")
_Place = tuple[int, Hashable]


class Inbox(Generic[Message]):
    """Messages for one consumer."""

    def __init__(self) -> None:
        self._untaken: OrderedDict[_Place | int, Message] = OrderedDict()
        self._numbers = count()
        self._section = 0
        self._arrival: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None

    def __len__(self) -> int:
        return len(self._untaken)

    def put(self, message: Message, key: Hashable | None = None) -> None:
        """Add `message`; with a `key`, in the place of the untaken one that has it."""
        self._untaken[next(self._numbers) if key is None else (self._section, key)] = message
        self._wake()

    def untaken(self, key: Hashable) -> Message | None:
        """The untaken message with `key` since the last barrier."""
        return self._untaken.get((self._section, key))

    def drop(self, key: Hashable) -> None:
        """Forget the untaken message with `key`, if there is one."""
        self._untaken.pop((self._section, key), None)

    def barrier(self, notice: Message, *, outdates: bool = False) -> None:
        """Add `notice`; what comes later stays behind it. `outdates`: messages with keys before it are out of date."""
        if outdates:
            for place in [place for place in self._untaken if isinstance(place, tuple)]:
                del self._untaken[place]
        self._section += 1
        self.put(notice)

    def fail(self, error: BaseException) -> None:
        """Nothing comes any more: `next` raises the first `error` that was given once everything was taken."""
        self._failure = self._failure or error
        self._wake()

    async def next(self) -> Message:
        """Take the oldest message; waits for one. Raises what `fail` was given."""
        while not self._untaken:
            if self._failure is not None:
                raise self._failure
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return self._untaken.popitem(last=False)[1]

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
