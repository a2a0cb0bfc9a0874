"""Settings of curation: the windows of the indicators and how much history a row needs.

`CurationParams.lookback_bars` is the promise behind the live loop: a row that is computed from a trailing window of that many
bars equals the row of the full history to 1e-9. Windows are exact; recursive averages forget their start geometrically.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from shared.domain.errors import ConfigError

FORGOTTEN = 1e-12
"""A recursive average has forgotten its start when the start's weight is below this (1e-9 with three digits to spare)."""


def bars_to_forget(smoothing: float) -> int:
    """Bars after which the start of `y += smoothing * (x - y)` weighs less than `FORGOTTEN`."""
    return math.ceil(math.log(FORGOTTEN) / math.log1p(-smoothing))


@dataclass(frozen=True, slots=True)
class CurationParams:
    """Windows of the curated columns, in bars. All are at least 2."""

    rsi_bars: int = 14
    """Wilder's relative strength index"""
    macd_fast_bars: int = 12
    """fast exponential average of the MACD"""
    macd_slow_bars: int = 26
    """slow exponential average of the MACD; longer than the fast one"""
    macd_signal_bars: int = 9
    """exponential average of the MACD line"""
    atr_bars: int = 14
    """Wilder's average true range"""
    adx_bars: int = 14
    """Wilder's directional movement: +DI, -DI and ADX"""
    bollinger_bars: int = 20
    """middle line and standard deviation of the Bollinger bands"""
    bollinger_width: float = 2.0
    """half width of the bands in standard deviations"""
    sma_fast_bars: int = 20
    """fast simple average of the close"""
    sma_slow_bars: int = 50
    """slow simple average of the close"""
    ema_fast_bars: int = 21
    """fast exponential average of the close"""
    ema_slow_bars: int = 55
    """slow exponential average of the close; sets the longest memory"""
    volatility_bars: int = 24
    """log returns in the realised volatility"""
    skewness_bars: int = 72
    """log returns in the skewness"""
    volume_bars: int = 96
    """bars in the z-score of log(1 + volume)"""
    frozen_bars: int = 48
    """unchanged bars after which a market counts as frozen: RSI 50, ADX and DI 0"""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_bars") and not 2 <= value <= 2000:
                raise ConfigError(f"curation.{field.name} is {value}; expected 2 to 2000 bars")
        if self.macd_fast_bars >= self.macd_slow_bars:
            raise ConfigError(
                f"curation.macd_fast_bars {self.macd_fast_bars} must be shorter than macd_slow_bars {self.macd_slow_bars}"
            )
        if not 0 < self.bollinger_width <= 10:
            raise ConfigError(f"curation.bollinger_width is {self.bollinger_width}; expected 0 to 10 standard deviations")

    @property
    def lookback_bars(self) -> int:
        """Bars of history with which a row equals the row of the full history to 1e-9."""
        windows = max(
            self.bollinger_bars,
            self.sma_fast_bars,
            self.sma_slow_bars,
            self.volatility_bars,
            self.skewness_bars,
            self.volume_bars,
        )
        exponential = max(bars_to_forget(2 / (bars + 1)) for bars in (self.ema_fast_bars, self.ema_slow_bars))
        macd = bars_to_forget(2 / (self.macd_slow_bars + 1)) + bars_to_forget(2 / (self.macd_signal_bars + 1))
        wilder = max(bars_to_forget(1 / bars) for bars in (self.rsi_bars, self.atr_bars))
        directional = 2 * bars_to_forget(1 / self.adx_bars)
        # One more bar because returns and ranges need the close before the window.
        return 1 + max(windows, exponential, macd, wilder + self.frozen_bars, directional + self.frozen_bars)
