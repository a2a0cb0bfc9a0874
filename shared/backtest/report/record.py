"""What a report shows: plain values, taken from the ledger (`collect`) or made by a backtest.

Times are ms UTC. Regimes are aligned with the candles by bar close; a bar without a regime has NaN probabilities. A report
of a generated market says so on every plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.backtest.breakdown import AssetCosts, RegimeRow
from shared.backtest.metrics import RunSummary
from shared.domain.asset import Asset
from shared.domain.candles import Candles, FloatArray
from shared.domain.decision import Decision
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval
from shared.domain.orders import Fill, OrderRecord
from shared.domain.records import EquityPoint, FundingPayment, Halt, RegimeState, Trade
from shared.domain.regime import REGIMES, Regime
from shared.risk.monte_carlo import MonteCarlo

if TYPE_CHECKING:
    from shared.ports import Ledger


@dataclass(frozen=True, slots=True, eq=False)
class AssetRecord:
    """One asset of a run. `probabilities` is (n, 3) in the order of `REGIMES`, `regimes` has n entries, for n candles."""

    asset: Asset
    candles: Candles
    probabilities: FloatArray
    regimes: tuple[Regime | None, ...]
    trades: tuple[Trade, ...] = ()
    orders: tuple[OrderRecord, ...] = ()
    fills: tuple[Fill, ...] = ()
    decisions: tuple[Decision, ...] = ()
    forced: Mapping[str, str] = field(default_factory=dict)
    """trades that no decision closed, by id: `stopped out of`, `liquidated`"""

    def __post_init__(self) -> None:
        bars = len(self.candles)
        if self.probabilities.shape != (bars, len(REGIMES)) or len(self.regimes) != bars:
            raise MalformedData(
                f"{self.asset} has {bars} candles; expected probabilities of shape ({bars}, {len(REGIMES)}) and as many "
                f"regimes, found {self.probabilities.shape} and {len(self.regimes)}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """One run, ready to be shown."""

    book: str
    source: str
    """where the market data came from, for people"""
    generated: bool
    """whether the prices are made up; the report then says so everywhere"""
    start_ms: int
    end_ms: int
    interval: Interval
    assets: tuple[AssetRecord, ...]
    equity: tuple[EquityPoint, ...]
    summary: RunSummary
    settings: Mapping[str, Any] = field(default_factory=dict)
    funding: tuple[FundingPayment, ...] = ()
    halts: tuple[Halt, ...] = ()
    quality_notes: tuple[str, ...] = ()
    log: tuple[Mapping[str, Any], ...] = ()
    """entries of the agent log: time_ms, level, source, message"""
    pause_drawdowns: tuple[float, ...] = (0.05, 0.10, 0.15)
    max_drawdown: float = 0.20
    kind: str = "Run"
    costs: tuple[AssetCosts, ...] = ()
    """of a backtest, which knows the reference price of every fill"""
    regime_rows: tuple[RegimeRow, ...] = ()
    monte_carlo: MonteCarlo | None = None
    drawdown_depths: tuple[float, ...] = ()
    """drawdowns whose simulated probability is shown"""
    commands: tuple[str, ...] | None = None
    """what to type to look further; `None`: the commands that explain a book"""


def aligned_regimes(candles: Candles, states: Sequence[RegimeState]) -> tuple[FloatArray, tuple[Regime | None, ...]]:
    """Probabilities (n, 3) and held regimes (n) of `candles`, from states by bar close; NaN and `None` where there is none."""
    by_close = {state.bar_close_ms: state for state in states}
    found = [by_close.get(int(close_ms)) for close_ms in candles.close_time]
    probabilities = np.full((len(candles), len(REGIMES)), np.nan)
    for row, state in enumerate(found):
        if state is not None:
            probabilities[row] = [state.probabilities.of(regime) for regime in REGIMES]
    return probabilities, tuple(None if state is None else state.regime for state in found)


def collect(
    ledger: Ledger,
    book: str,
    candles: Mapping[Asset, Candles],
    summary: RunSummary,
    *,
    source: str,
    generated: bool,
    settings: Mapping[str, Any],
    quality_notes: Sequence[str] = (),
    pause_drawdowns: tuple[float, ...] = (0.05, 0.10, 0.15),
    max_drawdown: float = 0.20,
) -> RunRecord:
    """The record of `book`, with the traded `candles` by asset. Raises `MalformedData` without any asset or equity point."""
    equity = tuple(ledger.equity(book))
    if not candles or not equity:
        raise MalformedData(f"book {book} has {len(equity)} equity points and {len(candles)} assets: nothing to report")
    trades, orders, fills = ledger.trades(book), ledger.orders(book), ledger.fills(book)
    assets = []
    for asset, bars in candles.items():
        probabilities, regimes = aligned_regimes(bars, ledger.regimes(book, asset))
        assets.append(
            AssetRecord(
                asset,
                bars,
                probabilities,
                regimes,
                trades=tuple(trade for trade in trades if trade.symbol == asset.symbol),
                orders=tuple(order for order in orders if order.intent.symbol == asset.symbol),
                fills=tuple(fill for fill in fills if fill.symbol == asset.symbol),
                decisions=tuple(ledger.decisions(book, symbol=asset.symbol)),
            )
        )
    return RunRecord(
        book=book,
        source=source,
        generated=generated,
        start_ms=equity[0].time_ms,
        end_ms=equity[-1].time_ms,
        interval=next(iter(candles.values())).interval,
        assets=tuple(assets),
        equity=equity,
        summary=summary,
        settings=settings,
        funding=tuple(ledger.funding(book)),
        halts=tuple(ledger.halts(book, equity[0].time_ms)),  # in force at or after the first bar: all of the run
        quality_notes=tuple(quality_notes),
        log=tuple(ledger.agent_log(book)),
        pause_drawdowns=pause_drawdowns,
        max_drawdown=max_drawdown,
    )
