"""What this computer has only half of is absent: `make up` goes on with what is built in."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloudrun.laptop import components


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ([], "absent: PostgreSQL;"),
        (["psql", "pg_isready"], "absent: PostgreSQL;"),  # the client alone
        (["postgres", "initdb", "pg_isready"], "absent: a PostgreSQL that starts here"),  # which cannot make its data
    ],
)
def test_half_a_postgresql_is_named_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: list[str], said: str
) -> None:
    for version in ("9.6", "15"):
        home = tmp_path / "homes" / version / "bin"
        home.mkdir(parents=True)
        for name in programs:
            (home / name).write_text("#!/bin/sh\nexit 1\n")
            (home / name).chmod(0o755)
    monkeypatch.setattr(components, "POSTGRES_HOMES", tmp_path / "homes")
    monkeypatch.setattr(components.shutil, "which", lambda _: None)
    lines: list[str] = []
    with ExitStack() as stack:
        assert components.postgres(tmp_path, lines.append, stack, threading.Event()) is None
    assert lines[0].startswith(said)
    assert "sudo apt-get install postgresql" in lines[-1]
