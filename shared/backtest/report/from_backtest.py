"""A backtest as the record that a report shows: the same page as for a run on the paper exchange.

A backtest has no ledger: its round trips carry no decision, and its fills are summed up in the cost table rather than listed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from shared.backtest.breakdown import asset_costs, by_regime
from shared.backtest.market import AssetMarket
from shared.backtest.metrics import RunSummary
from shared.backtest.report.record import AssetRecord, RunRecord
from shared.backtest.result import LIQUIDATION, STOP, BacktestResult, Int8Array
from shared.backtest.system import PreparedAsset
from shared.domain.asset import Asset
from shared.domain.errors import MalformedData
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderRecord, OrderState, Side
from shared.domain.records import EquityPoint, Halt, HaltKind, Trade
from shared.domain.regime import REGIMES
from shared.risk.monte_carlo import MonteCarlo
from shared.risk.params import RiskParams

_FORCED = {STOP: "stopped out of", LIQUIDATION: "liquidated"}


def backtest_record(
    result: BacktestResult,
    markets: Sequence[AssetMarket],
    summary: RunSummary,
    risk: RiskParams,
    *,
    source: str,
    generated: bool,
    settings: Mapping[str, Any],
    prepared: Sequence[PreparedAsset] = (),
    monte_carlo: MonteCarlo | None = None,
    drawdown_depths: tuple[float, ...] = (),
    notes: Sequence[str] = (),
    commands: Sequence[str] = ("ost backtest --help", "ost risk --help"),
) -> RunRecord:
    """The record of `result` on `markets`; `prepared` (one for each market, or none) brings the regimes.

    Raises `MalformedData` where the result is of other assets.
    """
    if tuple(market.asset for market in markets) != result.assets:
        raise MalformedData(f"the backtest traded {' '.join(map(str, result.assets))}; found the markets of other assets")
    held = {item.market.asset: item for item in prepared}
    regimes = by_regime(result, markets, {asset: item.held for asset, item in held.items()}) if prepared else ()
    return RunRecord(
        book=result.label,
        source=source,
        generated=generated,
        start_ms=int(result.time_ms[0]),
        end_ms=int(result.time_ms[-1]),
        interval=result.interval,
        assets=tuple(_asset(result, place, market, held.get(market.asset)) for place, market in enumerate(markets)),
        equity=_points(result),
        summary=summary,
        settings=settings,
        halts=_halts(result),
        quality_notes=tuple(notes),
        pause_drawdowns=risk.pause_drawdowns,
        max_drawdown=risk.max_drawdown,
        kind="Backtest",
        costs=asset_costs(result, markets),
        regime_rows=regimes,
        monte_carlo=monte_carlo,
        drawdown_depths=drawdown_depths,
        commands=tuple(commands),
    )


def _asset(result: BacktestResult, place: int, market: AssetMarket, prepared: PreparedAsset | None) -> AssetRecord:
    start_ms, end_ms = int(result.time_ms[0]), int(result.time_ms[-1])
    candles = market.candles.between(start_ms - result.interval.ms, end_ms)
    probabilities = np.full((len(candles), len(REGIMES)), np.nan)
    held: Int8Array = np.full(len(candles), -1, dtype=np.int8)
    if prepared is not None:
        first = int(np.searchsorted(market.candles.open_time, start_ms - result.interval.ms))
        rows = slice(first, first + len(candles))
        probabilities, held = prepared.probabilities[rows], prepared.held[rows]
    trades, forced = _trades(result, place, market.asset)
    regimes = tuple(REGIMES[row] if row >= 0 else None for row in held.tolist())
    return AssetRecord(
        market.asset,
        candles,
        probabilities,
        regimes,
        trades=trades,
        orders=_stops(result, place, market.asset),
        fills=_fills(result, place, market.asset),
        forced=forced,
    )


def _trades(result: BacktestResult, place: int, asset: Asset) -> tuple[tuple[Trade, ...], dict[str, str]]:
    trips, trades, forced = result.trades, [], {}
    for row in np.flatnonzero(trips.asset == place).tolist():
        identity = f"{asset.symbol}-{row}"
        trades.append(
            Trade(
                id=identity,
                book=result.label,
                symbol=asset.symbol,
                side="long" if trips.side[row] > 0 else "short",
                quantity=_decimal(trips.quantity[row]),
                entry_price=_decimal(trips.entry_price[row]),
                exit_price=_decimal(trips.exit_price[row]),
                opened_ms=int(trips.opened_ms[row]),
                closed_ms=int(trips.closed_ms[row]),
                profit=_decimal(trips.profit[row]),
                fees=_decimal(trips.fees[row]),
                open_decision_id=None,
                close_decision_id=None,
            )
        )
        if (reason := int(trips.exit_reason[row])) in _FORCED:
            forced[identity] = _FORCED[reason]
    return tuple(trades), forced


def _stops(result: BacktestResult, place: int, asset: Asset) -> tuple[OrderRecord, ...]:
    """The stops that were hit: from the fill that set them to their own, at the price that triggered them."""
    fills, stops = result.fills, []
    own = np.flatnonzero(fills.asset == place)
    for before, row in itertools.pairwise(own.tolist()):
        if fills.reason[row] != STOP:
            continue
        intent = OrderIntent(
            client_id=f"stop-{row}",
            book=result.label,
            decision_id="",
            leg="stop",
            symbol=asset.symbol,
            side=Side.BUY if fills.quantity[row] > 0 else Side.SELL,
            kind=OrderKind.STOP,
            quantity=_decimal(abs(fills.quantity[row])),
            created_ms=int(fills.time_ms[before]),
            stop_price=_decimal(fills.reference[row]),
        )
        stops.append(OrderRecord(intent, OrderState.FILLED, updated_ms=int(fills.time_ms[row])))
    return tuple(stops)


def _fills(result: BacktestResult, place: int, asset: Asset) -> tuple[Fill, ...]:
    fills = result.fills
    return tuple(
        Fill(
            symbol=asset.symbol,
            trade_id=str(row),
            client_id=None,
            venue_order_id=str(row),
            side=Side.BUY if fills.quantity[row] > 0 else Side.SELL,
            quantity=_decimal(abs(fills.quantity[row])),
            price=_decimal(fills.price[row]),
            fee=_decimal(fills.fee[row]),
            time_ms=int(fills.time_ms[row]),
        )
        for row in np.flatnonzero(fills.asset == place).tolist()
    )


def _points(result: BacktestResult) -> tuple[EquityPoint, ...]:
    peaks = np.maximum.accumulate(np.maximum(result.equity, result.initial))
    money = [map(Decimal, column.tolist()) for column in (result.equity, result.wallet, peaks, result.exposure)]
    return tuple(EquityPoint(*row) for row in zip(result.time_ms.tolist(), *money, strict=True))


def _halts(result: BacktestResult) -> tuple[Halt, ...]:
    return tuple(
        Halt(
            result.label,
            f"{'loss of the day' if basis_points < 0 else 'drawdown'} {abs(basis_points) / 100:.1f} %",
            since,
            None if until < 0 else until,
            kind=HaltKind.DRAWDOWN if until < 0 else HaltKind.PAUSE,
        )
        for since, until, basis_points in result.halts.tolist()
    )


def _decimal(value: float) -> Decimal:
    """A float of the research as the ledger's kind of number: ten significant digits, no tail of rounding."""
    return Decimal(f"{value:.10g}")
