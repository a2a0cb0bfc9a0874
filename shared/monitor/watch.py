"""A look at a book: each asset's contribution against its champion's baseline, and a recalibration event where it is due.

The clock is the book's own (its newest equity point), so that a look at a book of last year says what it would have said then,
and the same look again changes nothing. Windows end at UTC midnight, like the daily returns that baselines are made of: hourly
looks at windows that end at the look would only multiply false alarms (docs/recalibration.md). Every outcome goes to the book's
log with its reason.

A champion is held to its promise only for days on which the book traded it: its parameters, its bars, since its activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.domain.asset import Asset
from shared.domain.candles import BoolArray, FloatArray
from shared.domain.decision import Decision
from shared.domain.errors import UsageError
from shared.domain.ids import content_id
from shared.domain.interval import DAY_MS, format_ms
from shared.domain.records import LogEntry, Receipt, RegimeState
from shared.domain.research import Champion, RecalibrationEvent, unfinished_events
from shared.monitor.contribution import contribution
from shared.monitor.params import MonitorParams
from shared.monitor.performance import Baseline, PerformanceCheck, check_performance, rolling_returns
from shared.ports import Ledger, Research

SOURCE = "monitor"
"""who these entries of the agent log are by"""
_NEWEST_DECISIONS = 1000
UNFINISHED = ("open", "running")
"""statuses of a recalibration beside which no other one is opened"""


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
    waiting: str | None
    """id of the recalibration that still has to come to its end, opened by this look or by one before (`ost recalibrate`)"""
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
            "waiting": self.waiting,
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
    receipt: Receipt | None = None,
) -> list[AssetLook]:
    """Look at `assets` of `book`, one after the other. A book without equity gives no looks.

    The window ends at the last UTC midnight of the book's clock. The baseline is `baseline`, or with `own_history` the asset's
    returns before the window, or else its active champion's. What was found is written in one transaction, with the `receipt`
    of whoever was told to look; with `open_events=False` nothing is written.
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
        traded = None if champion is None else champion_days(decisions, champion, at_ms, days)
        returns = returns if traded is None else np.where(traded, returns, np.nan)
        expected = baseline or (history_baseline(returns, params) if own_history else _measured(champion))
        obstacle = None if champion is None or traded is None else _not_traded(traded, decisions, champion, params)
        check, known = _checked(research, asset, expected, returns, params, now_ms, obstacle)
        look = _look(check, known, book, asset, champion, expected, now_ms, ledger.last_regime(book, asset))
        looks.append(look)
    if open_events:
        opened = [look.event for look in looks if look.event is not None]
        ledger.apply_watch(receipt, book, [_entry(look) for look in looks], opened, now_ms)
    return looks


def decided_assets(ledger: Ledger, book: str, wanted: Sequence[str] = ()) -> list[Asset]:
    """The assets on which a book has lately decided, or the `wanted` symbols of them. Raises `UsageError` for any other."""
    found = {decision.asset.symbol: decision.asset for decision in ledger.decisions(book, limit=_NEWEST_DECISIONS)}
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise UsageError(f"book {book} has no decision on {' '.join(unknown)}; it has decided on {' '.join(sorted(found))}")
    return [found[name] for name in wanted or sorted(found)]


def history_baseline(returns: FloatArray, params: MonitorParams) -> Baseline | None:
    """What the daily returns (n,) before the window promised; `None` where they do not move or are too few."""
    before = returns[: -params.window_days]
    return Baseline.of(before[np.isfinite(before)], params.window_days)


def champion_days(decisions: Sequence[Decision], champion: Champion, at_ms: int, days: int) -> BoolArray:
    """Which of the `days` days (days,) that end at `at_ms` count for a champion.

    Those that begin at its activation or later, and whose `decisions` (oldest first), with the one in force when the day began,
    all carry its parameters and its interval.
    """
    time_ms = np.array([decision.bar_close_ms for decision in decisions], dtype=np.int64)
    carries = np.array([_is_of(decision, champion) for decision in decisions], dtype=np.bool_)
    edges = at_ms - DAY_MS * np.arange(days, -1, -1, dtype=np.int64)
    first = np.maximum(np.searchsorted(time_ms, edges[:-1], side="right") - 1, 0)
    end = np.searchsorted(time_ms, edges[1:], side="left")
    wrong = np.concatenate([[0], np.cumsum(~carries)])
    active = edges[:-1] >= (at_ms if champion.activated_ms is None else champion.activated_ms)
    return np.asarray(active & (end > first) & (wrong[end] == wrong[np.minimum(first, end)]))


