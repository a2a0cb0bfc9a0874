"""`ost campaign`: walk-forward campaigns from the command line; `list` and `show` what they found.

The same command continues a campaign that was interrupted: what it computes is its identity. Exit code 0 whatever the decision
is: "no significant improvement" is a result.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.ports import Jobs, Research

app = typer.Typer(invoke_without_command=True, help="Walk-forward campaigns over parameter variants.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AssetOption = Annotated[
    list[str] | None,
    typer.Option("--asset", help="Symbol, e.g. BTCUSDT; repeat it or join by commas (default: the configured universe)."),
]


@app.callback(invoke_without_command=True)
def campaign(
    context: typer.Context,
    asset: AssetOption = None,
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD (default: as early as the data allow).")] = None,
    end: Annotated[str | None, typer.Option(help="Day after the last one, YYYY-MM-DD (default: all data).")] = None,
    walk_forward_window: Annotated[int | None, typer.Option(help="Days of each training window.", min=30)] = None,
    test_window: Annotated[int | None, typer.Option(help="Days of each test window.", min=5)] = None,
    cost_bps: Annotated[
        float | None,
        typer.Option(
            help="Fee and half-spread of every fill together, bps of notional; impact and funding come on top.", min=0
        ),
    ] = None,
    variants: Annotated[Path | None, typer.Option(help="YAML or JSON: a grid `name: [values]` or a list of variants.")] = None,
    search: Annotated[
        int | None, typer.Option(help="Let Optuna look for so many variants in the first training window.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with candles (default: the venue, else a generated market).")
    ] = None,
    regime: Annotated[str, typer.Option(help="Who says what the regime is: hmm, jump or off.")] = "hmm",
    workers: Annotated[int | None, typer.Option(help="Processes (default: one for each processor).", min=1)] = None,
    backend: Annotated[
        str, typer.Option(help="processes, joblib, or joblib:NAME for a backend that is registered there (dask, ray).")
    ] = "processes",
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Register the campaigns and stop: `python -m cloudrun.campaign ID` does tasks.")
    ] = False,
    promote: Annotated[bool, typer.Option("--promote", help="Make a winner that passes every condition the champion.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Try parameter variants walk-forward and decide whether one of them deserves to replace the champion.

    Example: ost campaign --asset BTCUSDT --start 2021-01-01 --end 2025-01-01 --walk-forward-window 365 --cost-bps 6
    """
    if context.invoked_subcommand is not None:
        return
    from shared.cli import campaign_run, campaign_views, output, wiring

    if variants is not None and search is not None:
        raise UsageError("--variants and --search both say what to try; give one of them")
    overrides: dict[str, float | None] = {"campaign.train_days": walk_forward_window, "campaign.test_days": test_window}
    if cost_bps is not None:
        overrides |= {"costs.taker_fee_bps": cost_bps, "costs.maker_fee_bps": cost_bps, "costs.half_spread_bps": 0.0}
    settings = wiring.settings(overrides)
    wanted = campaign_run.Wanted(asset, start, end, variants, search, data, regime, promote, plan_only)
    finished = campaign_run.run_all(settings, wanted, _jobs(backend, workers))
    view = campaign_views.plans if plan_only else campaign_views.decisions
    output.emit({"campaigns": finished.campaigns, "problems": finished.problems}, as_json, view=view(finished.campaigns))
    for problem in finished.problems:
        output.print_error(problem)
    if finished.problems:
        raise typer.Exit(1)


@app.command("list")
def list_(asset: AssetOption = None, as_json: JsonOption = False) -> None:
    """All campaigns, oldest first.

    Example: ost campaign list --asset BTCUSDT
    """
    from shared.cli import campaign_views, output, wiring
    from shared.cli.research_market import parse_symbols

    settings = wiring.settings()
    symbols = parse_symbols(",".join(asset) if asset else None)
    records = [record for record in wiring.research(settings).campaigns() if not symbols or record.asset.symbol in symbols]
    rows = [campaign_views.listed(record) for record in records]
    output.emit(rows, as_json, view=campaign_views.list_table(rows))


@app.command()
def show(
    campaign_id: Annotated[str, typer.Argument(help="Id of a campaign; a unique beginning is enough.")],
    report: Annotated[Path | None, typer.Option(help="Write the HTML report here as well.")] = None,
    as_json: JsonOption = False,
) -> None:
    """One campaign: its folds, variants, and what promotion needed.

    Example: ost campaign show k-7h2
    """
    from shared.cli import campaign_views, output, wiring
    from shared.cli.run_report import write_report
    from shared.domain.errors import DataNotFound

    settings = wiring.settings()
    record = _research(settings).campaign(campaign_id)
    if record is None:
        raise DataNotFound(f"there is no campaign {campaign_id}; `ost campaign list` shows them")
    output.emit(campaign_views.shown(record), as_json, view=None if as_json else campaign_views.campaign_view(record))
    if report is not None:
        from shared.calibration.report import render

        write_report(report, render(record, wiring.bucket(settings)))
        output.note(f"report: {report}")


def _research(settings: Settings) -> Research:
    from shared.cli import wiring

    return wiring.research(settings)


def _jobs(backend: str, workers: int | None) -> Jobs:
    """The pool that `--backend` names. Raises `UsageError`."""
    import os

    from shared.adapters.local.joblib_jobs import JoblibJobs
    from shared.adapters.local.jobs import ProcessJobs

    count = workers or os.cpu_count() or 1
    name, _, inner = backend.partition(":")
    if name == "processes" and not inner:
        return ProcessJobs(count)
    if name == "joblib":
        return JoblibJobs(count, inner or "loky")
    raise UsageError(f"--backend {backend}; expected processes, joblib or joblib:NAME")
