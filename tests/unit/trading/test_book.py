"""Book and account between two questions: messages in any order, marks at given prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.sql import SqlLedger
from shared.domain.orders import Account, OrderState, VenuePosition
from shared.domain.stream import AccountMessage
from shared.trading.book import AccountState, BookState, differing

D = Decimal


def told(wallet: int | None, held: int | None, time_ms: int) -> AccountMessage:
    positions = () if held is None else (("BTCUSDT", D(held), D(100)),)
    return AccountMessage(None if wallet is None else D(wallet), positions, "ORDER", time_ms)


def test_of_two_messages_about_the_same_thing_the_later_one_stands() -> None:
    account = AccountState()
    for message in (told(90, 1, 20), told(80, 2, 10), told(None, 3, 30), told(95, None, 25)):
        account.update(message)
    assert (account.wallet, account.held("BTCUSDT")) == (D(95), D(3))


@given(st.permutations([told(100 - n, n % 3, n) for n in range(6)]))
def test_the_order_of_arrival_does_not_matter(messages: list[AccountMessage]) -> None:
    account = AccountState()
    for message in messages:
        account.update(message)
    assert (account.wallet, account.held("BTCUSDT")) == (D(95), D(2))


def test_a_position_that_was_closed_is_gone() -> None:
    account = AccountState()
    account.update(told(None, 2, 10))
    account.update(told(None, 0, 20))
    assert account.positions == {}


def test_only_a_snapshot_is_believed_after_a_loss() -> None:
    account = AccountState()
    account.update(told(90, 1, 10))
    assert not account.known
    account.snapshot(Account(D(100), D(100), D(100), ()))
    assert account.known
    account.forget()
    assert not account.known


def test_positions_that_differ_are_named(desk: Any) -> None:
    book, account = BookState(desk.ledger, desk.book), AccountState()
    account.update(told(None, 1, 10))
    assert differing(book, account, ["BTCUSDT", "ETHUSDT"]) == ["BTCUSDT"]
    desk.ledger.add_fills(desk.book, [desk.fill(1, "1", "o-1")])
    book.changed()
    assert differing(book, account, ["BTCUSDT", "ETHUSDT"]) == []


def test_the_account_is_marked_with_the_books_own_averages(desk: Any) -> None:
    book, account = BookState(desk.ledger, desk.book), AccountState()
    desk.ledger.add_fills(desk.book, [desk.fill(1, "1", "o-1"), desk.fill(2, "2", "o-2", price=D("100.00000001"))])
    venue = VenuePosition("BTCUSDT", D(3), D("100.00000001"), D(90), D(-30))  # the venue rounds its average
    account.snapshot(Account(D(1000), D(970), D(970), (venue,)))
    marked = account.marked(book, {"BTCUSDT": D(110)}, leverage=2)
    assert marked.equity == 1000 + (D(110) - D("300.00000002") / 3) * 3
    assert marked.available == marked.equity - D(330) / 2


def test_a_position_that_the_book_does_not_explain_counts_at_the_venues_average(desk: Any) -> None:
    account = AccountState()
    account.snapshot(Account(D(1000), D(1000), D(1000), (VenuePosition("BTCUSDT", D(-2), D(100), D(100), D(0)),)))
    assert account.marked(BookState(desk.ledger, desk.book), {"BTCUSDT": D(90)}, leverage=1).equity == D(1020)


def test_a_symbol_without_a_price_counts_as_the_venue_said(desk: Any) -> None:
    account = AccountState()
    account.snapshot(Account(D(1000), D(980), D(980), (VenuePosition("XRPUSDT", D(2), D(100), D(90), D(-20)),)))
    assert account.marked(BookState(desk.ledger, desk.book), {}, leverage=1).equity == D(980)


def test_the_book_is_read_once_until_it_changes(desk: Any, ledger: SqlLedger) -> None:
    book = BookState(desk.ledger, desk.book)
    assert book.held("BTCUSDT") == 0
    ledger.add_fills(desk.book, [desk.fill(1, "1", "o-1")])
    assert book.held("BTCUSDT") == 0
    book.changed()
    assert book.held("BTCUSDT") == 1
    assert book.held_symbols() == ["BTCUSDT"]


def test_what_is_on_its_way_counts_as_expected(desk: Any) -> None:
    book = BookState(desk.ledger, desk.book)
    book.in_flight["BTCUSDT"] = D(2)
    assert (book.held("BTCUSDT"), book.expected("BTCUSDT")) == (D(0), D(2))


def test_resting_stops_and_waiting_slices_are_no_open_questions(desk: Any) -> None:
    market, stop, later = desk.intent(), desk.intent("stop"), desk.intent("slice2", due_ms=desk.start_ms + 60_000)
    desk.committed(market, stop, later)
    book = BookState(desk.ledger, desk.book)
    assert [r.intent.leg for r in book.open_questions()] == ["market", "stop"]
    desk.ledger.advance_order(desk.report(market))
    desk.ledger.advance_order(desk.report(stop, OrderState.OPEN))
    book.changed()
    assert book.open_questions() == []
    assert [r.intent.leg for r in book.open_stops("BTCUSDT")] == ["stop"]
    assert [r.intent.leg for r in book.waiting_slices()] == ["slice2"]
