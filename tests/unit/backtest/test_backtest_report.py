"""The report of a backtest: the same page as for a run, with months, risk and costs, small enough to be sent around."""

from __future__ import annotations

import json
import re

import engine_inputs as inputs
import numpy as np
import pytest

from shared.backtest.metrics import daily_returns, summarise
from shared.backtest.report import RunRecord, render_report
from shared.backtest.report.breakdown_tables import cost_table, month_table
from shared.backtest.report.from_backtest import backtest_record
from shared.backtest.report.return_figures import Daily, daily, distribution_figure, fan_figure, rolling_sharpe_figure
from shared.backtest.report.risk_page import render_risk
from shared.domain.errors import MalformedData
from shared.domain.interval import DAY_MS, HOUR_MS, parse_date_ms
from shared.risk.assessment import BookNow, assess
from shared.risk.monte_carlo import simulate
from shared.risk.params import RiskParams
from shared.risk.report_params import RiskReportParams

BARS = 24 * 80


def record(seed: int = 4, chance: bool = True, **changes: object) -> RunRecord:
    """A random backtest of one asset with stops over 80 days."""
    rng = np.random.default_rng(seed)
    candles = inputs.random_candles(rng, BARS, 0.006, 60_000.0, 0.0)
    market = inputs.market(candles)
    wanted = dict.fromkeys(range(0, BARS, 50), 0.8) | dict.fromkeys(range(25, BARS, 50), -0.5)
    result = inputs.run(market, inputs.target(candles, wanted, stop=0.02))
    days = daily_returns(result)[1]
    futures = simulate(days, np.random.default_rng(1), paths=100, horizon_days=20, mean_block_days=5) if chance else None
    settings = {"source": "test <files>", "generated": False, "settings": {"a": "b"}, "monte_carlo": futures} | changes
    return backtest_record(result, [market], summarise(result), RiskParams(), **settings)  # type: ignore[arg-type]


def figures(page: str) -> list[dict[str, object]]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]


def test_the_page_has_months_distribution_rolling_sharpe_costs_and_the_fan() -> None:
    made = record()
    page = render_report(made)
    assert "<title>Backtest " in page
    for text in ("Return by month", "Rolling Sharpe", "Daily returns", "From gross to net", "The next days, simulated"):
        assert text in page
    assert len(figures(page)) == 1 + 3 + 1 + 1  # account; rolling, distribution, fan; the asset; the round trips
    assert "test &lt;files&gt;" in page
    assert "ost decisions" not in page
    assert made.costs[0].round_trips == len(made.assets[0].trades) > 20


def test_a_generated_market_is_named_on_every_plot() -> None:
    page = render_report(record(generated=True))
    assert all("generated market" in json.dumps(figure) for figure in figures(page))
    assert "This is a generated market" in page


def test_a_short_backtest_shows_no_statistics_of_days() -> None:
    candles = inputs.flat_bars(*np.linspace(100, 110, 40))
    market = inputs.market(candles)
    result = inputs.run(market, inputs.target(candles, {0: 1.0}))
    plain = {"source": "s", "generated": False, "settings": {}}
    page = render_report(backtest_record(result, [market], summarise(result), RiskParams(), **plain))
    assert "Return by month" not in page
    assert "From gross to net" in page


def test_stopped_round_trips_are_marked() -> None:
    made = record()
    (asset,) = made.assets
    assert asset.forced
    assert set(asset.forced.values()) <= {"stopped out of", "liquidated"}
    assert set(asset.forced) < {trade.id for trade in asset.trades}
    assert "stopped out of" in render_report(made)
    stopped = {trade.closed_ms for trade in asset.trades if asset.forced.get(trade.id) == "stopped out of"}
    assert {order.updated_ms for order in asset.orders} == stopped  # each is drawn from the fill that set it to its own
    for order in asset.orders:
        (trade,) = (trade for trade in asset.trades if trade.closed_ms == order.updated_ms)
        assert order.intent.created_ms == trade.opened_ms
        assert abs(float(order.intent.stop_price or 0) / float(trade.entry_price) - 1) < 0.05


