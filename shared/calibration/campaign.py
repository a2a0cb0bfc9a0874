"""A walk-forward campaign from plan to decision.

Plan (folds, variants, content id) → tasks, each done once → conclusion: the best of the variants on all test windows meets the
incumbent under the promotion rule (`significance/verdict.py`), and, once, on the confirmation, which until then nobody has
looked at. The walk-forward procedure itself (in each fold the variant with the best training Sharpe) is reported beside it: it
says what choosing like this would have earned. "No significant improvement" is a normal end.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.backtest.memo import SignalMemo
from shared.backtest.metrics import sharpe
from shared.backtest.params import BacktestParams
from shared.backtest.system import PreparedAsset, RegimeMode, signal_path
from shared.calibration import selection
from shared.calibration.campaign_data import write_once
from shared.calibration.champions import system_of
from shared.calibration.folds import plan_folds
from shared.calibration.ml_params import DEFAULT_ML, MlParams
from shared.calibration.params import CampaignParams
from shared.calibration.search import search
from shared.calibration.selection import Evidence
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.spec import CampaignSpec, Task
from shared.calibration.task import CampaignWorker, TaskResult, artefact_name, stored_result, window_returns
from shared.calibration.variants import LIMITS, VARIED, Variant, as_variants, changes_between, flattened, with_changes
from shared.domain.asset import Asset
from shared.domain.candles import FloatArray
from shared.domain.errors import ConfigError, DataNotFound, OstError
from shared.domain.interval import Interval
from shared.domain.regime import REGIMES
from shared.domain.research import CampaignRecord, Champion, TaskRecord
from shared.ports import Bucket, Clock, Jobs, Research
from shared.trading.params import SystemParams

Points = Sequence[Mapping[str, Any]]
Progress = Callable[[int, int], None]
"""Tasks done, tasks in all"""


def plan_campaign(
    asset: Asset,
    interval: Interval,
    data: str,
    points: Points,
    *,
    base: SystemParams,
    account: BacktestParams,
    params: CampaignParams,
    start_ms: int,
    end_ms: int,
    code_version: str,
    champion: Champion | None = None,
    mode: RegimeMode = RegimeMode.HMM,
    ml: MlParams = DEFAULT_ML,
    significance: SignificanceParams,
    origin: Mapping[str, Any] | None = None,
) -> CampaignSpec:
    """The campaign that tries `points` (changes against `base`) on the frozen market `data`.

    Raises `ConfigError` listing every problem of the points, `NotEnoughData` saying how many days it takes.
    """
    incumbent = incumbent_variant(base, champion, interval)
    tried = [
        variant for variant in as_variants(base, points, limit=params.max_variants) if variant.version != incumbent.version
    ]
    if incumbent.changes:  # the settings themselves are an alternative to a champion that differs from them
        tried.insert(0, Variant({}, base.version))
    if not tried:
        raise ConfigError("every variant equals the champion; name at least one other value")
    variants = (incumbent, *tried)
    lookback_bars = max(with_changes(base, variant.changes).decision_bars for variant in variants)
    return CampaignSpec(
        asset=asset,
        interval=interval,
        data=data,
        start_ms=start_ms,
        end_ms=end_ms,
        plan=plan_folds(start_ms, end_ms, lookback_bars, interval, params),
        base=base,
        variants=variants,
        account=account,
        params=params,
        code_version=code_version,
        incumbent="" if champion is None else champion.id,
        mode=mode,
        ml=ml,
        significance=significance,
        origin=dict(origin or {}),
    )


def incumbent_variant(base: SystemParams, champion: Champion | None, interval: Interval) -> Variant:
    """The champion against `base`, or `base` itself; safety limits are those of `base`, whoever trades.

    Raises `ConfigError` where a champion trades other bars than `interval`, or needs other features or regimes.
    """
    if champion is None:
        return Variant({}, base.version)
    if champion.interval is not interval:
        raise ConfigError(
            f"champion {champion.id} of {champion.asset.symbol} trades {champion.interval} bars, this campaign looks at "
            f"{interval} bars, on which its parameters mean something else: challenge it on its own bars "
            f"(--set interval={champion.interval}), or study the others apart from it, in another storage.root"
        )
    # Frozen bars are never late: the age limit changes nothing in a campaign.
    system = replace(system_of(champion, base), max_decision_age=base.max_decision_age)
    known = flattened(base)
    system = with_changes(system, {name: known[name] for name in LIMITS})
    changes = changes_between(base, system)
    other = [name for name in changes if name.split(".")[0] not in VARIED]
    if other:
        raise ConfigError(
            f"champion {champion.id} was made with other settings of {', '.join(other)}; a campaign compares variants on the "
            "same features and regimes: restore these settings, or promote parameters that were made with the new ones"
        )
    return Variant(changes, system.version)


def lookback_bars(base: SystemParams, points: Points) -> int:
    """Bars that must lie before the start of a campaign: the longest warm-up among its variants."""
    longest = base.warmup_bars
    for point in points:
        try:
            longest = max(longest, with_changes(base, point).warmup_bars)
        except OstError:
            continue  # `plan_campaign` names every problem at once
    return longest


def search_points(
    prepared: PreparedAsset, spec: CampaignSpec, trials: int, on_progress: Callable[[int], None] = lambda done: None
) -> list[dict[str, Any]]:
    """The points that a search finds in the first training window of `spec`'s plan."""
    window, memo, looked = spec.plan.folds[0].train, SignalMemo(), itertools.count(1)

    def objective(system: SystemParams) -> float | None:
        on_progress(next(looked))
        signal = signal_path(prepared, system.strategy, system.risk, memo)
        return sharpe(window_returns(prepared, signal, system, spec, window)[0])

    return search(spec.base, objective, trials, spec.params)


