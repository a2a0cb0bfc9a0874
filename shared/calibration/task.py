"""One task of a campaign: variants → the Sharpe of each training window and the daily returns of each test window.

A pure function of the spec and the frozen market: the same code runs in a local process, a joblib worker and a Cloud Run Job.
Each window is a run of its own with a fresh account, so that a halt in one fold is not carried into the next. The signals of a
variant are computed once for all folds: they depend on no later bar. The arrays go to the bucket before anybody is told, so
that a finished task survives whatever happens to its process.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from shared.backtest.engine import backtest
from shared.backtest.memo import SignalMemo
from shared.backtest.metrics import daily_returns, sharpe
from shared.backtest.result import BacktestResult
from shared.backtest.signals import SignalPath
from shared.backtest.system import PreparedAsset, RegimeMode, fitted_models, prepare, signal_path
from shared.calibration.campaign_data import frozen_market, write_once
from shared.calibration.folds import Window
from shared.calibration.ml import with_walk_forward_ml
from shared.calibration.spec import CampaignSpec, Task
from shared.data.curation import curate
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData
from shared.domain.ids import content_id
from shared.domain.interval import DAY_MS
from shared.ports import Bucket
from shared.regime.jump import JumpModel
from shared.regime.model import RegimeModel
from shared.trading.ml_models import wants_ml
from shared.trading.params import SystemParams

Load = Callable[[], PreparedAsset]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, slots=True)
class TaskResult:
    """What v variants did over f folds with d test days in all."""

    task_id: str
    versions: tuple[str, ...]
    train_sharpe: FloatArray
    """(v, f) Sharpe per day in the training windows; NaN where nothing moved"""
    train_active: FloatArray
    """(v, f) share of the training days with a return"""
    test_returns: FloatArray
    """(v, d) daily returns of the test windows, one after the other"""
    trades: FloatArray
    """(v,) closed round trips in the test windows"""
    fees: FloatArray
    """(v,) fees in the test windows as a fraction of the capital at the start of a window, summed"""

    def to_bytes(self) -> bytes:
        """Arrays as an npz file; equal results give equal bytes."""
        sink = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        np.savez(sink, versions=np.array(self.versions), **arrays)
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, task_id: str, content: bytes, name: str) -> TaskResult:
        """The result that `to_bytes` wrote. Raises `MalformedData` naming the object, `name`."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                arrays = {name: np.asarray(stored[name], dtype=np.float64) for name in _ARRAYS}
                return cls(task_id, tuple(stored["versions"].tolist()), **arrays)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise MalformedData(
                f"the stored result of task {task_id}, {name} in the lake (storage.root), cannot be read ({error}); delete "
                "that file, and the same command goes on"
            ) from error

    def as_dict(self) -> dict[str, Any]:
        """The part for the ledger."""
        sharpes = [[None if np.isnan(value) else float(value) for value in row] for row in self.train_sharpe]
        return {"versions": list(self.versions), "train_sharpe": sharpes, "trades": self.trades.tolist()}


_ARRAYS = ("train_sharpe", "train_active", "test_returns", "trades", "fees")


def run_task(task: Task, spec: CampaignSpec, load: Load, memo: SignalMemo | None = None) -> TaskResult:
    """Evaluate the task's variants on every fold."""
    prepared = load()
    rows = [_evaluate(prepared, spec.system(variant), spec, memo) for variant in task.variants]
    arrays = (np.array(part, dtype=np.float64) for part in zip(*rows, strict=True))
    return TaskResult(task.id, tuple(variant.version for variant in task.variants), *arrays)


def _evaluate(
    prepared: PreparedAsset, system: SystemParams, spec: CampaignSpec, memo: SignalMemo | None
) -> tuple[list[float], list[float], FloatArray, float, float]:
    """The variant's row of each array, in their order."""
    signal = signal_path(prepared, system.strategy, system.risk, memo)
    train, active, test, trades, fees = [], [], [], 0.0, 0.0
    for fold in spec.plan.folds:
        trained = window_returns(prepared, signal, system, spec, fold.train)[0]
        train.append(np.nan if (ratio := sharpe(trained)) is None else ratio)
        active.append(float(np.mean(trained != 0)))
        returns, result = window_returns(prepared, signal, system, spec, fold.test)
        test.append(returns)
        trades += len(result.trades.profit)
        fees += float(result.fills.fee.sum()) / result.initial
    return train, active, np.concatenate(test), trades, fees


