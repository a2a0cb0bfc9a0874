"""The deployed paper exchange, started with the arguments of the plan: a history, the time of now, an account that stays."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import SystemClock
from shared.cli import wiring
from shared.config.load import load
from shared.config.settings import Settings
from shared.data.generated import generate_market, write_market
from shared.data.shards import ingest_shard
from shared.data.store import require_candles
from shared.domain.asset import Asset, Universe
from shared.domain.data_events import CandlesRequested
from shared.domain.events import Event
from shared.domain.interval import DAY_MS, HOUR_MS, Interval
from tests.integration.infra.planning import ROOT
from tests.integration.infra.test_plan import planned

RECORDED_DAYS = 100


class Bus:
    def __init__(self) -> None:
        self.told: list[Event] = []

    async def publish(self, event: Event) -> None:
        self.told.append(event)


@pytest.fixture
def arguments(plans: dict[str, dict[str, Any]], new_gcs_bucket: Callable[[], str], tmp_path: Path) -> list[str]:
    """What the plan of staging says, with a recording of long ago, a bucket and a port of this computer."""
    service = planned(plans["staging"], "google_cloud_run_v2_service", "exchange")["0"]
    (container,) = service["template"][0]["containers"]
    symbols = tuple(container["args"][container["args"].index("--symbols") + 1 :])
    begin_ms = (int(time.time() * 1000) // DAY_MS - 900) * DAY_MS
    made = generate_market(np.random.default_rng(1), symbols, Interval.M15, begin_ms, RECORDED_DAYS * 96)
    write_market(made, FolderBucket(tmp_path / "market"))
    there = {"/lake/market": str(tmp_path / "market"), "8080": "0", "0.0.0.0": "127.0.0.1"}
    bucket = new_gcs_bucket()
    words = [there.get(word, word).replace("demo-project-ost-lake", bucket) for word in container["args"]]
    return [sys.executable, *container["command"][1:], *words]


@pytest.fixture
def start(arguments: list[str]) -> Iterator[Callable[[], str]]:
    """Starts an instance, after the end of the one before; its URL."""
    running: list[subprocess.Popen[bytes]] = []

    def started() -> str:
        end()
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().decode().split()[1]

    def end() -> None:
        for process in running:
            process.kill()
            process.communicate()
        running.clear()

    yield started
    end()


def settings(url: str, folder: Path) -> Settings:
    environment = {
        "OST_MODE": "paper",
        "OST_VENUE__BASE_URL": url,
        "OST_UNIVERSE__SYMBOLS": "BTCUSDT,ETHUSDT",
        "OST_INTERVALS": '["15m","30m","1h","4h","1d","1w"]',
    }
    return load(environment=environment, folder=folder).settings


def test_what_ingest_is_asked_for_now_is_there_with_its_history(start: Callable[[], str], tmp_path: Path) -> None:
    chosen = settings(start(), tmp_path)
    universe, bucket, bus = Universe.of(chosen.universe.venue, ("BTCUSDT", "ETHUSDT")), FolderBucket(tmp_path / "lake"), Bus()
    slot_ms = int(time.time() * 1000) // HOUR_MS * HOUR_MS

    async def ingested(interval: Interval) -> None:
        market = wiring.market(chosen)
        try:
            request = CandlesRequested(universe, interval, slot_ms, 0, 1)
            await ingest_shard(market, bucket, SystemClock(), bus, request, chosen.ingest)
        finally:
            await market.close()

    for interval in (Interval.H1, Interval.D1):
        asyncio.run(ingested(interval))
        assert {event.kind.value for event in bus.told} == {"candles.ingested"}
        candles = require_candles(bucket, Asset(chosen.universe.venue, "BTCUSDT"), interval)
        assert len(candles) == chosen.ingest.default_days * interval.bars_per_day
        assert candles.open_time[-1] + interval.ms == interval.floor(slot_ms)
    assert len(bus.told) == 4


def asked(url: str, method: str, path: str, **params: str) -> Any:
    """A signed request, at the time of this computer."""
    query = urlencode({**params, "timestamp": int(time.time() * 1000)})
    signature = hmac.new(b"paper", query.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"{url}{path}?{query}&signature={signature}", method=method, headers={"X-MBX-APIKEY": "paper"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_a_new_instance_has_the_account_of_the_one_before_and_the_time_of_now(start: Callable[[], str]) -> None:
    url = start()
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01", "newClientOrderId": "in"}
    bought = asked(url, "POST", "/fapi/v1/order", **order)
    before = asked(url, "GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="1d", limit="300")
    again = start()
    (held,) = asked(again, "GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")
    assert float(held["positionAmt"]) == 0.01
    found = asked(again, "GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="in")
    assert (found["orderId"], found["status"]) == (bought["orderId"], "FILLED")
    assert abs(asked(again, "GET", "/fapi/v1/time")["serverTime"] - time.time() * 1000) < 2_000
    after = asked(again, "GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="1d", limit="300")
    assert after[:-1] == before[:-1]  # the same market
