"""Newest prices by symbol; old ones are not given out."""

from __future__ import annotations

from decimal import Decimal

from shared.adapters.local.clock import VirtualClock
from shared.domain.interval import Interval
from shared.domain.stream import BarMessage, MarkMessage, QuoteMessage
from shared.trading.tape import Tape


def quote(price: int, time_ms: int) -> QuoteMessage:
    return QuoteMessage("BTCUSDT", Decimal(price), Decimal(price + 2), time_ms)


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
    tape.hear(MarkMessage("BTCUSDT", Decimal(100), 0))
    clock.set(5_000)
    assert tape.quote("BTCUSDT") is not None
    assert tape.marks() == {"BTCUSDT": Decimal(100)}
    clock.set(5_001)
    assert tape.quote("BTCUSDT") is None
    assert tape.marks() == {}


def test_an_open_bar_shows_that_the_stream_lives() -> None:
    clock = VirtualClock(0)
    tape = Tape(clock, 5_000)
    clock.set(20_000)
    assert tape.silent_ms() == 20_000
    tape.hear(BarMessage("BTCUSDT", Interval.M1, 0, 1.0, 1.0, 1.0, 1.0, 1.0, closed=False, time_ms=0))
    assert tape.silent_ms() == 0
    assert tape.quote("ETHUSDT") is None
