"""A whole campaign on one asset: freeze the data, fit the regimes, search where asked, do what is unfinished, decide.

Every step looks first whether its result is there: the same request after a kill, Ctrl-C or full disk goes on where it stopped,
and a finished campaign only shows what it found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.system import PreparedAsset, RegimeMode
from shared.calibration import campaign
from shared.calibration.campaign_data import freeze_market, write_once
from shared.calibration.folds import plan_folds
from shared.calibration.ml_params import DEFAULT_ML, MlParams
from shared.calibration.params import CampaignParams
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.spec import CampaignSpec
from shared.calibration.task import fit_models, load_prepared
from shared.domain.ids import content_id
from shared.domain.research import Champion
from shared.ports import Bucket, Clock, Jobs, Research
from shared.trading.params import SystemParams

Say = Callable[[str, int, int], None]
"""What is being done (`regimes`, `search`, `tasks`), how much of it is done, how much there is."""
OnPlan = Callable[[CampaignSpec], None]
"""Told the plan as soon as it is known."""


@dataclass(frozen=True, slots=True)
class CampaignPorts:
    """What a campaign needs of the outside."""

    bucket: Bucket
    research: Research
    jobs: Jobs
    clock: Clock


@dataclass(frozen=True, eq=False)
class CampaignRequest:
    """What somebody wants to know about one asset."""

    market: AssetMarket
    base: SystemParams
    account: BacktestParams
    params: CampaignParams
    significance: SignificanceParams
    start_ms: int
    end_ms: int
    code_version: str
    points: Sequence[Mapping[str, Any]] = ()
    """what is tried, as changes against `base`; not used where `search_trials` says to look for it"""
    search_trials: int = 0
    mode: RegimeMode = RegimeMode.HMM
    ml: MlParams = DEFAULT_ML
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FinishedCampaign:
    """A campaign with its decision."""

    spec: CampaignSpec
    outcome: Mapping[str, Any]
    regime: Mapping[str, Any]
    tasks_done: int
    """tasks that this call did"""
    tasks_known: int
    """tasks that were done before"""

    @property
    def promoted(self) -> bool:
        """Whether the winner passed every condition."""
        return bool(self.outcome["promoted"])


def run_campaign(
    request: CampaignRequest,
    ports: CampaignPorts,
    say: Say = lambda stage, done, total: None,
    on_plan: OnPlan = lambda spec: None,
) -> FinishedCampaign:
    """The campaign that answers `request`, continued or new. Errors: as `campaign.plan_campaign` and `Jobs.run`."""
    spec, prepared = register_campaign(request, ports, say, on_plan)
    todo = campaign.unfinished(spec, ports.bucket, ports.research)
    known = len(spec.tasks) - len(todo)
    say("tasks", known, len(spec.tasks))
    campaign.run_tasks(
        spec,
        todo,
        bucket=ports.bucket,
        research=ports.research,
        jobs=ports.jobs,
        clock=ports.clock,
        on_progress=lambda done, total: say("tasks", done, total),
    )
    outcome = campaign.conclude(
        spec,
        prepared,
        bucket=ports.bucket,
        research=ports.research,
        clock=ports.clock,
    )
    return FinishedCampaign(spec, outcome, campaign.regime_snapshot(prepared), len(todo), known)


def register_campaign(
    request: CampaignRequest,
    ports: CampaignPorts,
    say: Say = lambda stage, done, total: None,
    on_plan: OnPlan = lambda spec: None,
) -> tuple[CampaignSpec, PreparedAsset]:
    """Everything before the tasks: afterwards any process that has bucket and ledger can do them, by the campaign's id."""
    champion = challenged(request, ports.research)
    data = freeze_market(ports.bucket, request.market)
    prepared: PreparedAsset | None = None
    if request.search_trials:
        draft = _draft(request, data, champion)
        prepared = _prepared(draft, ports.bucket, say)
        request = replace(request, points=_searched(request, draft, prepared, ports.bucket, say))
    spec = planned(request, data, champion)
    on_plan(spec)
    prepared = prepared or _prepared(spec, ports.bucket, say)
    campaign.register(ports.research, spec, prepared, ports.clock)
    return spec, prepared


def challenged(request: CampaignRequest, research: Research) -> Champion | None:
    """The champion that the request's winner would replace. Raises `ConfigError` where it cannot be compared with it."""
    champion = next(iter(research.champions(request.market.asset, active=True)), None)
    campaign.incumbent_variant(request.base, champion, request.market.candles.interval)
    return champion


def planned(request: CampaignRequest, data: str, champion: Champion | None) -> CampaignSpec:
    """The campaign of a request whose points are known."""
    return campaign.plan_campaign(
        request.market.asset,
        request.market.candles.interval,
        data,
        request.points,
        base=request.base,
        account=request.account,
        params=request.params,
        start_ms=request.start_ms,
        end_ms=request.end_ms,
        code_version=request.code_version,
        champion=champion,
        mode=request.mode,
        ml=request.ml,
        significance=request.significance,
        origin=request.origin,
    )


def _draft(request: CampaignRequest, data: str, champion: Champion | None) -> CampaignSpec:
    """The campaign before its search: the same first training window, only the incumbent to try."""
    interval = request.market.candles.interval
    return CampaignSpec(
        asset=request.market.asset,
        interval=interval,
        data=data,
        start_ms=request.start_ms,
        end_ms=request.end_ms,
        plan=plan_folds(request.start_ms, request.end_ms, request.base.decision_bars, interval, request.params),
        base=request.base,
        variants=(campaign.incumbent_variant(request.base, champion, interval),),
        account=request.account,
        params=request.params,
        code_version=request.code_version,
        mode=request.mode,
        ml=request.ml,
    )


def _prepared(spec: CampaignSpec, bucket: Bucket, say: Say) -> PreparedAsset:
    fit_models(bucket, spec, lambda done, total: say("regimes", done, total))
    return load_prepared(bucket, spec)


def _searched(
    request: CampaignRequest, draft: CampaignSpec, prepared: PreparedAsset, bucket: Bucket, say: Say
) -> list[dict[str, Any]]:
    """The points of a search, kept in the bucket under what they depend on."""
    trials, window = request.search_trials, asdict(draft.plan.folds[0].train)
    settings = (asdict(request.account), asdict(request.ml), request.params.seed, request.params.search_startup)
    depends = (draft.data, request.base.version, *settings)
    name = f"campaigns/search/{content_id('s', *depends, window, trials, request.mode.value, request.code_version)}.json"
    if (stored := bucket.read(name)) is None:
        points = campaign.search_points(prepared, draft, trials, lambda done: say("search", done, trials))
        write_once(bucket, name, json.dumps(points).encode())
        return points
    known: list[dict[str, Any]] = json.loads(stored.content)
    return known
