"""Where a live session trades: the venue itself, a paper exchange that runs already, or one that is started for it.

A paper exchange has a time of its own, which the session lives in (`PaperClock`); it is asked once a second where it stands,
so that a restart or a stall of the exchange is followed. Where its recorded market is over, the session is told to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from shared.adapters.local.paper_clock import PaperClock
from shared.adapters.local.paper_control import PaperControl
from shared.adapters.local.paper_process import LockstepClock, PaperExchangeProcess
from shared.cli import wiring
from shared.domain.errors import ConfigError, NotEnoughData, StorageError, VenueError, VenueRejected, VenueUnreachable
from shared.domain.interval import Interval, format_ms

if TYPE_CHECKING:
    from shared.cli.paper_run import PaperRun
    from shared.config.settings import Settings

FOLLOW_S = 1.0
SHORTEST_BAR_S = 1.0
"""Real seconds that a bar of a paper exchange must last: within them its decisions are made and traded"""
LAST_BAR_S = 3.0
"""Real seconds in which the last bar of a recorded market is traded"""
_KEY_REFUSED = frozenset({-2014, -2015, -1022})
T = TypeVar("T")


@dataclass(frozen=True)
class LiveVenue:
    """A place to trade; `base_url` and `clock` are `None` at the real one."""

    base_url: str | None = None
    clock: PaperClock | LockstepClock | None = None
    control: PaperControl | None = None
    process: PaperExchangeProcess | None = None

    @property
    def speed(self) -> float:
        """Simulated seconds in a real one."""
        return self.clock.speed if isinstance(self.clock, PaperClock) else 1.0

    async def while_alive(self, work: Awaitable[T]) -> T:
        """The result of `work`; where the exchange was started for it and ends, it is cut off. Raises `VenueUnreachable`."""
        return await work if self.process is None else await self.process.while_alive(_as_coroutine(work))

    async def follow(self, over: Callable[[str], None]) -> None:
        """Keep the clock with the exchange until cancelled; `over` is told once where the recorded market is over."""
        if self.control is None or not isinstance(self.clock, PaperClock):
            return
        is_over = False
        while True:
            await asyncio.sleep(FOLLOW_S)
            with suppress(VenueError):  # it is away: time goes on, and the trader sees for itself
                state = await self.control.state()
                self.clock.follow(int(state["now_ms"]))
                if not is_over and state["now_ms"] >= state["end_ms"]:
                    is_over = True
                    await asyncio.sleep(LAST_BAR_S)
                    over(f"the recorded market of the paper exchange is over ({format_ms(state['end_ms'])})")


@asynccontextmanager
async def own_exchange(run: PaperRun, speed: float | None) -> AsyncIterator[LiveVenue]:
    """A paper exchange started for the book of `run`, in lockstep where `speed` is `None`; it ends with this process.

    Raises `StorageError` where it does not start.
    """
    from shared.cli.paper_run import exchange_arguments

    arguments = exchange_arguments(run)
    if speed is not None:
        _check_speed(speed, run.plan.interval)
        arguments += ["--speed", repr(speed)]
    key, secret = wiring.account_keys(run.settings)
    try:
        process = await PaperExchangeProcess.start(arguments, key=key, secret=secret, log=run.folder / "exchange.log")
    except StorageError as error:
        hint = f"if another process trades the book {run.book} now, stop it first, or start another book with --fresh"
        raise StorageError(f"{error}; {hint}") from None
    control = PaperControl(process.base_url, key, secret)
    try:
        yield LiveVenue(process.base_url, _clock_of(await control.state(), run.plan.interval), control, process)
    finally:
        await control.close()
        await process.close()


@asynccontextmanager
async def running_exchange(settings: Settings, base_url: str) -> AsyncIterator[LiveVenue]:
    """The paper exchange at `base_url`. Raises `ConfigError` where something else listens, and the `VenueError` tree."""
    control = PaperControl(base_url, *wiring.account_keys(settings), wiring.admission(settings, base_url))
    try:
        try:
            state = await control.state()
            clock = _clock_of(state, settings.interval)
        except VenueUnreachable as error:
            raise VenueUnreachable(f"venue.base_url {base_url}: {error}; start it with: ost exchange serve") from None
        except (KeyError, TypeError, VenueRejected) as error:
            if isinstance(error, VenueRejected) and error.code in _KEY_REFUSED:
                raise VenueRejected(
                    f"the paper exchange at {base_url} refuses the key (code {error.code}); set OST_PAPER_KEY and "
                    "OST_PAPER_SECRET to those that it was started with",
                    error.code,
                ) from None
            raise ConfigError(
                f"venue.base_url {base_url} is no paper exchange ({error}), and mode paper trades on nothing else; start one "
                "with `ost exchange serve`, set venue.base_url to null, or choose mode testnet or live"
            ) from None
        if not isinstance(clock, PaperClock):
            raise ConfigError(
                f"the paper exchange at {base_url} stands still until it is told to move; start it with --speed 60"
            )
        yield LiveVenue(base_url, clock, control)
    finally:
        await control.close()


def _clock_of(state: dict[str, Any], interval: Interval) -> PaperClock | LockstepClock:
    speed, now_ms, end_ms = state["speed"], int(state["now_ms"]), int(state["end_ms"])
    if now_ms >= end_ms:
        raise NotEnoughData(
            f"the recorded market of the paper exchange is over ({format_ms(end_ms)}); start another book (--fresh)"
        )
    if speed is None:
        return LockstepClock(now_ms)
    _check_speed(speed, interval)
    return PaperClock(now_ms, end_ms, float(speed))


def _check_speed(speed: float, interval: Interval) -> None:
    if interval.ms / 1000 / speed < SHORTEST_BAR_S:
        raise ConfigError(
            f"at {speed:g} times real time a bar of {interval} lasts {interval.ms / 1000 / speed:.2g} s; expected "
            f"{SHORTEST_BAR_S:g} s or more: a speed up to {interval.ms / 1000 / SHORTEST_BAR_S:g}"
        )


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work
