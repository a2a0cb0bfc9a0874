"""Who is at the keyboard, for what the ledger keeps: `OST_USER`, else the name of the login."""

from __future__ import annotations

import getpass
import os
import sys

from shared.domain.errors import UsageError


def person() -> str:
    """A name; `somebody` where the machine knows none."""
    try:
        return os.environ.get("OST_USER") or getpass.getuser()
    except (OSError, KeyError):  # a container without an entry in its user table
        return "somebody"


def confirmed(question: str, yes: bool) -> None:
    """Nothing where `yes`, or where the person says so. Raises `UsageError` where nobody can be asked, `Abort` on a no."""
    import typer

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this asks for a confirmation and nobody can be asked here; say it with --yes")
    typer.confirm(question, abort=True, err=True)
