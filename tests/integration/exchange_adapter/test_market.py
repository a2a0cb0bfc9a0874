import asyncio

import numpy as np
import pytest

from shared.adapters.exchange import CcxtMarketData
from shared.domain.errors import VenueRejected, VenueUnreachable
from shared.domain.interval import DAY_MS, HOUR_MS, Interval

T0 = 1_735_689_600_000  # 2025-01-01 00:00


def bar(open_ms: int, step_ms: int = HOUR_MS) -> list:
    return [open_ms, "71481.90", "71482.00", "70459.40", "71481.91", "0.002", open_ms + step_ms - 1, "1", 1, "0", "0", "0"]


def klines(first_ms: int, last_ms: int, skip: frozenset[int] = frozenset()):
    """A venue that has bars from first to last (the open one included), like Binance: from startTime, oldest first."""

    def reply(asked):
        start, end, limit = (int(asked.parameters[name]) for name in ("startTime", "endTime", "limit"))
        rows = [bar(t) for t in range(first_ms, last_ms + 1, HOUR_MS) if start <= t <= end and t not in skip]
        return 200, rows[:limit]

    return reply


async def test_candles_are_paged_and_joined(venue, connection):
    venue.replies["GET /fapi/v1/klines"] = klines(T0, T0 + 2500 * HOUR_MS)
    candles = await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + 2345 * HOUR_MS)
    assert candles.open_time.tolist() == [T0 + i * HOUR_MS for i in range(2345)]
    assert candles.close[0] == float("71481.91")
    assert venue.paths().count("GET /fapi/v1/klines") == 3


async def test_prices_are_read_as_ccxt_reads_them(venue, connection, payload):
    recorded = next(
        entry
        for entry in payload("rest_recorded.json")["responses"]
        if entry["method"] == "fetchOHLCV" and entry["venue"] == "usdm"
    )
    rows, parsed = recorded["httpResponse"], recorded["parsed"]
    venue.replies["GET /fapi/v1/klines"] = rows
    first = int(rows[0][0])
    candles = await CcxtMarketData(connection).candles("BTCUSDT", Interval.M1, first, first + len(rows) * 60_000)
    columns = [candles.open_time, candles.open, candles.high, candles.low, candles.close, candles.volume]
    assert [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)] == parsed


async def test_a_gap_in_the_history_does_not_end_the_pages(venue, connection):
    skip = frozenset(T0 + i * HOUR_MS for i in range(300, 400))
    venue.replies["GET /fapi/v1/klines"] = klines(T0, T0 + 2500 * HOUR_MS, skip)
    candles = await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + 2000 * HOUR_MS)
    assert len(candles) == 1900
    assert candles.open_time[-1] == T0 + 1999 * HOUR_MS


async def test_the_open_bar_is_never_among_the_candles(venue, connection):
    venue.replies["GET /fapi/v1/time"] = {"serverTime": T0 + 10 * HOUR_MS + 1}
    venue.replies["GET /fapi/v1/klines"] = klines(T0, T0 + 10 * HOUR_MS)
    candles = await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + 100 * HOUR_MS)
    assert candles.open_time[-1] == T0 + 9 * HOUR_MS


async def test_the_bar_is_closed_from_the_instant_of_its_end_by_the_venues_clock(venue, connection):
    venue.replies["GET /fapi/v1/time"] = {"serverTime": T0 + 10 * HOUR_MS}
    venue.replies["GET /fapi/v1/klines"] = klines(T0, T0 + 10 * HOUR_MS)
    candles = await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + 100 * HOUR_MS)
    assert candles.open_time[-1] == T0 + 9 * HOUR_MS


async def test_weekly_bars_are_asked_from_a_monday(venue, connection):
    monday = 1_736_121_600_000  # 2025-01-06 00:00
    venue.replies["GET /fapi/v1/klines"] = lambda asked: (200, [bar(int(asked.parameters["startTime"]), 7 * DAY_MS)])
    candles = await CcxtMarketData(connection).candles("BTCUSDT", Interval.W1, T0, monday + 7 * DAY_MS)
    assert candles.open_time.tolist() == [monday]


async def test_no_request_for_candles_that_cannot_be_closed(venue, connection):
    venue.replies["GET /fapi/v1/time"] = {"serverTime": T0}
    assert len(await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + DAY_MS)) == 0
    assert venue.paths() == ["GET /fapi/v1/time"]


async def test_the_venues_clock_is_asked_again_only_for_what_it_had_not_reached(venue, connection):
    venue.replies["GET /fapi/v1/time"] = {"serverTime": T0 + 10 * HOUR_MS}
    venue.replies["GET /fapi/v1/klines"] = klines(T0, T0 + 20 * HOUR_MS)
    market = CcxtMarketData(connection)
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        assert len(await market.candles(symbol, Interval.H1, T0, T0 + 10 * HOUR_MS)) == 10
    assert venue.paths().count("GET /fapi/v1/time") == 1
    venue.replies["GET /fapi/v1/time"] = {"serverTime": T0 + 11 * HOUR_MS}
    assert len(await market.candles("BTCUSDT", Interval.H1, T0, T0 + 12 * HOUR_MS)) == 11
    assert venue.paths().count("GET /fapi/v1/time") == 2


