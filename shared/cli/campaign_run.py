"""What `ost campaign` does: markets, variants, one campaign for each asset, reports, and a table of the decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.backtest.system import RegimeMode
from shared.calibration import campaign as planning
from shared.calibration.champions import CAMPAIGN, propose
from shared.calibration.eligibility import measured_otherwise
from shared.calibration.grids import default_points
from shared.calibration.recalibration import winner_returns
from shared.calibration.report import render
from shared.calibration.run import CampaignPorts, CampaignRequest, FinishedCampaign, challenged, register_campaign, run_campaign
from shared.calibration.spec import CampaignSpec
from shared.calibration.variants import as_variants
from shared.cli import output, wiring
from shared.cli.campaign_request import campaign_request
from shared.cli.research_market import ResearchMarkets, load_markets, parse_symbols
from shared.cli.run_report import write_report
from shared.cli.variants_file import read_points
from shared.domain.errors import DataError, StorageError, UsageError

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.domain.research import CampaignRecord
    from shared.ports import Jobs


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of the command."""

    assets: Sequence[str] | None
    start: str | None
    end: str | None
    variants: Path | None
    search: int | None
    data: Path | None
    regime: str
    promote: bool
    plan_only: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Done:
    """One campaign and what was made of it."""

    finished: FinishedCampaign
    report: Path | None
    """`None` where the disk refused it"""
    champion: str | None
    """id of the champion that it made"""


@dataclass(frozen=True, eq=False, slots=True)
class AllDone:
    """What a command says of each of its campaigns, and what kept the others from being run."""

    campaigns: tuple[Mapping[str, Any], ...]
    problems: tuple[str, ...]


def run_all(settings: Settings, wanted: Wanted, jobs: Jobs) -> AllDone:
    """One campaign for each asset, or with `plan_only` its plan.

    An asset whose data do not do, or whose results the disk does not take, is named; the others go on. Raises `ConfigError`
    before the first one runs where a champion cannot be challenged by what is asked.
    """
    if wanted.promote:
        _refuse_promotion(settings, wanted)
    found, requests = _requests(settings, wanted)
    ports = CampaignPorts(wiring.bucket(settings), wiring.research(settings), jobs, wiring.clock())
    for request in requests:
        challenged(request, ports.research)
    done: list[dict[str, Any]] = []
    problems = list(found.problems)
    for request in requests:
        try:
            if wanted.plan_only:
                done.append(_plan(request, ports))
            else:
                done.append(summarised(_one(settings, request, ports, wanted, problems)))
        except (DataError, StorageError) as error:
            problems.append(f"{request.market.asset.symbol}: {error}")
        except KeyboardInterrupt:
            output.note("stopped; what is finished is kept: the same command goes on where this one ended")
            raise
    return AllDone(tuple(done), tuple(problems))


def _plan(request: CampaignRequest, ports: CampaignPorts) -> dict[str, Any]:
    """Register the campaign: id and number of tasks."""
    spec, _ = register_campaign(request, ports, on_plan=_warn)
    return {"asset": str(spec.asset), "id": spec.id, "tasks": len(spec.tasks)}


def _warn(spec: CampaignSpec) -> None:
    """Say before the work that its days cannot be enough for a promotion."""
    for shortfall in spec.shortfalls():
        output.note(f"warning: {spec.asset.symbol}: {shortfall}; whatever the campaign finds, nothing can be promoted")


def _refuse_promotion(settings: Settings, wanted: Wanted) -> None:
    """Raise `UsageError` where a winner could not be promoted, before anything runs."""
    if wanted.plan_only:
        raise UsageError(
            "--plan-only decides nothing, so there is nothing to promote; give --promote with the command that decides"
        )
    otherwise = measured_otherwise(_mode(wanted.regime), settings.costs, wiring.settings().costs)
    if otherwise:
        raise UsageError(
            f"--promote: the winner would not be promoted: {'; '.join(otherwise)}. Leave --promote out; a person who knows why "
            "may promote the winner with `ost champions promote`"
        )


