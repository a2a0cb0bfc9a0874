"""A look at a book: each asset's contribution against its champion's baseline, and a recalibration event where it is due.

The clock is the book's own (its newest equity point), so that a look at a book of last year says what it would have said then,
and the same look again changes nothing. Windows end at UTC midnight, like the daily returns that baselines are made of: hourly
looks at windows that end at the look would only multiply false alarms (docs/recalibration.md). Every outcome goes to the book's
log with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.domain.asset import Asset
from shared.domain.candles import FloatArray
from shared.domain.ids import content_id
from shared.domain.interval import DAY_MS
from shared.domain.records import RegimeState
from shared.domain.research import Champion, RecalibrationEvent
from shared.monitor.contribution import contribution
from shared.monitor.params import MonitorParams
from shared.monitor.performance import Baseline, PerformanceCheck, check_performance, rolling_returns
from shared.ports import Ledger, Research

SOURCE = "monitor"
"""who these entries of the agent log are by"""
UNFINISHED = ("open", "running")
"""statuses of a recalibration that still has to come to an end"""


@dataclass(frozen=True, slots=True)
class AssetLook:
    """What a look at one asset of a book found."""

    book: str
    asset: Asset
    champion: str | None
    """id of the champion whose baseline was used; `None` for a given baseline, or none"""
    baseline: Baseline | None
    check: PerformanceCheck
    event: RecalibrationEvent | None
    """opened by this look"""
    reason: str
    """what came of it, in one line"""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "book": self.book,
            "asset": str(self.asset),
            "champion": self.champion,
            "baseline": None if self.baseline is None else self.baseline.as_dict(),
            "check": self.check.as_dict(),
            "event": None if self.event is None else self.event.id,
            "reason": self.reason,
        }


def look_at_book(
    ledger: Ledger,
    research: Research,
    book: str,
    assets: Sequence[Asset],
    params: MonitorParams,
    *,
    baseline: Baseline | None = None,
    own_history: bool = False,
    open_events: bool = True,
) -> list[AssetLook]:
    """Look at `assets` of `book`, one after the other. A book without equity gives no looks.

    The window ends at the last UTC midnight of the book's clock. The baseline is `baseline`, or with `own_history` the asset's
    returns before the window, or else its active champion's. With `open_events=False` nothing is written.
    """
    newest = ledger.last_equity(book)
    if newest is None:
        return []
    now_ms = newest.time_ms
    at_ms = now_ms // DAY_MS * DAY_MS
    # One day more than the window: its first return needs a value before it.
    since_ms = 0 if own_history else at_ms - (params.window_days + 1) * DAY_MS
    points, payments = ledger.equity(book, since_ms), ledger.funding(book)
    looks = []
    for asset in assets:
        decisions = ledger.decisions(book, symbol=asset.symbol, since_ms=since_ms)
        closes = [(decision.bar_close_ms, decision.price) for decision in decisions]
        fills = ledger.fills(book, symbol=asset.symbol)
        funding = [payment for payment in payments if payment.symbol == asset.symbol]
        time_ms, curve = contribution(points, closes, fills, funding)
        days = max((at_ms - points[0].time_ms) // DAY_MS, params.window_days)
        returns = rolling_returns(time_ms, curve, at_ms, days)
        champion = None if baseline or own_history else next(iter(research.champions(asset, active=True)), None)
        expected = baseline or (history_baseline(returns, params) if own_history else _measured(champion))
        look = _look(research, book, asset, champion, expected, returns, params, now_ms, ledger.last_regime(book, asset))
        if open_events:
            _write(ledger, research, look, now_ms)
        looks.append(look)
    return looks


def history_baseline(returns: FloatArray, params: MonitorParams) -> Baseline | None:
    """What the daily returns (n,) before the window promised; `None` where they do not move or are too few."""
    before = returns[: -params.window_days]
    return Baseline.of(before[np.isfinite(before)], params.window_days)


def regime_snapshot(state: RegimeState | None) -> dict[str, Any]:
    """The regime of that moment, in the form in which campaigns keep it."""
    if state is None:
        return {"regime": None, "probabilities": None}
    return {
        "regime": state.regime.value,
        "probabilities": state.probabilities.as_dict(),
        "bar_close_ms": state.bar_close_ms,
        "model_id": state.model_id,
    }


def _measured(champion: Champion | None) -> Baseline | None:
    return None if champion is None else Baseline.from_metrics(champion.metrics)


def _look(
    research: Research,
    book: str,
    asset: Asset,
    champion: Champion | None,
    expected: Baseline | None,
    returns: FloatArray,
    params: MonitorParams,
    now_ms: int,
    regime: RegimeState | None,
) -> AssetLook:
    at_ms = now_ms // DAY_MS * DAY_MS
    known = [event for event in research.recalibrations(asset) if event.created_ms <= now_ms]
    last_ms = max((event.created_ms for event in known), default=None)
    check = check_performance(returns, expected, params, at_ms, last_ms)
    champion_id = None if champion is None else champion.id
    if check.trigger is None:
        return AssetLook(book, asset, champion_id, expected, check, None, f"no recalibration: {check.reason}")
    identity = content_id("r", str(asset), check.trigger, at_ms)
    before = next((one for one in known if one.status in UNFINISHED or one.id == identity), None)
    if before is not None:
        reason = f"recalibration {before.id} is {before.status} already: {check.reason}"
        return AssetLook(book, asset, champion_id, expected, check, None, reason)
    event = RecalibrationEvent(
        id=identity,
        asset=asset,
        created_ms=now_ms,
        trigger=check.trigger,
        measured={"book": book, "champion": champion_id, "baseline": expected and expected.as_dict(), **check.as_dict()},
        regime=regime_snapshot(regime),
        status="open",
    )
    return AssetLook(book, asset, champion_id, expected, check, event, f"recalibration {event.id} is due: {check.reason}")


def _write(ledger: Ledger, research: Research, look: AssetLook, now_ms: int) -> None:
    if look.event is not None:
        research.record_recalibration(look.event)
    level = "info" if look.check.trigger is None else "warning"
    context = {"asset": str(look.asset), "champion": look.champion, **look.check.as_dict()}
    ledger.log(look.book, SOURCE, level, f"{look.asset.symbol}: {look.reason}", now_ms, context)
