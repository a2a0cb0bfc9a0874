"""`ost recalibrate`: bring recalibration events to their end: a campaign, then a champion or "no significant improvement".

The same command goes on where a killed one stopped. Exit codes: 0 whatever the campaign decides, 1 where one failed (its error
is in the ledger, and it may run again), 2 usage.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.recalibrate_views import row, view
from shared.domain.asset import Asset
from shared.domain.errors import NotEnoughData, OstError, UsageError
from shared.domain.interval import DAY_MS, format_ms, parse_date_ms

if TYPE_CHECKING:
    from shared.calibration.run import CampaignPorts, CampaignRequest
    from shared.config.settings import Settings
    from shared.domain.research import RecalibrationEvent
    from shared.ports import Ledger, Research

_REASON = "asked for by hand"


def recalibrate(
    asset: Annotated[str | None, typer.Option(help="This symbol: its waiting event, or a new one by hand.")] = None,
    event: Annotated[str | None, typer.Option(help="This event; a unique beginning of its id is enough.")] = None,
    reason: Annotated[str | None, typer.Option(help=f"Why, for a new event by hand (default: {_REASON!r}).")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with candles (default: the venue; a generated market is refused).")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="First day of the campaign (default: monitor.history_days before its end).")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Day after the last one, for a new event by hand (default: the end of the candles).")
    ] = None,
    search: Annotated[int | None, typer.Option(help="Let Optuna look for so many variants.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes (default: one for each processor).", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Tune again where the monitor, or you, found a reason; promote only what passes the promotion rule.

    Without --asset or --event: every event that waits, was interrupted, or failed last.

    Example: ost recalibrate --asset BTCUSDT --data ../shared/data/ohlcv/binance_usdm --dry-run
    """
    from shared.adapters.local.jobs import ProcessJobs
    from shared.calibration.run import CampaignPorts
    from shared.cli import output, wiring
    from shared.domain.research import FINAL

    settings = wiring.settings()
    ledger, research = wiring.ledger(settings), wiring.research(settings)
    events = _events(settings, ledger, research, asset, event, end, reason, data)
    if data is None and any(one.status not in FINAL for one in events):
        _check_venue(settings)  # now, and not as the failure of an event
    jobs = ProcessJobs(workers or os.cpu_count() or 1)
    ports = CampaignPorts(wiring.bucket(settings), research, jobs, wiring.clock())
    rows, problems = [], []
    for one in events:
        try:
            rows.append(_one(settings, ledger, ports, one, data, start, search, dry_run=dry_run))
        except OstError as error:
            problems.append(_prefixed(one.asset.symbol, str(error)))
    if as_json or rows or not problems:
        shown = None if as_json else view(rows, dry_run=dry_run)
        output.emit({"recalibrations": rows, "problems": problems}, as_json, view=shown)
    for problem in problems:
        output.print_error(problem)
    if problems:
        raise typer.Exit(1)


def _events(
    settings: Settings,
    ledger: Ledger,
    research: Research,
    symbol: str | None,
    wanted: str | None,
    end: str | None,
    reason: str | None,
    data: Path | None,
) -> list[RecalibrationEvent]:
    """What there is to do. Raises `UsageError`."""
    from shared.calibration.recalibration import data_end_ms, manual_event
    from shared.cli import wiring
    from shared.domain.research import unfinished_events
    from shared.monitor.watch import regime_snapshot

    if symbol is not None and wanted is not None:
        raise UsageError("--asset and --event both say what to do; give one of them")
    if symbol is None and (end is not None or reason is not None):
        raise UsageError("--end and --reason are for a new event by hand; name its --asset as well")
    known = research.recalibrations()
    if wanted is not None:
        found = [one for one in known if one.id == wanted] or [one for one in known if wanted and one.id.startswith(wanted)]
        if len(found) != 1:
            some = " ".join(one.id for one in (found or known)[-5:])
            raise UsageError(
                f"{wanted!r} is {'the start of several events' if found else 'no event'}; there is: {some or 'none'}"
            )
        return found
    waiting = unfinished_events(known)
    if symbol is None:
        return waiting
    asset = Asset(settings.universe.venue, symbol.strip().upper())
    own = [one for one in waiting if one.asset == asset]
    if own and end is None and reason in (None, own[-1].measured.get("reason")):  # the same command goes on
        return own[-1:]
    if own and own[-1].status != "failed":
        raise UsageError(
            f"{own[-1].id} waits already and ends at {format_ms(data_end_ms(own[-1]))[:10]}; leave --end and --reason out"
        )
    books = [book.book for book in ledger.books()]
    states = [state for book in books if (state := ledger.last_regime(book, asset)) is not None]
    newest = max(states, key=lambda state: state.bar_close_ms, default=None)
    end_ms = _newest_day_ms(settings, asset, data) if end is None else parse_date_ms(end)
    return [manual_event(asset, wiring.clock().now_ms(), regime_snapshot(newest), reason or _REASON, end_ms)]


