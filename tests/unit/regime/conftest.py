"""A generated three-state market with known truth, models fitted on it, and a bucket in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import Conflict
from shared.domain.frame import Frame
from shared.domain.interval import DAY_MS, Interval
from shared.ports import StoredObject
from shared.regime.features import regime_features
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams
from shared.regime.schedule import fit_history

START_MS = 20454 * DAY_MS  # 2026-01-01
ASSET = Asset("binanceusdm", "BTCUSDT")


@dataclass(frozen=True)
class KnownMarket:
    asset: Asset
    frame: Frame
    features: FloatArray
    states: IntArray


@pytest.fixture(scope="session")
def known_market() -> KnownMarket:
    market = generate_market(np.random.default_rng(0), ["BTCUSDT"], Interval.H1, START_MS, 3000)
    frame = curate(market.history["BTCUSDT"], CurationParams())
    return KnownMarket(ASSET, frame, regime_features(frame), market.states)


@pytest.fixture(scope="session")
def weekly_params() -> RegimeParams:
    """A shorter memory than the default, so that a short history crosses several refits."""
    return RegimeParams(train_bars=1500, burn_in_bars=200, restarts=3)


@pytest.fixture(scope="session")
def weekly_models(known_market: KnownMarket, weekly_params: RegimeParams) -> tuple[RegimeModel, ...]:
    since_ms = int(known_market.frame.close_time[1900])
    results = fit_history(known_market.frame, known_market.asset, weekly_params, since_ms=since_ms)
    return tuple(result.model for result in results if result.fitted and result.model is not None)


@pytest.fixture(scope="session")
def hand_model() -> RegimeModel:
    """Three well separated states over three standardised features."""
    return RegimeModel(
        asset=str(ASSET),
        interval=Interval.H1,
        feature_names=("log_volatility", "skewness", "volume_z"),
        mean=(-5.0, 0.1, 0.0),
        scale=(0.5, 0.8, 1.1),
        clip=5.0,
        start=(0.4, 0.4, 0.2),
        transition=((0.97, 0.02, 0.01), (0.03, 0.95, 0.02), (0.01, 0.04, 0.95)),
        means=((-1.0, 0.2, -0.5), (0.1, 0.0, 0.0), (1.5, -0.4, 0.9)),
        covariances=(
            ((0.3, 0.05, 0.1), (0.05, 0.8, 0.0), (0.1, 0.0, 0.6)),
            ((0.3, 0.0, 0.0), (0.0, 0.9, 0.1), (0.0, 0.1, 0.7)),
            ((0.5, -0.1, 0.2), (-0.1, 1.2, 0.0), (0.2, 0.0, 1.0)),
        ),
        valid_from_ms=START_MS,
        train_start_ms=START_MS - 100 * DAY_MS,
        train_bars=2400,
        log_likelihood=-1 / 3,
        converged=True,
        params=RegimeParams().fit_settings,
    )


class MemoryBucket:
    """The Bucket port over a dictionary: conditional writes included."""

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}

    def read(self, name: str) -> StoredObject | None:
        return self.objects.get(name)

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        current = self.objects[name].generation if name in self.objects else 0
        if if_generation is not None and if_generation != current:
            raise Conflict(f"{name} has generation {current}, expected {if_generation}")
        self.objects[name] = StoredObject(content, current + 1)
        return current + 1

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)

    def list(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self.objects if name.startswith(prefix))


@pytest.fixture
def memory_bucket() -> MemoryBucket:
    return MemoryBucket()
