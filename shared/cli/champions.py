"""`ost champions`: which parameters have earned an asset, how they earned it, how two of them differ, and promotion by hand.

Exit codes: 0 ok, 1 the ledger refuses or another promotion was faster, 2 an id that is not there or cannot be promoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import UsageError
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shared.calibration.champions import ChampionDiff, Change, Proposal
    from shared.config.settings import Settings
    from shared.domain.research import Champion
    from shared.ports import Research

app = typer.Typer(no_args_is_help=True, help="Champions: the parameters that earned an asset.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ChampionArgument = Annotated[str, typer.Argument(metavar="ID", help="A champion, or a symbol for its active one.")]


@app.callback()
def champions() -> None:
    """Champions: the parameters that earned an asset."""


@app.command("list")
def list_champions(
    asset: Annotated[str | None, typer.Option(help="Only this symbol, e.g. BTCUSDT.")] = None,
    active: Annotated[bool, typer.Option("--active", help="Only those in force.")] = False,
    as_json: JsonOption = False,
) -> None:
    """All champions, oldest first.

    Example: ost champions list --active
    """
    from shared.cli import output, wiring
    from shared.cli.research_market import parse_symbols

    wanted = parse_symbols(asset)
    found = wiring.research(wiring.settings()).champions(active=active)
    shown = [champion for champion in found if not wanted or champion.asset.symbol in wanted]
    output.emit([_row(champion) for champion in shown], as_json, view=None if as_json else _list_view(shown))


@app.command()
def show(
    champion: ChampionArgument,
    as_settings: Annotated[
        bool, typer.Option("--settings", help="Print it as a settings file, to trade it: ost --config FILE run.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """One champion: parameters, baseline, the test that it passed, where it comes from.

    Example: ost champions show BTCUSDT

    Example: ost champions show BTCUSDT --settings > btc.yaml && ost --config btc.yaml run
    """
    from shared.cli import output, wiring

    found = _find(wiring.research(wiring.settings()), champion)
    if as_settings:
        from shared.calibration.champions import settings_of

        settings = settings_of(found)
        # A file, not text for people: nothing may wrap its lines.
        typer.echo(output.to_json(settings) if as_json else _yaml(found, settings))
        return
    output.emit({**_row(found), **_record(found)}, as_json, view=None if as_json else _champion_view(found))


@app.command()
def diff(before: ChampionArgument, after: ChampionArgument, as_json: JsonOption = False) -> None:
    """What differs between two champions: parameters, metrics, tests.

    Example: ost champions diff champion-abcd BTCUSDT
    """
    from shared.calibration.champions import differences
    from shared.cli import output, wiring

    research = wiring.research(wiring.settings())
    found = differences(_find(research, before), _find(research, after))
    output.emit(found.as_dict(), as_json, view=None if as_json else _diff_view(found))


@app.command()
def promote(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="A concluded campaign (its winner), or a former champion.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    as_json: JsonOption = False,
) -> None:
    """Make it the active champion of its asset, by hand. The one before is deactivated in the same transaction.

    A winner that did not pass the promotion rule can be promoted all the same: that is recorded, and said.

    Example: ost champions promote k-abcd --reason "the only change is a wider stop"
    """
    from shared.cli import output, wiring

    if not reason.strip():
        raise UsageError("--reason is empty; say why, it is kept with the champion")
    settings = wiring.settings()
    research = wiring.research(settings)
    proposal = _proposal(settings, research, wanted, reason.strip())
    before = research.promote(proposal.champion, wiring.clock().now_ms())
    for warning in proposal.warnings:
        output.note(f"warning: {warning}")
    data = {
        "champion": proposal.champion.id,
        "asset": str(proposal.champion.asset),
        "deactivated": None if before is None else before.id,
        "warnings": list(proposal.warnings),
    }
    replaced = "" if before is None else f", in the place of {before.id}"
    output.emit(data, as_json, view=f"{proposal.champion.id} is the champion of {proposal.champion.asset.symbol} now{replaced}")


def _proposal(settings: Settings, research: Research, wanted: str, reason: str) -> Proposal:
    from shared.calibration.champions import HAND, propose, restore
    from shared.calibration.recalibration import winner_returns
    from shared.calibration.spec import CampaignSpec
    from shared.cli import wiring

    now_ms = wiring.clock().now_ms()
    former, record = research.champion(wanted), research.campaign(wanted)
    if record is None and former is None:
        raise UsageError(f"there is no campaign and no champion {wanted!r}; see `ost campaign list` and `ost champions list`")
    if record is not None:
        active = next(iter(research.champions(record.asset, active=True)), None)
        returns = None
        if record.outcome is not None:
            returns = winner_returns(CampaignSpec.from_dict(record.spec), record.outcome, wiring.bucket(settings))
        proposal = propose(record, returns, by=HAND, reason=reason, now_ms=now_ms, active=active, costs=settings.costs)
        former = research.champion(proposal.champion.id)
        if former is None:
            return proposal
    assert former is not None  # noqa: S101 - for the type checker
    active = next(iter(research.champions(former.asset, active=True)), None)
    return restore(former, active=active, reason=reason, now_ms=now_ms)


def _find(research: Research, wanted: str) -> Champion:
    """A champion by id, or the active one of a symbol. Raises `UsageError`."""
    active = [champion for champion in research.champions(active=True) if champion.asset.symbol == wanted.upper()]
    found = active[0] if active else research.champion(wanted)
    if found is None:
        raise UsageError(f"there is no champion {wanted!r}; see `ost champions list`")
    return found


def _yaml(champion: Champion, settings: Mapping[str, Any]) -> str:
    """A settings file. A run starts with it as with any other; what it does not name keeps its default."""
    import yaml

    head = f"# Champion {champion.id}\n# of {champion.asset}, {champion.interval} bars, parameters {champion.params_version}\n"
    return (head + yaml.safe_dump(dict(settings), sort_keys=False)).rstrip()


def _row(champion: Champion) -> dict[str, Any]:
    return {
        "id": champion.id,
        "asset": str(champion.asset),
        "interval": champion.interval.value,
        "active": champion.active,
        "params_version": champion.params_version,
        "sharpe_annual": _annual(champion.metrics.get("sharpe_daily")),
        "days": champion.metrics.get("days"),
        "by": champion.lineage.get("by", "campaign"),
        "created": format_ms(champion.created_ms),
        "activated": None if champion.activated_ms is None else format_ms(champion.activated_ms),
        "deactivated": None if champion.deactivated_ms is None else format_ms(champion.deactivated_ms),
        "reason": champion.reason,
    }


def _record(champion: Champion) -> dict[str, Any]:
    return {
        "params": champion.params,
        "metrics": champion.metrics,
        "trained_on_regime": champion.trained_on_regime,
        "statistical_test": champion.statistical_test,
        "lineage": champion.lineage,
    }


def _list_view(found: list[Champion]) -> RenderableType:
    from rich.markup import escape

    from shared.cli import output

    if not found:
        return "no champion yet. A campaign can find one: ost campaign --promote"
    columns = ("champion", "asset", "state", "annual Sharpe", "days", "by", "since", "reason")
    rows = [
        (
            row["id"][:16],  # a unique prefix is enough for `champions show`
            champion.asset.symbol,
            "active" if champion.active else f"until {row['deactivated']}",
            _text(row["sharpe_annual"]),
            row["days"],
            row["by"],
            row["activated"],
            escape(champion.reason),
        )
        for champion in found
        for row in (_row(champion),)
    ]
    return output.table(columns, rows, right=("annual Sharpe", "days"))


def _champion_view(champion: Champion) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output

    facts = [(name, "" if value is None else escape(_text(value))) for name, value in _row(champion).items() if name != "id"]
    facts += [(f"lineage: {name}", escape(str(value))) for name, value in champion.lineage.items() if value is not None]
    parts: list[Any] = [output.table(("champion", champion.id), facts)]
    for title, values in (("parameter", champion.params), ("metric", champion.metrics), ("regime", champion.trained_on_regime)):
        rows = [(name, escape(_text(value))) for name, value in values.items()]
        parts.append(output.table((title, "value"), rows) if rows else f"{title}s: as the defaults")
    conditions = champion.statistical_test.get("conditions") or ()
    rows_ = [(c["name"], "yes" if c["passed"] else "NO", _text(c["value"]), _text(c["threshold"])) for c in conditions]
    parts.append(output.table(("condition", "passed", "value", "threshold"), rows_) if rows_ else "no statistical test")
    return Group(*parts)


def _diff_view(found: ChampionDiff) -> RenderableType:
    from rich.console import Group

    from shared.cli import output

    parts = []
    for title, changes in (("parameter", found.params), ("metric", found.metrics), ("condition", found.tests)):
        columns = (title, found.before[:16], found.after[:16])
        parts.append(output.table(columns, map(_change, changes)) if changes else f"the same {title}s")
    return Group(*parts)


def _change(change: Change) -> tuple[str, str, str]:
    from rich.markup import escape

    return change.name, escape(_text(change.before)), escape(_text(change.after))


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _annual(value: float | None) -> float | None:
    from shared.monitor.statistics import YEAR_ROOT

    return value * YEAR_ROOT if isinstance(value, int | float) else None
