"""`curate`: raw bars that were ingested -> the curated frame of the asset -> `candles.curated`.

A frame is a function of what the lake holds, so that the same event again, or an older one, changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from functions.answer import Answer, Jobs, answered, say
from shared.domain.data_events import CandlesIngested
from shared.domain.errors import OstError, needs_help

if TYPE_CHECKING:
    from flask import Request

    from shared.domain.events import Event


def handle(request: Request) -> Answer:
    """The entry point."""
    return answered(request, Jobs(on_event=curate))


def curate(event: Event) -> None:
    """Curate an asset. Raises the `DataError` tree where its bars do not allow it; the last good frame stays."""
    news = CandlesIngested.of(event)
    from functions import wired
    from shared.data.refresh import curate_ingested

    fields = {"asset": str(news.asset), "interval": news.interval.value}
    try:
        curated = curate_ingested(wired.bucket(), news, wired.settings().curation)
    except OstError as error:
        say("ERROR" if needs_help(error) else "WARNING", "ingestion.failed", f"{news.asset}: {error}", **fields)
        raise
    if curated is None:
        say("INFO", "event.stale", f"{news.asset} {news.interval}: newer bars are there already", **fields)
        return
    asyncio.run(wired.bus().publish(curated.made()))
    say("INFO", "candles.curated", f"{news.asset} {news.interval}", **fields)
