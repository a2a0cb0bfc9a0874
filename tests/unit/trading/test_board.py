"""The windows of a session: fed by a stream they are what REST would have given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.generated import GeneratedMarket, generate_market
from shared.domain.asset import Universe
from shared.domain.candles import COLUMNS, Candles
from shared.domain.errors import VenueUnreachable
from shared.domain.ids import candles_hash
from shared.domain.interval import Interval, parse_date_ms
from shared.domain.stream import BarMessage
from shared.trading.board import MarketBoard

H1 = Interval.H1
START_MS = parse_date_ms("2025-07-01")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
UNIVERSE = Universe.of("binanceusdm", SYMBOLS)
BTC, ETH = UNIVERSE.assets
MARKET = generate_market(np.random.default_rng(3), SYMBOLS, H1, START_MS, 100)


class Venue:
    """The generated market, counting questions; symbols in `down` do not answer."""

    def __init__(self, market: GeneratedMarket = MARKET) -> None:
        self.market, self.asked, self.down = market, 0, set[str]()

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        self.asked += 1
        if symbol in self.down:
            raise VenueUnreachable("no answer")
        return await self.market.candles(symbol, interval, start_ms, end_ms)

    funding_rates = property(lambda self: self.market.funding_rates)
    open_interest = property(lambda self: self.market.open_interest)

    async def close(self) -> None:
        return None


def board(venue: Venue | None = None, max_bars: int = 40) -> MarketBoard:
    market: object = venue or Venue()
    return MarketBoard(UNIVERSE, H1, max_bars, market)  # type: ignore[arg-type]


def message(symbol: str, bar: int, *, closed: bool = True) -> BarMessage:
    row = [float(getattr(MARKET.history[symbol], name)[bar]) for name in COLUMNS]
    return BarMessage(symbol, H1, int(row[0]), *row[1:], closed, int(row[0]) + H1.ms)  # type: ignore[arg-type]


def close_ms(bar: int) -> int:
    return START_MS + (bar + 1) * H1.ms


@pytest.mark.parametrize("max_bars", [40, 4])
async def test_bars_of_the_stream_and_of_rest_give_the_same_window(max_bars: int) -> None:
    """A window of four hours knows one funding rate at a time, and the spacing of none."""
    streamed, asked = board(max_bars=max_bars), board(max_bars=max_bars)
    await streamed.advance(close_ms(50))
    await asked.advance(close_ms(50))
    for bar in range(51, 80):
        for symbol in SYMBOLS:
            assert streamed.receive(message(symbol, bar)) == ""
        assert await streamed.advance(close_ms(bar)) == await asked.advance(close_ms(bar)) == {}
        for asset in UNIVERSE:
            known = MARKET.funding[asset.symbol][0]
            assert candles_hash(streamed.window(asset).candles) == candles_hash(asked.window(asset).candles)
            np.testing.assert_array_equal(streamed.window(asset).funding[0], asked.window(asset).funding[0])
            np.testing.assert_array_equal(asked.window(asset).funding[0][-1:], known[known <= close_ms(bar)][-1:])


async def test_nothing_is_asked_for_what_the_stream_has_brought() -> None:
    venue = Venue()
    windows = board(venue)
    await windows.advance(close_ms(50))
    before = venue.asked
    for symbol in SYMBOLS:
        windows.receive(message(symbol, 51))
    assert windows.missing(close_ms(51)) == []
    await windows.advance(close_ms(51))
    assert venue.asked == before


async def test_a_gap_is_filled_by_rest() -> None:
    windows = board()
    await windows.advance(close_ms(50))
    windows.receive(message("BTCUSDT", 53))
    assert windows.missing(close_ms(53)) == ["ETHUSDT"]
    await windows.advance(close_ms(53))
    assert len(windows.window(BTC).candles.between(START_MS + 50 * H1.ms)) == 4


async def test_bars_of_the_future_wait() -> None:
    windows = board()
    await windows.advance(close_ms(50))
    for bar in (51, 52):
        windows.receive(message("BTCUSDT", bar))
        windows.receive(message("ETHUSDT", bar))
    await windows.advance(close_ms(51))
    assert windows.window(BTC).close_ms == close_ms(51)
    await windows.advance(close_ms(52))
    assert windows.window(BTC).close_ms == close_ms(52)


async def test_a_repeated_bar_is_no_news_and_a_revised_one_is_told_and_ignored() -> None:
    windows = board()
    await windows.advance(close_ms(50))
    for state in ("waiting", "taken"):
        if state == "taken":
            await windows.advance(close_ms(51))
        first = message("BTCUSDT", 51)
        assert windows.receive(first) == ""
        assert windows.receive(first) == ""
        assert "was revised; ignored" in windows.receive(replace(first, volume=first.volume + 1))
    assert windows.window(BTC).candles.volume[-1] == first.volume


async def test_bars_that_are_open_foreign_or_impossible_are_not_taken() -> None:
    windows = board()
    await windows.advance(close_ms(50))
    assert windows.receive(message("BTCUSDT", 51, closed=False)) == ""
    assert windows.receive(replace(message("BTCUSDT", 51), symbol="XRPUSDT")) == ""
    assert windows.receive(replace(message("BTCUSDT", 51), interval=Interval.M1)) == ""
    assert "impossible candle" in windows.receive(replace(message("BTCUSDT", 51), high=0.5))
    assert "BTCUSDT" in windows.missing(close_ms(51))


async def test_one_symbol_without_an_answer_does_not_hold_up_the_other() -> None:
    venue = Venue()
    windows = board(venue)
    venue.down = {"ETHUSDT"}
    assert await windows.advance(close_ms(50)) == {"ETHUSDT": "no answer"}
    assert windows.window(BTC).close_ms == close_ms(50)
    assert windows.closes().keys() == {"BTCUSDT"}


async def test_missed_bars_are_fetched_once_and_stepped_one_by_one() -> None:
    venue = Venue()
    windows = board(venue)
    await windows.advance(close_ms(50))
    await windows.fetch_ahead(close_ms(59))
    before = venue.asked
    for bar in range(51, 60):
        await windows.advance(close_ms(bar))
        assert windows.window(BTC).close_ms == close_ms(bar)
    assert venue.asked - before <= 4  # funding has come due on the way


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(51, 60), max_size=25), st.lists(st.booleans(), min_size=10, max_size=10))
async def test_any_order_of_messages_gives_the_window_of_rest(order: list[int], arrives: list[bool]) -> None:
    streamed, asked = board(), board()
    await streamed.advance(close_ms(50))
    for bar in order:
        if arrives[bar - 51]:
            streamed.receive(message("BTCUSDT", bar))
    for bar in range(51, 61):
        await streamed.advance(close_ms(bar))
    await asked.advance(close_ms(60))
    assert candles_hash(streamed.window(BTC).candles) == candles_hash(asked.window(BTC).candles)
