"""What the invariants would be blind to without its own check: each deed is one that a world before did not notice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import ClientTimeout
from yarl import URL

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import Effect, FaultPlan, Part, Rule, Window
from cloudrun.simulation.network import Session
from cloudrun.simulation.scenarios.base import CALM
from cloudrun.simulation.spec import BOOK, WorldSpec
from shared.domain.errors import LedgerUnavailable, VenueError, VenueUnreachable
from shared.domain.orders import Side
from shared.domain.records import Halt, HaltKind

ORDER = "POST /fapi/v1/order"
SPEC = WorldSpec(1, bars=0, quiet_bars=2, shape=CALM, habits=Habits())


def with_plan(**plan: Any) -> WorldSpec:
    return replace(SPEC, plan=FaultPlan(**plan))


def caught(outcome: Any, words: str) -> bool:
    return any(words in violation for violation in outcome.violations)


def committed(hands: Any, ttl_ms: int = 600_000, **changes: Any) -> Any:
    """An intent to buy, in the ledger, by the holder of a lease that lives `ttl_ms`."""
    lease = hands.ports.ledger.acquire_lease(BOOK, hands.process.name, ttl_ms, hands.world.clock.now_ms())
    intent = hands.intent(**changes)
    hands.ports.ledger.commit_decision(hands.decision(), [intent], lease)
    return intent


def test_an_order_after_the_lease_has_run_out_is_caught_although_nobody_else_took_it(outcome_of):
    async def deed(hands: Any) -> None:
        intent = committed(hands, ttl_ms=3_000)
        await asyncio.sleep(5.0)
        await hands.send(intent)

    assert caught(outcome_of(deed), "after its lease had run out")


def test_an_order_that_opens_after_sigterm_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        intent = committed(hands)
        hands.process.terminate()
        await hands.send(intent)

    assert caught(outcome_of(deed), "after SIGTERM")


def test_a_process_that_is_stopped_at_an_order_has_signed_it_and_not_sent_it(outcome_of):
    seen: list[int] = []

    async def deed(hands: Any) -> None:
        intent = committed(hands)
        sending = asyncio.create_task(hands.send(intent))
        hands.world.loop.call_later(10.0, lambda: seen.append(len(hands.world.network.sent)))
        with pytest.raises(VenueError):  # its timestamp is too old when it wakes up
            await sending

    outcome_of(deed, with_plan(stops=((Rule(f"before {ORDER}"), 20.0),)))
    assert seen == [0]


def test_a_late_execution_comes_after_its_answer_was_lost(outcome_of):
    seen: list[int] = []

    async def deed(hands: Any) -> None:
        intent, account = committed(hands), hands.world.venue.desk.engine.core.account
        with pytest.raises(VenueError):
            await hands.send(intent)
        seen.append(len(account.trades))
        await asyncio.sleep(5.0)
        seen.append(len(account.trades))

    outcome = None
    for seed in range(1, 9):  # the latest executions are refused for their age
        seen.clear()
        outcome = outcome_of(deed, replace(with_plan(rules=(Rule(ORDER, Effect.LATE),)), seed=seed))
        if seen == [0, 1]:
            break
    assert seen == [0, 1]
    assert caught(outcome, "the ledger holds 0, the venue")


def test_a_request_before_the_venues_retry_after_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        session = Session(hands.world.network, hands.process)  # without our adapter, which would wait
        for _ in range(2):
            async with session.get(URL("http://venue/fapi/v1/time"), headers={}, timeout=ClientTimeout(5.0)) as answer:
                await answer.text()

    banned = with_plan(rules=(Rule("GET /fapi/v1/time", Effect.BANNED),))
    assert caught(outcome_of(deed, banned), "before the venue's Retry-After was over")
    assert outcome_of(deed).violations == ()


def test_a_ledger_that_hangs_blocks_its_process_once_and_then_fails_at_once(outcome_of):
    took: list[float] = []

    async def deed(hands: Any) -> None:
        for _ in range(2):
            before_s = hands.world.loop.time()
            with pytest.raises(LedgerUnavailable):
                hands.ports.ledger.halts(BOOK, 0)
            took.append(hands.world.loop.time() - before_s)

    outcome_of(deed, with_plan(windows=(Window(Part.LEDGER_HANGS, 0.2, 30.0),)))
    assert took == [pytest.approx(2.0), 0.0]


def test_a_ledger_that_refuses_writes_answers_questions_and_takes_nothing(outcome_of):
    async def deed(hands: Any) -> None:
        ledger = hands.ports.ledger
        assert ledger.halts(BOOK, 0) == []
        assert ledger.add_fills(BOOK, []) == []
        for refused in (hands.lease, lambda: ledger.log(BOOK, "test", "info", "words", 0), lambda: ledger.note_pause("v", 1)):
            with pytest.raises(LedgerUnavailable, match="disk is full"):
                refused()

    assert outcome_of(deed, with_plan(windows=(Window(Part.LEDGER_WRITES, 0.2, 30.0),))).violations == ()


def test_a_clock_that_is_ahead_takes_no_lease_that_is_alive(outcome_of):
    found: list[Any] = []

    async def deed(hands: Any) -> None:
        ledger, clock = hands.ports.ledger, hands.world.clock
        ledger.acquire_lease(BOOK, "another", 24_000, clock.now_ms())
        found.append(ledger.acquire_lease(BOOK, hands.process.name, 24_000, clock.now_ms() + 60_000))

    outcome_of(deed)
    assert found == [None]


def test_a_position_beyond_what_was_decided_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        await hands.opened()
        await asyncio.sleep(50.0)
        hands.world.venue.desk.sender = "nobody's order"
        params = {"symbol": "BTCUSDT", "side": Side.BUY.value.upper(), "type": "MARKET", "quantity": "0.01"}
        hands.world.venue.desk.engine.execute("order", {**params, "newClientOrderId": "twice"})

    assert caught(outcome_of(deed, replace(SPEC, quiet_bars=3)), "only 0 to 0.01 was decided")


def test_an_order_that_is_sent_twice_is_executed_twice_and_caught(outcome_of):
    async def deed(hands: Any) -> None:
        intent = committed(hands)
        await hands.send(intent)
        await hands.send(intent)

    assert caught(outcome_of(deed), "two orders for the leg")


def test_a_bare_position_is_no_ledgers_fault(outcome_of):
    async def deed(hands: Any) -> None:
        intent = committed(hands)
        await hands.send(intent)
        await hands.book_fills()

    away = with_plan(windows=(Window(Part.LEDGER, 5.0, 115.0),))
    assert caught(outcome_of(deed, away), "unprotected beyond the deadline")


def test_a_bare_position_is_the_venues_fault_while_it_refuses_orders(outcome_of):
    async def deed(hands: Any) -> None:
        intent = committed(hands)
        await hands.send(intent)
        await hands.book_fills()

    away = with_plan(windows=(Window(Part.VENUE, 5.0, 115.0),))
    assert not caught(outcome_of(deed, away), "unprotected beyond the deadline")


def test_a_bar_that_nobody_decides_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.lease()

    assert caught(outcome_of(deed, replace(SPEC, bars=1)), "was not decided, and nothing explains it")


def test_a_halt_explains_why_a_bar_is_not_decided(outcome_of):
    async def deed(hands: Any) -> None:
        hands.lease()
        hands.ports.ledger.set_halt(Halt(BOOK, "for the test", hands.world.clock.now_ms(), None, kind=HaltKind.MANUAL))

    assert outcome_of(deed, replace(SPEC, bars=1)).violations == ()


def test_a_halt_for_a_difference_that_cannot_be_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        now_ms = hands.world.clock.now_ms()
        hands.lease()
        hands.ports.ledger.set_halt(Halt(BOOK, "position differs: by nothing", now_ms, None, "BTCUSDT", kind=HaltKind.FROZEN))

    assert caught(outcome_of(deed), "is halted for what did not happen")


def test_a_slice_after_its_stop_has_closed_the_position_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        market, stop, later = hands.intent("slice1"), hands.intent("stop"), hands.intent("slice2")
        hands.ports.ledger.commit_decision(hands.decision(), [market, stop, later], hands.lease())
        await hands.send(market)
        await hands.book_fills()
        core = hands.world.venue.desk.engine.core
        near = replace(stop, stop_price=(core.price("BTCUSDT") * Decimal("0.9999")).quantize(Decimal("0.1")))
        hands.ports.ledger.advance_order(await hands.ports.exchange.send(hands.approved(near, held="0.01")))
        await hands.world.until(lambda: not core.account.positions["BTCUSDT"].quantity, 80.0)
        await asyncio.sleep(15.0)
        await hands.send(later)

    assert any(caught(outcome_of(deed, replace(SPEC, seed=seed, quiet_bars=4)), "had closed it") for seed in range(1, 7))


def test_a_position_that_is_left_bare_by_processes_that_refuse_to_start_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        if len(hands.world.processes) == 1:
            hands.ports.ledger.commit_decision(hands.decision(), [hands.intent()], hands.lease())
            await hands.send(hands.intent())
            await hands.book_fills()
        raise VenueUnreachable("a question of the start fails for good")

    spec = replace(SPEC, quiet_bars=4)
    assert caught(outcome_of(deed, spec), "nobody starts who looks after it")
    away = replace(spec, plan=replace(spec.plan, windows=(Window(Part.VENUE, 5.0, 235.0),)))
    assert not caught(outcome_of(deed, away), "nobody starts who looks after it")


def test_an_exit_without_the_ledger_of_what_has_its_stop_is_seen(outcome_of):
    found: list[str] = []

    async def deed(hands: Any) -> None:
        await hands.opened()
        hands.world.watch.journalled = lambda _: True
        covered = replace(hands.intent("exit1", side=Side.SELL), reduce_only=True)
        await hands.ports.exchange.send(hands.approved(covered, held="0.01"))
        found.extend(hands.world.watch.needless)

    outcome_of(deed)
    assert len(found) == 1


def test_a_cancellation_by_a_process_that_has_lost_the_lease_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        await hands.opened()
        hands.world.watch.holder = "another"
        await hands.ports.exchange.cancel(hands.intent("stop"))

    assert caught(outcome_of(deed), "while another holds the lease")
