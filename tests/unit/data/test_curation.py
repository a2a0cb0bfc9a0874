from collections.abc import Callable

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.curation import CURATED_COLUMNS, curate
from shared.data.params import CurationParams
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import ConfigError, MalformedData
from shared.domain.frame import Frame
from shared.domain.interval import HOUR_MS, Interval

PARAMS = CurationParams()
LOOKBACK = PARAMS.lookback_bars
IN_PRICES = ("macd", "macd_signal", "macd_histogram", "atr")
DIMENSIONLESS = ("rsi", "adx", "plus_di", "minus_di", "skewness", "volume_z")
REAL = ("binance_usdm/BTCUSDT/1h", "binance_usdm/FTTUSDT/1h", "binance_usdm/SOLUSDT/1h", "binance_spot/DOGEUSDT/1h")


def flat(bars: int, price: float = 1.59, volume: float = 0.0) -> Candles:
    prices = np.full(bars, price)
    return Candles(
        Interval.H1, HOUR_MS * np.arange(bars, dtype=np.int64), prices, prices, prices, prices, np.full(bars, volume)
    )


def from_closes(closes: FloatArray) -> Candles:
    times = HOUR_MS * np.arange(len(closes), dtype=np.int64)
    return Candles(Interval.H1, times, closes, closes, closes, closes, np.ones(len(closes)))


def assert_same_prefix(whole: Frame, prefix: Frame) -> None:
    for name in CURATED_COLUMNS:
        assert np.array_equal(whole[name][: len(prefix)], prefix[name], equal_nan=True), name


def assert_same_last_row(whole: Frame, row: int, window: Frame) -> None:
    """Equal to 1e-9 of the column's scale: the price for columns in prices that pass through 0, 1 for numbers without unit."""
    for name in CURATED_COLUMNS:
        expected, found = float(whole[name][row]), float(window[name][-1])
        floor = float(whole["close"][row]) if name in IN_PRICES else 1.0 if name in DIMENSIONLESS else 0.0
        if np.isnan(expected):
            assert np.isnan(found), name
        else:
            assert abs(found - expected) <= 1e-9 * max(abs(expected), floor), (name, row, expected, found)


def awkward(walk: Callable[..., Candles], seed: int, price: float, tick: float, frozen_bars: int, missing_bars: int) -> Candles:
    start = 300 + seed % 900
    return walk(
        seed,
        2200,
        price=price,
        tick=tick * price,
        frozen=slice(start, start + frozen_bars),
        missing=slice(start + 400, start + 400 + missing_bars),
    )


AWKWARD = given(
    seed=st.integers(0, 10**6),
    price=st.sampled_from([1e-4, 1.0, 1e5]),
    tick=st.sampled_from([0.0, 1e-3, 2e-2]),
    frozen_bars=st.sampled_from([0, 5, 47, 60, 300, 1200]),
    missing_bars=st.sampled_from([0, 1, 33]),
)


@settings(max_examples=25, deadline=None)
@AWKWARD
def test_cutting_off_the_future_changes_nothing(
    walk: Callable[..., Candles], seed: int, price: float, tick: float, frozen_bars: int, missing_bars: int
) -> None:
    candles = awkward(walk, seed, price, tick, frozen_bars, missing_bars)
    whole = curate(candles)
    for end in (1, 2, 30, 97, 500 + seed % 1000, len(candles) - 1):
        assert_same_prefix(whole, curate(candles[:end]))


@settings(max_examples=25, deadline=None)
@AWKWARD
def test_a_trailing_window_gives_the_row_of_the_full_history(
    walk: Callable[..., Candles], seed: int, price: float, tick: float, frozen_bars: int, missing_bars: int
) -> None:
    candles = awkward(walk, seed, price, tick, frozen_bars, missing_bars)
    whole = curate(candles)
    for row in np.random.default_rng(seed).integers(LOOKBACK, len(candles), 12).tolist():
        assert_same_last_row(whole, row, curate(candles[row + 1 - LOOKBACK : row + 1]))


