"""Newest prices by symbol; old ones are not given out, and each channel of each symbol is heard by itself."""

from __future__ import annotations

from decimal import Decimal

from shared.adapters.local.clock import VirtualClock
from shared.domain.interval import Interval
from shared.domain.stream import BarMessage, Channel, MarkMessage, QuoteMessage
from shared.trading.tape import Tape


def quote(price: int, time_ms: int) -> QuoteMessage:
    return QuoteMessage("BTCUSDT", Decimal(price), Decimal(price + 2), time_ms)


def mark(price: int) -> MarkMessage:
    return MarkMessage("BTCUSDT", Decimal(price), 0)


def test_the_newest_quote_stands_however_they_arrive() -> None:
    tape = Tape(VirtualClock(0), 5_000)
    for price, time_ms in ((100, 10), (102, 30), (101, 20)):
        tape.hear(quote(price, time_ms))
    found = tape.quote("BTCUSDT")
    assert found is not None
    assert found.mid == 103


def test_old_prices_are_not_given_out() -> None:
    clock = VirtualClock(0)
    tape = Tape(clock, 5_000)
    tape.hear(quote(100, 0))
    tape.hear(mark(100))
    clock.set(5_000)
    assert tape.quote("BTCUSDT") is not None
    assert tape.marks() == {"BTCUSDT": Decimal(100)}
    clock.set(5_001)
    assert tape.quote("BTCUSDT") is None
    assert tape.marks() == {}
    assert tape.last_marks() == {"BTCUSDT": (0, Decimal(100))}


def test_quotes_say_nothing_about_bars_and_one_symbol_nothing_about_another() -> None:
    clock = VirtualClock(0)
    tape = Tape(clock, 5_000)
    clock.set(20_000)
    tape.hear(quote(100, 0))
    assert tape.silent_ms(Channel.QUOTES, "BTCUSDT") == 0
    assert tape.silent_ms(Channel.BARS, "BTCUSDT") == 20_000
    assert tape.silent_ms(Channel.QUOTES, "ETHUSDT") == 20_000


def test_an_open_bar_shows_that_bars_live() -> None:
    clock = VirtualClock(0)
    tape = Tape(clock, 5_000)
    clock.set(20_000)
    tape.hear(BarMessage("BTCUSDT", Interval.M1, 0, 1.0, 1.0, 1.0, 1.0, 1.0, closed=False, time_ms=0))
    assert tape.silent_ms(Channel.BARS, "BTCUSDT") == 0
    assert tape.quote("ETHUSDT") is None


def test_a_new_connection_starts_the_silence_anew() -> None:
    clock = VirtualClock(0)
    tape = Tape(clock, 5_000)
    tape.hear(mark(100))
    clock.set(20_000)
    tape.connected()
    assert tape.silent_ms(Channel.MARKS, "BTCUSDT") == 0
    assert not tape.was_heard(Channel.MARKS, "BTCUSDT")


def test_a_mark_that_was_asked_for_is_fresh_and_no_sign_of_life() -> None:
    clock = VirtualClock(0)
    tape = Tape(clock, 5_000)
    tape.hear(mark(100))
    clock.set(20_000)
    tape.note_mark("BTCUSDT", Decimal(100))
    assert tape.marks() == {"BTCUSDT": Decimal(100)}
    assert tape.silent_ms(Channel.MARKS, "BTCUSDT") == 20_000
    assert not tape.differs("BTCUSDT")
    tape.note_mark("BTCUSDT", Decimal(101))
    assert tape.differs("BTCUSDT")
