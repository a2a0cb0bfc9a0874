"""From the scheduler's tick to the bot's decision: every function, the bot, Pub/Sub, object store and PostgreSQL as processes.

The market goes by itself, an hour in some seconds; each round begins with the tick of a closed bar and ends when the decisions
on it are in the ledger. The bot hears of the bar from the events alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cloudrun.laptop.process import Part, answers
from shared.domain.interval import HOUR_MS, Interval
from tests.integration.functions.conftest import OPEN_BARS, ROOT, SYMBOLS, Cloud, slot
from tests.integration.gcp.components import free_port

CHAIN = ("ingest", "curate", "classify")
SPEED = 600.0
"""A bar in 6 s"""
BOOK = "chain"
LONGEST_S = 2.0


@dataclass
class Market:
    """A paper exchange whose time goes by itself."""

    url: str

    def now_ms(self) -> int:
        import json
        import urllib.request

        with urllib.request.urlopen(f"{self.url}/fapi/v1/time", timeout=10) as answer:
            return int(json.loads(answer.read())["serverTime"])

    def next_close_ms(self) -> int:
        """Wait for the close of a bar, and a moment."""
        close_ms = Interval.H1.floor(self.now_ms()) + HOUR_MS
        while (left_ms := close_ms - self.now_ms()) >= 0:
            time.sleep(left_ms / 1000 / SPEED + 0.005)
        return close_ms


@pytest.fixture
def market(market_folder: Path) -> Iterator[Market]:
    start = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(slot(OPEN_BARS) / 1000))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cloudrun.exchange", "--market", str(market_folder), "--port", "0"),
            *("--start", start, "--speed", str(SPEED), "--exit-with-parent"),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    yield Market(process.stdout.readline().decode().split()[1])
    process.kill()
    process.communicate()


@pytest.fixture
def cloud(new_cloud: Callable[..., Cloud], market: Market) -> Iterator[Cloud]:
    """The chain with the bot at its end."""
    made = new_cloud(
        OST_VENUE__BASE_URL=market.url,
        OST_BOT__MODE="schedule",
        OST_BOT__BOOK=BOOK,
        OST_EXCHANGE__WEIGHT_PER_MINUTE="null",
        OST_LEDGER__CONNECTIONS="4",
    )
    made.start(*CHAIN)
    made.connect()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**made.environment, "PORT": str(port), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cloudrun.bot"]
    bot = Part("bot", command, made.folder / "bot.log", lambda: answers(f"{url}/healthz"), environment)
    bot.start()
    try:
        bot.wait(threading.Event())
        made.pubsub.call("PUT", "subscriptions/regimes-classified-bot", made._push("regimes-classified", f"{url}/step"))
        yield made
    finally:
        bot.stop()


def round_s(cloud: Cloud, close_ms: int, deadline_s: float) -> float:
    """Seconds from the tick to the last decision on the bar, or on a newer one: a step that takes long is of the newest."""
    begin = time.monotonic()
    assert cloud.functions["ingest"].tick(close_ms, interval="1h") == 204
    decided: set[str] = set()
    while decided != set(SYMBOLS):
        assert time.monotonic() - begin < deadline_s, (cloud.folder / "bot.log").read_text()[-3000:]
        found = cloud.ledger.decisions(BOOK)
        decided = {one.asset.symbol for one in found if one.bar_close_ms >= close_ms}
        time.sleep(0.01)
    return time.monotonic() - begin


@pytest.mark.slow
def test_a_tick_becomes_decisions_of_the_bot_in_time(cloud: Cloud, market: Market) -> None:
    round_s(cloud, market.next_close_ms(), 120.0)  # the first one brings the history and makes the models
    rounds = [round_s(cloud, market.next_close_ms(), 30.0) for _ in range(int(os.environ.get("ROUNDS", "12")))]
    shown = " ".join(f"{seconds:.2f}" for seconds in sorted(rounds))
    print(f"tick to decision, s: {shown}")
    assert cloud.pubsub.held("dead-letters-hold", 1, timeout_s=1) == []
    bars = [one.bar_close_ms for one in cloud.ledger.decisions(BOOK)]
    assert len(bars) == len(set(bars)) * len(SYMBOLS)
    assert float(np.percentile(rounds, 95)) <= LONGEST_S, shown
