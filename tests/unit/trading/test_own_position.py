"""What a book holds while its ledger cannot be asked: its own, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from shared.domain.ids import book_tag
from shared.domain.orders import OrderKind, OrderReport, OrderState
from shared.trading.own_position import OwnPosition

OWN = f"{book_tag('b')}-market-x"


def resting(client_id: str, left: str | None, symbol: str = "BTCUSDT") -> OrderReport:
    size = None if left is None else Decimal(left)
    return OrderReport(client_id, symbol, OrderState.OPEN, Decimal(0), left=size)


async def test_without_a_note_the_executions_since_the_book_began_are_summed(desk: Any) -> None:
    own = OwnPosition(desk.exchange, desk.book, desk.start_ms)
    desk.exchange.executions += [desk.fill(1, "2", OWN), desk.fill(2, "-0.5", OWN)]
    assert await own.now("BTCUSDT") == Decimal("1.5")
    assert own.noted("BTCUSDT") == 0


async def test_what_another_book_or_a_person_did_is_not_counted_and_what_the_venue_closed_is(desk: Any) -> None:
    own = OwnPosition(desk.exchange, desk.book, desk.start_ms)
    desk.exchange.executions += [
        desk.fill(1, "2", OWN),
        desk.fill(2, "7", "web-1"),
        desk.fill(3, "5", f"{book_tag('another')}-market-x"),
        desk.fill(4, "-1", "autoclose-17"),
        desk.fill(5, "3", None),
    ]
    assert await own.now("BTCUSDT") == 1


async def test_executions_around_the_note_are_counted_once(desk: Any) -> None:
    own = OwnPosition(desk.exchange, desk.book, desk.start_ms)
    entry = desk.intent()
    desk.committed(entry)
    early, late, unbooked = desk.fill(1, "1", OWN), desk.fill(100, "0.4", OWN), desk.fill(130, "0.2", OWN)
    desk.ledger.add_fills(desk.book, [early, late])
    own.note(desk.ledger, late.time_ms + 10_000)
    desk.exchange.executions += [early, late, unbooked]
    assert own.noted("BTCUSDT") == Decimal("1.4")
    assert await own.now("BTCUSDT") == Decimal("1.6")


def test_what_was_closed_without_the_ledger_is_held_no_more_and_booked_once(desk: Any) -> None:
    own, entry = OwnPosition(desk.exchange, desk.book, desk.start_ms), desk.intent()
    desk.committed(entry)
    desk.ledger.add_fills(desk.book, [desk.fill(1, "1", entry.client_id)])
    own.note(desk.ledger, desk.start_ms + 10_000)
    leaving = replace(desk.intent("emergency-1", "-1"), quantity=Decimal(1))
    own.exited(leaving, Decimal(1))
    assert own.noted("BTCUSDT") == 0
    own.exited(leaving, Decimal("0.4"))  # the venue's last word
    assert own.noted("BTCUSDT") == Decimal("0.6")
    own.booked([desk.fill(2, "-0.4", leaving.client_id)])
    assert own.noted("BTCUSDT") == Decimal("0.6")


def test_only_own_stops_of_the_closing_side_cover(desk: Any) -> None:
    own = OwnPosition(desk.exchange, desk.book, desk.start_ms)
    stops = [
        (resting(f"{book_tag('b')}-stop-1", "-1"), OrderKind.STOP),
        (resting(f"{book_tag('b')}-stop-2", "-0.25"), OrderKind.STOP),
        (resting(f"{book_tag('b')}-stop-3", "4"), OrderKind.STOP),
        (resting(f"{book_tag('b')}-stop-4", "-4", "ETHUSDT"), OrderKind.STOP),
        (resting(f"{book_tag('b')}-limit-5", "-4"), OrderKind.LIMIT),
        (resting("web-1", "-4"), OrderKind.STOP),
        (resting(f"{book_tag('b')}-stop-6", None), OrderKind.STOP),
    ]
    assert own.covered("BTCUSDT", Decimal(2), stops) == Decimal("1.25")
    assert own.covered("BTCUSDT", Decimal(-2), stops) == 4


def test_what_is_booked_after_a_note_is_held_though_no_execution_can_be_read(desk: Any) -> None:
    own = OwnPosition(desk.exchange, desk.book, desk.start_ms)
    own.note(desk.ledger, desk.start_ms)
    own.booked([desk.fill(1, "1", OWN), desk.fill(2, "-0.4", OWN)])
    assert own.noted("BTCUSDT") == Decimal("0.6")