def _is_of(decision: Decision, champion: Champion) -> bool:
    return decision.params_version == champion.params_version and decision.interval is champion.interval


def _not_traded(traded: BoolArray, decisions: Sequence[Decision], champion: Champion, params: MonitorParams) -> str | None:
    """Why too few days of the window are the champion's, or `None`."""
    days = int(traded[-params.window_days :].sum())
    if days >= params.minimum_days:
        return None
    if decisions and not _is_of(newest := decisions[-1], champion):
        return (
            f"the book does not trade champion {champion.id} (it trades params {newest.params_version} on {newest.interval}, "
            f"the champion is {champion.params_version} on {champion.interval}); "
            f"see `ost champions show {champion.id} --settings`"
        )
    since = "never" if champion.activated_ms is None else format_ms(champion.activated_ms)
    return (
        f"not enough data: the book traded champion {champion.id} (active since {since}) on {days} whole days of the window, "
        f"needed {params.minimum_days}"
    )


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


def _checked(
    research: Research,
    asset: Asset,
    expected: Baseline | None,
    returns: FloatArray,
    params: MonitorParams,
    now_ms: int,
    obstacle: str | None,
) -> tuple[PerformanceCheck, list[RecalibrationEvent]]:
    """The comparison, and the asset's recalibrations up to now, oldest first."""
    known = [event for event in research.recalibrations(asset) if event.created_ms <= now_ms]
    last_ms = max((event.created_ms for event in known), default=None)
    check = check_performance(returns, expected, params, now_ms // DAY_MS * DAY_MS, last_ms)
    # Without a baseline the check itself says what is missing.
    if obstacle is not None and expected is not None:
        check = replace(check, findings=(), trigger=None, reason=obstacle)
    return check, known


def _look(
    check: PerformanceCheck,
    known: Sequence[RecalibrationEvent],
    book: str,
    asset: Asset,
    champion: Champion | None,
    expected: Baseline | None,
    now_ms: int,
    regime: RegimeState | None,
) -> AssetLook:
    """What comes of a check: a new event, one that waits already, or nothing."""
    champion_id = None if champion is None else champion.id
    unfinished = unfinished_events(known)
    waiting = unfinished[-1].id if unfinished else None
    if check.trigger is None:
        reason = f"no recalibration: {check.reason}" + ("" if waiting is None else f"; {waiting} still waits: ost recalibrate")
        return AssetLook(book, asset, champion_id, expected, check, None, waiting, reason)
    identity = content_id("r", str(asset), check.trigger, check.at_ms)
    before = next((one for one in known if one.status in UNFINISHED or one.id == identity), None)
    if before is not None:
        reason = f"recalibration {before.id} is {before.status} already: {check.reason}"
        return AssetLook(book, asset, champion_id, expected, check, None, waiting, reason)
    event = RecalibrationEvent(
        id=identity,
        asset=asset,
        created_ms=now_ms,
        trigger=check.trigger,
        measured={"book": book, "champion": champion_id, "baseline": expected and expected.as_dict(), **check.as_dict()},
        regime=regime_snapshot(regime),
        status="open",
    )
    reason = f"recalibration {event.id} is due: {check.reason}"
    return AssetLook(book, asset, champion_id, expected, check, event, event.id, reason)


def _entry(look: AssetLook) -> LogEntry:
    level = "info" if look.check.trigger is None else "warning"
    context = {"asset": str(look.asset), "champion": look.champion, **look.check.as_dict()}
    return LogEntry(SOURCE, level, f"{look.asset.symbol}: {look.reason}", context)
