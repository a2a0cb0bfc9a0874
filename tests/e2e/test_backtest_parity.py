"""What trades is what was backtested: `ost run` on the paper exchange against `backtest_system` on the same candles.

The run goes through real processes, ccxt, the ledger and Decimal; the backtest is one compiled function on floats. They share
the candles, the settings and the regime models that the run fitted, and must agree on every decision, fill and equity row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.market_files import FileMarket
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.result import STOP, BacktestResult
from shared.backtest.system import backtest_system, prepare, signal_path
from shared.backtest.venue_rules import symbol_spec
from shared.cli import wiring
from shared.domain.asset import Asset
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import Fill
from shared.regime.store import list_models, load_model

SYMBOLS = ("BTCUSDT", "ETHUSDT")

# Large positions on thin limits: pauses and the latch are to happen.
NERVOUS = {
    "OST_STRATEGY__TARGET_VOLATILITY": "1.5",
    "OST_RISK__PAUSE_DRAWDOWNS": "[0.02, 0.04, 0.06]",
    "OST_RISK__MAX_DRAWDOWN": "0.065",
    "OST_RISK__KELLY_MINIMUM_BARS": "60",
    "OST_RISK__MAX_TOTAL_EXPOSURE": "1.5",
    "OST_REGIME__REFIT_DAYS": "3",
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A run as its ledger has it, and the backtest of the same."""

    decisions: list[Any]
    fills: list[Fill]
    equity: list[Any]
    funding: dict[str, float]
    halts: set[tuple[int, int]]
    signals: dict[str, Any]
    markets: dict[str, AssetMarket]
    result: BacktestResult
    nervous: bool


@pytest.fixture(scope="module", params=[{}, NERVOUS], ids=["usual", "nervous"])
def pair(request: pytest.FixtureRequest, new_ost: Callable[[str], Any], market_folder: Path) -> Pair:
    ost = new_ost(f"parity-{len(request.param)}")
    ost.environment.update(request.param)
    ended = ost("run", "--data", market_folder, "--days", "14", "--symbols", ",".join(SYMBOLS))
    assert ended.code == 0, ended
    with pytest.MonkeyPatch.context() as patch, closing(ost.ledger()) as ledger:
        for name, value in ost.environment.items():
            patch.setenv(name, value)
        settings = wiring.settings()
        (book,) = ledger.books()
        plan = book.settings
        folder = ost.root / "runs" / book.book
        prepared = [
            prepare(
                market,
                settings.system,
                models=[
                    load_model(FolderBucket(folder), market.asset, Interval.H1, reference.model_id)
                    for reference in list_models(FolderBucket(folder), market.asset, Interval.H1)
                ],
                held_from_ms=plan["start_ms"],
            )
            for market in markets_of(folder / "market")
        ]
        account = BacktestParams(float(plan["capital"]), settings.run.leverage, settings.costs)
        result = backtest_system(prepared, settings.system, account, start_ms=plan["start_ms"], end_ms=plan["end_ms"])
        return Pair(
            decisions=ledger.decisions(book.book),
            fills=ledger.fills(book.book),
            equity=ledger.equity(book.book),
            funding={
                symbol: float(sum(p.amount for p in ledger.funding(book.book) if p.symbol == symbol)) for symbol in SYMBOLS
            },
            halts={
                (halt.since_ms, -1 if halt.until_ms is None else halt.until_ms)
                for point in ledger.equity(book.book)
                for halt in ledger.halts(book.book, point.time_ms)
            },
            signals={
                asset.market.asset.symbol: signal_path(asset, settings.system.strategy, settings.system.risk)
                for asset in prepared
            },
            markets={asset.market.asset.symbol: asset.market for asset in prepared},
            result=result,
            nervous=bool(request.param),
        )


def markets_of(folder: Path) -> list[AssetMarket]:
    """The frozen candles that the paper exchange replayed."""
    files = FileMarket(folder, "binanceusdm")
    markets = []
    for symbol in SYMBOLS:
        candles = files.history(symbol, Interval.H1)
        funding = asyncio.run(files.funding_rates(symbol, 0, 2**62))
        spec = symbol_spec(symbol, float(candles.open[0]))
        markets.append(AssetMarket(Asset("binanceusdm", symbol), candles, spec, funding))
    return markets


def test_the_same_instants(pair: Pair) -> None:
    assert pair.result.time_ms.tolist() == [point.time_ms for point in pair.equity]
    assert len(pair.decisions) == 2 * len(pair.equity)


def test_every_decision_is_made_from_the_same_score(pair: Pair) -> None:
    for decision in pair.decisions:
        signal, candles = pair.signals[decision.asset.symbol], pair.markets[decision.asset.symbol].candles
        row = int(np.searchsorted(candles.open_time, decision.bar_close_ms - HOUR_MS))
        assert signal.score[row] == pytest.approx(decision.score, abs=1e-9)


def test_the_same_fills(pair: Pair) -> None:
    fills = pair.result.fills
    place = {asset.symbol: a for a, asset in enumerate(pair.result.assets)}
    lived = sorted((fill.time_ms, place[fill.symbol], float(fill.signed_quantity), float(fill.price)) for fill in pair.fills)
    tested = sorted(
        zip(fills.time_ms.tolist(), fills.asset.tolist(), fills.quantity.tolist(), fills.price.tolist(), strict=True)
    )
    assert len(lived) > 20
    assert tested == lived
    assert (fills.reason == STOP).any()
    assert float(sum(fill.fee for fill in pair.fills)) == pytest.approx(fills.fee.sum(), rel=1e-9)


def test_the_same_equity(pair: Pair) -> None:
    np.testing.assert_allclose(pair.result.equity, [float(point.equity) for point in pair.equity], rtol=1e-9)
    np.testing.assert_allclose(pair.result.wallet, [float(point.wallet) for point in pair.equity], rtol=1e-9)
    np.testing.assert_allclose(pair.result.exposure, [float(point.exposure) for point in pair.equity], rtol=1e-9, atol=1e-6)
    for a, asset in enumerate(pair.result.assets):
        assert pair.result.funding[a] == pytest.approx(pair.funding[asset.symbol], rel=1e-9, abs=1e-6)
    assert pair.result.identity_error < 1e-9


def test_the_same_halts(pair: Pair) -> None:
    tested = {(since, until) for since, until, _ in pair.result.halts.tolist()}
    assert tested == pair.halts
    if pair.nervous:
        assert [until for _, until in sorted(tested)].count(-1) == 1
        assert len(tested) > 2
        assert not pair.result.position[-1].any()
