"""The report: complete, self-contained, escaped, honest about a generated market, and never too heavy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pytest

from shared.backtest.metrics import summary
from shared.backtest.report import AssetRecord, RunRecord, render_report
from shared.backtest.report.record import aligned_regimes
from shared.backtest.report.series import merged_candles, thinned_rows
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import MalformedData
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderState, Side
from shared.domain.records import EquityPoint, Halt, RegimeState, Trade
from shared.domain.regime import REGIMES, Regime, RegimeProbabilities

EVIL = "</script><img src=x onerror=alert(1)>"
ASSET = Asset("binanceusdm", "BTCUSDT")


@pytest.fixture
def record(walk: Callable[..., Candles]) -> RunRecord:
    """A run of 50 bars with one trade, one stop, and hostile texts wherever a text can come from outside."""
    candles = walk(3, 50)
    opened, closed = int(candles.close_time[10]), int(candles.close_time[20])
    price = Decimal(100)
    trade = Trade(
        "t", "b", "BTCUSDT", "long", Decimal(1), price, price, opened, closed, Decimal("-7.5"), Decimal(1), EVIL, None
    )
    stop = OrderIntent(
        "o-1", "b", "d", "stop", "BTCUSDT", Side.SELL, OrderKind.STOP, Decimal(1), opened, None, Decimal(97), True
    )
    probabilities = np.tile([0.7, 0.2, 0.1], (50, 1))
    probabilities[0] = np.nan
    regimes = (None, *[REGIMES[0]] * 49)
    order = OrderRecord(stop, OrderState.CANCELLED, updated_ms=closed)
    item = AssetRecord(ASSET, candles, probabilities, regimes, trades=(trade,), orders=(order,))
    equity = 1000 + np.cumsum(np.sin(np.arange(50)))
    points = tuple(
        EquityPoint(int(at), Decimal(repr(float(value))), Decimal(1000), Decimal(2000))
        for at, value in zip(candles.close_time, equity, strict=True)
    )
    return RunRecord(
        book="paper-1",
        source=EVIL,
        generated=False,
        start_ms=int(candles.open_time[0]),
        end_ms=int(candles.close_time[-1]),
        interval=Interval.H1,
        assets=(item,),
        equity=points,
        summary=summary(candles.close_time, equity, [trade]),
        settings={"note": EVIL},
        halts=(Halt("b", EVIL, opened, None),),
        quality_notes=(EVIL,),
        log=({"time_ms": opened, "level": "info", "source": "run", "message": EVIL},),
    )


class Outline(HTMLParser):
    """Tags with their attributes, and whether every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.unclosed: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag


def figures(page: str) -> list[dict]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]


def test_the_page_is_whole_and_asks_the_network_for_nothing(record: RunRecord) -> None:
    outline = Outline(render_report(record))
    assert outline.unclosed == []
    sources = [attributes.get("src") for _, attributes in outline.tags if attributes.get("src")]
    links = [attributes["href"] for tag, attributes in outline.tags if tag in ("link", "a")]
    assert sources == []
    assert all(link.startswith(("#", "data:")) for link in links)


def test_texts_from_outside_cannot_become_markup(record: RunRecord) -> None:
    page = render_report(record)
    assert EVIL not in page
    assert not any("onerror" in attributes for _, attributes in Outline(page).tags)
    assert page.count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") >= 5  # source, setting, halt, note, log, trade


def test_every_plot_has_a_text_for_those_who_cannot_see_it_and_every_table_a_caption(record: RunRecord) -> None:
    page = render_report(record)
    outline = Outline(page)
    plots = [attributes for tag, attributes in outline.tags if tag == "div" and attributes.get("role") == "img"]
    count = {name: sum(tag == name for tag, _ in outline.tags) for name in ("figure", "table", "caption")}
    assert len(plots) == count["figure"] == len(figures(page)) > 0
    assert all(plot["aria-label"] for plot in plots)
    assert count["caption"] == count["table"] > 0


def test_a_generated_market_says_so_in_title_banner_and_every_plot(record: RunRecord) -> None:
    page = render_report(replace(record, generated=True))
    assert re.search(r"<title>[^<]*generated market[^<]*</title>", page)
    assert 'class="banner"' in page
    captions = re.findall(r"<figcaption>(.*?)<small>", page)
    assert len(captions) == page.count("<figure") > 0
    assert all("generated market" in caption for caption in captions)
    assert all("generated market" in json.dumps(figure["layout"]) for figure in figures(page))
    real = render_report(record)
    assert "(generated market)" not in real
    assert 'class="banner"' not in real


def test_a_run_without_trades_is_a_report_too(record: RunRecord) -> None:
    page = render_report(replace(record, assets=(replace(record.assets[0], trades=(), orders=()),)))
    assert "No round trip was closed" in page


def test_regimes_find_their_candles_by_bar_close(walk: Callable[..., Candles]) -> None:
    candles = walk(1, 3)
    shares = RegimeProbabilities(0.1, 0.3, 0.6)
    state = RegimeState(ASSET, int(candles.close_time[1]), shares, Regime.STRESS, "m", (0.1, 0.3, 0.6), 1, 0)
    probabilities, regimes = aligned_regimes(candles, [state])
    assert regimes == (None, Regime.STRESS, None)
    np.testing.assert_array_equal(probabilities[1], [0.1, 0.3, 0.6])
    assert np.isnan(probabilities[[0, 2]]).all()


def test_a_record_whose_regimes_do_not_fit_its_candles_is_refused(walk: Callable[..., Candles]) -> None:
    with pytest.raises(MalformedData, match="expected probabilities of shape"):
        AssetRecord(ASSET, walk(1, 3), np.zeros((2, 3)), (None, None, None))


def test_thinning_keeps_the_extremes_and_short_series_as_they_are() -> None:
    values = np.sin(np.arange(100_000) / 1000.0)
    values[54_321], values[77_777] = 5.0, -5.0
    rows = thinned_rows(values, 2_000)
    assert len(rows) <= 2_000
    assert {0, 54_321, 77_777, 99_999} <= set(rows.tolist())
    assert np.all(np.diff(rows) > 0)
    assert thinned_rows(values[:2_000], 2_000).tolist() == list(range(2_000))


def test_merged_bars_keep_highest_lowest_first_and_last(walk: Callable[..., Candles]) -> None:
    candles = walk(5, 10)
    times, opened, high, low, close = merged_candles(candles, 4)
    assert times.tolist() == [int(candles.open_time[0]) + n * 3 * HOUR_MS for n in range(4)]
    assert (opened[1], close[0], close[-1]) == (candles.open[3], candles.close[2], candles.close[9])
    assert high[0] == candles.high[:3].max()
    assert low[3] == candles.low[9]
