"""Says before the tests which component is absent on this computer, and how to get it."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path


def pytest_report_header() -> list[str]:
    """One line per absent component."""
    lines = []
    if not shutil.which("initdb") and not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        lines.append("absent: PostgreSQL; the ledger's tests on it are skipped. Get it: sudo apt-get install postgresql")
    if not shutil.which("gcloud") or not shutil.which("java"):
        lines.append("absent: Pub/Sub emulator; skipped. Get it: Java, gcloud components install pubsub-emulator")
    data = Path(__file__).parents[2] / "shared" / "data"
    if not data.is_dir():
        lines.append("absent: ../shared/data; the tests on recorded candles are skipped")
    if find_spec("stable_baselines3") is None:
        lines.append("absent: the agent extra; the RL agent's training is not tested. Get it: make agent (about 4 GB)")
    return lines
