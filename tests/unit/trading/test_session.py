"""One bad asset never stops the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import VirtualClock
from shared.data.generated import generate_market
from shared.domain.asset import Asset, Universe
from shared.domain.errors import LeaseLost
from shared.domain.interval import Interval
from shared.regime.params import RegimeParams
from shared.regime.schedule import last_instant
from shared.regime.store import folder
from shared.trading.params import SystemParams
from shared.trading.session import Ports, Session, SessionSpec

PARAMS = SystemParams(regime=RegimeParams(train_bars=600, burn_in_bars=100, restarts=1))
UNIVERSE = Universe.of("binanceusdm", ("BTCUSDT", "ETHUSDT"))
BARS = 1600


def opened(desk: Any, models: FolderBucket, missing: str = "") -> tuple[Ports, SessionSpec]:
    """A session at the end of a generated history; the market lacks the symbol `missing`."""
    start_ms = desk.start_ms - BARS * Interval.H1.ms
    symbols = [asset.symbol for asset in UNIVERSE if asset.symbol != missing]
    market = generate_market(np.random.default_rng(5), symbols, Interval.H1, start_ms, BARS)
    ports = Ports(desk.exchange, market, desk.ledger, models, desk.clock, VirtualClock(desk.start_ms))
    return ports, SessionSpec(desk.book, "test", UNIVERSE, Interval.H1, PARAMS, 3, "0")


async def test_an_asset_whose_model_cannot_be_read_is_decided_with_a_new_one(desk: Any, tmp_path: Path) -> None:
    models = FolderBucket(tmp_path / "models")
    instant = last_instant(desk.start_ms, PARAMS.regime)
    models.write(f"{folder(Asset('binanceusdm', 'BTCUSDT'), Interval.H1)}{instant:013d}-m-broken.json", b"{}")
    session = await Session.open(*opened(desk, models))
    report = await session.step(desk.start_ms)
    await session.close()
    assert [decision.asset.symbol for decision in report.decisions] == ["BTCUSDT", "ETHUSDT"]
    assert report.problems == ()
    [error] = [entry["message"] for entry in desk.ledger.agent_log(desk.book) if entry["level"] == "error"]
    assert error.startswith("BTCUSDT: a stored model cannot be used: models/regime/binanceusdm/BTCUSDT/1h/")


async def test_an_asset_without_candles_is_named_and_the_other_is_decided(desk: Any, tmp_path: Path) -> None:
    session = await Session.open(*opened(desk, FolderBucket(tmp_path / "models"), missing="ETHUSDT"))
    report = await session.step(desk.start_ms)
    assert [decision.asset.symbol for decision in report.decisions] == ["BTCUSDT"]
    assert report.problems == ("ETHUSDT: the generated market has no ETHUSDT; it has BTCUSDT",)


async def test_a_bar_is_decided_once(desk: Any, tmp_path: Path) -> None:
    session = await Session.open(*opened(desk, FolderBucket(tmp_path / "models")))
    first, again = await session.step(desk.start_ms), await session.step(desk.start_ms)
    assert [decision.id for decision in first.decisions] == [decision.id for decision in again.decisions]
    assert len(desk.ledger.decisions(desk.book)) == 2
    assert len(desk.ledger.equity(desk.book)) == 1


async def test_two_sessions_cannot_trade_one_book(desk: Any, tmp_path: Path) -> None:
    ports, spec = opened(desk, FolderBucket(tmp_path / "models"))
    assert desk.ledger.acquire_lease(desk.book, "another", spec.lease_ttl_ms, desk.start_ms)
    with pytest.raises(LeaseLost, match="another process trades the book b"):
        await Session.open(ports, spec)
