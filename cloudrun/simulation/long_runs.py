"""The newest long runs, in a file beside the page of reliability: when, how much, how long, on how many cores, what came of it.

`ost simulate --report PAGE.md` notes its seeds there and `--soak DAYS --report PAGE.md` its days (PAGE.json); the page
shows both, whichever ran last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.domain.errors import StorageError

SEEDS, SOAK = "seeds", "soak"
HEADING = "## Long runs"

Runs = Mapping[str, Mapping[str, Any]]
"""Figures of a run by its kind: `SEEDS` or `SOAK`"""


def noted_runs(file: Path) -> Runs:
    """What is noted in `file`; nothing where there is none. Raises `StorageError` where it cannot be read."""
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot read {file}: {error}; delete it, and run what it told of again") from None
    if not isinstance(found, dict):
        raise StorageError(f"{file} holds no JSON object; delete it, and run what it told of again")
    return found


def note_run(file: Path, kind: str, figures: Mapping[str, Any]) -> None:
    """Keep the figures of a run in `file`, in the place of the last one of its kind, and on the page beside it.

    Figures of `SEEDS`: date, seeds, minutes, cores, violations; of `SOAK`: date, days, minutes, cores, symbols, growth (of
    memory after the first day, a fraction), tasks_most, violations. Raises `StorageError`.
    """
    runs = {**noted_runs(file), kind: dict(figures)}
    shown = file.with_suffix(".md")
    try:
        file.write_text(json.dumps(runs, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if shown.exists():
            before, found, _ = shown.read_text(encoding="utf-8").partition(f"\n{HEADING}\n")
            if found:
                shown.write_text(before + section(runs), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}; name another --report") from None


def section(runs: Runs) -> str:
    """The end of the page: one line for each kind of run."""
    seeds, soak = runs.get(SEEDS), runs.get(SOAK)
    lines = [
        "- seeds: not run yet (`ost simulate --seeds 10000 --report docs/reliability.md`)" if seeds is None else _seeds(seeds),
        "- one long life: not run yet (`ost simulate --soak 30 --report docs/reliability.md`)" if soak is None else _soak(soak),
    ]
    return f"\n{HEADING}\n\n" + "\n".join(lines) + "\n"


def _seeds(run: Mapping[str, Any]) -> str:
    return (
        f"- seeds, {run['date']}: {run['seeds']:,} in {run['minutes']:,} minutes on {run['cores']} cores: "
        f"{run['violations'] or 'no'} violations"
    )


def _soak(run: Mapping[str, Any]) -> str:
    return (
        f"- one long life, {run['date']}: {run['days']:g} simulated days of {run['symbols']} symbols "
        f"in {run['minutes']:,} minutes: memory {run['growth']:+.1%} after the first day, {run['tasks_most']} tasks at most, "
        f"{run['violations'] or 'no'} violations"
    )
