"""Many parameter variants on the same prepared assets: signals from one memo, accounts on two threads, one result at a time.

Curation and regime decide what `prepare` did, so a variant may change the strategy and the risk limits only. Memory is bounded
by the memo and by the results that are in work, not by the number of variants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from shared.backtest.engine import Arena
from shared.backtest.memo import SignalMemo
from shared.backtest.metrics import daily_returns
from shared.backtest.params import BacktestParams
from shared.backtest.result import BacktestResult
from shared.backtest.signals import SignalPath
from shared.backtest.system import PreparedAsset, signal_path
from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import ConfigError
from shared.speed import in_order
from shared.trading.params import SystemParams

Reduced = TypeVar("Reduced")


def signals_over(
    prepared: Sequence[PreparedAsset], variants: Iterable[SystemParams], memo: SignalMemo | None = None
) -> Iterator[tuple[SignalPath, ...]]:
    """The signals of each variant, one for each asset; what two variants share is computed once.

    Raises `ConfigError` for a variant whose curation or regime differs from the first one's: it needs assets of its own.
    """
    memory = memo or SignalMemo()
    first: SystemParams | None = None
    for place, params in enumerate(variants):
        first = first or params
        for room in ("curation", "regime"):
            if getattr(params, room) != getattr(first, room):
                raise ConfigError(f"variant {place} changes {room}, which the assets were prepared with; prepare them anew")
        yield tuple(signal_path(asset, params.strategy, params.risk, memory) for asset in prepared)


def sweep(
    prepared: Sequence[PreparedAsset],
    variants: Sequence[SystemParams],
    account: BacktestParams,
    reduce: Callable[[BacktestResult], Reduced],
    *,
    start_ms: int,
    end_ms: int,
    memo: SignalMemo | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Reduced]:
    """`reduce` of the run of each variant, in order; the runs themselves are not kept. `on_progress(done, total)`."""
    arena = Arena.of([asset.market for asset in prepared], start_ms=start_ms, end_ms=end_ms)

    def run(work: tuple[SystemParams, tuple[SignalPath, ...]]) -> Reduced:
        params, signals = work
        return reduce(arena.run(signals, account, params.risk))

    work = zip(variants, signals_over(prepared, variants, memo), strict=True)
    for done, reduced in enumerate(in_order(run, work), start=1):
        if on_progress is not None:
            on_progress(done, len(variants))
        yield reduced


def returns_over(
    prepared: Sequence[PreparedAsset],
    variants: Sequence[SystemParams],
    account: BacktestParams,
    *,
    start_ms: int,
    end_ms: int,
    memo: SignalMemo | None = None,
) -> tuple[IntArray, FloatArray]:
    """Daily returns of every variant: days (d,) ms UTC and simple returns (d, variants)."""
    columns = list(sweep(prepared, variants, account, daily_returns, start_ms=start_ms, end_ms=end_ms, memo=memo))
    if not columns:
        return np.empty(0, dtype=np.int64), np.empty((0, 0))
    return columns[0][0], np.column_stack([returns for _, returns in columns])
