"""The report of a run: one file, complete, honest about where its prices come from, and unharmed by odd runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from shared.backtest.metrics import summary
from shared.backtest.report import AssetRecord, RunRecord, render_report
from shared.backtest.report.account_figure import account_figure
from shared.backtest.report.asset_figure import asset_figure
from shared.backtest.report.holdings import buy_and_hold, held_fraction
from shared.backtest.report.record import aligned_regimes
from shared.backtest.report.series import merged_candles, numbers, thinned_rows
from shared.backtest.report.tables import sharpe_error
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.decision import Action, Decision
from shared.domain.errors import MalformedData
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderRecord, OrderState, Side
from shared.domain.records import EquityPoint, Halt, RegimeState, Trade
from shared.domain.regime import REGIMES, Regime, RegimeProbabilities

START_MS = 1_751_500_800_000
BTC = Asset("binanceusdm", "BTCUSDT")


def candles(bars: int, seed: int = 1) -> Candles:
    moves = np.random.default_rng(seed).normal(0, 0.004, bars)
    close = 100_000 * np.exp(np.cumsum(moves))
    opened = np.concatenate([[100_000.0], close[:-1]])[:bars]
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    return Candles(Interval.H1, START_MS + HOUR_MS * np.arange(bars), opened, high, low, close, np.full(bars, 5.0))


def trade(number: int, opened: int = 1, closed: int = 3, side: str = "long") -> Trade:
    return Trade(
        id=f"t-{number}",
        book="book",
        symbol="BTCUSDT",
        side=side,
        quantity=Decimal("0.050"),
        entry_price=Decimal("100100"),
        exit_price=Decimal("100900"),
        opened_ms=START_MS + opened * HOUR_MS,
        closed_ms=START_MS + closed * HOUR_MS,
        profit=Decimal("36") * (-1) ** number,
        fees=Decimal("4"),
        open_decision_id=f"d-open{number}",
        close_decision_id=None,
    )


def decision(number: int, reason: str = "momentum: trend up", regime: Regime = Regime.CALM) -> Decision:
    return Decision(
        id=f"d-open{number}",
        book="book",
        asset=BTC,
        interval=Interval.H1,
        bar_close_ms=START_MS + HOUR_MS * number,
        params_version="p",
        code_version="c",
        data_hash="h",
        window_start_ms=START_MS,
        regime_model_id="m",
        probabilities=RegimeProbabilities(0.7, 0.2, 0.1),
        regime=regime,
        alphas={},
        votes=(),
        score=0.4,
        price=100_000.0,
        target_fraction=0.5,
        approved_fraction=0.5,
        action=Action.OPEN,
        reasons=(reason,),
        order_ids=("o",),
    )


def fill(quantity: str, hour: int, side: Side = Side.BUY) -> Fill:
    at = START_MS + hour * HOUR_MS
    return Fill("BTCUSDT", f"f{hour}", "o", "v", side, Decimal(quantity), Decimal(100_000), Decimal(1), at)


def stop(hour: int) -> OrderRecord:
    created = START_MS + hour * HOUR_MS
    intent = OrderIntent(
        client_id=f"s{hour}",
        book="book",
        decision_id="d-open1",
        leg="stop",
        symbol="BTCUSDT",
        side=Side.SELL,
        kind=OrderKind.STOP,
        quantity=Decimal("0.05"),
        created_ms=created,
        stop_price=Decimal("98500.5"),
    )
    return OrderRecord(intent, OrderState.CANCELLED, updated_ms=created + 2 * HOUR_MS)


def asset_record(bars: int = 48, **changes: object) -> AssetRecord:
    probabilities = np.tile([0.7, 0.2, 0.1], (bars, 1))
    regimes = tuple(REGIMES[row // 8 % 3] for row in range(bars))
    plain = AssetRecord(BTC, candles(bars), probabilities, regimes)
    return replace(plain, **changes)


def run_record(*assets: AssetRecord, **changes: object) -> RunRecord:
    shown = assets or (asset_record(),)
    bars = len(shown[0].candles)
    times = shown[0].candles.close_time
    equity = 10_000 * (1 + 0.01 * np.sin(np.arange(bars) / 9))
    points = tuple(
        EquityPoint(int(at), Decimal(str(value)), Decimal(str(value)), Decimal(10_100))
        for at, value in zip(times, equity, strict=True)
    )
    plain = RunRecord(
        book="paper-abc-1",
        source="files in market",
        generated=False,
        start_ms=int(times[0]),
        end_ms=int(times[-1]),
        interval=Interval.H1,
        assets=shown,
        equity=points,
        summary=summary(times, equity, [t for item in shown for t in item.trades]),
    )
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def traded() -> RunRecord:
    item = asset_record(
        trades=(trade(1), trade(2, 4, 9, "short")),
        decisions=(decision(1), decision(2)),
        fills=(fill("0.05", 1), fill("0.05", 3, Side.SELL)),
        orders=(stop(1),),
    )
    return run_record(item)


def own(page: str) -> str:
    """The page without plotly.js."""
    return page.replace(get_plotlyjs(), "")


def plots(page: str) -> list[dict[str, object]]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]


def test_the_page_needs_nothing_from_outside(traded: RunRecord) -> None:
    page = render_report(traded)
    assert page.count(get_plotlyjs()) == 1
    assert not re.search(r"https?://|//cdn|@import|url\(", own(page))
    links = re.findall(r'(?:src|href)="([^"]*)"', own(page))
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)


def test_every_plot_has_a_text_for_those_who_cannot_see_it_and_every_table_a_caption(traded: RunRecord) -> None:
    page = own(render_report(traded))
    assert page.count('role="img" aria-label="') == page.count("<figure>") == 3
    assert page.count("<table>") == page.count("<caption>")


def test_every_link_leads_to_a_section(traded: RunRecord) -> None:
    page = own(render_report(traded))
    wanted = set(re.findall(r'href="#([^"]*)"', page))
    assert wanted <= set(re.findall(r' id="([^"]*)"', page))
    assert {"account", "asset-BTCUSDT", "trades"} <= wanted


def test_a_generated_market_is_named_everywhere(traded: RunRecord) -> None:
    page = own(render_report(replace(traded, generated=True)))
    assert re.search(r"<title>[^<]*generated market</title>", page)
    assert re.search(r"<h1>[^<]*generated market</h1>", page)
    assert 'class="banner"' in page
    figures = plots(page)
    assert len(figures) == 3
    assert all("generated market" in json.dumps(figure) for figure in figures)
    captions = re.findall(r"<figcaption>(.*?)<small>", page)
    assert len(captions) == 3
    assert all("generated market" in caption for caption in captions)


def test_a_recorded_market_has_no_banner(traded: RunRecord) -> None:
    assert "generated market" not in own(render_report(traded))
    assert 'class="banner"' not in render_report(traded)


def test_texts_from_outside_cannot_become_markup() -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    item = asset_record(trades=(trade(1),), decisions=(decision(1, reason=evil),))
    record = run_record(
        item,
        book=evil,
        source=evil,
        settings={evil: evil},
        quality_notes=(evil,),
        halts=(Halt("book", evil, START_MS, None),),
        log=({"time_ms": START_MS, "level": evil, "source": evil, "message": evil},),
    )
    page = own(render_report(record))
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script")
    assert evil in json.dumps(plots(page)).replace("\\u003c", "<")


def test_a_mark_names_its_decision_and_its_reason(traded: RunRecord) -> None:
    marks = [trace for trace in asset_figure(traded.assets[0], traded)["data"] if "hover" in trace]
    assert [trace["name"] for trace in marks] == ["long entry", "short entry", "exit"]
    assert marks[0]["hover"][0][0] == "2025-07-03 01:00 enter long 0.05 at 100,100"
    assert marks[0]["hover"][0][2:] == ["d-open1", "momentum: trend up"]
    assert marks[2]["hover"][0][2] == "no decision: the venue did it"


def test_an_exit_by_a_stop_says_so() -> None:
    closed = replace(trade(1), close_decision_id="d-open1", closed_ms=START_MS + 2 * HOUR_MS + 5)
    hit = replace(stop(1), state=OrderState.FILLED)
    item = asset_record(trades=(closed,), decisions=(decision(1),), orders=(hit,))
    exits = next(trace for trace in asset_figure(item, run_record(item))["data"] if trace["name"] == "exit")
    assert "stopped out of long" in exits["hover"][0][0]
    assert exits["hover"][0][3] == "the stop that this decision had set was hit"


def test_a_stop_is_drawn_over_its_life(traded: RunRecord) -> None:
    line = next(trace for trace in asset_figure(traded.assets[0], traded)["data"] if trace["name"] == "stop")
    assert line["x"] == [START_MS + HOUR_MS, START_MS + 3 * HOUR_MS, None]
    assert line["y"] == [98500.5, 98500.5, None]


def test_the_regime_is_drawn_from_the_close_at_which_it_was_known() -> None:
    item = asset_record(4, regimes=(None, Regime.CALM, Regime.CALM, Regime.STRESS))
    ribbon = {trace["name"]: trace for trace in asset_figure(item, run_record(item))["data"] if trace["type"] == "bar"}
    assert (ribbon["calm"]["x"], ribbon["calm"]["width"]) == ([START_MS + 2 * HOUR_MS], [2 * HOUR_MS])
    assert (ribbon["stress"]["x"], ribbon["stress"]["width"]) == ([START_MS + 4 * HOUR_MS], [HOUR_MS])
    assert ribbon["balanced"]["x"] == []


def test_a_run_without_trades_says_so() -> None:
    page = own(render_report(run_record()))
    assert "No round trip was closed" in page
    assert len(plots(page)) == 2


def test_one_bar_is_enough() -> None:
    page = render_report(run_record(asset_record(1)))
    assert len(plots(page)) == 2
    assert "NaN" not in own(page)


def test_bars_without_a_regime_are_left_open() -> None:
    item = asset_record(6, probabilities=np.full((6, 3), np.nan), regimes=(None,) * 6)
    page = own(render_report(run_record(item)))
    assert "NaN" not in page
    areas = [trace for trace in asset_figure(item, run_record(item))["data"] if trace.get("stackgroup") == "probability"]
    assert [trace["y"] for trace in areas] == [[None] * 6] * 3


def test_five_assets_of_a_quarter_stay_small_beside_plotly() -> None:
    item = asset_record(2160)
    names = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")
    page = own(render_report(run_record(*(replace(item, asset=Asset("binanceusdm", name)) for name in names))))
    assert len(page) < 2_500_000


def test_the_drawdown_panel_reaches_to_the_next_breaker() -> None:
    shapes = account_figure(run_record())["layout"]["shapes"]
    assert [shape["label"]["text"] for shape in shapes] == ["start 10,000", "pause at 5%"]


def test_every_named_colour_is_in_the_palette(traded: RunRecord) -> None:
    page = own(render_report(replace(traded, generated=True)))
    palette = set(re.findall(r"--([\w-]+):", page))
    used: set[str] = set()

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, name)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, key)
        elif isinstance(value, str) and key.endswith("color"):
            used.add(value)

    for figure in plots(page):
        walk(figure, "")
    assert used
    assert used <= palette


def test_held_fraction_follows_the_fills() -> None:
    item = asset_record(4, fills=(fill("0.05", 2), fill("0.05", 4, Side.SELL)))
    times = item.candles.close_time
    held = held_fraction(item, times, np.full(4, 10_000.0))
    assert held == pytest.approx([0, 0.05 * item.candles.close[1] / 10_000, 0.05 * item.candles.close[2] / 10_000, 0])


def test_buying_and_holding_starts_with_the_capital_and_follows_the_price() -> None:
    record = run_record()
    close = record.assets[0].candles.close
    assert buy_and_hold(record) == pytest.approx(record.summary.start_equity * close / close[0])


def test_regimes_are_aligned_by_bar_close() -> None:
    bars = candles(3)
    state = RegimeState(
        BTC, int(bars.close_time[1]), RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m", (0.1, 0.2, 0.7), 2, 1
    )
    probabilities, held = aligned_regimes(bars, [state])
    assert held == (None, Regime.STRESS, None)
    assert probabilities[1] == pytest.approx([0.1, 0.2, 0.7])
    assert np.isnan(probabilities[[0, 2]]).all()


def test_misaligned_regimes_are_refused() -> None:
    with pytest.raises(MalformedData, match="4 candles"):
        AssetRecord(BTC, candles(4), np.ones((3, 3)), (None,) * 4)


def test_thinning_keeps_the_ends_and_the_extremes() -> None:
    values = np.sin(np.arange(5_000) / 50)
    values[1234], values[4321] = 9.0, -9.0
    rows = thinned_rows(values, 200)
    assert len(rows) <= 200
    assert {0, 1234, 4321, 4_999} <= set(rows.tolist())


def test_merged_candles_keep_the_highest_and_the_lowest_price() -> None:
    bars = candles(1_000)
    opened_ms, opened, high, low, close = merged_candles(bars, 100)
    assert len(opened_ms) == 100
    assert (opened[0], close[-1]) == (bars.open[0], bars.close[-1])
    assert (high.max(), low.min()) == (bars.high.max(), bars.low.min())


def test_numbers_are_short_and_never_nan() -> None:
    assert numbers([1.23456789, 100.0, float("nan"), float("inf")], 4) == [1.235, 100, None, None]


def test_the_sharpe_ratio_has_its_standard_error() -> None:
    # Lo (2002), eq. 9: monthly Sharpe 0.5 over 60 months has the error √((1 + 0.125) / 60) = 0.137 per month.
    assert sharpe_error(0.5 * 12**0.5, 61, 12) == pytest.approx(0.1369306 * 12**0.5, rel=1e-6)
    assert sharpe_error(None, 61, 12) is None
