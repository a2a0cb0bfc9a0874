"""`ingest`: closed candles of the whole universe into the lake.

Cloud Scheduler calls it as a dispatcher, which cuts the universe into shards and publishes one `candles.requested` each; each
of those calls it again to fetch its shard and to publish `candles.ingested` for every asset.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from functions.answer import Answer, Jobs, NotNow, answered, say
from functions.call import Tick
from shared.domain.data_events import CandlesRequested
from shared.domain.errors import MalformedData
from shared.domain.interval import STORED_INTERVALS, Interval

if TYPE_CHECKING:
    from flask import Request

    from shared.data.shards import ShardReport
    from shared.domain.events import Event


def handle(request: Request) -> Answer:
    """The entry point."""
    return answered(request, Jobs(on_event=ingest, on_tick=dispatch))


def dispatch(tick: Tick) -> None:
    """Ask for the bars of an interval that are closed at the slot."""
    from functions import wired
    from shared.data.shards import request_round

    interval, settings = _interval(tick.body.text("interval")), wired.settings()
    count = asyncio.run(request_round(wired.bus(), settings.universe.universe, interval, tick.slot_ms, settings.ingest))
    say("INFO", "candles.requested", f"{interval}: {count} shards", interval=interval.value, shards=count)


def ingest(event: Event) -> None:
    """Fetch a shard. Raises `NotNow` where an asset failed for a reason that passes."""
    request = CandlesRequested.of(event)
    report = asyncio.run(_ingested(request))
    for news in report.told:
        fields = {"asset": str(news.asset), "interval": news.interval.value}
        say("INFO", "candles.ingested", f"{news.asset} {news.interval}", **fields)
    for failed in report.failed:
        fields = {"asset": str(failed.asset), "interval": failed.interval.value}
        say("ERROR" if failed.needs_help else "WARNING", "ingestion.failed", f"{failed.asset}: {failed.error}", **fields)
    if report.is_to_be_repeated:
        names = " ".join(failed.asset.symbol for failed in report.failed if failed.is_passing)
        raise NotNow(f"{names} could not be fetched now; the shard is tried again")


async def _ingested(request: CandlesRequested) -> ShardReport:
    from functions import wired
    from shared.cli import wiring
    from shared.data.shards import ingest_shard

    settings = wired.settings()
    market = wiring.market(settings)
    try:
        return await ingest_shard(market, wired.bucket(), wiring.clock(), wired.bus(), request, settings.ingest)
    finally:
        await market.close()


def _interval(text: str) -> Interval:
    known = {interval.value: interval for interval in STORED_INTERVALS}
    if text not in known:
        raise MalformedData(f"the schedule names the interval {text!r}; expected one of {' '.join(known)}")
    return known[text]
