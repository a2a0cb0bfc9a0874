"""Klines as the venue serves them: the open bar last, inclusive bounds, aggregation, nothing from the future."""

from __future__ import annotations

import pytest

from cloudrun.exchange.klines import Klines
from cloudrun.exchange.refusal import Refusal

BARS = [(100.0 + i, 102.0 + i, 99.0 + i, 101.0 + i) for i in range(30)]


@pytest.fixture
def serve(bench):
    market = bench.market(BARS)
    klines = Klines(market)

    def rows(hours, **params):
        now_ms = bench.start_ms + int(hours * bench.hour_ms)
        sent = {name: str(value) for name, value in {"interval": "1h", **params}.items()}
        return klines.rows(market.symbols["BTCUSDT"], sent, now_ms)

    return rows


def hours_of(bench, rows):
    return [(row[0] - bench.start_ms) // bench.hour_ms for row in rows]


def test_the_open_bar_is_served_last_with_its_opening_price_only(bench, serve):
    rows = serve(3)
    assert hours_of(bench, rows) == [0, 1, 2, 3]
    assert rows[-1][1:6] == ["103.0", "103.0", "103.0", "103.0", "0.0"]
    assert rows[-2][1:6] == ["102.0", "104.0", "101.0", "103.0", "1000.0"]
    assert rows[-1][6] == rows[-1][0] + bench.hour_ms - 1


def test_inside_a_bar_the_open_bar_follows_the_path(serve):
    assert serve(3 + 1 / 3)[-1][1:5] == ["103.0", "103.0", "102.0", "102.0"]
    assert serve(3 + 2 / 3)[-1][1:5] == ["103.0", "105.0", "102.0", "105.0"]


def test_the_limit_takes_the_newest_without_a_start_and_the_oldest_with_one(bench, serve):
    assert hours_of(bench, serve(10, limit=3)) == [8, 9, 10]
    assert hours_of(bench, serve(10, limit=3, startTime=bench.start_ms + 2 * bench.hour_ms)) == [2, 3, 4]


def test_bounds_are_inclusive_and_the_future_is_empty(bench, serve):
    start, end = bench.start_ms + 2 * bench.hour_ms, bench.start_ms + 4 * bench.hour_ms
    assert hours_of(bench, serve(10, startTime=start, endTime=end)) == [2, 3, 4]
    assert hours_of(bench, serve(3, startTime=start, endTime=end)) == [2, 3]
    assert serve(3, startTime=bench.start_ms + 5 * bench.hour_ms) == []


def test_coarser_bars_are_aggregated_and_finer_ones_refused(serve):
    first, second = serve(6, interval="4h")
    assert first[1:6] == ["100.0", "105.0", "99.0", "104.0", "4000.0"]
    assert second[1:6] == ["104.0", "107.0", "103.0", "106.0", "2000.0"]
    for wrong in ("15m", "7h", "1M"):
        with pytest.raises(Refusal) as caught:
            serve(6, interval=wrong)
        assert caught.value.code == -1120


def test_a_gap_in_the_candles_stays_a_gap(bench):
    candles = bench.candles(BARS)
    rows = [row for row in range(len(candles)) if row not in (3, 4)]
    gappy = type(candles)(
        candles.interval, *(getattr(candles, n)[rows] for n in ("open_time", "open", "high", "low", "close", "volume"))
    )
    market = type(bench.market(BARS))({"BTCUSDT": gappy})
    symbol = market.symbols["BTCUSDT"]
    now_ms = bench.start_ms + 4 * bench.hour_ms
    assert symbol.price(now_ms) == 103.0
    assert symbol.stretch(now_ms, now_ms + 1000) is None
    assert hours_of(bench, Klines(market).rows(symbol, {"interval": "1h"}, now_ms)) == [0, 1, 2]


def test_rendered_bars_are_kept_within_bounds(bench, monkeypatch):
    monkeypatch.setattr("cloudrun.exchange.klines._MOST_RENDERED", 3)
    market = bench.market(BARS)
    klines = Klines(market)
    for _ in range(2):
        rows = klines.rows(market.symbols["BTCUSDT"], {"interval": "1h"}, bench.start_ms + 20 * bench.hour_ms)
        assert hours_of(bench, rows) == list(range(21))
        assert len(klines._rendered) <= 3