def window_returns(
    prepared: PreparedAsset, signal: SignalPath, system: SystemParams, spec: CampaignSpec, window: Window
) -> tuple[FloatArray, BacktestResult]:
    """Daily returns (days,) of a window traded with a fresh account, and the run."""
    result = backtest(
        [prepared.market], [signal], spec.account, system.risk, start_ms=window.start_ms, end_ms=window.end_ms, label="campaign"
    )
    days, returns = daily_returns(result)
    series = np.zeros(window.days)
    series[(days - window.start_ms) // DAY_MS] = returns  # an account that is lost has no more days: they return 0
    return series, result


def models_name(spec: CampaignSpec) -> str:
    """Object that holds the regime models of a spec: they depend on data, features and fit settings."""
    rooms = {name: value for name, value in spec.as_dict()["base"].items() if name.startswith(("curation.", "regime."))}
    return f"campaigns/models/{content_id('m', spec.data, rooms, spec.mode.value, spec.code_version)}.json"


def fit_models(bucket: Bucket, spec: CampaignSpec, on_progress: Progress | None = None) -> None:
    """Fit the regime models of a campaign unless they are in the bucket."""
    name = models_name(spec)
    if spec.mode is RegimeMode.OFF or bucket.read(name) is not None:
        return
    market = frozen_market(bucket, spec.data, spec.asset, spec.interval)
    frame = curate(market.candles, spec.base.curation, market.funding, market.open_interest)
    models = fitted_models(frame, spec.asset, spec.base, spec.mode, on_progress)
    write_once(bucket, name, json.dumps([model.to_json() for model in models]).encode())


def load_prepared(bucket: Bucket, spec: CampaignSpec) -> PreparedAsset:
    """The asset as every task of the campaign sees it: frozen market, stored models."""
    market = frozen_market(bucket, spec.data, spec.asset, spec.interval)
    if spec.mode is RegimeMode.OFF:
        return _with_ml(prepare(market, spec.base, mode=spec.mode), spec)
    if (stored := bucket.read(models_name(spec))) is None:
        fit_models(bucket, spec)
        stored = bucket.read(models_name(spec))
    texts: Sequence[str] = json.loads(stored.content) if stored is not None else ()
    kind = JumpModel if spec.mode is RegimeMode.JUMP else RegimeModel
    return _with_ml(prepare(market, spec.base, mode=spec.mode, models=[kind.from_json(text) for text in texts]), spec)


def _with_ml(prepared: PreparedAsset, spec: CampaignSpec) -> PreparedAsset:
    """The asset with walk-forward scores of the ML alpha, where any variant gives it a weight."""
    if not any(wants_ml(spec.system(variant).strategy) for variant in spec.variants):
        return prepared
    frame = with_walk_forward_ml(prepared.frame, spec.asset, spec.ml, spec.base.curation)
    return replace(prepared, frame=frame)


@dataclass(frozen=True, slots=True)
class CampaignWorker:
    """How a process gets ready for the tasks of a campaign: call it once, then its result for each task."""

    bucket: Bucket
    spec: CampaignSpec

    def __call__(self) -> Callable[[Task], TaskResult]:
        """Load what all tasks share; return what does one of them."""
        prepared = load_prepared(self.bucket, self.spec)
        return partial(_stored_or_run, self.bucket, self.spec, lambda: prepared, SignalMemo())


def _stored_or_run(bucket: Bucket, spec: CampaignSpec, load: Load, memo: SignalMemo, task: Task) -> TaskResult:
    if (known := stored_result(bucket, spec, task)) is not None:
        return known  # its process ended between writing and telling
    result = run_task(task, spec, load, memo)
    bucket.write(artefact_name(spec, task), result.to_bytes())
    return result


def artefact_name(spec: CampaignSpec, task: Task) -> str:
    """Object of a task's arrays: under the work that they are, so that another promotion rule finds them again."""
    versions = [variant.version for variant in task.variants]
    return f"campaigns/{spec.work}/tasks/{content_id('t', spec.work, versions)}.npz"


def stored_result(bucket: Bucket, spec: CampaignSpec, task: Task) -> TaskResult | None:
    """A finished task's result, or `None`. Raises `MalformedData` where it is damaged."""
    name = artefact_name(spec, task)
    stored = bucket.read(name)
    return None if stored is None else TaskResult.from_bytes(task.id, stored.content, name)