def _requests(settings: Settings, wanted: Wanted) -> tuple[ResearchMarkets, list[CampaignRequest]]:
    """The markets, and what is asked of each of them."""
    mode = _mode(wanted.regime)
    points, origin = _points(settings, wanted)
    if points:
        as_variants(settings.system, points, limit=settings.campaign.max_variants)  # before any data is fetched
    found = load_markets(
        settings,
        data=wanted.data,
        symbols=parse_symbols(",".join(wanted.assets) if wanted.assets else None),
        start=wanted.start,
        end=wanted.end,
        warmup_bars=planning.lookback_bars(settings.system, points),
    )
    period = (found.start_ms, found.end_ms)
    requests = [
        campaign_request(settings, market, period, found.label, points=points, search=wanted.search, origin=origin, mode=mode)
        for market in found.markets
    ]
    return found, requests


def _one(settings: Settings, request: CampaignRequest, ports: CampaignPorts, wanted: Wanted, problems: list[str]) -> Done:
    symbol = request.market.asset.symbol
    with output.progress(unit="") as bar:
        stages: dict[str, Any] = {}

        def say(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(f"{symbol} {stage}", total=total, detail="")
            bar.update(stages[stage], completed=done, total=total)

        finished = run_campaign(request, ports, say, on_plan=_warn)
    output.note(
        f"{symbol}: campaign {finished.spec.id}: {finished.tasks_done} tasks done now, {finished.tasks_known} before; "
        f"{finished.outcome['reason']}"
    )
    record = ports.research.campaign(finished.spec.id)
    if record is None:
        raise DataError(f"campaign {finished.spec.id} has left the ledger while it ran; run the command again")
    path = settings.storage.root / "reports" / f"campaign-{finished.spec.id}.html"
    report: Path | None = path
    try:
        _write_report(path, record, ports)
    except StorageError as error:
        problems.append(f"{symbol}: {error}")
        report = None
    champion = _promoted(record, finished, ports) if wanted.promote and finished.promoted else None
    return Done(finished, report, champion)


def _write_report(path: Path, record: CampaignRecord, ports: CampaignPorts) -> None:
    advice = f"the decision is kept: make room, then `ost campaign show {record.id} --report FILE` writes it"
    write_report(path, render(record, ports.bucket), advice)


def _promoted(record: CampaignRecord, finished: FinishedCampaign, ports: CampaignPorts) -> str:
    """Make the winner the champion, in one transaction with the end of its predecessor."""
    now_ms, reason = ports.clock.now_ms(), str(finished.outcome["reason"])
    active = next(iter(ports.research.champions(record.asset, active=True)), None)
    returns = winner_returns(finished.spec, finished.outcome, ports.bucket)
    costs = wiring.settings().costs  # without the costs that this command was asked to assume
    champion = propose(record, returns, by=CAMPAIGN, reason=reason, now_ms=now_ms, active=active, costs=costs).champion
    ports.research.promote(champion, now_ms)
    return champion.id


def _mode(text: str) -> RegimeMode:
    try:
        return RegimeMode(text)
    except ValueError:
        raise UsageError(f"--regime {text}; expected {', '.join(mode.value for mode in RegimeMode)}") from None


def _points(settings: Settings, wanted: Wanted) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is tried, and where that comes from."""
    if wanted.search is not None:
        if not 1 <= wanted.search <= settings.campaign.max_variants:
            raise UsageError(f"--search {wanted.search}; expected 1 to {settings.campaign.max_variants}")
        return [], {"variants": "search", "trials": wanted.search}
    if wanted.variants is None:
        return default_points(settings.system), {"variants": "default grid"}
    return read_points(wanted.variants, settings.campaign.max_variants), {"variants": "file"}


def summarised(done: Done) -> dict[str, Any]:
    """One campaign for `--json`."""
    finished = done.finished
    return {
        "id": finished.spec.id,
        "asset": str(finished.spec.asset),
        "promoted": finished.promoted,
        "reason": finished.outcome["reason"],
        "champion": done.champion,
        "report": None if done.report is None else str(done.report),
        "tasks": {"done_now": finished.tasks_done, "done_before": finished.tasks_known},
        "regime": finished.regime,
        "outcome": finished.outcome,
    }
