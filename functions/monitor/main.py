"""`monitor`: each hour a look at every book, every regime and every series; what is wrong is told, what is due is triggered.

    performance   against the champions' baselines; opens recalibrations        recalibration.triggered
    recalibration those that have not ended are asked to go on                  recalibration.triggered
    regimes       bars of stress without a break, drift of the probabilities    lines regime.stress, regime.drift
    series        bars that are missing lately                                  lines data.gap

Each part, and in it each book and asset, is looked at whatever becomes of the others. A look is written with the receipt of its
slot: the same slot again writes nothing and tells the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from functions.answer import Answer, Jobs, answered, for_each, say
from shared.domain.data_events import RecalibrationTriggered
from shared.domain.interval import DAY_MS, HOUR_MS
from shared.domain.records import Receipt

if __name__ == "main":  # under functions-framework, alone in its process
    import shared.adapters.gcp.http_only  # noqa: F401

if TYPE_CHECKING:
    from flask import Request

    from functions.call import Tick
    from shared.domain.asset import Asset

MONITOR = "monitor"
"""consumer of the inbox"""
GAP_DAYS = 2
"""How far back a gap is told again each hour; `ost check-gaps` looks further."""


def handle(request: Request) -> Answer:
    """The entry point."""
    return answered(request, Jobs(on_tick=look))


def look(tick: Tick) -> None:
    """Everything, as of the slot. Raises `NotNow` at the end where something failed for a reason that passes."""
    from functions import wired

    universe = wired.settings().universe.universe
    parts: dict[str, Callable[[int], None]] = {
        "performance": _books,
        "recalibration": _recalibrations,
        "regimes": lambda slot_ms: for_each(universe, lambda asset: _regime(asset, slot_ms), "monitor.failed"),
        "series": lambda slot_ms: for_each(universe, lambda asset: _series(asset, slot_ms), "monitor.failed"),
    }
    for_each(parts, lambda name: parts[name](tick.slot_ms), "monitor.failed", "part")


def _books(slot_ms: int) -> None:
    from functions import wired

    open_books = [record.book for record in wired.ledger().books() if record.finished_ms is None]
    for_each(open_books, lambda book: _performance(book, slot_ms), "monitor.failed", "book")


def _performance(book: str, slot_ms: int) -> None:
    from functions import wired
    from shared.cli import wiring
    from shared.monitor.watch import decided_assets, look_at_book

    ledger, research, params = wired.ledger(), wired.research(), wired.settings().monitor
    receipt = Receipt(MONITOR, f"{slot_ms}/{book}", book, wiring.clock().now_ms())
    for found in look_at_book(ledger, research, book, decided_assets(ledger, book), params, receipt=receipt):
        severity = "INFO" if found.check.trigger is None else "WARNING"
        say(severity, "performance.checked", found.reason, asset=str(found.asset), book=book)


def _recalibrations(slot_ms: int) -> None:
    from functions import wired
    from shared.monitor.watch import UNFINISHED

    for waiting in wired.research().recalibrations():
        if waiting.status in UNFINISHED:
            triggered = RecalibrationTriggered(waiting.id, waiting.asset, waiting.trigger, slot_ms)
            asyncio.run(wired.bus().publish(triggered.made()))
            fields = {"asset": str(waiting.asset), "recalibration": waiting.id}
            say("INFO", "recalibration.triggered", f"{waiting.asset}: {waiting.trigger}", **fields)


def _regime(asset: Asset, slot_ms: int) -> None:
    import numpy as np

    from functions import wired
    from shared.domain.regime import REGIMES
    from shared.regime.drift import StressLevel, drift_path, stress_level
    from shared.trading.signal_book import signal_book

    settings, ledger = wired.settings(), wired.ledger()
    params, interval = settings.regime, settings.interval
    since_ms = slot_ms - 3 * params.drift_window * interval.ms
    states = ledger.regimes(signal_book(interval), asset, since_ms=since_ms)
    if not states or states[-1].bar_close_ms < interval.floor(slot_ms) - interval.ms:
        return  # an old state says nothing about now; that it is old is told as a gap
    newest = states[-1]
    if (level := stress_level(newest.stress_bars, params)) is not StressLevel.NONE:
        fields = {"asset": str(asset), "bars": newest.stress_bars, "level": level.value}
        say("WARNING", "regime.stress", f"{asset}: {newest.stress_bars} bars", **fields)
    path = drift_path(np.array([[state.probabilities.of(regime) for regime in REGIMES] for state in states]), params)
    drifted = [regime.value for row, regime in enumerate(REGIMES) if path.alarm_up[-1, row] or path.alarm_down[-1, row]]
    if drifted:
        say("WARNING", "regime.drift", f"{asset}: {' '.join(drifted)}", asset=str(asset), regimes=drifted)


def _series(asset: Asset, slot_ms: int) -> None:
    from functions import wired
    from shared.data.store import load_quality

    for interval in wired.settings().intervals:
        quality = load_quality(wired.bucket(), asset, interval)
        for gap in quality.gaps(slot_ms - GAP_DAYS * DAY_MS, slot_ms) if quality is not None else ():
            fields = {"asset": str(asset), "interval": interval.value, "gap_hours": (gap.end_ms - gap.start_ms) / HOUR_MS}
            say("WARNING", "data.gap", f"{asset} {interval}: {gap}", **fields)
