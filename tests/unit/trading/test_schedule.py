"""Schedule mode: one request is one whole step, and the same request again changes nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from live_world import BOOK, FLAT, LONG, M1, PARAMS, START_MS, LoopClock, World

from shared.domain.errors import (
    LeaseLost,
    MalformedData,
    NotAtRest,
    NotEnoughData,
    ReconciliationError,
    UsageError,
    VenueRejected,
    VenueUnreachable,
)
from shared.domain.orders import Account, Fill
from shared.domain.records import Halt, HaltKind
from shared.trading.execution_params import ExecutionParams
from shared.trading.schedule import run_once, tend_once
from shared.trading.session import StepReport


def told(world: World) -> None:
    """Bars close silently each minute; nobody listens to streams."""
    world.bar("BTCUSDT", world.clock.now_ms() - M1.ms, silent=True)


async def minute(world: World) -> None:
    """Live to the next full minute and let its bar close."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(60.0 - loop.time() % 60.0)
    told(world)


async def asked(world: World, **changes: object) -> StepReport:
    return await run_once(world.ports(), world.spec(**changes), world.params, analyst=LONG)  # type: ignore[arg-type]


def test_a_request_decides_trades_protects_and_gives_the_lease_up(world: World) -> None:
    async def story(w: World) -> StepReport:
        await minute(w)
        return await asked(w)

    report = world.lived(story, run=False)
    assert report.bar_close_ms == START_MS + M1.ms
    assert world.held() > 0
    assert len(world.venue.stops) == 1
    assert world.ledger.real.unpublished_events() == []
    assert world.ledger.real.acquire_lease(BOOK, "next", 1000, START_MS + 61_000) is not None


def test_the_same_request_again_changes_nothing(world: World) -> None:
    async def story(w: World) -> list[object]:
        await minute(w)
        first = await asked(w)
        before = (w.sent(), w.ledger.real.decisions(BOOK), w.ledger.real.equity(BOOK), w.ledger.real.fills(BOOK))
        again = await asked(w)
        assert (w.sent(), w.ledger.real.decisions(BOOK), w.ledger.real.equity(BOOK), w.ledger.real.fills(BOOK)) == before
        return [first.decisions, again.decisions]

    first, again = world.lived(story, run=False)
    assert first == again


