"""Import time and peak memory of each entry point in fresh interpreters, beside the usual imports for the same work."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 3
GENEROUS = 3.0
"""An entry point may cost this many times its peer; what it really costs is printed."""

PANDAS = "import pandas"
ENTRY_POINTS = {
    "shared.cli.main": ("import shared.cli.main", PANDAS),
    "cloudrun.exchange.__main__": ("import cloudrun.exchange.__main__", PANDAS),
    "shared.trading.session": ("import shared.trading.session", PANDAS),
    "shared.adapters.sql": ("from shared.adapters.sql import open_ledger", PANDAS),
    # Up to a client that is ready to be used: our package imports nothing before it is asked.
    "shared.adapters.exchange": (
        "from shared.adapters.exchange.client import make_client; make_client('binanceusdm')",
        "import ccxt.async_support as ccxt; ccxt.binanceusdm()",
    ),
}
MEASURE = """
import json, resource, sys, time
start = time.perf_counter()
exec(sys.argv[1])
seconds = time.perf_counter() - start
try:
    lines = open("/proc/self/status").read().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
except (OSError, StopIteration):
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(json.dumps([seconds, kib / 1024]))
"""


def measured(statement: str) -> tuple[float, float]:
    """Seconds and peak MiB of a fresh interpreter that executes `statement`."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, statement], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    seconds, mebibytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, mebibytes


@cache
def best(statement: str) -> tuple[float, float]:
    rounds = [measured(statement) for _ in range(ROUNDS)]
    return min(seconds for seconds, _ in rounds), min(mebibytes for _, mebibytes in rounds)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_import_of_an_entry_point_against_its_peer(benchmark, name: str) -> None:
    statement, peer = ENTRY_POINTS[name]
    pytest.importorskip("pandas")
    peer_s, peer_mib = best(peer)
    rounds: list[tuple[float, float]] = []
    benchmark.pedantic(lambda: rounds.append(measured(statement)), rounds=ROUNDS)
    ours_s, ours_mib = (min(column) for column in zip(*rounds, strict=True))
    print(
        f"\n{name}: {ours_s:.2f} s, peak {ours_mib:.0f} MiB; `{peer}`: {peer_s:.2f} s, {peer_mib:.0f} MiB; "
        f"ratios {ours_s / peer_s:.2f} and {ours_mib / peer_mib:.2f}"
    )
    assert ours_s < GENEROUS * peer_s
    assert ours_mib < GENEROUS * peer_mib
