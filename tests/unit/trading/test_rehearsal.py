"""Before trading begins everything is there that a bar asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.domain.interval import Interval
from shared.trading.params import SystemParams
from shared.trading.rehearsal import rehearse

COUNTED = """
import sys
from shared.domain.interval import Interval
from shared.trading.params import SystemParams
from shared.trading.rehearsal import rehearse
from numba.core import event
loaded = []
class Heard(event.Listener):
    def on_start(self, e): pass
    def on_end(self, e): loaded.append(1)
rehearse(SystemParams(), Interval.H1)
event.register("numba:compile", Heard())
rehearse(SystemParams(), Interval("15m"), seed=3)
print(len(loaded))
"""


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
def test_it_goes_through_at_every_interval(interval: str) -> None:
    rehearse(SystemParams(), Interval(interval))


def test_after_it_another_market_needs_no_more_compiling() -> None:
    repository = Path(__file__).resolve().parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", COUNTED],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == "0", ran.stderr
