"""The wallet adds up, or a person is told by how much it does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.money import ZERO
from shared.domain.orders import Account, VenuePosition
from shared.domain.records import EquityPoint, FundingPayment, HaltKind
from shared.trading.balance import Balance

WALLET = Decimal(10_000)


async def settle(desk: Any, balance: Balance | None = None) -> Decimal | None:
    """Look, and where that has found something look again past the grace period."""
    watched = balance or watching(desk)
    found = await watched.settle()
    if watched.pending:
        await desk.finished(desk.clock.sleep(desk.params.resend_grace_s))
        found = await watched.settle()
    assert not watched.pending
    return found


def watching(desk: Any) -> Balance:
    return Balance(desk.exchange, desk.ledger, desk.clock, desk.reconciler, desk.book, desk.params)


@pytest.fixture
def traded(desk: Any) -> Any:
    """A round trip with 5 profit and 0.1 fees, and 0.5 of funding paid, after a first mark of 10,000."""
    desk.ledger.record_equity(desk.book, EquityPoint(desk.start_ms, WALLET, WALLET, WALLET))
    intent = desk.intent()
    desk.committed(intent)
    fills = [desk.fill(1, "1", intent.client_id), desk.fill(2, "-1", intent.client_id, price=Decimal(105))]
    desk.ledger.add_fills(desk.book, fills)
    desk.exchange.payments.append(FundingPayment("f1", "BTCUSDT", Decimal("-0.5"), desk.start_ms + 1))
    say(desk, "10004.4")
    return desk


def say(desk: Any, wallet: str, held: str = "0") -> None:
    """The venue's account from now on."""
    amount, size = Decimal(wallet), Decimal(held)
    positions = (VenuePosition("BTCUSDT", size, Decimal(100), Decimal(100), ZERO),) if size else ()

    async def account() -> Account:
        return Account(amount, amount, amount, positions)

    desk.exchange.account = account


async def test_profit_fees_and_funding_explain_the_wallet(traded: Any) -> None:
    assert await settle(traded) is None
    assert traded.halted() == []


async def test_before_the_first_mark_there_is_nothing_to_compare(desk: Any) -> None:
    say(desk, "77")
    assert await settle(desk) is None


async def test_a_large_difference_stops_entries_of_the_book_and_names_the_exact_amount(traded: Any) -> None:
    say(traded, "9504.3")
    assert await settle(traded) == Decimal("-500.1")
    [halt] = traded.ledger.halts(traded.book, traded.clock.now_ms())
    assert (halt.symbol, halt.kind, halt.until_ms) == (None, HaltKind.FROZEN, None)
    assert not halt.kind.flattens
    assert "differs by -500.10 from" in halt.reason


async def test_a_small_difference_is_told_and_stops_nothing(traded: Any) -> None:
    say(traded, "10004.9")
    assert await settle(traded) == Decimal("0.5")
    assert traded.halted() == []
    assert "exactly 0.5" in traded.ledger.agent_log(traded.book)[-1]["message"]


async def test_rounding_is_no_difference(traded: Any) -> None:
    say(traded, "10004.40000001")
    assert await settle(traded) is None


async def test_a_difference_that_a_person_has_lifted_does_not_come_back_not_even_in_another_process(traded: Any) -> None:
    say(traded, "11004.4")
    first = watching(traded)
    assert await settle(traded, first) == 1000
    assert await settle(traded, first) is None
    now_ms = traded.clock.now_ms()
    traded.ledger.lift_halts(traded.ledger.halts(traded.book, now_ms), "me", "a deposit", now_ms)
    assert await settle(traded) == 1000
    assert traded.halted() == []
    say(traded, "11254.4")
    assert await settle(traded) == 1250
    assert len(traded.halted()) == 1


async def test_a_difference_that_is_gone_at_the_second_look_does_not_count(traded: Any) -> None:
    answers = [Decimal("9000"), Decimal("10004.4")]

    async def account() -> Account:
        amount = answers.pop(0)
        return Account(amount, amount, amount, ())

    traded.exchange.account = account
    assert await settle(traded) is None
    assert traded.halted() == []


async def test_a_difference_is_not_believed_before_the_grace_period_is_over_and_nothing_waits_for_it(traded: Any) -> None:
    say(traded, "9000")
    balance, before_ms = watching(traded), traded.clock.now_ms()
    assert [await balance.settle(), await balance.settle()] == [None, None]
    assert (balance.pending, traded.clock.now_ms(), traded.halted()) == (True, before_ms, [])
    say(traded, "8000")  # another difference: its grace period begins anew
    await traded.finished(traded.clock.sleep(traded.params.resend_grace_s))
    assert await balance.settle() is None
    await traded.finished(traded.clock.sleep(traded.params.resend_grace_s))
    assert await balance.settle() == Decimal("-2004.4")


async def test_while_positions_differ_the_wallet_is_not_judged(traded: Any) -> None:
    say(traded, "1", held="3")
    assert await settle(traded) is None


async def test_positions_in_symbols_that_are_not_traded_are_reported_once(desk: Any) -> None:
    account = replace(desk.account("2"), positions=(VenuePosition("XRPUSDT", Decimal(7), Decimal(1), Decimal(1), ZERO),))
    for _ in range(2):
        [foreign] = desk.reconciler.find_foreign_positions(["BTCUSDT"], account)
        assert (foreign.symbol, foreign.venue) == ("XRPUSDT", 7)
    [(symbol, reason)] = desk.halted()
    assert (symbol, "the venue 7 (difference 7)" in reason) == ("XRPUSDT", True)