@pytest.mark.parametrize("name", REAL)
def test_real_candles_are_invariant_to_prefix_and_window(
    real_candles: Callable[..., Candles], real_funding: Callable[[str], tuple[IntArray, FloatArray]], name: str
) -> None:
    # FTTUSDT froze at row 5,114; SOLUSDT has its holes near rows 12,700 and 13,500; BTCUSDT starts with empty bars.
    candles = real_candles(name, slice(0, 16_000))
    funding = real_funding("BTCUSDT")
    whole = curate(candles, funding=funding)
    rng = np.random.default_rng(11)
    for end in [40, 4000, *rng.integers(100, len(candles), 4).tolist()]:
        assert_same_prefix(whole, curate(candles[:end], funding=funding))
    rows = [*rng.integers(LOOKBACK, len(candles), 40).tolist(), *range(5000, 6500, 37), *range(12_600, 13_600, 53)]
    for row in rows:
        assert_same_last_row(whole, row, curate(candles[row + 1 - LOOKBACK : row + 1], funding=funding))


def test_no_value_is_missing_after_the_warm_up(real_candles: Callable[..., Candles]) -> None:
    for name in REAL:
        frame = curate(real_candles(name, slice(4000, 8000)))
        for column in CURATED_COLUMNS[:-2]:
            assert np.isfinite(frame[column][200:]).all(), (name, column)


@pytest.mark.parametrize("newest", [1, 338, 1099, 1100, 5000])
def test_the_newest_rows_alone_are_the_same_bits(walk: Callable[..., Candles], newest: int) -> None:
    candles = awkward(walk, 3, 100.0, 0.001, 60, 30)[:1100]
    whole, alone = curate(candles, PARAMS), curate(candles, PARAMS, newest=newest)
    assert np.array_equal(alone.open_time, whole.open_time[-newest:])
    for name in CURATED_COLUMNS:
        assert np.array_equal(whole[name][-newest:], alone[name], equal_nan=True), name


def test_a_flat_series_is_neutral() -> None:
    frame = curate(flat(300))
    assert (frame["rsi"][14:] == 50).all()
    for name in ("adx", "plus_di", "minus_di", "atr", "realised_volatility", "range_volatility", "skewness", "volume_z"):
        assert (frame[name][120:] == 0).all(), name
    assert frame["macd"][120:] == pytest.approx(0.0, abs=1e-14)
    for name in ("bollinger_upper", "bollinger_lower", "sma_fast", "sma_slow"):
        assert (frame[name][120:] == 1.59).all(), name


def test_a_freeze_ends_a_trend_and_leaves_no_trace_of_it(walk: Callable[..., Candles]) -> None:
    frame = curate(walk(5, 900, drift=0.01, volatility=0.003, frozen=slice(400, 700)))
    for name in ("adx", "plus_di", "minus_di"):
        assert (frame[name][449:700] == 0).all(), name
    assert frame["adx"][399] > 50
    assert 0 < frame["adx"][700] < 10
    assert frame["adx"][760] > 30


def test_rsi_equals_the_published_worked_example() -> None:
    # StockCharts ChartSchool, "Relative Strength Index", the QQQQ table behind its spreadsheet.
    closes = [44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826]
    closes += [45.8931, 46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439]
    rsi = curate(from_closes(np.array(closes)))["rsi"]
    assert rsi[14:] == pytest.approx([70.53, 66.32, 66.55, 69.41, 66.36, 57.97], abs=0.01)


