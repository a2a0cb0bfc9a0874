"""How commands speak: tables and progress for people on a terminal, one JSON document for machines.

Results go to standard output; progress, notes and errors go to standard error, so that `--json` can always be piped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

# Rich is imported where it is used: `ost --help` must answer at once.


def console() -> Console:
    """Standard output, as wide as it is now."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


@cache
def error_console() -> Console:
    """Standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """A line for people, on standard error."""
    error_console().print(message, style="dim", markup=False)


def print_error(message: str) -> None:
    """Each line of `message` on standard error, in red, after `error:`."""
    for line in message.splitlines() or [""]:
        error_console().print(f"error: {line}", style="bold red", markup=False)


def emit(data: Any, as_json: bool, *, view: Any = None) -> None:
    """Print a result: `data` as JSON where `as_json`, else `view` (a text or anything that Rich renders; default: `data`)."""
    if as_json:
        print(to_json(data))  # plain: no colour, no wrapping
    else:
        console().print(data if view is None else view)


def to_json(data: Any) -> str:
    """`data` as indented JSON. Dataclasses become objects, Decimals strings, numpy values and times their plain form."""
    return json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """`value` in JSON's own types; a float that JSON cannot write becomes null."""
    if value is None or (isinstance(value, bool | str | int) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Decimal | PurePath):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> Table:
    """A table of texts; columns in `right` are aligned to the right, those in `whole` are never broken within a cell.

    `None` is shown as an empty cell.
    """
    from rich.table import Table

    numbers, unbroken = set(right), set(whole)
    result = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        side = "right" if column in numbers else "left"
        result.add_column(column, justify=side, overflow="fold", no_wrap=column in unbroken)  # type: ignore[arg-type]
    for row in rows:
        result.add_row(*("" if cell is None else cell if hasattr(cell, "__rich_console__") else str(cell) for cell in row))
    return result


@contextmanager
def working(what: str) -> Iterator[None]:
    """A line on standard error while something runs whose length is not known; silent where that is no terminal."""
    if not error_console().is_terminal:
        yield
        return
    with error_console().status(what):
        yield


def progress(*, unit: str = "bars", transient: bool = False) -> Progress:
    """A progress display on standard error: bar, share done, speed in `unit`/s and time to go.

    On something that is no terminal it stays silent until the end.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(f"{unit} {{task.fields[detail]}}" if unit else "{task.fields[detail]}"),
        TimeRemainingColumn(),
        console=error_console(),
        transient=transient,
        disable=not error_console().is_terminal,
    )
