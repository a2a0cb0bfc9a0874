"""One connection of a stream, without a socket: it carries the venue's events with delay and faults.

It loses messages, garbles them, brings them twice or late, falls silent while it looks alive, breaks off, and is made again; of
all that it tells what the real adapter tells, in order with the messages (CONNECTED, LOST, ROTATED).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cloudrun.simulation.faults import Faults, Part
from cloudrun.simulation.loop import VirtualLoop
from cloudrun.simulation.process import Process, ProcessClock
from shared.adapters.exchange.stream_inbox import Inbox
from shared.domain.stream import StreamNotice, StreamState

if TYPE_CHECKING:
    from cloudrun.simulation.streams import StreamHub

Event = dict[str, Any]
Message = TypeVar("Message")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
_READABLE = ("e", "E", "T", "s")


def garbled(event: Event) -> Event:
    """`event` so that nobody can read it: its kind is left, and what it says is not."""
    return {key: value if key in _READABLE else {} if isinstance(value, dict) else "?" for key, value in event.items()}


class Link(Generic[Message]):
    """One subscription of one process."""

    part: Part

    def __init__(
        self,
        hub: StreamHub,
        process: Process,
        clock: ProcessClock,
        loop: VirtualLoop,
        faults: Faults,
        rotate_after_s: float = 23 * 3600.0,
    ) -> None:
        self._rotate_after_s = rotate_after_s
        self._hub = hub
        self._process = process
        self._clock = clock
        self._loop = loop
        self._faults = faults
        self._inbox: Inbox[Message | StreamNotice] = Inbox()
        self._connected = False
        self._closed = False
        self._told_lost = False
        self._generation = 0
        self._made_s = 0.0
        self._last_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        process.at_end(self._leave)

    async def next(self) -> Message | StreamNotice:
        """The next message, in the order of arrival."""
        return await self._inbox.next()

    async def close(self) -> None:
        """Release the connection."""
        self._leave()

    def push(self, event: Event) -> None:
        """The venue sends an event."""
        now_s, faults, rates = self._loop.time(), self._faults, self._faults.plan.rates
        if faults.down(Part.VENUE, now_s):
            self.lose("closed by the venue (simulated maintenance)")
            return
        if faults.down(Part.STREAMS, now_s) or faults.down(Part.NETWORK, now_s) or self._is_silent(event, now_s):
            return
        if faults.happens(rates.drop, now_s):
            self._hub.on_loss(self.part is Part.USER_STREAM)
            return
        if faults.happens(rates.disconnect, now_s):
            self.lose("the connection broke off (simulated)")
            return
        if faults.happens(rates.malformed, now_s):
            self._hub.on_loss(self.part is Part.USER_STREAM)
            event = garbled(event)
        arrival_s = max(self._last_s, now_s + faults.latency_s())
        if faults.happens(rates.delay, now_s):
            arrival_s += faults.between(0.1, 5.0)  # later messages overtake it
            self._hub.on_loss(self.part is Part.USER_STREAM)
        else:
            self._last_s = arrival_s
        for _ in range(2 if faults.happens(rates.repeat, now_s) else 1):
            self._loop.call_at(arrival_s, self._arrive, self._generation, event)
            arrival_s += 0.05

    def _is_silent(self, _event: Event, now_s: float) -> bool:
        """Whether the connection says nothing since a window began in which it was there already."""
        return self._silenced(self.part, self._made_s, now_s)

    def _silenced(self, part: Part, made_s: float, now_s: float) -> bool:
        windows = self._faults.plan.windows
        return any(w.part is part and w.start_s <= now_s < w.end_s and made_s < w.start_s for w in windows)

    def lose(self, reason: str) -> None:
        """The connection ends by a fault; another one follows."""
        self._hub.on_loss(self.part is Part.USER_STREAM)
        self._drop(reason)

    def _drop(self, reason: str) -> None:
        if self._closed or not self._connected:
            return
        self._leave_hub()
        self._notify(StreamState.LOST, reason)
        self._told_lost = True
        self._loop.call_later(self._pause_s, self._connect)

    def _begin(self) -> None:
        self._loop.call_later(self._faults.latency_s(), self._connect)

    def _connect(self) -> None:
        if self._closed or self._connected or not self._process.alive:
            return
        now_s = self._loop.time()
        if self._faults.down(Part.NETWORK, now_s) or self._faults.down(Part.VENUE, now_s):
            if not self._told_lost:
                self._notify(StreamState.LOST, "no connection (simulated)")
                self._told_lost = True
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._loop.call_later(self._pause_s, self._connect)
            return
        self._connected, self._told_lost = True, False
        self._pause_s = FIRST_PAUSE_S
        self._was_made(now_s)
        self._generation += 1
        self._notify(StreamState.CONNECTED, "connected (simulated)")
        self._join_hub()
        self._loop.call_later(self._rotate_after_s, self._rotate, self._generation)

    def _rotate(self, generation: int) -> None:
        if self._connected and generation == self._generation and self._process.alive:
            self._was_made(self._loop.time())
            self._notify(StreamState.ROTATED, "rotated (simulated)")
            self._loop.call_later(self._rotate_after_s, self._rotate, generation)

    def _was_made(self, now_s: float) -> None:
        self._made_s = now_s

    def _arrive(self, generation: int, event: Event) -> None:
        if generation == self._generation and self._connected and self._process.alive:
            self._take(event)

    def _notify(self, state: StreamState, detail: str) -> None:
        self._inbox.barrier(StreamNotice(state, detail, self._clock.now_ms()), outdates=state is StreamState.LOST)

    def _leave(self) -> None:
        self._closed = True
        self._leave_hub()

    def _leave_hub(self) -> None:
        self._connected = False

    def _join_hub(self) -> None:
        raise NotImplementedError

    def _take(self, event: Event) -> None:
        raise NotImplementedError
