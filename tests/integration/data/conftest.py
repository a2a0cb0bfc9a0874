"""A folder market and a lake for whole ingestion runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import VirtualClock
from shared.adapters.local.market_files import FileMarket
from shared.data.generated import GeneratedMarket, generate_market, write_market
from shared.domain.interval import Interval, parse_date_ms

START_MS = parse_date_ms("2025-07-01")
BARS = 24 * 30
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@pytest.fixture(scope="session")
def generated() -> GeneratedMarket:
    return generate_market(np.random.default_rng(11), SYMBOLS, Interval.H1, START_MS, BARS)


@pytest.fixture
def folder(tmp_path: Path, generated: GeneratedMarket) -> Path:
    write_market(generated, FolderBucket(tmp_path / "files"))
    return tmp_path / "files"


@pytest.fixture
def lake(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "lake")


@pytest.fixture
def clock() -> VirtualClock:
    """Half an hour after the last generated bar has closed."""
    return VirtualClock(START_MS + BARS * Interval.H1.ms + 1_800_000)


@pytest.fixture
def market_until(folder: Path) -> Callable[[int], FileMarket]:
    """The market as it was at an instant."""
    return lambda end_ms: FileMarket(folder, end_ms=end_ms)
