"""`classify`: a curated frame -> the regime of the asset in the ledger -> `regime.classified`.

Only bars of the interval that is traded are classified. Each hour the scheduler asks for a sweep over all assets, which does
what an event was lost for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from functions.answer import Answer, Jobs, answered, for_each, say
from shared.domain.asset import Asset, Universe
from shared.domain.data_events import CandlesCurated
from shared.domain.errors import NotEnoughData
from shared.domain.records import Handled

if __name__ == "main":  # under functions-framework, alone in its process
    import shared.adapters.gcp.http_only  # noqa: F401

if TYPE_CHECKING:
    from flask import Request

    from functions.call import Tick
    from shared.domain.data_events import RegimeClassified
    from shared.domain.events import Event
    from shared.trading.signal_desk import SignalDesk


def handle(request: Request) -> Answer:
    """The entry point."""
    return answered(request, Jobs(on_event=classify, on_tick=sweep))


def classify(event: Event) -> None:
    """Classify the newest bar of an asset. Raises the `OstError` tree."""
    news = CandlesCurated.of(event)
    from functions import wired

    if news.interval is not wired.settings().interval:
        return
    try:
        desk = _desk(Universe((news.asset,)))
        handled, told = desk.classify(news, event.id)
    except NotEnoughData as error:
        say("INFO", "data.too_short", str(error), asset=str(news.asset))
        return
    if told is not None:
        _tell(desk, told)
    if handled is not Handled.APPLIED:
        say("INFO", f"event.{handled.value}", f"{news.asset}: {event.kind.value} {event.id}", asset=str(news.asset))


def sweep(tick: Tick) -> None:
    """Classify and tell every asset whose newest bar at the slot is not classified or not told yet.

    Raises `NotNow` where one failed.
    """
    from functions import wired

    desk = _desk(wired.settings().universe.universe, tick.slot_ms)

    def classify_newest(asset: Asset) -> None:
        told = desk.sweep(asset)
        if told is not None:
            _tell(desk, told)

    for_each(desk.universe, classify_newest, "classification.failed")


def _tell(desk: SignalDesk, told: RegimeClassified) -> None:
    from functions import wired

    asyncio.run(wired.bus().publish(told.made()))
    desk.note_told(told)
    say("INFO", "regime.classified", f"{told.asset}: {told.regime.value}", asset=str(told.asset), regime=told.regime.value)


def _desk(universe: Universe, until_ms: int | None = None) -> SignalDesk:
    from functions import wired

    return wired.signal_desk(universe, until_ms)