def test_markets_of_other_assets_are_refused() -> None:
    candles = inputs.flat_bars(*np.linspace(100, 110, 40))
    result = inputs.run(inputs.market(candles), inputs.target(candles, {0: 1.0}))
    with pytest.raises(MalformedData, match="other assets"):
        backtest_record(
            result,
            [inputs.market(candles, "ETHUSDT")],
            summarise(result),
            RiskParams(),
            source="",
            generated=False,
            settings={},
        )


def test_the_months_of_a_year_compound_to_the_year() -> None:
    days = Daily(parse_date_ms("2025-01-15") + DAY_MS * np.arange(40), np.full(40, 0.01))
    table = month_table(days)
    assert f"{1.01**17 - 1:+.1%}" in table
    assert f"{1.01**40 - 1:+.1%}" in table
    assert table.count("–") == 10  # January and February are known


def test_every_day_that_moved_is_in_the_distribution() -> None:
    days = daily(record())
    figure = distribution_figure(days)
    assert sum(figure["data"][0]["y"]) == int((days.returns != 0).sum())
    assert [shape["label"]["text"] for shape in figure["layout"]["shapes"]] == ["VaR 95%", "CVaR 95%"]  # 80 days: no 99 %
    still = distribution_figure(Daily(days.days_ms, np.zeros(len(days.days_ms))))
    assert sum(still["data"][0]["y"]) == 0


def test_the_rolling_sharpe_is_shown_at_day_ends_with_its_error() -> None:
    days = daily(record())
    low, high, ratio = rolling_sharpe_figure(days)["data"]
    assert len(ratio["y"]) == len(days.returns)
    known = [(a, b, c) for a, b, c in zip(low["y"], ratio["y"], high["y"], strict=True) if b is not None]
    assert all(a < b < c for a, b, c in known)


def test_the_fan_goes_on_from_the_last_value() -> None:
    made = record()
    assert made.monte_carlo is not None
    figure = fan_figure(made.monte_carlo, 5000.0, made.end_ms)
    assert all(trace["y"][0] == 5000 for trace in figure["data"])
    assert figure["columns"]["time"][1] == made.end_ms + DAY_MS


def test_costs_are_a_sum_over_assets() -> None:
    rng = np.random.default_rng(8)
    markets = [inputs.market(inputs.random_candles(rng, 500, 0.005, 100.0, 0.0), name) for name in ("AAAUSDT", "BBBUSDT")]
    result = inputs.run(markets, [inputs.target(one.candles, {0: 0.5, 300: -0.5}) for one in markets])
    made = backtest_record(result, markets, summarise(result), RiskParams(), source="", generated=False, settings={})
    assert ">all<" in cost_table(made)
    assert sum(row.fees for row in made.costs) == pytest.approx(made.summary.fees)
    assert sum(row.slippage for row in made.costs) == pytest.approx(made.summary.slippage)


def test_five_years_of_hours_stay_below_ten_megabytes() -> None:
    rng = np.random.default_rng(9)
    bars = 24 * 365 * 5
    market = inputs.market(inputs.random_candles(rng, bars, 0.004, 60_000.0, 0.0))
    wanted = dict.fromkeys(range(0, bars, 40), 0.8) | dict.fromkeys(range(20, bars, 40), -0.5)
    result = inputs.run(market, inputs.target(market.candles, wanted, stop=0.05))
    page = render_report(
        backtest_record(result, [market], summarise(result), RiskParams(), source="", generated=False, settings={})
    )
    assert len(page) < 8_000_000
    assert "each candle is" in page
    assert "the extremes of each stretch" in page


def test_the_risk_page_shows_everything_and_no_html_of_others() -> None:
    rng = np.random.default_rng(2)
    book = BookNow("<b>", True, 30 * HOUR_MS, 1000.0, {"BTCUSDT": 0.5}, rng.normal(0, 0.01, 150), rng.normal(0, 0.01, 20))
    found = assess(book, {}, RiskParams(), RiskReportParams(paths=100, horizon_days=10), rng)
    page = render_risk(found)
    assert "&lt;b&gt;" in page
    assert "This is a generated market" in page
    for text in ("Value at risk", "The next days, simulated", "2020-03-12", "funding spike", "quarter Kelly"):
        assert text in page
