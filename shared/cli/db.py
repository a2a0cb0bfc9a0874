"""`ost db`: is the ledger sound, its backups, its schema.

Every command works on the configured ledger (`ledger.url`) or on the one that `--ledger` names. Exit codes: 0 ok,
1 problems or an unusable ledger, 2 usage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.output import emit

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(no_args_is_help=True, help="The ledger: soundness, backups, schema.")

LedgerOption = Annotated[
    str | None, typer.Option("--ledger", metavar="URL", help="Another ledger than the configured one, e.g. sqlite:///x.db.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback()
def db() -> None:
    """The ledger: soundness, backups, schema."""


@app.command()
def check(ledger: LedgerOption = None, as_json: JsonOption = False) -> None:
    """Check the file, the schema and the invariants: positions and trades follow from the fills, no order is lost.

    Exit code 1 where a problem was found.

    Example: ost db check --json
    """
    from shared.adapters.sql.checks import find_problems

    with _engine(ledger) as (engine, name):
        problems = find_problems(engine)
    lines = [f"{problem.check} [{problem.book or 'ledger'}] {problem.detail}" for problem in problems]
    report = {"ledger": name, "sound": not problems, "problems": [problem.as_dict() for problem in problems]}
    _print(report, as_json, [*lines, f"{name}: {f'{len(lines)} problems' if lines else 'sound'}"])
    if problems:
        raise typer.Exit(1)


@app.command()
def backup(
    to: Annotated[Path | None, typer.Option(help="File to write (default: ost-backup-TIME.jsonl.gz here).")] = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole ledger to one portable file, restorable into SQLite and PostgreSQL alike. Sessions may go on.

    Example: ost db backup --to backups/monday.jsonl.gz
    """
    from shared.adapters.sql.backup import backup as write
    from shared.cli import wiring

    now_ms = wiring.clock().now_ms()
    target = to or Path(f"ost-backup-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}.jsonl.gz")
    with _engine(ledger) as (engine, name):
        rows = write(engine, target, now_ms)
    _print({"ledger": name, "file": str(target), "rows": rows}, as_json, [f"{rows} rows of {name} are in {target}"])


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `ost db backup` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Replace what a ledger that is not empty holds.")] = False,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill a ledger from a backup: all of it or, where the file is damaged, nothing. Stop the sessions first.

    Example: ost db restore backups/monday.jsonl.gz --ledger sqlite:///restored.db
    """
    from shared.adapters.sql.backup import restore as read

    with _engine(ledger) as (engine, name):
        rows = read(engine, file, replace=yes)
    _print({"ledger": name, "file": str(file), "rows": rows}, as_json, [f"{rows} rows of {file} are in {name}"])


@app.command()
def migrate(ledger: LedgerOption = None, as_json: JsonOption = False) -> None:
    """Bring the schema up to date. Safe to repeat, and while other processes do the same.

    Example: ost db migrate
    """
    from shared.adapters.sql.migrate import migrate as upgrade
    from shared.adapters.sql.migrate import schema_revision

    with _engine(ledger) as (engine, name):
        changed = upgrade(engine)
        schema = schema_revision(engine)
    line = f"{name}: schema {schema}, {'migrated now' if changed else 'nothing to do'}"
    _print({"ledger": name, "schema": schema, "migrated": changed}, as_json, [line])


@contextmanager
def _engine(url: str | None) -> Iterator[tuple[Engine, str]]:
    """The engine of the ledger and its name for people. Nothing is migrated: `check` must see what is there."""
    from shared.adapters.sql.engine import close_engine, label, make_engine

    engine = make_engine(url or _configured_url())
    try:
        yield engine, label(engine)
    finally:
        close_engine(engine)


def _configured_url() -> str:
    from shared.cli import wiring

    return wiring.settings().ledger_url


def _print(report: Mapping[str, Any], as_json: bool, lines: list[str]) -> None:
    if as_json:
        emit(report, as_json=True)
    else:
        typer.echo("\n".join(lines))
