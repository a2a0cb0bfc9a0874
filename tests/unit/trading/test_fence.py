"""No process sends or cancels anything for a book that may not be its own any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.domain.errors import LeaseLost, LedgerUnavailable
from shared.trading.fence import FencedExchange


def lost() -> None:
    raise LeaseLost("another process has taken over")


def unknown() -> None:
    raise LedgerUnavailable("the ledger is down")


@dataclass
class Holder:
    """Answers the question for the lease by script."""

    check: Callable[[], None]
    kept: bool = False

    def keep(self) -> None:
        self.kept = True


def fenced(desk: Any, check: Callable[[], None]) -> FencedExchange:
    desk.exchange.on_send.append(desk.report(desk.intent()))
    desk.exchange.on_cancel.append(None)
    return FencedExchange(desk.exchange, Holder(check))  # type: ignore[arg-type]


async def test_with_the_lease_everything_goes_out(desk: Any) -> None:
    exchange = fenced(desk, lambda: None)
    await exchange.send(desk.approved(desk.intent()))
    await exchange.cancel(desk.intent())
    assert len(desk.exchange.sent) == 1


async def test_without_the_lease_nothing_goes_out_and_questions_are_answered(desk: Any) -> None:
    exchange = fenced(desk, lost)
    with pytest.raises(LeaseLost):
        await exchange.send(desk.approved(desk.intent()))
    with pytest.raises(LeaseLost):
        await exchange.cancel(desk.intent())
    with pytest.raises(LeaseLost):
        await exchange.prepare(["BTCUSDT"], 1)
    assert desk.exchange.sent == []
    assert (await exchange.account()).wallet == 10_000
    assert await exchange.find(desk.intent()) is not None


async def test_where_nobody_can_say_only_what_reduces_goes_out(desk: Any) -> None:
    exchange = fenced(desk, unknown)
    with pytest.raises(LedgerUnavailable):
        await exchange.send(desk.approved(desk.intent()))
    leaving = desk.intent("exit", "-1", reduce_only=True)
    await exchange.send(desk.approved(leaving, held="1"))
    assert desk.exchange.sent == [leaving.client_id]
    with pytest.raises(LedgerUnavailable):
        await exchange.cancel(desk.intent("stop"))  # a stop is not called back by somebody who may be late
    await exchange.cancel(desk.intent())


async def test_a_change_that_is_cut_off_on_its_way_keeps_the_lease(desk: Any) -> None:
    class Slow:
        async def send(self, _: Any) -> None:
            await asyncio.sleep(60.0)

        async def find(self, _: Any) -> None:
            await asyncio.sleep(60.0)

    async def cut(work: Any) -> None:
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    holder = Holder(lambda: None)
    exchange = FencedExchange(Slow(), holder)  # type: ignore[arg-type]
    await cut(exchange.find(desk.intent()))
    assert not holder.kept
    await cut(exchange.send(desk.approved(desk.intent())))
    assert holder.kept
