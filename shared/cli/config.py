"""`ost config`: which settings are in force, where each came from, and whether they are valid."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from shared.cli import output, wiring

app = typer.Typer(no_args_is_help=True, help="Show and check the settings.")

_URL_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):[^@\s]*@")


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False,
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value came from.")] = False,
) -> None:
    """Show every setting in force. Keys of the exchange are not settings and never shown.

    Example: ost config show --origin
    """
    from shared.config import schema
    from shared.config.settings import Settings

    found = wiring.loaded()
    plain = found.settings.model_dump(mode="json")
    values = {name: _masked(value) for name, value in schema.flatten(Settings, plain)}
    if as_json:
        document = {name: {"value": value, "origin": found.origins[name]} for name, value in values.items()}
        output.emit(document if origin else schema.nested(values), as_json=True)
        return
    columns = ["setting", "value", "origin"] if origin else ["setting", "value"]
    rows = [(name, _text(value), found.origins[name])[: len(columns)] for name, value in values.items()]
    output.emit(rows, as_json=False, view=output.table(columns, rows))


@app.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False) -> None:
    """Check the settings: exit code 0 where they are valid, 2 with one line per finding where not.

    Example: ost --config production.yaml config check
    """
    found = wiring.loaded()
    changed = {name: origin for name, origin in found.origins.items() if origin != "default.yaml"}
    result = {"ok": True, "mode": found.settings.mode.value, "changed": changed}
    view = f"settings are valid: mode {found.settings.mode.value}, {len(changed)} of {len(found.origins)} set by you"
    output.emit(result, as_json, view=view)


def _masked(value: Any) -> Any:
    """A URL without its password."""
    return _URL_PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
