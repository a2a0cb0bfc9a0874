"""One seed, one world: market, venue, network, ledger, faults and the processes that trade, in simulated time.

A supervisor starts a process, and another one when it has died or ended; a process that was stopped (SIGSTOP) for long is
replaced while it still exists. After the faults comes a quiet time, and then everything must be at rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import numpy as np

from cloudrun.exchange.engine import EngineConfig
from cloudrun.simulation.acts import ALWAYS, RESTING_BARS
from cloudrun.simulation.analyst import ScriptedAnalyst
from cloudrun.simulation.exposure import Exposure
from cloudrun.simulation.faults import Faults
from cloudrun.simulation.invariants import Limits, Watch
from cloudrun.simulation.liveness import Liveness
from cloudrun.simulation.loop import VirtualLoop, run_virtual
from cloudrun.simulation.market import make_market
from cloudrun.simulation.network import Network
from cloudrun.simulation.outages import Outages
from cloudrun.simulation.ports import MemoryBus, MemoryJournal, gated_ledger
from cloudrun.simulation.process import Killed, Process, ProcessClock, install
from cloudrun.simulation.rest import AtRest
from cloudrun.simulation.spec import BOOK, CAPITAL, Mode, Outcome, WorldSpec
from cloudrun.simulation.story import Story
from cloudrun.simulation.supervisor import Main, Supervisor
from cloudrun.simulation.venue import Venue
from shared.adapters.exchange.params import ConnectionParams
from shared.adapters.sql.memory import memory_ledger
from shared.domain.errors import OstError
from shared.domain.money import ZERO
from shared.ports import Ledger

WARMUP_BARS = 4
GLANCE_S = 0.5
MOMENT_MS = 5_000
LONGEST_END_S = 60.0
CLOCK_LIMIT_MS = ConnectionParams().clock_skew_limit_ms or 0
STOP_SLACK_S = 20.0
"""beyond the deadline itself: the answer's way, and the market's tick"""

Act = Callable[["World"], Coroutine[Any, Any, None]]


class World:
    """A running simulation."""

    def __init__(
        self, spec: WorldSpec, main: Main, show: Callable[[str], None] | None = None, ledger: Ledger | None = None
    ) -> None:
        self.spec = spec
        self.loop = VirtualLoop()
        install(self.loop)
        self.rng = np.random.default_rng([spec.seed, 1])
        self.story = Story(self.loop.time, show)
        self.faults = Faults(spec.plan, np.random.default_rng([spec.seed, 2]))
        warmup_bars = spec.params.window_bars(spec.interval) + WARMUP_BARS
        total = warmup_bars + spec.bars + spec.quiet_bars + 2
        first_ms = spec.start_ms - warmup_bars * spec.interval.ms
        market = make_market(np.random.default_rng([spec.seed, 3]), spec.symbols, spec.interval, first_ms, total, spec.shape)
        self.venue = Venue(market, EngineConfig(spec.start_ms, CAPITAL, depth=spec.depth), self.loop.time)
        self.network = Network(self.loop, self.faults, self.venue.handle, self.story.tell)
        self.ledger: Ledger = ledger or memory_ledger()
        self.clock = ProcessClock(self.loop, spec.start_ms)
        self.journal = MemoryJournal()
        self.bus = MemoryBus()
        self.analyst = (
            None if spec.real_analyst else ScriptedAnalyst(spec.seed, spec.habits, spec.params, _last_opinion_ms(spec))
        )
        error_ms = sum(abs(by_ms) for _, by_ms in spec.plan.jumps)
        self.outages = Outages(self.faults)
        self.exposure = Exposure(
            self.venue.desk.engine.core.account,
            self.story,
            self._held,
            self._is_shared,
            spec.execution.stop_deadline_s + STOP_SLACK_S,
        )
        self.watch = Watch(
            self.ledger,
            self.venue,
            self.story,
            Limits(BOOK, round(spec.params.max_decision_age * spec.interval.ms) + 1000, error_ms),
            self.exposure,
            lambda: self.outages.hears(self.loop.time()),
            self.network.bans,
        )
        self.liveness = Liveness(
            ledger=self.ledger,
            book=BOOK,
            story=self.story,
            outages=self.outages,
            interval=spec.interval,
            assets=tuple(spec.session("").universe),
            market=market,
            start_ms=spec.start_ms,
        )
        self.watch.journalled = lambda client_id: any(intent.client_id == client_id for intent in self.journal.pending())
        self.venue.desk.on_command = self.watch.commanded
        self.network.on_request = self.watch.asking
        self.network.on_order = self.watch.sending
        self.network.on_fault = lambda name: self.outages.request_failed(name, self.loop.time())
        self.venue.streams.on_loss = lambda of_user: self.outages.unheard(self.loop.time(), user=of_user)
        self.processes: list[Process] = []
        self.closing = False
        self._supervisor = Supervisor(self, main)

    def look(self) -> None:
        """Some time has passed: what fails now, and is every position as it should be?"""
        now_s = self.loop.time()
        running = [process for process in self.processes if process.alive and not process.stopped]
        by_request = self.spec.mode is Mode.SCHEDULE  # between two requests nobody holds the lease
        trading = [process for process in running if by_request or process.name == self.watch.holder]
        banned = any(self.network.bans.until_s(process, "GET", now_s) > now_s for process in trading)
        if abs(self.clock.error_ms) > CLOCK_LIMIT_MS:  # nothing is placed any more, and nothing is to be
            self.disturbed()
        self.outages.look(now_s, trading=bool(trading), banned=banned)
        serving = any(process.serving for process in trading)
        reachable = self.spec.mode is not Mode.LOOP and self.outages.can_protect(now_s)
        self.exposure.ticked(now_s, counts=serving and self.outages.can_order(now_s), reachable=reachable)

    def request_succeeded(self, process: Process) -> None:
        """A request of schedule mode says that all is well: nothing looks after the book until the next one."""
        now_s = self.loop.time()
        if any(0.0 <= now_s - at_s < STOP_SLACK_S for at_s in self.spec.plan.cancelled_stops):
            return
        for symbol in self.spec.symbols:
            if self.exposure.is_bare(symbol):
                self.story.violate(f"a request of {process.name} succeeded, and {symbol} has no stop")

    def disturbed(self) -> None:
        """A process was disturbed from outside."""
        self.outages.interfered(self.loop.time())

    def _held(self, symbol: str) -> Decimal:
        """What our ledger holds."""
        position = self.ledger.positions(BOOK).get(symbol)
        return position.quantity if position is not None else ZERO

    def _is_shared(self) -> bool:
        return bool(self.watch.strangers)

    def ledger_of(self, process: Process) -> Ledger:
        """The ledger as `process` reaches it."""
        return gated_ledger(self, process)

    def run(self, *acts: Act) -> Outcome:
        """Live through it. `acts` are what others do meanwhile: people, other programs."""
        try:
            run_virtual(self._lived(acts), self.loop)
        except Exception as error:  # noqa: BLE001 - reported with the seed that leads there
            self.story.violate(f"the simulation broke: {type(error).__name__}: {error}")
        finally:
            for process in self.processes:
                process.bury()
        story, watch = self.story, self.watch
        return Outcome(
            self.spec.seed,
            tuple(story.violations),
            story.fingerprint,
            tuple(story.lines) if story.violations else (),
            watch.orders_sent,
            watch.fills,
            watch.decisions,
            len(self.processes),
            self.faults.struck,
        )

    async def until(self, holds: Callable[[], bool], most_s: float) -> bool:
        """Wait until `holds`, at most `most_s` simulated seconds; whether it does."""
        for _ in range(round(most_s / GLANCE_S)):
            if holds():
                break
            await asyncio.sleep(GLANCE_S)
        return holds()

    def _venue_rests(self) -> bool:
        """Whether no order is being filled, and none was a moment ago: a stop may trigger at any time, also the last one."""
        account = self.venue.desk.engine.core.account
        filling = any(order.kind == "MARKET" for order in account.open_orders.values())
        return not filling and all(self.venue.now_ms - trade.time_ms > MOMENT_MS for trade in account.trades[-1:])

    async def _lived(self, acts: tuple[Act, ...]) -> None:
        self.loop.set_exception_handler(self._lost_exception)
        self.ledger.register_book(BOOK, self.spec.start_ms, {"capital": str(CAPITAL)})
        others = [asyncio.create_task(act(self)) for act in (*ALWAYS, *acts)]
        supervisors = [asyncio.create_task(self._supervisor.keep_running(standby=False))]
        if self.spec.standby and self.spec.mode is Mode.STREAM:
            supervisors.append(asyncio.create_task(self._supervisor.keep_running(standby=True)))
        await asyncio.sleep(self.spec.end_s)
        await self.until(self._venue_rests, LONGEST_END_S)
        self.closing = True
        await asyncio.gather(*supervisors)
        await self._supervisor.terminate()
        for task in others:
            task.cancel()
        for result in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        AtRest(self.watch.ledger, self.venue, self.story, BOOK, CAPITAL, self._is_shared()).check()
        for process in self.processes:
            if process.tasks:
                self.story.violate(f"{process.name} left {len(process.tasks)} tasks behind")

    def _touched(self, process: Process, what: str) -> None:
        """A port call: it may be the last one of its process."""
        now_s, rates = self.loop.time(), self.spec.plan.rates
        if self.faults.kills(what) or self.faults.happens(rates.kill, now_s):
            self.story.tell(f"{process.name}: killed {what}")
            self.disturbed()
            process.kill()
        elif not process.stopped and (frozen_s := self.faults.stops_for_s(what)):
            self.stop(process, frozen_s, what, replaced_after_s=1.0)
        elif not process.stopped and self.faults.happens(rates.stop, now_s):
            for_s = self.faults.between(2.0, 60.0)
            self.stop(process, for_s, what)

    def stop(self, process: Process, for_s: float, what: str = "", *, replaced_after_s: float | None = None) -> None:
        """Freeze `process` for a while; another one is started beside it after some time."""
        self.story.tell(f"{process.name}: stopped for {for_s:.1f} s {what}")
        self.disturbed()
        process.stop()
        process.replaced_at_s = self.loop.time() + (
            self.faults.between(1.0, 40.0) if replaced_after_s is None else replaced_after_s
        )
        self.loop.call_later(for_s, self._resumed, process)

    def new_process(self, *, standby: bool) -> Process:
        """The next incarnation."""
        process = Process(self.loop, f"bot-{len(self.processes) + 1}", self._touched)
        process.standby = standby
        process.kill_at_step = self.faults.fated_step(self.loop.time())
        process.mortal_until_s = self.spec.plan.until_s
        self.processes.append(process)
        self.outages.process_changed(self.loop.time())
        return process

    def act_as(self, sender: str, command: str, params: dict[str, str]) -> None:
        """Somebody else does something on the account."""
        self.watch.strangers.add(sender)
        self.venue.tick()
        self.venue.desk.sender = sender
        self.venue.desk.execute(command, params)

    def _resumed(self, process: Process) -> None:
        self.story.tell(f"{process.name}: continued")
        self.disturbed()
        process.resume()

    def _lost_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed | OstError):
            self.story.violate(f"an exception was lost: {context.get('message')}: {error!r}")


def _last_opinion_ms(spec: WorldSpec) -> int:
    """Close of the last bar on which orders may be placed."""
    return spec.start_ms + (spec.bars + spec.quiet_bars - RESTING_BARS) * spec.interval.ms
