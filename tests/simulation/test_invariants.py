"""Every invariant can fail: a program that breaks it on purpose is caught, one that behaves is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

from cloudrun.simulation.spec import BOOK
from shared.domain.orders import Side
from shared.domain.records import FundingPayment, Halt, HaltKind


def caught(outcome: Any, words: str) -> bool:
    return any(words in violation for violation in outcome.violations)


async def behave(hands: Any) -> None:
    await hands.opened()


def test_a_program_that_behaves_violates_nothing(outcome_of):
    assert outcome_of(behave).violations == ()


def test_an_order_without_an_intent_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.lease()
        await hands.ports.exchange.send(hands.approved(hands.intent()))

    outcome = outcome_of(deed)
    assert caught(outcome, "without an intent")
    assert caught(outcome, "which the ledger does not know")


def test_two_orders_for_one_leg_are_caught(outcome_of):
    async def deed(hands: Any) -> None:
        first = hands.intent()
        second = replace(first, client_id=first.client_id[:-1] + "x")
        hands.ports.ledger.commit_decision(hands.decision(), [first, second], hands.lease())
        await hands.send(first)
        await hands.send(second, held="0.01")

    assert caught(outcome_of(deed), "two orders for the leg")


def test_an_order_while_halted_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.ports.ledger.commit_decision(hands.decision(), [hands.intent()], hands.lease())
        hands.ports.ledger.set_halt(Halt(BOOK, "for the test", hands.world.clock.now_ms(), None, kind=HaltKind.MANUAL))
        await hands.send(hands.intent())

    assert caught(outcome_of(deed), "while trading was halted")


def test_an_order_during_a_pause_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        now_ms = hands.world.clock.now_ms()
        hands.ports.ledger.commit_decision(hands.decision(), [hands.intent()], hands.lease())
        hands.ports.ledger.set_halt(Halt(BOOK, "for the test", now_ms, now_ms + 60_000, kind=HaltKind.PAUSE))
        await hands.send(hands.intent())

    assert caught(outcome_of(deed), "while trading was halted")


def test_an_order_on_an_old_bar_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.ports.ledger.commit_decision(hands.decision(), [hands.intent()], hands.lease())
        await asyncio.sleep(40.0)
        await hands.send(hands.intent())

    assert caught(outcome_of(deed), "after its bar had closed")


def test_an_order_without_the_lease_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        lease = hands.lease()
        hands.ports.ledger.commit_decision(hands.decision(), [hands.intent()], lease)
        hands.ports.ledger.release_lease(lease)
        await hands.send(hands.intent())

    assert caught(outcome_of(deed), "nobody held the lease")


def test_a_second_writer_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        mine = hands.lease()
        real = hands.world.ledger
        theirs = real.acquire_lease(BOOK, "somebody else", 1000, hands.world.clock.now_ms() + 3_600_000)
        hands.world.watch.wrote(hands.process, "commit_decision", (hands.decision(1), [], theirs), True)
        hands.world.watch.wrote(hands.process, "commit_decision", (hands.decision(2), [], mine), True)

    assert caught(outcome_of(deed), "committed with token")


def test_two_decisions_for_one_bar_are_caught(outcome_of):
    async def deed(hands: Any) -> None:
        lease = hands.lease()
        hands.ports.ledger.commit_decision(hands.decision(), [], lease)
        hands.ports.ledger.commit_decision(replace(hands.decision(), id="d-another"), [], lease)

    assert caught(outcome_of(deed), "two decisions for")


def test_a_position_without_a_stop_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.ports.ledger.commit_decision(hands.decision(), [hands.intent()], hands.lease())
        await hands.send(hands.intent())
        await hands.book_fills()

    assert caught(outcome_of(deed), "unprotected beyond the deadline")


def test_a_stop_that_is_too_small_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        market, stop = hands.intent(quantity=Decimal("0.02")), hands.intent("stop")
        hands.ports.ledger.commit_decision(hands.decision(), [market, stop], hands.lease())
        await hands.send(market)
        await hands.book_fills()
        await hands.send(stop, held="0.02")

    assert caught(outcome_of(deed), "unprotected beyond the deadline")


def test_cancelling_the_stop_of_a_position_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        await hands.opened()
        await hands.ports.exchange.cancel(hands.intent("stop"))

    assert caught(outcome_of(deed), ", the stop of 0.01")


def test_fills_that_were_not_booked_are_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.ports.ledger.commit_decision(hands.decision(), [hands.intent()], hands.lease())
        await hands.send(hands.intent())

    assert caught(outcome_of(deed), "the ledger holds 0, the venue 0.01")


def test_a_position_that_is_not_the_sum_of_its_fills_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        await hands.opened()
        real = hands.world.ledger
        wrong = {symbol: replace(p, quantity=p.quantity * 2) for symbol, p in real.positions(BOOK).items()}
        hands.world.watch.ledger = _Lying(real, positions=wrong)

    assert caught(outcome_of(deed), "its fills add up to")


def test_money_that_comes_from_nowhere_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        await hands.opened()
        hands.world.venue.desk.engine.core.account.wallet += Decimal("0.0001")

    assert caught(outcome_of(deed), "equity:")


def test_a_funding_payment_booked_twice_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        await hands.opened()
        payment = FundingPayment("BTCUSDT-1", "BTCUSDT", Decimal("0.001"), hands.world.clock.now_ms())
        hands.ports.ledger.add_funding(BOOK, [payment])

    assert caught(outcome_of(deed), "equity:")


def test_an_intent_without_a_final_state_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.ports.ledger.commit_decision(hands.decision(), [hands.intent(side=Side.SELL)], hands.lease())

    assert caught(outcome_of(deed), "is intent at rest")


def test_an_unknown_order_at_the_venue_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
        hands.world.venue.desk.engine.execute("order", {**order, "price": "30000", "newClientOrderId": "nobody"})

    assert caught(outcome_of(deed), "the ledger does not know it")


def test_a_task_that_is_left_behind_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        hands.forgotten = asyncio.create_task(asyncio.sleep(3_600.0))

    assert caught(outcome_of(deed), "left 1 tasks behind")


def test_an_exception_that_is_lost_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        async def fails() -> None:
            raise ValueError("nobody sees this")

        task = asyncio.create_task(fails())
        await asyncio.sleep(0.1)
        del task

    assert caught(outcome_of(deed), "an exception was lost")


def test_a_crash_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        raise ZeroDivisionError

    assert caught(outcome_of(deed), "crashed: ZeroDivisionError")


def test_a_process_that_ends_at_once_over_a_bare_position_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        market = hands.intent()
        hands.ports.ledger.commit_decision(hands.decision(), [market], hands.lease())
        await asyncio.sleep(50.0)
        await hands.send(market)
        await hands.book_fills()
        hands.process.terminate()
        hands.world.closing = True

    assert caught(outcome_of(deed), "ended 0.0 s after SIGTERM, and BTCUSDT has no stop")


def test_a_process_that_ignores_termination_is_caught(outcome_of):
    async def deed(hands: Any) -> None:
        await asyncio.sleep(100_000.0)

    assert caught(outcome_of(deed), "did not end within")


class _Lying:
    """A ledger that says `answers` where it is asked for them."""

    def __init__(self, real: Any, **answers: Any) -> None:
        self._real = real
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        if name in self._answers:
            return lambda *_: self._answers[name]
        return getattr(self._real, name)
