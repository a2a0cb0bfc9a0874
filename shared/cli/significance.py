"""`ost significance null|power`: how often the promotion rule is wrong, and how often it finds what is better, by simulation.

Campaigns are drawn from a known truth and judged by the rule that real campaigns face, beside the plain rules of the reference
documents. Nothing is read or stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shared.calibration.significance.simulate import Scenario, Simulation

app = typer.Typer(no_args_is_help=True, help="How often the promotion rule errs, by simulation.")

Campaigns = Annotated[int, typer.Option(help="Campaigns to simulate.", min=1)]
Variants = Annotated[int, typer.Option(help="Variants that each campaign tries.", min=2)]
Days = Annotated[int, typer.Option(help="Out-of-sample days that choose the winner.", min=30)]
ConfirmDays = Annotated[int, typer.Option(help="Days that chose nothing and confirm it.", min=30)]
Sharpe = Annotated[
    float, typer.Option(help="True annual Sharpe ratio of the champion and of every variant that is not better.")
]
Correlation = Annotated[float, typer.Option(help="Correlation of any two return series.", min=0.0, max=0.999)]
Leverage = Annotated[float, typer.Option(help="Largest size of a variant, as a multiple of the champion's.", min=1.0)]
ProcessOption = Annotated[str, typer.Option("--process", help="iid: normal; garch: fat tails and clustered volatility.")]
Seed = Annotated[int | None, typer.Option(help="Of everything random (default: the setting run.seed).", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback()
def significance() -> None:
    """How often the promotion rule errs, by simulation."""


@app.command()
def null(
    campaigns: Campaigns = 500,
    variants: Variants = 50,
    days: Days = 1095,
    confirm_days: ConfirmDays = 365,
    sharpe: Sharpe = 1.0,
    correlation: Correlation = 0.8,
    leverage: Leverage = 1.0,
    process: ProcessOption = "garch",
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """False promotions: no variant is better than the champion, so every promotion is a mistake.

    Example: ost significance null --campaigns 500 --variants 50 --seed 7
    """
    _run(
        campaigns,
        seed,
        as_json,
        variants=variants,
        days=days,
        confirm_days=confirm_days,
        sharpe=sharpe,
        correlation=correlation,
        leverage=leverage,
        process=process,
    )


@app.command()
def power(
    campaigns: Campaigns = 500,
    variants: Variants = 50,
    days: Days = 1095,
    confirm_days: ConfirmDays = 365,
    sharpe: Sharpe = 1.0,
    better_by: Annotated[float, typer.Option(help="How much higher the annual Sharpe ratio of one variant is.", min=0.0)] = 1.0,
    correlation: Correlation = 0.8,
    process: ProcessOption = "garch",
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Right promotions: one variant has a higher Sharpe ratio than the champion; the others equal it.

    Example: ost significance power --better-by 1.0 --days 1095 --confirm-days 1095
    """
    _run(
        campaigns,
        seed,
        as_json,
        variants=variants,
        days=days,
        confirm_days=confirm_days,
        sharpe=sharpe,
        better_by=better_by,
        correlation=correlation,
        process=process,
    )


def _run(campaigns: int, seed: int | None, as_json: bool, *, process: str, **truth: Any) -> None:
    """Simulate and print, with progress on standard error. `truth`: further fields of `Scenario`."""
    from shared.calibration.significance.simulate import quick, simulate
    from shared.cli import output, wiring

    settings = wiring.settings()
    scenario = _scenario(process, truth)
    with output.progress(unit="", transient=True) as display:
        task = display.add_task("campaigns", total=campaigns, detail="")
        found = simulate(
            scenario,
            quick(settings.significance),
            campaigns=campaigns,
            seed=settings.run.seed if seed is None else seed,
            on_progress=lambda done, _: display.update(task, completed=done),
        )
    output.emit(found, as_json, view=_view(found))


def _scenario(process: str, truth: dict[str, Any]) -> Scenario:
    from shared.calibration.significance.simulate import Process, Scenario
    from shared.domain.errors import UsageError

    if process not in list(Process):
        raise UsageError(f"process {process!r} is unknown; expected {' or '.join(Process)}")
    return Scenario(**truth, process=Process(process))


def _view(found: Simulation) -> RenderableType:
    from rich.console import Group

    from shared.cli import output

    scenario = found.scenario
    title = (
        f"{found.campaigns} campaigns of {scenario.variants} variants, {scenario.days} + {scenario.confirm_days} days, "
        f"Sharpe {scenario.sharpe:g}, one better by {scenario.better_by:g}, correlation {scenario.correlation:g}, "
        f"leverage up to {scenario.leverage:g}, {scenario.process.value}"
    )
    rows = [(rate.name, rate.count, f"{rate.rate:.1%}", f"{rate.low:.1%} – {rate.high:.1%}") for rate in found.rates]
    numbers = ("campaigns", "share", "95 % interval")
    table = output.table(("what happened", *numbers), rows, title=title, right=numbers)
    gains = (
        f"annual Sharpe gain of the winner: {found.mean_apparent_gain:+.2f} on the days that chose it, "
        f"{found.mean_confirmed_gain:+.2f} on days that chose nothing; mean PBO {found.mean_pbo:.2f}"
    )
    return Group(table, gains)
