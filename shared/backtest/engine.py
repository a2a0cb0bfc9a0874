"""The backtest: markets and signals in, one account's history out.

Decide at the close of a bar, fill at the open of the next one, on one account over all assets. The rules, in their order, are
in `kernel.py`; what comes out is what a session on the paper exchange would have done (tests/e2e/test_backtest_parity.py).
Invariants: the ledger identity holds on every bar; cutting off the end of the candles changes nothing before the last instant,
at which no open follows and the close is the price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.backtest.kernel import simulate
from shared.backtest.kernel_inputs import Grid, Placement, account_numbers, market_arrays, placed, rule_arrays, signal_arrays
from shared.backtest.kernel_trips import fold_trips
from shared.backtest.kernel_types import (
    ASSET,
    BAR,
    CHANGED,
    FEE,
    FILL_PRICE,
    REASON,
    REFERENCE,
    STEP_DENOMINATOR,
    STEP_NUMERATOR,
    MarketArrays,
)
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.result import LIQUIDATION, STOP, BacktestResult, Fills, RoundTrips
from shared.backtest.signals import SignalPath, TargetPath
from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import ConfigError, MalformedData, NotEnoughData, UsageError
from shared.domain.interval import format_ms
from shared.risk.breakers import pause_ms
from shared.risk.params import RiskParams

MAX_ASSETS = 100
_SIGNAL_ARRAYS = ("score", "volatility", "atr_fraction", "size_multiplier", "policy_index", "tradable")
_TARGET_ARRAYS = ("fraction", "stop_distance")


@dataclass(frozen=True, eq=False, slots=True)
class Arena:
    """Markets between two instants, laid out for the kernel once: what the runs of a sweep have in common. Read-only."""

    markets: tuple[AssetMarket, ...]
    grid: Grid
    placements: tuple[Placement, ...]
    arrays: MarketArrays
    time_ms: IntArray

    @classmethod
    def of(cls, markets: Sequence[AssetMarket], *, start_ms: int, end_ms: int) -> Arena:
        """The arena of `markets`; raises what `backtest` raises about markets and range."""
        _check_markets(markets)
        grid = _grid(markets, start_ms, end_ms)
        placements = tuple(placed(market.candles, grid) for market in markets)
        _check_rows(markets, placements, grid)
        time_ms: IntArray = np.arange(grid.start_ms, grid.end_ms + 1, grid.interval.ms, dtype=np.int64)
        time_ms.flags.writeable = False  # results share it
        return cls(tuple(markets), grid, placements, market_arrays(markets, placements, grid), time_ms)

    def run(
        self, signals: Sequence[SignalPath | TargetPath], params: BacktestParams, risk: RiskParams, *, label: str = ""
    ) -> BacktestResult:
        """`backtest` of these markets with `signals`."""
        _check_signals(self.markets, signals, params)
        rules, tiers = rule_arrays(self.markets, params.leverage)
        paths = np.empty((3 + len(self.markets), self.grid.instants))
        log, funding, halts, error = simulate(
            self.arrays,
            signal_arrays(signals, self.placements, self.grid),
            rules,
            tiers,
            account_numbers(params, risk, self.grid),
            np.array(risk.pause_drawdowns, dtype=np.float64),
            np.array([pause_ms(hours) for hours in risk.pause_hours], dtype=np.int64),
            paths,
        )
        fills, trades = _executions(log, rules, self.grid, len(self.markets))
        return BacktestResult(
            label=label,
            interval=self.grid.interval,
            assets=tuple(market.asset for market in self.markets),
            initial=float(params.capital),
            time_ms=self.time_ms,
            equity=paths[0],
            wallet=paths[1],
            exposure=paths[2],
            position=paths[3:].T,
            fills=fills,
            trades=trades,
            funding=funding,
            halts=_halts(halts),
            identity_error=float(error) / float(params.capital),
        )


def backtest(
    markets: Sequence[AssetMarket],
    signals: Sequence[SignalPath | TargetPath],
    params: BacktestParams,
    risk: RiskParams,
    *,
    start_ms: int,
    end_ms: int,
    label: str = "",
) -> BacktestResult:
    """What an account earns that follows `signals` on `markets` from `start_ms` to `end_ms`.

    The first decision falls on the first bar close at or after `start_ms`, the last bar closes at or before `end_ms`; earlier
    candles may be there, later ones are not looked at. Row i of a signal belongs to row i of its market's candles. A fill by
    decision is stamped with its instant, one inside a bar (stop, liquidation) with the last millisecond of the bar. Equity and
    wallet of an instant are those before its trades, exposure and position those after them, as in the ledger of a live book.
    Raises `UsageError` (no market, intervals differ, end before start), `NotEnoughData` (no bars in the range), `MalformedData`
    (misshapen or infinite signals) and `ConfigError` (leverage that the venue does not offer).
    """
    return Arena.of(markets, start_ms=start_ms, end_ms=end_ms).run(signals, params, risk, label=label)


def _executions(log: FloatArray, rules: FloatArray, grid: Grid, assets: int) -> tuple[Fills, RoundTrips]:
    """The fills and the round trips that they make, in base units and instants."""
    asset, reason = log[:, ASSET].astype(np.int64), log[:, REASON].astype(np.int8)
    quantity = log[:, CHANGED] * rules[STEP_NUMERATOR, asset] / rules[STEP_DENOMINATOR, asset]
    inside = (reason == STOP) | (reason == LIQUIDATION)
    time_ms: IntArray = grid.start_ms + log[:, BAR].astype(np.int64) * grid.interval.ms - inside
    fills = Fills(
        time_ms=time_ms,
        asset=asset.astype(np.int8),
        quantity=quantity,
        price=log[:, FILL_PRICE].copy(),
        reference=log[:, REFERENCE].copy(),
        fee=log[:, FEE].copy(),
        reason=reason,
    )
    return fills, _round_trips(fold_trips(log, quantity, time_ms, assets))


def _round_trips(trips: FloatArray) -> RoundTrips:
    asset, side, quantity, entry, exit_, opened, closed, profit, fees, reason = trips.T
    return RoundTrips(
        asset=asset.astype(np.int8),
        side=side.astype(np.int8),
        quantity=quantity.copy(),
        entry_price=entry.copy(),
        exit_price=exit_.copy(),
        opened_ms=opened.astype(np.int64),
        closed_ms=closed.astype(np.int64),
        profit=profit.copy(),
        fees=fees.copy(),
        exit_reason=reason.astype(np.int8),
    )


def _halts(halts: Sequence[tuple[int, int, float]]) -> IntArray:
    rows = [(since, until, round(drawdown * 10_000)) for since, until, drawdown in halts]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _grid(markets: Sequence[AssetMarket], start_ms: int, end_ms: int) -> Grid:
    """The instants from the first bar close at or after the start to the last one at or before the end."""
    interval = markets[0].candles.interval
    if end_ms < start_ms:
        raise UsageError(f"the backtest would end ({format_ms(end_ms)}) before it starts ({format_ms(start_ms)})")
    first, last = interval.ceil(start_ms), interval.floor(end_ms)
    instants = (last - first) // interval.ms + 1
    if instants < 2:
        raise NotEnoughData(
            f"no whole {interval} bar lies between {format_ms(start_ms)} and {format_ms(end_ms)}; choose a longer period"
        )
    return Grid(interval, first, instants)


def _check_markets(markets: Sequence[AssetMarket]) -> None:
    if not 1 <= len(markets) <= MAX_ASSETS:
        raise UsageError(f"a backtest needs 1 to {MAX_ASSETS} assets, found {len(markets)}")
    names = [market.asset.symbol for market in markets]
    if len(set(names)) != len(names):
        raise UsageError(f"a backtest takes each asset once, found {' '.join(names)}")
    intervals = sorted({market.candles.interval.value for market in markets})
    if len(intervals) > 1:
        raise UsageError(f"all assets of a backtest need the same interval, found {' '.join(intervals)}")


def _check_signals(markets: Sequence[AssetMarket], signals: Sequence[SignalPath | TargetPath], params: BacktestParams) -> None:
    if len(signals) != len(markets):
        raise UsageError(f"a backtest needs one signal per asset, found {len(signals)} for {len(markets)} assets")
    for market, signal in zip(markets, signals, strict=True):
        _check_signal(market, signal)
        most = market.spec.max_leverage
        if params.leverage > most:
            raise ConfigError(f"leverage {params.leverage} is more than {market.asset.symbol} allows; choose at most {most}")


def _check_signal(market: AssetMarket, signal: SignalPath | TargetPath) -> None:
    """Shapes and values of a signal."""
    bars, symbol = len(market.candles), market.asset.symbol
    names = _SIGNAL_ARRAYS if isinstance(signal, SignalPath) else _TARGET_ARRAYS
    if getattr(signal, "exposure_cap", None) is not None:
        names = (*names, "exposure_cap")
    for name in names:
        shape = np.shape(getattr(signal, name))
        if shape != (bars,):
            raise MalformedData(f"{symbol}: the signal's {name} has shape {shape}, the candles have {bars} bars")
    if isinstance(signal, SignalPath):
        places = signal.policy_index
        if not signal.policies or (bars and (places.min() < 0 or places.max() >= len(signal.policies))):
            raise MalformedData(f"{symbol}: the signal's policy_index must lie in 0 to {len(signal.policies) - 1}")
        return
    stops = signal.stop_distance
    if bars and (np.isinf(signal.fraction).any() or not (stops.min() >= 0 and stops.max() < 1)):
        raise MalformedData(f"{symbol}: a target needs finite fractions (or NaN) and stop distances in [0, 1)")


def _check_rows(markets: Sequence[AssetMarket], placements: Sequence[Placement], grid: Grid) -> None:
    for market, place in zip(markets, placements, strict=True):
        if place.rows.stop <= place.rows.start:
            span = "none at all"
            if len(market.candles):
                times = market.candles.open_time
                span = f"{format_ms(int(times[0]))} to {format_ms(int(times[-1]) + grid.interval.ms)}"
            wanted = f"{format_ms(grid.start_ms)} and {format_ms(grid.end_ms)}"
            raise NotEnoughData(f"{market.asset.symbol} has no bars between {wanted}; it has {span}")
