"""From candles to the curated frame: indicators and statistics of each bar, using bars up to its own only.

    open high low close volume            the candle
    log_return                            ln(close / previous close)
    rsi                                   Wilder, 0..100; 50 on a flat series
    macd macd_signal macd_histogram       in price units
    atr                                   Wilder's average true range, in price units
    adx plus_di minus_di                  Wilder's directional movement, 0..100; 0 on a frozen series
    bollinger_upper/_middle/_lower        mean ± width standard deviations of the close
    sma_fast sma_slow ema_fast ema_slow   averages of the close
    realised_volatility                   standard deviation of the log returns, per bar
    range_volatility                      the same from each bar's range (Garman-Klass), per bar
    skewness                              of the log returns
    volume_z                              z-score of log(1 + volume)
    funding_rate open_interest            last value stamped at or before the bar's close

Recursive indicators are TA-Lib's; windowed ones are in `rolling.py`, which says why. Invariants: cutting off the future changes
no earlier value (exact), and `CurationParams.lookback_bars` bars give the row of the full history to 1e-9.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import talib

from shared.data.params import CurationParams
from shared.data.rolling import bars_since, window_mean, window_mean_std, window_skewness, window_zscore
from shared.domain.candles import COLUMNS as CANDLE_COLUMNS
from shared.domain.candles import BoolArray, Candles, FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.frame import Frame
from shared.speed import together

CURATED_COLUMNS = (
    *("open", "high", "low", "close", "volume", "log_return"),
    *("rsi", "macd", "macd_signal", "macd_histogram", "atr", "adx", "plus_di", "minus_di"),
    *("bollinger_upper", "bollinger_middle", "bollinger_lower", "sma_fast", "sma_slow", "ema_fast", "ema_slow"),
    *("realised_volatility", "range_volatility", "skewness", "volume_z", "funding_rate", "open_interest"),
)
"""The columns of a curated frame, in order."""

DEFAULT_PARAMS = CurationParams()

_NO_DIRECTION = 1e-6
"""directional index (0..100) below which there is none"""

Series = tuple[IntArray, FloatArray]
"""Stamped values: int64 ms UTC, strictly increasing, and float64, both (m,)."""


def curate(
    candles: Candles,
    params: CurationParams = DEFAULT_PARAMS,
    funding: Series | None = None,
    open_interest: Series | None = None,
    newest: int | None = None,
) -> Frame:
    """The curated frame of `candles`: the columns of `CURATED_COLUMNS`, NaN in their warm-up and where there is no source.

    With `newest` only that many last rows, without the windows that end before them: the same bits. Any number of bars is
    allowed. Raises `MalformedData` where funding or open interest are not in increasing order of time.
    """
    close, first = candles.close, 0 if newest is None else max(0, len(candles) - newest)
    log_return = np.full(len(candles), np.nan)
    log_return[1:] = np.log(close[1:] / close[:-1])

    def tail(values: FloatArray, bars: int) -> tuple[FloatArray, int]:
        """What the windows of the kept rows need, cut where a block of `rolling.py` begins: the blocks stay the same."""
        return values[max(0, first - bars + 1) // bars * bars :], bars

    columns = {name: getattr(candles, name) for name in CANDLE_COLUMNS[1:]} | {"log_return": log_return}
    parts: list[Callable[[], dict[str, FloatArray]]] = [
        lambda: _directional_movement(candles, params),
        lambda: {"skewness": window_skewness(*tail(log_return, params.skewness_bars))},
        lambda: {"volume_z": window_zscore(*tail(np.log1p(candles.volume), params.volume_bars))},
        lambda: {"range_volatility": np.sqrt(window_mean(*tail(_garman_klass(candles), params.volatility_bars)))},
        lambda: {"realised_volatility": window_mean_std(*tail(log_return, params.volatility_bars))[1]},
        lambda: _bollinger(*tail(close, params.bollinger_bars), params),
        lambda: {"rsi": _rsi(close, params)},
        lambda: _macd(close, params),
        lambda: {"atr": talib.ATR(candles.high, candles.low, close, params.atr_bars)},
        lambda: {"sma_fast": window_mean(*tail(close, params.sma_fast_bars))},
        lambda: {"sma_slow": window_mean(*tail(close, params.sma_slow_bars))},
        lambda: {"ema_fast": talib.EMA(close, params.ema_fast_bars)},
        lambda: {"ema_slow": talib.EMA(close, params.ema_slow_bars)},
        lambda: {"funding_rate": _as_of(candles.close_time, funding, "funding rates")},
        lambda: {"open_interest": _as_of(candles.close_time, open_interest, "open interest")},
    ]
    for part in together(parts, len(candles)):
        columns |= part
    kept = {name: columns[name][len(columns[name]) - len(candles) + first :] for name in CURATED_COLUMNS}
    return Frame(candles.interval, candles.open_time[first:], kept)


def _unchanged(close: FloatArray) -> BoolArray:
    """Rows whose close is that of the row before; the first one counts as such."""
    unchanged = np.ones(len(close), dtype=np.bool_)
    unchanged[1:] = close[1:] == close[:-1]
    return unchanged


def _frozen(unchanged: BoolArray, frozen_bars: int) -> BoolArray:
    """Rows that end a run of at least `frozen_bars` unchanged bars, or whose whole history is unchanged."""
    rows = np.arange(len(unchanged), dtype=np.int64)
    return bars_since(~unchanged) >= np.minimum(frozen_bars, rows)


def _rsi(close: FloatArray, params: CurationParams) -> FloatArray:
    """TA-Lib's RSI; 50 on a frozen close.

    TA-Lib says 0 where gains and losses are both 0, and on a frozen close it repeats the last value until the averages
    underflow some 500 bars later: neither is an opinion about a market that does not move.
    """
    rsi: FloatArray = talib.RSI(close, params.rsi_bars)
    rsi[_frozen(_unchanged(close), params.frozen_bars) & np.isfinite(rsi)] = 50.0
    return rsi


def _macd(close: FloatArray, params: CurationParams) -> dict[str, FloatArray]:
    line, signal, histogram = talib.MACD(close, params.macd_fast_bars, params.macd_slow_bars, params.macd_signal_bars)
    return {"macd": line, "macd_signal": signal, "macd_histogram": histogram}


def _directional_movement(candles: Candles, params: CurationParams) -> dict[str, FloatArray]:
    """TA-Lib's +DI and -DI, and ADX as Wilder's average of DX with TA-Lib's seed; all 0 while the market is frozen.

    TA-Lib's own ADX skips its update where nothing moves, so its last value survives a freeze of any length and returns when
    trading does: a row would depend on an unbounded past. Here a bar without direction has DX 0 and ADX decays.
    """
    prices = (candles.high, candles.low, candles.close)
    plus: FloatArray = talib.PLUS_DI(*prices, params.adx_bars)
    minus: FloatArray = talib.MINUS_DI(*prices, params.adx_bars)
    unchanged = _unchanged(candles.close)
    unchanged[1:] &= (candles.high == candles.low)[1:]
    frozen = _frozen(unchanged, params.frozen_bars)
    for index in (plus, minus):
        # What is left of movement from before a freeze has a ratio, but no meaning.
        index[(frozen | (index < _NO_DIRECTION)) & np.isfinite(index)] = 0.0
    total = plus + minus
    moves = ~(total <= 0)
    dx = np.divide(np.abs(plus - minus), total, out=np.zeros(len(total)), where=moves)
    adx = _wilder(100.0 * dx, first=params.adx_bars, bars=params.adx_bars)
    adx[frozen & np.isfinite(adx)] = 0.0
    return {"adx": adx, "plus_di": plus, "minus_di": minus}


def _wilder(values: FloatArray, first: int, bars: int) -> FloatArray:
    """`y += (x - y) / bars` from row `first + bars - 1` on, seeded with the mean of the first `bars` known values.

    It is an exponential average of 2·bars - 1; TA-Lib seeds that one with as many values, so the seed is repeated in front.
    """
    smoothed = np.full(len(values), np.nan)
    start = first + bars
    if len(values) >= start:
        seed = np.full(2 * bars - 1, values[first:start].mean())
        smoothed[start - 1 :] = talib.EMA(np.concatenate([seed, values[start:]]), 2 * bars - 1)[2 * bars - 2 :]
    return smoothed


def _bollinger(close: FloatArray, bars: int, params: CurationParams) -> dict[str, FloatArray]:
    middle, std = window_mean_std(close, bars)
    half = params.bollinger_width * std
    return {"bollinger_upper": middle + half, "bollinger_middle": middle, "bollinger_lower": middle - half}


def _garman_klass(candles: Candles) -> FloatArray:
    """Variance of each bar from its four prices (Garman and Klass 1980, eq. 20); not negative, 0 on a flat bar.

    ½ ln(high/low)² − (2 ln 2 − 1) ln(close/open)²: seven times as efficient as the squared return.
    """
    spread, body = np.log(candles.high / candles.low), np.log(candles.close / candles.open)
    variance: FloatArray = 0.5 * spread**2 - (2 * math.log(2) - 1) * body**2
    return variance


def _as_of(instants_ms: IntArray, series: Series | None, what: str) -> FloatArray:
    """The newest value stamped at or before each instant; NaN before the first one and without a source."""
    values = np.full(len(instants_ms), np.nan)
    if series is None or len(series[0]) == 0:
        return values
    times_ms, stamped = series
    if len(times_ms) != len(stamped) or (times_ms[1:] <= times_ms[:-1]).any():
        raise MalformedData(
            f"{what} must be one value for each instant, in increasing order of time; sort and deduplicate them"
        )
    # The stamps are fewer than the instants: each is looked up once, and is in force from there to the next one.
    first = np.append(np.searchsorted(instants_ms, times_ms), len(instants_ms))
    values[first[0] :] = np.repeat(stamped, np.diff(first))
    return values