async def test_concurrent_requests_get_their_own_answers_and_errors(venue, connection):
    venue.replies["GET /fapi/v1/klines"] = lambda asked: (400, {"code": -int(asked.parameters["symbol"][1:]), "msg": "no"})
    market = CcxtMarketData(connection)
    numbers = range(2000, 2030)
    calls = (market.candles(f"S{number}", Interval.H1, T0, T0 + DAY_MS) for number in numbers)
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [error.code for error in errors] == [-number for number in numbers]


async def test_funding_is_paged_and_exact(venue, connection):
    stamps = [T0 + i * 8 * HOUR_MS for i in range(1500)]

    def reply(asked):
        start, end = int(asked.parameters["startTime"]), int(asked.parameters["endTime"])
        found = [t for t in stamps if start <= t <= end][:1000]
        return 200, [{"symbol": "BTCUSDT", "fundingTime": t, "fundingRate": "0.00010000", "markPrice": "1"} for t in found]

    venue.replies["GET /fapi/v1/fundingRate"] = reply
    times, rates = await CcxtMarketData(connection).funding_rates("BTCUSDT", T0, stamps[1400])
    assert times.tolist() == stamps[:1400]
    assert times.dtype == np.int64
    assert set(rates) == {0.0001}


async def test_open_interest_is_asked_no_further_back_than_the_venue_keeps_it(venue, connection):
    now = T0 + 100 * DAY_MS
    venue.replies["GET /fapi/v1/time"] = {"serverTime": now}

    def reply(asked):
        start, end = int(asked.parameters["startTime"]), int(asked.parameters["endTime"])
        assert start > now - 30 * DAY_MS
        stamps = range(-(-start // HOUR_MS) * HOUR_MS, end + 1, HOUR_MS)
        return 200, [{"symbol": "BTCUSDT", "sumOpenInterest": "20403.637", "timestamp": str(t)} for t in stamps]

    venue.replies["GET /futures/data/openInterestHist"] = reply
    times, values = await CcxtMarketData(connection).open_interest("BTCUSDT", T0, now + DAY_MS)
    assert np.all(np.diff(times) == HOUR_MS)
    assert len(times) == 30 * 24 - 1
    assert set(values) == {20403.637}


async def test_a_venue_without_open_interest_has_none(venue, connection):
    venue.replies["GET /futures/data/openInterestHist"] = (404, "<html>not found</html>")
    now = await connection.now_ms()
    times, values = await CcxtMarketData(connection).open_interest("BTCUSDT", now - DAY_MS, now)
    assert len(times) == len(values) == 0


async def test_an_unknown_symbol_is_refused_in_one_line(venue, connection):
    venue.replies["GET /fapi/v1/klines"] = (400, {"code": -1121, "msg": "Invalid symbol."})
    with pytest.raises(VenueRejected, match=r"candles: the venue refused: Invalid symbol\. \(code -1121\)") as caught:
        await CcxtMarketData(connection).candles("NOSUCHUSDT", Interval.H1, T0, T0 + DAY_MS)
    assert caught.value.code == -1121
    assert venue.paths().count("GET /fapi/v1/klines") == 1


async def test_reads_are_repeated_with_growing_jittered_pauses_and_then_given_up(venue, connection, clock):
    venue.replies["GET /fapi/v1/klines"] = (503, {"code": -1008, "msg": "Server is currently overloaded."})
    venue.replies["GET /fapi/v1/klines"] = (502, "<html>Bad Gateway</html>")
    with pytest.raises(VenueUnreachable, match="HTTP 502"):
        await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + DAY_MS)
    assert venue.paths().count("GET /fapi/v1/klines") == 5
    assert [low <= wait <= high for wait, (low, high) in zip(clock.waits, [(0.25, 0.5), (0.5, 1), (1, 2), (2, 4)], strict=True)]


async def test_a_read_that_succeeds_at_last_is_no_error(venue, connection, script):
    venue.replies["GET /fapi/v1/klines"] = script([(503, "Service Unavailable"), "drop", klines(T0, T0 + DAY_MS)])
    assert len(await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + DAY_MS)) == 24


async def test_retry_after_is_honoured_by_reads(venue, connection, clock, script):
    busy = (429, {"code": -1003, "msg": "Too many requests."}, {"Retry-After": "7"})
    venue.replies["GET /fapi/v1/klines"] = script([busy, klines(T0, T0 + DAY_MS)])
    assert len(await CcxtMarketData(connection).candles("BTCUSDT", Interval.H1, T0, T0 + DAY_MS)) == 24
    assert sum(clock.waits) == pytest.approx(7, abs=0.1)


async def test_a_blocked_region_is_said_at_once(venue, connection):
    venue.replies["GET /fapi/v1/time"] = (451, {"code": 0, "msg": "Service unavailable from a restricted location."})
    with pytest.raises(VenueUnreachable, match="does not serve this region"):
        await connection.now_ms()
    assert len(venue.asked) == 1