def _newest_day_ms(settings: Settings, asset: Asset, data: Path | None) -> int:
    """End of the newest complete day of an asset's candles. Raises `UsageError` for a generated market."""
    from shared.cli import output
    from shared.cli.market_source import resolve

    if data is None:
        _check_venue(settings)
    days = settings.monitor.history_days
    source = resolve(settings, settings.interval, data=data, symbols=(asset.symbol,), days=days, say=output.note)
    return source.spans[asset.symbol][1] // DAY_MS * DAY_MS


def _check_venue(settings: Settings) -> None:
    """Raise `UsageError` where candles could only be generated: nothing that trades may be decided on them."""
    from shared.cli.market_source import venue_problem

    reason = venue_problem(settings)
    if reason is not None:
        raise UsageError(f"{reason}; a recalibration needs recorded candles: name a folder with --data DIR, or try again later")


def _prefixed(symbol: str, problem: str) -> str:
    """The problem with the symbol in front, once."""
    return problem if problem.startswith(f"{symbol}:") else f"{symbol}: {problem}"


def _one(
    settings: Settings,
    ledger: Ledger,
    ports: CampaignPorts,
    event: RecalibrationEvent,
    data: Path | None,
    start: str | None,
    search: int | None,
    *,
    dry_run: bool,
) -> dict[str, Any]:
    from shared.calibration.recalibration import ledger_log
    from shared.calibration.recalibration import recalibrate as run
    from shared.cli import output
    from shared.domain.research import FINAL

    def request() -> CampaignRequest:
        return _request(settings, event, data, start, search)

    if dry_run:
        return row(event, {}) if event.status in FINAL else _plan(ports, event, request())
    ports.research.record_recalibration(event)
    with output.progress(unit="") as bar:
        stages: dict[str, Any] = {}

        def say(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(f"{event.asset.symbol} {stage}", total=total, detail="")
            bar.update(stages[stage], completed=done, total=total)

        done = run(event, request, ports, ledger_log(ledger, event, ports.clock), say)
    return row(done.event, {"campaign": done.campaign, "champion": done.champion, "reason": done.reason})


def _request(
    settings: Settings, event: RecalibrationEvent, data: Path | None, start: str | None, search: int | None
) -> CampaignRequest:
    """The campaign of an event: the days up to the one that it names, so that a later run asks the same."""
    from shared.calibration.campaign import lookback_bars
    from shared.calibration.grids import default_points
    from shared.calibration.recalibration import data_end_ms
    from shared.cli.campaign_request import campaign_request
    from shared.cli.research_market import load_markets

    end_ms = data_end_ms(event) // DAY_MS * DAY_MS
    points = [] if search else default_points(settings.system)
    found = load_markets(
        settings,
        data=data,
        symbols=(event.asset.symbol,),
        start=start or format_ms(end_ms - settings.monitor.history_days * DAY_MS)[:10],
        end=format_ms(end_ms)[:10],
        warmup_bars=lookback_bars(settings.system, points),
    )
    market = next((market for market in found.markets if market.asset == event.asset), None)
    if market is None:
        raise NotEnoughData("\n".join(found.problems) or f"there are no candles of {event.asset}")
    origin = {"variants": "search" if search else "default grid"}
    period = (found.start_ms, found.end_ms)
    return campaign_request(settings, market, period, found.label, points=points, search=search, origin=origin)


def _plan(ports: CampaignPorts, event: RecalibrationEvent, request: CampaignRequest) -> dict[str, Any]:
    """What a run would do, computed without writing."""
    from dataclasses import replace

    from shared.calibration.campaign import unfinished
    from shared.calibration.campaign_data import data_id
    from shared.calibration.run import planned

    campaign: dict[str, Any] = {"start": format_ms(request.start_ms), "end": format_ms(request.end_ms)}
    if request.search_trials:
        campaign["variants"] = f"search of {request.search_trials}"
    else:
        active = next(iter(ports.research.champions(event.asset, active=True)), None)
        origin = {**request.origin, "recalibration": event.id}
        spec = planned(replace(request, origin=origin), data_id(request.market), active)
        todo = unfinished(spec, ports.bucket, ports.research)
        campaign |= {"id": spec.id, "variants": len(spec.variants), "folds": len(spec.plan.folds)}
        campaign |= {"test_days": spec.plan.test_days, "confirm_days": spec.plan.confirm.days}
        campaign |= {"tasks": len(spec.tasks), "tasks_to_do": len(todo)}
    return row(event, {"plan": campaign})