def test_indicators_are_talibs_where_the_market_moves(walk: Callable[..., Candles]) -> None:
    candles = walk(1, 600)
    frame = curate(candles)
    prices = (candles.high, candles.low, candles.close)
    upper, middle, lower = talib.BBANDS(candles.close, 20, 2.0, 2.0)
    expected = {
        "rsi": talib.RSI(candles.close, 14),
        "adx": talib.ADX(*prices, 14),
        "plus_di": talib.PLUS_DI(*prices, 14),
        "minus_di": talib.MINUS_DI(*prices, 14),
        "atr": talib.ATR(*prices, 14),
        "macd": talib.MACD(candles.close, 12, 26, 9)[0],
        "macd_signal": talib.MACD(candles.close, 12, 26, 9)[1],
        "bollinger_upper": upper,
        "bollinger_middle": middle,
        "bollinger_lower": lower,
        "sma_slow": talib.SMA(candles.close, 50),
        "ema_slow": talib.EMA(candles.close, 55),
    }
    for name, values in expected.items():
        assert frame[name] == pytest.approx(values, rel=1e-10, nan_ok=True), name


def test_statistics_of_returns_and_volume_are_those_of_their_windows(walk: Callable[..., Candles]) -> None:
    candles = walk(2, 400)
    frame = curate(candles)
    returns = np.log(candles.close[1:] / candles.close[:-1])
    assert frame["realised_volatility"][-1] == pytest.approx(returns[-24:].std(), rel=1e-12)
    spread = np.log(candles.high / candles.low)[-24:]
    body = np.log(candles.close / candles.open)[-24:]
    variance = (0.5 * spread**2 - (2 * np.log(2) - 1) * body**2).mean()
    assert frame["range_volatility"][-1] == pytest.approx(np.sqrt(variance), rel=1e-12)
    centred = returns[-72:] - returns[-72:].mean()
    assert frame["skewness"][-1] == pytest.approx((centred**3).mean() / (centred**2).mean() ** 1.5, rel=1e-10)
    logs = np.log1p(candles.volume[-96:])
    assert frame["volume_z"][-1] == pytest.approx((logs[-1] - logs.mean()) / logs.std(), rel=1e-12)


def test_funding_is_the_last_rate_stamped_at_or_before_the_close(walk: Callable[..., Candles]) -> None:
    candles = walk(0, 24)
    start = int(candles.open_time[0])
    funding = (np.array([start + 8 * HOUR_MS, start + 16 * HOUR_MS + 3]), np.array([0.0001, -0.0002]))
    rates = curate(candles, funding=funding)["funding_rate"]
    assert np.isnan(rates[:7]).all()
    assert (rates[7:16] == 0.0001).all()
    assert (rates[16:] == -0.0002).all()
    assert np.isnan(curate(candles)["open_interest"]).all()
    assert (curate(candles, open_interest=funding)["open_interest"][7:16] == 0.0001).all()


def test_unordered_funding_is_refused(walk: Callable[..., Candles]) -> None:
    with pytest.raises(MalformedData, match="funding rates must be one value for each instant"):
        curate(walk(0, 24), funding=(np.array([5, 4]), np.array([0.1, 0.2])))


@pytest.mark.parametrize("bars", [0, 1, 2, 15, 30])
def test_few_bars_give_a_frame_of_missing_values(bars: int) -> None:
    frame = curate(flat(bars))
    assert tuple(frame.columns) == CURATED_COLUMNS
    assert len(frame) == bars
    assert np.isnan(frame["sma_slow"]).all()


def test_a_candle_window_that_is_a_strided_view_is_read_correctly(walk: Callable[..., Candles]) -> None:
    candles = walk(4, 500)
    table = np.column_stack([candles.open, candles.high, candles.low, candles.close, candles.volume])
    strided = Candles(Interval.H1, candles.open_time, *(table[:, column] for column in range(5)))
    assert_same_prefix(curate(candles), curate(strided))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"rsi_bars": 1}, "curation.rsi_bars is 1; expected 2 to 2000 bars"),
        ({"macd_fast_bars": 30}, "must be shorter than macd_slow_bars 26"),
        ({"bollinger_width": 0.0}, "curation.bollinger_width is 0.0"),
    ],
)
def test_impossible_windows_are_refused(settings_: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CurationParams(**settings_)  # type: ignore[arg-type]


def test_the_default_look_back_fits_a_live_window() -> None:
    assert LOOKBACK <= 1000
    assert CurationParams(ema_slow_bars=100).lookback_bars > LOOKBACK
