"""A paper exchange process over loopback, and real ccxt clients pointed at it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import numpy as np
import pandas as pd
import pytest
from yarl import URL

REPOSITORY = Path(__file__).resolve().parents[3]
START_MS = 1_751_328_000_000  # 2025-07-01 00:00 UTC
HOUR_MS = 3_600_000


def _bars(first_price: float, seed: int, count: int = 24 * 30) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = np.round(first_price * np.exp(np.cumsum(rng.normal(0, 0.006, count))), 2)
    opened = np.concatenate([[first_price], close[:-1]])
    high = np.round(np.maximum(opened, close) * 1.003, 2)
    low = np.round(np.minimum(opened, close) * 0.997, 2)
    times = pd.to_datetime(START_MS - 240 * HOUR_MS + np.arange(count) * HOUR_MS, unit="ms", utc=True).astype(
        "datetime64[ms, UTC]"
    )
    return pd.DataFrame(
        {"open_time": times, "open": opened, "high": high, "low": low, "close": close, "volume": rng.uniform(500, 2000, count)}
    )


@pytest.fixture(scope="session")
def market_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly candles of two symbols and funding of one, as Parquet files."""
    root = tmp_path_factory.mktemp("market")
    for symbol, price, seed in (("BTCUSDT", 100_000.0, 1), ("ETHUSDT", 2_500.0, 2)):
        path = root / "ohlcv" / "binance_usdm" / symbol / "1h.parquet"
        path.parent.mkdir(parents=True)
        _bars(price, seed).to_parquet(path)
    times = pd.to_datetime(START_MS + np.arange(-30, 60) * 8 * HOUR_MS, unit="ms", utc=True).astype("datetime64[ms, UTC]")
    funding = root / "funding" / "binance_usdm"
    funding.mkdir(parents=True)
    pd.DataFrame({"funding_time": times, "funding_rate": np.full(90, 0.0001)}).to_parquet(funding / "BTCUSDT.parquet")
    return root / "ohlcv" / "binance_usdm"


class Process:
    """A running `python -m cloudrun.exchange`."""

    start_ms = START_MS
    hour_ms = HOUR_MS

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    @classmethod
    async def start(cls, directory: Path, *arguments: str) -> Process:
        """Start it on a free port and wait for its ready line."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(
                "-m",
                "cloudrun.exchange",
                "--market",
                str(directory),
                "--port",
                "0",
                "--start",
                "2025-07-01",
                "--exit-with-parent",
            ),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "OST_PAPER_KEY": "paper", "OST_PAPER_SECRET": "paper"},
        )
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        if not line.startswith("ready "):
            _, messages = await process.communicate()
            raise AssertionError(f"no ready line: {line!r} {messages.decode()}")
        return cls(process, line.split()[1])

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.process.returncode is None:
            self.process.kill()
        if not self.process.stdin.is_closing():
            await self.process.communicate()

    async def call(
        self, method: str, path: str, *, secret: str = "paper", key: str | None = "paper", **params: Any
    ) -> tuple[int, Any, Any]:
        """A signed request: status, body, headers."""
        query = urlencode({**params, "timestamp": params.get("timestamp", int(time.time() * 1000))})
        signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        headers = {} if key is None else {"X-MBX-APIKEY": key}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, URL(f"{self.url}{path}?{query}&signature={signature}", encoded=True), headers=headers
            ) as response,
        ):
            return response.status, json.loads(await response.text()), response.headers

    async def advance(self, hours: float) -> None:
        """Move simulated time to `hours` after the start."""
        status, body, _ = await self.call("POST", "/paper/v1/advance", to_ms=START_MS + int(hours * HOUR_MS))
        assert status == 200, body

    async def state(self) -> dict[str, Any]:
        """The control endpoint's summary."""
        return dict((await self.call("GET", "/paper/v1/state"))[1])


@pytest.fixture
async def start(market_directory: Path):
    """Starts processes; all are killed at the end."""
    running: list[Process] = []

    async def begin(*arguments: str, directory: Path = market_directory) -> Process:
        running.append(await Process.start(directory, *arguments))
        return running[-1]

    yield begin
    for process in running:
        await process.kill()


@pytest.fixture
async def clients():
    """Makes real ccxt clients for a base URL; `pro=True` for the streaming one."""
    made: list[Any] = []

    def make(url: str, *, pro: bool = False) -> Any:
        if pro:
            import ccxt.pro as library
        else:
            import ccxt.async_support as library
        client = library.binanceusdm(
            {"apiKey": "paper", "secret": "paper", "enableRateLimit": False, "options": {"fetchMarkets": {"types": ["linear"]}}}
        )
        client.has["fetchCurrencies"] = False
        for name, address in client.urls["api"].items():
            if name.startswith("fapi"):
                client.urls["api"][name] = url + "/" + address.split("/", 3)[3]
        if pro:
            client.urls["api"]["ws"]["linear"] = url.replace("http", "ws") + "/ws"
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()