def register(research: Research, spec: CampaignSpec, prepared: PreparedAsset, clock: Clock) -> None:
    """Remember a campaign before its first task, with the regime at the end of its data."""
    if research.campaign(spec.id) is None:
        research.register_campaign(
            CampaignRecord(spec.id, spec.asset, spec.interval, spec.as_dict(), regime_snapshot(prepared), clock.now_ms())
        )


def regime_snapshot(prepared: PreparedAsset) -> dict[str, Any]:
    """Regime held and probabilities at the newest bar."""
    if not len(prepared.frame) or not np.isfinite(prepared.probabilities[-1]).all():
        return {"regime": None, "probabilities": None}
    held = int(prepared.held[-1])
    return {
        "regime": None if held < 0 else REGIMES[held].value,
        "probabilities": {regime.value: float(p) for regime, p in zip(REGIMES, prepared.probabilities[-1], strict=True)},
        "bar_close_ms": int(prepared.frame.close_time[-1]),
    }


def unfinished(spec: CampaignSpec, bucket: Bucket, research: Research) -> tuple[Task, ...]:
    """Tasks that have no row in the ledger, or lost their arrays."""
    known = {record.id for record in research.tasks(spec.id)}
    return tuple(task for task in spec.tasks if task.id not in known or bucket.read(artefact_name(spec, task)) is None)


def run_tasks(
    spec: CampaignSpec,
    tasks: Sequence[Task],
    *,
    bucket: Bucket,
    research: Research,
    jobs: Jobs,
    clock: Clock,
    on_progress: Progress | None = None,
) -> None:
    """Do `tasks`; each result is in the bucket and in the ledger before the next one counts as done."""
    before = len(spec.tasks) - len(tasks)
    done = 0

    def finished(place: int, result: TaskResult) -> None:
        nonlocal done
        task = tasks[place]
        research.record_task(
            TaskRecord(task.id, spec.id, task.position, result.as_dict(), artefact_name(spec, task), clock.now_ms())
        )
        done += 1
        if on_progress is not None:
            on_progress(before + done, len(spec.tasks))

    jobs.run(CampaignWorker(bucket, spec), tasks, finished)


def evidence(spec: CampaignSpec, bucket: Bucket) -> Evidence:
    """The results of all tasks side by side. Raises `DataNotFound` where one is missing."""
    results = [stored_result(bucket, spec, task) for task in spec.tasks]
    missing = [str(task.position) for task, result in zip(spec.tasks, results, strict=True) if result is None]
    if missing:
        raise DataNotFound(f"campaign {spec.id} lacks task {', '.join(missing)}; go on with the same command")
    return Evidence.joined([result for result in results if result is not None])


def conclude(
    spec: CampaignSpec,
    prepared: PreparedAsset,
    *,
    bucket: Bucket,
    research: Research,
    clock: Clock,
) -> dict[str, Any]:
    """The decision with its statistical record, stored as the campaign's outcome; every variant becomes a trial on record."""
    record = research.campaign(spec.id)
    if record is not None and record.outcome is not None:
        return dict(record.outcome)
    found = evidence(spec, bucket)
    now_ms = clock.now_ms()
    research.record_trials(selection.trials(spec, found, now_ms))
    winner = found.best_candidate(spec.params.min_active_share)
    confirm: tuple[FloatArray, FloatArray] | None = None
    if winner is not None:
        confirm = _confirmation(prepared, spec, winner), _confirmation(prepared, spec, 0)
        write_once(bucket, _confirmation_name(spec), json.dumps([part.tolist() for part in confirm]).encode())
    known, campaigns = research.trials(spec.asset), research.campaigns(spec.asset)
    outcome = selection.outcome(spec, found, winner, confirm, known, campaigns, spec.significance)
    research.finish_campaign(spec.id, outcome, now_ms)
    return outcome


def confirmation(spec: CampaignSpec, bucket: Bucket) -> tuple[FloatArray, FloatArray] | None:
    """Daily returns of winner and incumbent in the confirmation of a concluded campaign, for its report."""
    stored = bucket.read(_confirmation_name(spec))
    if stored is None:
        return None
    winner, incumbent = (np.array(part, dtype=np.float64) for part in json.loads(stored.content))
    return winner, incumbent


def _confirmation_name(spec: CampaignSpec) -> str:
    return f"campaigns/{spec.id}/confirmation.json"


def _confirmation(prepared: PreparedAsset, spec: CampaignSpec, place: int) -> FloatArray:
    """Daily returns of a variant on the days that chose nothing."""
    system = spec.system(spec.variants[place])
    return window_returns(prepared, signal_path(prepared, system.strategy, system.risk), system, spec, spec.plan.confirm)[0]
