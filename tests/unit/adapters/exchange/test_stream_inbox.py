"""The inbox against a plain list: nothing that matters is lost or reordered, and it stays small."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.exchange.stream_inbox import Inbox
from shared.domain.errors import VenueUnreachable


@dataclass(frozen=True)
class Item:
    number: int
    key: str | None
    notice: bool = False


def filled(kinds: list[str]) -> tuple[Inbox[Item], list[Item]]:
    """An inbox and all that was put into it: `n` a notice, `m` a message that matters, else a key."""
    inbox: Inbox[Item] = Inbox()
    put = [Item(i, None if kind in "nm" else kind, kind == "n") for i, kind in enumerate(kinds)]
    for item in put:
        if item.notice:
            inbox.barrier(item)
        else:
            inbox.put(item, item.key)
    return inbox, put


async def taken(inbox: Inbox[Item]) -> list[Item]:
    return [await inbox.next() for _ in range(len(inbox))]


@given(st.lists(st.sampled_from(["n", "m", "a", "b", "c"]), max_size=40))
def test_what_matters_comes_once_and_in_order_and_of_the_rest_the_newest(kinds: list[str]) -> None:
    inbox, put = filled(kinds)
    got = asyncio.run(taken(inbox))
    assert [item for item in got if item.key is None] == [item for item in put if item.key is None]
    assert len(set(got)) == len(got)
    sections: list[list[Item]] = [[]]
    for item in put:
        sections[-1].append(item)
        if item.notice:
            sections.append([])
    wanted = {items[-1] for section in sections for key in "abc" if (items := [i for i in section if i.key == key])}
    assert {item for item in got if item.key is not None} == wanted


@given(st.lists(st.sampled_from(["n", "m", "a", "b"]), max_size=40))
def test_nothing_is_told_before_a_notice_that_it_came_after(kinds: list[str]) -> None:
    inbox, _ = filled(kinds)
    got = asyncio.run(taken(inbox))
    for place, item in enumerate(got):
        if item.notice:
            assert all(earlier.number < item.number for earlier in got[:place])
            assert all(later.number > item.number for later in got[place:] if later is not item)


async def test_a_loss_outdates_what_only_shows_the_present() -> None:
    inbox, _ = filled(["a", "m", "b"])
    inbox.barrier(Item(9, None, True), outdates=True)
    assert [item.number for item in await taken(inbox)] == [1, 9]


async def test_a_waiting_consumer_wakes_and_a_cancelled_one_takes_nothing() -> None:
    inbox: Inbox[int] = Inbox()
    waiting = asyncio.create_task(inbox.next())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    inbox.put(1)
    inbox.put(2)
    assert [await inbox.next(), await inbox.next()] == [1, 2]
    waiting = asyncio.create_task(inbox.next())
    await asyncio.sleep(0)
    inbox.put(3)
    assert await waiting == 3


async def test_after_the_end_the_rest_can_be_taken() -> None:
    inbox: Inbox[int] = Inbox()
    inbox.put(1)
    inbox.fail(VenueUnreachable("closed"))
    assert await inbox.next() == 1
    for _ in range(2):
        with pytest.raises(VenueUnreachable):
            await inbox.next()
