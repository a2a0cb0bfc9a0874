"""From closed bars to steps: when a bar is stepped in stream mode, and what is made up for afterwards.

A bar is stepped as soon as all of its symbols are there. When patience is over the missing ones are asked for by REST, and
those that are still missing are decided when they come. While the venue shows nothing at all of a bar, or of the history
before it, there is no step. Bars that were missed are stepped in order: their decisions are too old to trade and are recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.domain.interval import format_ms
from shared.domain.stream import BarMessage
from shared.ports import Clock
from shared.trading.bar_queue import BarQueue
from shared.trading.session import Session, SessionSpec, StepReport
from shared.trading.trader_params import TraderParams

OnStep = Callable[[StepReport], None]
Say = Callable[[str, str], object]
"""(level, message) to the book's log"""


class Stepper:
    """Steps one session through its bars."""

    def __init__(
        self, session: Session, spec: SessionSpec, params: TraderParams, clock: Clock, on_step: OnStep, say: Say
    ) -> None:
        self._session = session
        self._interval = spec.interval
        self._clock = clock
        self._on_step = on_step
        self._say = say
        self.steps = 0
        self.last: StepReport | None = None
        self.rescued: frozenset[str] = frozenset()
        """symbols whose newest bar came by REST although the stream should have brought it"""
        done_ms = self._first_ms(params.catch_up_bars)
        self.bars = BarQueue(spec.interval, round(params.bar_patience_s * 1000), done_ms)

    def _first_ms(self, catch_up_bars: int) -> int:
        """The bar before the first one: the last that was begun is done again where it was cut off."""
        newest_ms = self._interval.floor(self._clock.now_ms())
        last = self._session.marks.last
        if last is None:
            return newest_ms - self._interval.ms
        oldest_ms = newest_ms - catch_up_bars * self._interval.ms
        begun_ms = self._interval.floor(last.time_ms)
        if begun_ms < oldest_ms:
            self._say("warning", f"bars from {format_ms(begun_ms)} to {format_ms(oldest_ms)} are not made up for")
        if self._session.is_finished(begun_ms):
            return max(begun_ms, oldest_ms - self._interval.ms)
        return min(newest_ms, max(begun_ms, oldest_ms)) - self._interval.ms

    async def on_bar(self, bar: BarMessage, *, may_step: bool) -> None:
        """A closed bar of the stream; where it may not be stepped now, a tick does it later. Raises what a step raises."""
        problem = self._session.receive(bar)
        if problem:
            self._say("warning", problem)
        close_ms = bar.open_ms + self._interval.ms
        if not may_step:
            return
        self.rescued, board = frozenset(), self._session.board
        if self.bars.came_late(bar.symbol, close_ms):
            await self._step(close_ms, only=self.bars.undecided & {bar.symbol})
        elif self.bars.is_next(close_ms) and not board.missing(close_ms):
            if not board.lacking(close_ms) or await self._is_there(close_ms, newest_ms=close_ms):
                await self._step(close_ms)
            else:
                self.bars.postpone(self._clock.now_ms())

    async def on_tick(self) -> bool:
        """Step what patience has run out for; whether another bar is due at once. Raises what a step raises."""
        now_ms = self._clock.now_ms()
        due_ms = self.bars.next_due(now_ms)
        if due_ms is not None:
            if not await self._is_there(due_ms, newest_ms=self._interval.floor(now_ms)):
                self.bars.postpone(now_ms)
                return False
            await self._step(due_ms)
            return self.bars.next_due(self._clock.now_ms()) is not None
        repeated_ms = self.bars.to_repeat(now_ms)
        if repeated_ms is not None:
            await self._step(repeated_ms, only=self.bars.undecided)
        return False

    async def run_to(self, bar_close_ms: int) -> StepReport | None:
        """Step every bar up to `bar_close_ms`; the report of that one, `None` where the venue has nothing of one of them yet.

        Done before, it is done for the symbols that lacked their bar. Raises what a step raises.
        """
        while self.bars.done_ms < bar_close_ms:
            due_ms = self.bars.done_ms + self._interval.ms
            if not await self._is_there(due_ms, newest_ms=bar_close_ms):
                self.bars.postpone(self._clock.now_ms())
                return None
            await self._step(due_ms)
        if self.last is None:
            await self._step(bar_close_ms)  # an earlier request has done it: what it left undecided may be there now
        elif self.bars.undecided:
            await self._step(bar_close_ms, only=self.bars.undecided)
        return self.last

    async def _is_there(self, due_ms: int, newest_ms: int) -> bool:
        """Fetch a bar; whether it is to be stepped now.

        The newest one waits where the venue has nothing of it: there is nothing to mark or to decide. An older one, by the
        venue's clock, is a gap then; but where the venue has not answered it may be there, and nothing is lost by waiting: it
        is only recorded. For a few of its symbols it waits a while, so that one that is never answered for does not stop the
        others.
        """
        await self._fetch(due_ms)
        board = self._session.board
        lacking = board.lacking(due_ms)
        if len(lacking) == len(self._session.symbols):
            if due_ms >= newest_ms or not board.unanswered.isdisjoint(lacking):
                return False
            return await self._session.exchange.server_time_ms() >= due_ms  # our clock may be ahead: no gap, but yet to come
        return due_ms == newest_ms or board.unanswered.isdisjoint(lacking) or not self.bars.is_patient

    async def _fetch(self, due_ms: int) -> None:
        board = self._session.board
        missing = frozenset(board.missing(due_ms))
        behind_ms = self._interval.floor(self._clock.now_ms()) - due_ms
        await board.advance(due_ms)
        if behind_ms >= 2 * self._interval.ms and self.bars.is_next(due_ms) and self.steps == 0:
            await board.fetch_ahead(due_ms + behind_ms)
        self.rescued = missing - frozenset(board.missing(due_ms)) if behind_ms == 0 else frozenset()

    async def _step(self, bar_close_ms: int, only: frozenset[str] | None = None) -> None:
        now_ms = self._clock.now_ms()
        try:
            report = await self._session.step(bar_close_ms, only)
        except BaseException:
            self.bars.postpone(now_ms)
            raise
        undecided = frozenset(report.undecided)
        if only is not None:
            undecided = self.bars.undecided - only | undecided & self.bars.undecided
        for problem in report.problems if only is None else ():
            self._say("warning", problem)
        self.bars.finished(bar_close_ms, undecided, self._clock.now_ms())
        self.steps += 1
        self.last = report
        self._on_step(report)
