"""Stress: windows of the past on the positions of this moment, with own candles or by beta, and shocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.domain.candles import Candles
from shared.domain.errors import ConfigError
from shared.domain.interval import DAY_MS, HOUR_MS, Interval
from shared.risk.assessment import BookNow, assess
from shared.risk.params import RiskParams
from shared.risk.report_params import RiskReportParams
from shared.risk.stress import WINDOWS, StressWindow, covariation, daily_moves, replay, shocks

PARAMS = RiskReportParams()
WINDOW = StressWindow("test", "a day", 10 * DAY_MS, 11 * DAY_MS, -0.4, -0.2)
DATA = Path(__file__).parents[4] / "shared" / "data" / "ohlcv" / "binance_usdm"


def hourly(closes: np.ndarray, first_close_ms: int) -> Candles:
    opened = first_close_ms - HOUR_MS + HOUR_MS * np.arange(len(closes), dtype=np.int64)
    values = np.asarray(closes, dtype=float)
    return Candles(Interval.H1, opened, values, values, values, values, np.ones(len(values)))


def through_the_window(moves: list[float]) -> Candles:
    """Price 100 until the window begins, then 100·(1 + move) for equal parts of its 24 hours."""
    inside = np.repeat(100 * (1 + np.array(moves)), 24 // len(moves))
    return hourly(np.concatenate([np.full(5, 100.0), inside]), WINDOW.start_ms - 4 * HOUR_MS)


def test_a_window_is_replayed_with_the_assets_own_candles() -> None:
    candles = {"AAAUSDT": through_the_window([-0.1, -0.5, -0.3])}
    found = replay(WINDOW, {"AAAUSDT": 0.5}, candles, {})
    assert (found.worst, found.end, found.proxied) == (pytest.approx(-0.25), pytest.approx(-0.15), ())
    short = replay(WINDOW, {"AAAUSDT": -0.5}, candles, {})
    assert (short.worst, short.end) == (0.0, pytest.approx(0.15))


def test_an_asset_that_was_not_traded_yet_moves_with_beta_times_the_reference() -> None:
    candles = {"BTCUSDT": through_the_window([-0.2, -0.4, -0.1])}
    found = replay(WINDOW, {"NEWUSDT": 1.0}, candles, {"NEWUSDT": 1.5})
    assert (found.worst, found.end, found.proxied) == (pytest.approx(-0.6), pytest.approx(-0.15), ("NEWUSDT",))


def test_a_price_cannot_fall_below_zero_by_beta() -> None:
    candles = {"BTCUSDT": through_the_window([-0.4])}
    assert replay(WINDOW, {"NEWUSDT": 1.0}, candles, {"NEWUSDT": 5.0}).worst == -1.0


def test_without_any_candle_the_recorded_move_of_bitcoin_stands_in() -> None:
    found = replay(WINDOW, {"NEWUSDT": 1.0, "BTCUSDT": 0.5}, {}, {})
    assert (found.worst, found.end) == (pytest.approx(-0.6), pytest.approx(-0.3))
    assert found.proxied == ("NEWUSDT", "BTCUSDT")


def test_candles_that_do_not_reach_over_the_window_are_not_used() -> None:
    late = hourly(np.full(30, 100.0), WINDOW.start_ms + 5 * HOUR_MS)
    assert replay(WINDOW, {"BTCUSDT": 1.0}, {"BTCUSDT": late}, {}).proxied == ("BTCUSDT",)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared market data are not beside the repository")
@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_what_is_written_of_bitcoin_is_what_its_candles_say(window: StressWindow) -> None:
    from shared.adapters.local.market_files import FileMarket

    bars = FileMarket(DATA).history("BTCUSDT", Interval.H1)
    found = replay(window, {"BTCUSDT": 1.0}, {"BTCUSDT": bars}, {})
    assert found.worst == pytest.approx(window.reference_worst, abs=5e-4)
    assert found.end == pytest.approx(window.reference_end, abs=5e-4)


def test_shocks_are_linear_and_directions_matter() -> None:
    together = covariation({}, ("A", "B"), PARAMS)
    found = {one.name: one.end for one in shocks({"A": 0.5, "B": -0.2}, together, PARAMS)}
    assert found["all prices -20%"] == pytest.approx(-0.06)
    assert found["all prices +20%"] == pytest.approx(0.06)
    assert found["funding spike"] == pytest.approx(-0.7 * 0.003 * 9)
    assert not any("volatility" in name or "correlation" in name for name in found)  # unknown without candles, and not 0


def test_volatility_and_correlation_shocks() -> None:
    rng = np.random.default_rng(1)
    days = (np.arange(500) * DAY_MS).tolist()
    a, b = rng.normal(0, 0.02, 500), rng.normal(0, 0.04, 500)
    daily = {"A": dict(zip(days, a, strict=True)), "B": dict(zip(days, b, strict=True))}
    together = covariation(daily, ("A", "B"), PARAMS)
    found = {one.name: one.end for one in shocks({"A": 1.0, "B": -0.5}, together, PARAMS)}
    newest = np.stack([a[-180:], b[-180:]])
    held = np.array([1.0, -0.5])
    usual = -2.3263478740 * np.sqrt(held @ np.cov(newest, ddof=0) @ held)
    assert found["usual volatility"] == pytest.approx(usual, rel=1e-6)
    assert found["volatility x 2"] == pytest.approx(2 * usual, rel=1e-6)
    joint = -2.3263478740 * (newest[0].std() + 0.5 * newest[1].std())
    assert found["correlation 1"] == pytest.approx(joint, rel=1e-6)
    assert found["correlation 1"] <= found["usual volatility"]


def test_beta_is_the_slope_on_the_reference() -> None:
    days = (np.arange(60) * DAY_MS).tolist()
    market = np.random.default_rng(2).normal(0, 0.02, 60)
    daily = {"BTCUSDT": dict(zip(days, market, strict=True)), "A": dict(zip(days, 1.7 * market, strict=True))}
    assert covariation(daily, ("A", "BTCUSDT"), PARAMS).beta == pytest.approx([1.7, 1.0])
    assert covariation({"A": daily["A"]}, ("A",), PARAMS).beta == pytest.approx([1.0])


def test_daily_moves_go_from_the_close_of_a_day_to_that_of_the_next() -> None:
    candles = hourly(np.concatenate([np.full(24, 100.0), np.full(24, 110.0), np.full(24, 99.0)]), HOUR_MS)
    assert daily_moves(candles) == pytest.approx({DAY_MS: 0.1, 2 * DAY_MS: -0.1})
    assert daily_moves(hourly(np.array([]), 0)) == {}


def book(days: int, **changes: object) -> BookNow:
    returns = np.random.default_rng(3).normal(0.0005, 0.01, days)
    values = {"name": "b", "generated": False, "time_ms": 0, "equity": 1000.0, "positions": {"BTCUSDT": 0.5}}
    return BookNow(**(values | {"daily_returns": returns, "unit_returns": np.zeros(0)} | changes))  # type: ignore[arg-type]


def test_an_assessment_says_what_too_little_history_cannot_say() -> None:
    found = assess(book(10), {}, RiskParams(), PARAMS, np.random.default_rng(1))
    assert found.value_at_risk == ()
    assert found.monte_carlo is None
    assert sum("too few" in note for note in found.notes) == 4
    assert found.windows[0].end == pytest.approx(0.5 * WINDOWS[0].reference_end)


def test_an_assessment_of_a_flat_book_has_no_stress_but_the_rest() -> None:
    small = RiskReportParams(paths=200, horizon_days=20)
    found = assess(book(200, positions={}), {}, RiskParams(), small, np.random.default_rng(1))
    assert (found.windows, found.shocks) == ((), ())
    assert [one.level for one in found.value_at_risk] == [0.95, 0.99]
    assert len(found.as_dict()["monte_carlo"]["fan"]["50 %"]) == 21
    assert any("no position" in note for note in found.notes)


@pytest.mark.parametrize(
    "bad",
    [{"paths": 1}, {"horizon_days": 0}, {"shocks": (0.0,)}, {"drawdowns": (1.5,)}, {"funding_spike": -1.0}, {"beta_days": 5}],
)
def test_settings_of_the_report_are_checked(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"risk_report.{next(iter(bad))}"):
        RiskReportParams(**bad)  # type: ignore[arg-type]
