"""`ost dataset`: immutable labelled versions of the lake's raw and curated objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.output import to_json
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from shared.data.dataset_diff import DatasetDiff
    from shared.data.datasets import Snapshot

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

app = typer.Typer(no_args_is_help=True, help="Immutable labelled versions of the market data.")


@app.callback()
def dataset() -> None:
    """Immutable labelled versions of the market data."""


@app.command()
def snapshot(
    label: Annotated[str, typer.Argument(help="Name of the version: letters, digits, '.', '-', '_'.")],
    contains: Annotated[str, typer.Option(help="Keep only objects whose name contains this, e.g. BTCUSDT or /1h/.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Keep the raw and curated data of now under a label, for ever.

    Example: ost dataset snapshot before-tuning
    """
    from shared.cli import wiring
    from shared.data.datasets import take_snapshot

    bucket = wiring.bucket(wiring.settings())
    taken = take_snapshot(bucket, label, code_version=_code_version(), now_ms=wiring.clock().now_ms(), contains=contains)
    typer.echo(to_json(taken) if as_json else _summary(taken))


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """All versions, oldest first.

    Example: ost dataset list
    """
    from shared.cli import wiring
    from shared.data.datasets import list_snapshots

    snapshots = list_snapshots(wiring.bucket(wiring.settings()))
    if as_json:
        typer.echo(to_json(snapshots))
    else:
        typer.echo("\n".join(map(_summary, snapshots)) or "no versions yet; make one with: ost dataset snapshot LABEL")


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="Label of the older version.")],
    after: Annotated[str, typer.Argument(help="Label of the newer version.")],
    as_json: JsonOption = False,
) -> None:
    """What differs between two versions: objects, rows, columns, values. Exit code 1 where anything does.

    Example: ost dataset diff before-tuning today
    """
    from shared.cli import wiring
    from shared.data.dataset_diff import diff as differences
    from shared.data.datasets import load_snapshot

    bucket = wiring.bucket(wiring.settings())
    found = differences(bucket, load_snapshot(bucket, before), load_snapshot(bucket, after))
    typer.echo(to_json(found) if as_json else "\n".join(_diff_lines(found)))
    if not found.is_empty:
        raise typer.Exit(1)


@app.command()
def restore(
    label: Annotated[str, typer.Argument(help="Label of the version.")],
    as_json: JsonOption = False,
) -> None:
    """Put the data of a version back in place; everything is checked before anything is written.

    Example: ost dataset restore before-tuning
    """
    from shared.cli import wiring
    from shared.data.datasets import restore as put_back

    changed = put_back(wiring.bucket(wiring.settings()), label)
    if as_json:
        typer.echo(to_json({"label": label, "changed": changed}))
    else:
        typer.echo("\n".join([f"restored {label}: {len(changed)} objects changed", *(f"  {name}" for name in changed)]))


def _summary(taken: Snapshot) -> str:
    made = format_ms(taken.created_ms // 1000 * 1000)
    size = f"{len(taken.members)} objects, {taken.rows} rows"
    return f"{taken.label}: {size}, {taken.content}, code {taken.code_version}, made {made}"


def _diff_lines(found: DatasetDiff) -> list[str]:
    lines = [f"{found.before} → {found.after}: {found.same} objects equal"]
    lines += [f"  only in {found.after}: {name}" for name in found.added]
    lines += [f"  only in {found.before}: {name}" for name in found.removed]
    for changed in found.changed:
        parts: list[Any] = [f"rows {changed.rows_before} → {changed.rows_after}"]
        if changed.rows_removed:
            parts.append(f"{changed.rows_removed} rows gone")
        parts += [f"new column {name}" for name in changed.columns_added]
        parts += [f"column {name} gone" for name in changed.columns_removed]
        parts += [
            f"{name} differs in {rows} rows (by up to {changed.largest[name]:.3g})" for name, rows in changed.changed.items()
        ]
        lines.append(f"  {changed.name}: {', '.join(parts)}")
    return lines


def _code_version() -> str:
    """Version of the installed package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("one-smart-trade")
    except PackageNotFoundError:
        return "unpackaged"
