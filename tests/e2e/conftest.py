"""`ost` as people run it: real processes, each with a storage root of its own, on a small generated market written to files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import SqlLedger, open_ledger
from shared.data.generated import generate_market, write_market
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BARS = 1_750
END_MS = parse_date_ms("2025-01-01")
REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120

# Quick fits, and a strategy that trades often: most bars of a usual run hold no order at all.
QUICK = {
    "OST_REGIME__TRAIN_BARS": "500",
    "OST_REGIME__MIN_TRAIN_BARS": "500",
    "OST_REGIME__RESTARTS": "1",
    "OST_REGIME__BURN_IN_BARS": "100",
    "OST_STRATEGY__ENTRY_THRESHOLD": "0.1",
    "OST_STRATEGY__EXIT_THRESHOLD": "0.05",
    "OST_STRATEGY__REBALANCE_BAND": "0.05",
    "OST_STRATEGY__STOP_ATR": "1.5",
    "OST_STRATEGY__MINIMUM_STOP": "0.004",
    "OST_EXECUTION__RESEND_GRACE_S": "1.6",  # the least that goes with an order window of 0.1 s
    "OST_EXCHANGE__ORDER_WINDOW_MS": "100",
    "OST_VENUE__BASE_URL": "http://127.0.0.1:9",  # nothing listens there: no test depends on the network
    "OST_VENUE__PROBE_TIMEOUT_S": "2",
    "NO_COLOR": "1",
    "COLUMNS": "200",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Ended:
    """What a process has left."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    def failed_with(self, *words: str, code: int | tuple[int, ...] = (1, 2)) -> None:
        """Assert one clear line on standard error that contains all `words`, and no traceback."""
        codes = (code,) if isinstance(code, int) else code
        assert self.code in codes, self
        assert "Traceback" not in self.err + self.out, self
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, self
        for word in words:
            assert word.lower() in errors[0].lower(), f"{word!r} is not in {errors[0]!r}"
        assert self.out == "", self


@dataclass
class Ost:
    """`ost` with a storage root and a working directory of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "var"

    def start(
        self, *arguments: str | Path, environment: Mapping[str, str] = {}, preexec: Callable[[], None] | None = None
    ) -> subprocess.Popen[str]:
        """A running `ost`; the fixture ends it at the latest."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OST_")}
        process = subprocess.Popen(
            [sys.executable, "-c", "from shared.cli.main import main; main()", *map(str, arguments)],
            cwd=self.folder,
            env={**inherited, **self.environment, "PYTHONPATH": str(REPOSITORY), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec,
        )
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for a process and take what it has printed."""
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"it did not end within {TIMEOUT_S} s\n{out}\n{err}")
        return Ended(process.returncode, out, err)

    def __call__(
        self, *arguments: str | Path, environment: Mapping[str, str] = {}, preexec: Callable[[], None] | None = None
    ) -> Ended:
        """Run `ost` to its end."""
        return self.end(self.start(*arguments, environment=environment, preexec=preexec))

    def ledger(self) -> SqlLedger:
        """The ledger as it stands."""
        return open_ledger(f"sqlite:///{self.root / 'ledger.sqlite'}", migrate=False)


@pytest.fixture(scope="session")
def market_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,750 hourly bars of two assets with funding, ending 2025-01-01."""
    folder = tmp_path_factory.mktemp("market")
    market = generate_market(np.random.default_rng(20), SYMBOLS, Interval.H1, END_MS - BARS * HOUR_MS, BARS)
    write_market(market, FolderBucket(folder))
    return folder


@pytest.fixture(scope="session")
def new_ost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ost]]:
    """Makes `ost` with a storage root of its own; what still runs at the end is ended."""
    made: list[Ost] = []

    def create(name: str) -> Ost:
        folder = tmp_path_factory.mktemp(name)
        made.append(Ost(folder, {**QUICK, "OST_STORAGE__ROOT": str(folder / "var")}))
        return made[-1]

    yield create
    for ost in made:
        for process in ost.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
                process.communicate()


@pytest.fixture
def ost(new_ost: Callable[[str], Ost]) -> Ost:
    """`ost` with an empty storage root."""
    return new_ost("here")
