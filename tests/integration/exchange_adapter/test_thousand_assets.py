"""A round of ingestion of 1,000 assets at the full hour, against a venue that counts as Binance does and refuses too much.

Five processes (as many as Terraform lets the function have) take the twenty shards one after another, each shard with a
connection and a budget of its own, as the function does; they share nothing but the address.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from shared.adapters.exchange import CcxtMarketData, ConnectionParams, connect
from shared.adapters.local.bucket import FolderBucket
from shared.data.ingest_params import IngestParams
from shared.data.shards import TURN_MS, ShardReport, ingest_shard, request_round, shards, whose_turn
from shared.domain.asset import Universe
from shared.domain.data_events import CandlesRequested
from shared.domain.events import Event, EventKind
from shared.domain.interval import HOUR_MS, MINUTE_MS, Interval

UNIVERSE = Universe.of("binanceusdm", tuple(f"A{number:04}USDT" for number in range(1000)))
SLOT_MS = 1_751_328_000_000  # 2025-07-01 00:00 UTC: hourly bars close, and funding is paid
INSTANCES = 5
GRANTED = {"weight": (2400, MINUTE_MS), "funding": (500, 5 * MINUTE_MS), "open interest": (1000, 5 * MINUTE_MS)}


class LateClock:
    """Real time, from a little after the slot."""

    def __init__(self) -> None:
        self._begin_s = time.monotonic()

    def now_ms(self) -> int:
        return SLOT_MS + 2 * MINUTE_MS + int((time.monotonic() - self._begin_s) * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


@dataclass
class CountingVenue:
    """Candles, funding and open interest of whatever symbol; counts requests in windows and refuses what is too much."""

    clock: LateClock = field(default_factory=LateClock)
    used: Counter[tuple[str, int]] = field(default_factory=Counter)
    requests: int = 0
    answered_bytes: int = 0
    refused: int = 0
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        query, now_ms = request.query, self.clock.now_ms()
        self.requests += 1
        if request.path == "/fapi/v1/time":
            return self._answer("weight", 1, {"serverTime": now_ms})
        start_ms, end_ms, limit = int(query["startTime"]), int(query["endTime"]), int(query["limit"])
        if request.path == "/fapi/v1/klines":
            opens = range(-(-start_ms // HOUR_MS) * HOUR_MS, end_ms + 1, HOUR_MS)
            rows = [[ms, "1", "1.5", "0.5", "1", "10", ms + HOUR_MS - 1, "10", 1, "5", "5", "0"] for ms in opens][:limit]
            return self._answer("weight", 1 if limit < 100 else 2 if limit < 500 else 5, rows)
        step = 8 * HOUR_MS if request.path == "/fapi/v1/fundingRate" else HOUR_MS
        stamps = list(range(-(-start_ms // step) * step, min(end_ms, now_ms) + 1, step))[:limit]
        if step == HOUR_MS:
            rows = [{"timestamp": ms, "sumOpenInterest": "5"} for ms in stamps]
            return self._answer("open interest", 1, rows)
        return self._answer("funding", 1, [{"fundingTime": ms, "fundingRate": "0.0001"} for ms in stamps])

    def _answer(self, kind: str, weight: int, content: object) -> web.Response:
        most, window_ms = GRANTED[kind]
        window = self.clock.now_ms() // window_ms
        self.used[kind, window] += weight
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.used["weight", self.clock.now_ms() // MINUTE_MS])}
        if self.used[kind, window] > most:
            self.refused += 1
            return web.json_response({"code": -1003, "msg": "Too many requests"}, status=429, headers={"Retry-After": "60"})
        answer = web.json_response(content, headers=headers)
        self.answered_bytes += len(answer.body or b"")
        return answer

    def spent(self, kind: str) -> int:
        """All that the round has cost: what one window would count if the round took no time at all."""
        return sum(count for (of, _), count in self.used.items() if of == kind)


class Bus:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def publish(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
async def counting() -> AsyncIterator[CountingVenue]:
    served = CountingVenue()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


async def instance(
    venue: CountingVenue, lake: FolderBucket, bus: Bus, waiting: list[CandlesRequested], params: IngestParams
) -> list[ShardReport]:
    """One process of the function: a shard at a time, each with a connection of its own."""
    reports = []
    while waiting:
        request = waiting.pop(0)
        rng = np.random.default_rng(request.shard)
        market = CcxtMarketData(connect("binanceusdm", venue.clock, rng, ConnectionParams(), base_url=venue.url))
        reports.append(await ingest_shard(market, lake, venue.clock, bus, request, params))
        await market.close()
    return reports


@pytest.mark.slow
async def test_a_thousand_assets_stay_within_what_the_venue_grants(counting: CountingVenue, tmp_path: Path) -> None:
    params, bus, lake = IngestParams(default_days=1), Bus(), FolderBucket(tmp_path / "lake")
    count = await request_round(bus, UNIVERSE, Interval.H1, SLOT_MS, params)
    waiting = [CandlesRequested.of(event) for event in bus.events]
    begin_ms = counting.clock.now_ms()
    done = await asyncio.gather(*(instance(counting, lake, bus, waiting, params) for _ in range(INSTANCES)))
    took_s = (counting.clock.now_ms() - begin_ms) / 1000
    told = [event for event in bus.events if event.kind is EventKind.CANDLES_INGESTED]
    print(
        f"{count} shards, {counting.requests} requests, {counting.answered_bytes / 1e6:.2f} MB, {took_s:.0f} s; "
        + ", ".join(f"{kind} {counting.spent(kind)} of {most}" for kind, (most, _) in GRANTED.items())
    )
    assert [failed.error for reports in done for report in reports for failed in report.failed] == []
    assert (count, len(told), counting.refused) == (20, 1000, 0)
    for kind, (most, _) in GRANTED.items():
        assert counting.spent(kind) <= most, kind
    assert took_s < 5 * 60


def test_everybodys_turn_comes_whatever_the_distance_of_the_rounds() -> None:
    for interval, rounds in ((Interval.M15, 5), (Interval.H1, 5), (Interval.H4, 5), (Interval.D1, 5)):
        seen: Counter[str] = Counter()
        for number in range(rounds):
            asked = 0
            for request in shards(UNIVERSE, interval, SLOT_MS + number * interval.ms, IngestParams()):
                turn = whose_turn(request, IngestParams())
                asked += len(turn)
                seen.update(asset.symbol for asset in turn)
            assert asked <= IngestParams().series_assets
        assert set(seen.values()) == {1}
        assert len(seen) == len(UNIVERSE)


def test_a_small_universe_takes_no_turns_and_rounds_of_one_hour_share_one() -> None:
    few = Universe.of("binanceusdm", tuple(f"A{number:04}USDT" for number in range(300)))
    for request in shards(few, Interval.H1, SLOT_MS, IngestParams()):
        assert whose_turn(request, IngestParams()) == set(request.universe)
    for at_ms in (SLOT_MS + minute * MINUTE_MS for minute in (1, 2, 3, 4, 5, 6)):
        assert at_ms // TURN_MS == SLOT_MS // TURN_MS