def test_bars_that_were_missed_are_recorded_and_not_traded(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await run_once(w.ports(), w.spec(), w.params, analyst=FLAT)
        for _ in range(4):
            await minute(w)
        await asked(w)

    world.lived(story, run=False)
    decisions = world.ledger.real.decisions(BOOK)
    assert [d.bar_close_ms - START_MS for d in decisions] == [n * M1.ms for n in range(1, 6)]
    assert [bool(d.order_ids) for d in decisions] == [False, False, False, False, True]


async def refused(world: World, every_s: float, until_s: float) -> None:
    """Requests that are all refused."""
    while asyncio.get_running_loop().time() < until_s:
        with pytest.raises((VenueUnreachable, VenueRejected, NotAtRest)):
            await tend_once(world.ports(), world.spec(), world.params, LONG)
        await asyncio.sleep(every_s)


@pytest.mark.parametrize("idle", [False, True])
def test_a_venue_that_is_away_for_long_pauses_the_book_although_every_request_is_another_process(
    world: World, idle: bool
) -> None:
    async def story(w: World) -> None:
        await minute(w)
        if not idle:
            await asked(w)
        w.venue.trouble = VenueUnreachable("maintenance")
        await refused(w, 60.0, 900.0)
        assert w.ledger.real.halts(BOOK, w.clock.now_ms()) == []
        await refused(w, 60.0, 1200.0)
        [halt] = w.ledger.real.halts(BOOK, w.clock.now_ms())
        assert halt.kind is HaltKind.FROZEN
        assert "away for 9" in halt.reason
        w.venue.trouble = None
        await tend_once(w.ports(), w.spec(), w.params, LONG)
        [beat] = [beat for beat in w.ledger.real.heartbeats(BOOK) if beat.role == "schedule"]
        assert beat.state["memory"]["troubles_since_ms"] == {}

    world.lived(story, run=False)


@pytest.mark.parametrize(("every_s", "within_s"), [(60.0, 660.0), (5.0, 400.0)])
def test_requests_that_are_refused_again_and_again_close_the_book(world: World, every_s: float, within_s: float) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        began_s, account = asyncio.get_running_loop().time(), w.venue.account

        async def nonsense() -> Account:
            raise VenueRejected("no", -1)

        w.venue.account = nonsense  # type: ignore[method-assign]
        await refused(w, every_s, began_s + 200.0)
        assert w.ledger.real.halts(BOOK, w.clock.now_ms()) == []
        await refused(w, every_s, began_s + within_s)
        assert [halt.kind for halt in w.ledger.real.halts(BOOK, w.clock.now_ms())] == [HaltKind.OPERATIONAL]
        w.venue.account = account  # type: ignore[method-assign]
        await tend_once(w.ports(), w.spec(), w.params, LONG)
        assert w.venue.positions["BTCUSDT"].quantity == 0

    world.lived(story, run=False)


def test_what_a_person_has_to_put_in_order_closes_no_position_however_often_a_request_is_refused(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)

        async def hedged(*_: object) -> None:
            raise ReconciliationError("the account is in hedge mode")

        w.venue.prepare = hedged  # type: ignore[method-assign]
        for _ in range(20):
            with pytest.raises(ReconciliationError):
                await tend_once(w.ports(), w.spec(), w.params, LONG)
            await asyncio.sleep(30.0)
        assert w.ledger.real.halts(BOOK, w.clock.now_ms()) == []
        assert w.venue.positions["BTCUSDT"].quantity > 0

    world.lived(story, run=False)


def test_a_stop_that_the_venue_does_not_tell_of_is_replaced_within_a_request(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        [gone] = w.venue.stops
        w.venue.stops.clear()

        async def mute(*_: object) -> object:
            raise VenueUnreachable("502")

        w.venue.open_orders = w.venue.find = mute  # type: ignore[method-assign, assignment]
        with pytest.raises(VenueUnreachable, match="in no way"):
            await tend_once(w.ports(), w.spec(), w.params, LONG)
        [stop] = w.venue.stops
        assert stop != gone

    world.lived(story, run=False)


def test_a_bar_that_the_venue_has_not_published_yet_is_waited_for_a_little(world: World) -> None:
    async def story(w: World) -> StepReport:
        await asyncio.sleep(60.0 - asyncio.get_running_loop().time() % 60.0)
        asyncio.get_running_loop().call_later(1.0, w.bar, "BTCUSDT", w.clock.now_ms() - M1.ms)
        return await asked(w)

    assert world.lived(story, run=False).decisions


class Behind:
    """A machine's clock that is two seconds behind the venue's."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms() - 2000

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


@pytest.mark.parametrize("said", [True, False])
def test_a_clock_that_is_a_little_behind_steps_the_bar_that_has_closed_at_the_venue(world: World, said: bool) -> None:
    async def story(w: World) -> StepReport:
        await minute(w)
        close_ms = w.clock.now_ms() if said else None
        return await run_once(replace(w.ports(), clock=Behind(w.clock)), w.spec(), w.params, close_ms, LONG)

    report = world.lived(story, run=False)
    assert report.bar_close_ms == START_MS + M1.ms
    assert world.held() > 0


def test_a_bar_that_closes_in_a_moment_is_waited_for_and_a_later_one_is_not(world: World) -> None:
    async def story(w: World) -> StepReport:
        await asyncio.sleep(38.5)
        asyncio.get_running_loop().call_later(1.5, told, w)
        with pytest.raises(NotEnoughData, match="is not over at the venue"):
            await run_once(w.ports(), w.spec(), w.params, START_MS + 2 * M1.ms, LONG)
        return await run_once(w.ports(), w.spec(), w.params, START_MS + M1.ms, LONG)

    assert world.lived(story, run=False).bar_close_ms == START_MS + M1.ms


def test_where_nothing_of_the_bar_is_there_the_request_says_so_and_records_nothing(world: World) -> None:
    async def story(w: World) -> None:
        await asyncio.sleep(60.0 - asyncio.get_running_loop().time() % 60.0)
        await asked(w)

    with pytest.raises(NotEnoughData, match="the venue shows no 1m bar of BTCUSDT"):
        world.lived(story, run=False)
    assert world.ledger.real.equity(BOOK) == []


def test_a_request_for_a_bar_that_is_past_is_refused(world: World) -> None:
    async def story(w: World) -> None:
        for _ in range(2):
            await minute(w)
            await asked(w)
        await run_once(w.ports(), w.spec(), w.params, START_MS + M1.ms, LONG)

    with pytest.raises(UsageError, match="is past"):
        world.lived(story, run=False)


def test_two_requests_at_once_are_one(world: World) -> None:
    async def story(w: World) -> list[object]:
        await minute(w)
        return list(await asyncio.gather(asked(w), asked(w, holder="other"), return_exceptions=True))

    first, second = world.lived(story, run=False)
    assert isinstance(first, StepReport)
    assert isinstance(second, LeaseLost)


def test_executions_that_could_not_be_asked_for_are_booked_and_protected_before_the_request_ends(world: World) -> None:
    slices = ExecutionParams(twap_notional=1_000.0, twap_slices=2, twap_seconds=4.0)
    unanswered: list[str] = []

    async def story(w: World) -> StepReport:
        await minute(w)
        listed = w.venue.fills

        async def once_silent(symbol: str, since_ms: int) -> list[Fill]:
            if "send slice2 BTCUSDT" in w.venue.calls and not unanswered:
                unanswered.append(symbol)
                raise VenueUnreachable("executions: no answer within 3 s")
            return await listed(symbol, since_ms)

        w.venue.fills = once_silent  # type: ignore[method-assign]
        return await asked(w, params=replace(PARAMS, execution=slices))

    world.lived(story, run=False)
    assert unanswered
    assert [stop.quantity for stop in world.venue.stops.values()] == [world.held()]
    assert world.held() == world.venue.positions["BTCUSDT"].quantity


def test_a_request_that_cannot_compare_the_account_with_the_ledger_in_the_end_says_so(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        account = w.venue.account

        async def silent_after_the_stop() -> Account:
            if w.venue.stops:
                raise VenueUnreachable("account: no answer within 3 s")
            return await account()

        w.venue.account = silent_after_the_stop  # type: ignore[method-assign]
        await asked(w)

    world.params = replace(world.params, settle_s=10.0)
    with pytest.raises(NotAtRest, match="no answer within 3 s"):
        world.lived(story, run=False)


def test_a_symbol_that_no_request_can_read_is_frozen_as_a_trader_would_freeze_it(world: World) -> None:
    async def unreadable(*_: object) -> list[Fill]:
        raise MalformedData("execution: the venue's answer is not as documented")

    async def story(w: World) -> list[float]:
        await minute(w)
        await asked(w)
        w.venue.fills = unreadable  # type: ignore[method-assign]
        w.venue.trigger(next(iter(w.venue.stops)))
        frozen_s = []
        for _ in range(4):
            await minute(w)
            with suppress(NotAtRest):
                await tend_once(w.ports(), w.spec(), w.params)
            halts = w.ledger.real.halts(BOOK, w.clock.now_ms())
            frozen_s += [asyncio.get_running_loop().time()] * any("cannot be read" in halt.reason for halt in halts)
        return frozen_s

    [first_s, *_] = world.lived(story, run=False)
    assert 180.0 <= first_s < 260.0


def test_a_halted_book_is_closed_by_the_request(world: World) -> None:
    async def story(w: World) -> None:
        await minute(w)
        await asked(w)
        assert w.held() > 0
        w.ledger.real.set_halt(Halt(BOOK, "by hand", w.clock.now_ms(), None, kind=HaltKind.MANUAL))
        await minute(w)
        await asked(w)

    world.params = replace(world.params, bar_patience_s=0.5)
    world.lived(story, run=False)
    assert world.held() == 0
    assert not world.venue.stops
