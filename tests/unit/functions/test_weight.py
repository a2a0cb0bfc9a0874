"""What a function must not import on its way to the first request, and what none of them ever needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))

AT_IMPORT = (
    "pandas",
    "pyarrow",
    "talib",
    "ccxt",
    "aiohttp",
    "sqlalchemy",
    "pydantic",
    "grpc",
    "google.api_core",
    "google.auth",
    "numba",
    "scipy",
)
EVER = ("rich", "typer", "plotly", "sklearn", "onnxruntime", "optuna", "gunicorn", "google.cloud.logging")
"""Not even by their work."""

WORK = {
    "ingest": "shared.data.shards shared.adapters.exchange.connection shared.adapters.exchange.market",
    "curate": "shared.data.refresh",
    "classify": "shared.trading.signal_desk shared.adapters.sql.ledger",
    "signal": "shared.trading.signal_desk shared.adapters.sql.ledger",
    "monitor": "shared.monitor.watch shared.regime.drift shared.data.store shared.adapters.sql.research",
    "maintain": "shared.adapters.sql.backup shared.adapters.sql.checks",
    "recalibrate": "shared.calibration.recalibration shared.cli.campaign_request",
}
HEAVY = {
    "ingest": ("talib", "sqlalchemy", "numba", "scipy"),
    "curate": ("ccxt", "aiohttp", "sqlalchemy", "numba", "scipy"),
    "classify": ("ccxt", "aiohttp", "numba", "scipy"),
    "signal": ("ccxt", "aiohttp", "numba", "scipy"),
    "monitor": ("ccxt", "aiohttp", "talib", "numba", "scipy"),
    "maintain": ("ccxt", "aiohttp", "talib", "pyarrow", "numba", "scipy"),
    "recalibrate": ("ccxt", "aiohttp"),
}


def imported(code: str, names: tuple[str, ...]) -> set[str]:
    """Which of `names` are imported after `code` in a new process, where pandas is not installed, as in the cloud."""
    program = f"import sys; sys.modules['pandas'] = None\n{code}\nprint(*(n for n in {names!r} if sys.modules.get(n)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    return set(done.stdout.split())


def test_the_functions_are_those_of_the_design() -> None:
    assert set(FUNCTIONS) == set(WORK)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_listens_before_it_imports_what_is_heavy(name: str) -> None:
    assert imported(f"import functions.{name}.main", (*AT_IMPORT, *EVER)) == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_work_of_a_function_imports_only_what_it_needs(name: str) -> None:
    work = "\n".join(f"import {module}" for module in WORK[name].split())
    code = f"import functions.{name}.main\nimport functions.wired\nfunctions.wired.settings()\n{work}"
    assert imported(code, (*HEAVY[name], *EVER)) == set()
