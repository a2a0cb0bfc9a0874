"""The order in which a trader hears what has happened."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from shared.domain.interval import Interval
from shared.domain.stream import AccountMessage, BarMessage
from shared.trading.mailbox import Letter, Mailbox, Source


def bar(open_ms: int) -> Letter:
    return Letter(Source.MARKET, BarMessage("BTCUSDT", Interval.M1, open_ms, 1.0, 1.0, 1.0, 1.0, 1.0, True, open_ms), open_ms)


def paid(time_ms: int) -> Letter:
    return Letter(Source.USER, AccountMessage(Decimal(1), (), "ORDER", time_ms), time_ms)


def taken(mailbox: Mailbox, count: int) -> list[Letter]:
    async def main() -> list[Letter]:
        return [await mailbox.take() for _ in range(count)]

    return asyncio.run(main())


def test_what_happened_on_the_account_is_heard_before_a_bar_that_came_earlier() -> None:
    mailbox = Mailbox()
    for letter in (bar(1), paid(2), bar(3), paid(4)):
        mailbox.put(letter)
    assert taken(mailbox, 4) == [paid(2), paid(4), bar(1), bar(3)]


def test_a_tick_that_nobody_has_looked_at_stands_for_all() -> None:
    mailbox = Mailbox()
    for _ in range(3):
        mailbox.tick()
    mailbox.put(bar(1))
    assert [letter.source for letter in taken(mailbox, 2)] == [Source.TIMER, Source.MARKET]
    mailbox.tick()
    assert [letter.source for letter in taken(mailbox, 1)] == [Source.TIMER]
