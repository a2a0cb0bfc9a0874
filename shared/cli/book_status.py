"""Where a book stands, read from the ledger: account, breakers, positions with their stops, halts, orders, regimes, warnings.

A run over history lives in the time of its own bars: its halts are judged at its last bar, and its data have no age.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.cli.books import ENDED, state_of
from shared.domain.asset import Asset
from shared.domain.interval import DAY_MS, HOUR_MS, Interval, format_ms
from shared.domain.orders import OrderKind, OrderRecord, OrderState, Position

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.domain.records import BookRecord, EquityPoint, Halt, Heartbeat
    from shared.ports import Ledger
    from shared.risk.params import RiskParams

LATE_BARS = 2
"""Bars without news after which a live book is late."""
SCHEDULE = "schedule"
"""Role of the heartbeats of schedule mode"""
LAST_WORDS_S = 10.0
"""After this long a process that said that it stops has stopped"""
_LOG_ENTRIES = 1000
_SHOWN_WARNINGS = 5


@dataclass(frozen=True, slots=True)
class BookStatus:
    """One book as of its last bar; every value is JSON-able, money as text."""

    book: str
    mode: str
    state: str
    """`latched`, `finished`, `unfinished` (a run over history); of a live book what its process says (`trading`, `degraded`,
    `halted`, `standby` …), `scheduled` (between two requests of schedule mode) or `stopped` (nobody is heard)"""
    market: str
    generated: bool
    """whether the prices are made up"""
    interval: str
    last_bar: str | None
    data_age_s: float | None
    """by the machine's clock; `None` for a run over history"""
    equity: str | None
    peak: str | None
    exposure: float | None
    """sum of |notional| / equity"""
    drawdown: float | None
    breakers: tuple[dict[str, Any], ...]
    positions: tuple[dict[str, Any], ...]
    halts: tuple[dict[str, Any], ...]
    unfinished_orders: tuple[dict[str, Any], ...]
    """all but the stops that rest to protect a position"""
    regimes: tuple[dict[str, Any], ...]
    processes: tuple[dict[str, Any], ...]
    """live processes of the last day by their heartbeats: role, holder, state, reason, age in real seconds"""
    events_set_aside: int
    """events that the bus refused again and again"""
    warnings: tuple[dict[str, Any], ...]
    """the newest entries of the agent log that are warnings or worse"""
    problems: tuple[str, ...]
    """what a person should look at; empty for a finished book"""


def book_status(ledger: Ledger, record: BookRecord, settings: Settings, now_ms: int) -> BookStatus:
    """What the ledger says about a book at `now_ms`, the machine's clock."""
    book, plan = record.book, record.settings
    point = ledger.last_equity(book)
    replayed = "market_hash" in plan or bool(plan.get("simulated"))
    interval = Interval.parse(str(plan.get("interval", settings.interval.value)))
    halts = ledger.halts(book, point.time_ms if replayed and point else now_ms)
    age_ms = None if replayed or point is None else now_ms - point.time_ms
    positions = [held for held in ledger.positions(book).values() if held.quantity]
    unfinished = ledger.orders(book, unfinished=True)
    stops = [order for order in unfinished if order.intent.kind is OrderKind.STOP and order.state is OrderState.OPEN]
    beats = ledger.heartbeats(book)
    log = ledger.agent_log(book, _LOG_ENTRIES)
    set_aside = len(ledger.set_aside_events(book))
    problems = list(_problems(halts, positions, stops, age_ms, interval))
    if set_aside:
        problems.append(f"{set_aside} events were refused by the bus again and again; the trader tries them anew at its start")
    return BookStatus(
        book=book,
        mode="paper" if replayed else str(plan.get("mode", settings.mode.value)),
        state=_state(record, beats, halts, interval, settings),
        market=str(plan.get("market", settings.universe.venue)),
        generated=bool(plan.get("generated", False)),
        interval=interval.value,
        last_bar=None if point is None else format_ms(point.time_ms),
        data_age_s=None if age_ms is None else age_ms / 1000,
        equity=None if point is None else str(point.equity),
        peak=None if point is None else str(point.peak),
        exposure=_exposure(point, positions),
        drawdown=None if point is None else point.drawdown,
        breakers=_breakers(point, settings.risk),
        positions=tuple(_position(held, stops) for held in positions),
        halts=tuple(_halt(halt) for halt in halts),
        unfinished_orders=tuple(_order(order) for order in unfinished if order not in stops),
        regimes=tuple(_regimes(ledger, record, settings)),
        processes=tuple(_processes(beats, now_ms)),
        events_set_aside=set_aside,
        warnings=tuple(_warning(entry) for entry in log if entry["level"] in ("warning", "error", "critical"))[
            -_SHOWN_WARNINGS:
        ],
        problems=tuple(problems) if record.finished_ms is None else (),
    )


def _state(
    record: BookRecord, beats: Sequence[Heartbeat], halts: Iterable[Halt], interval: Interval, settings: Settings
) -> str:
    if record.finished_ms is not None:
        return "finished"
    if any(halt.until_ms is None and halt.symbol is None for halt in halts):
        return "latched"
    if not record.settings.get("live"):
        return "unfinished"
    by_request = [beat for beat in beats if beat.role == SCHEDULE]
    return state_of(beats, settings.bot.alive_s) or (
        "scheduled" if state_of(by_request, LATE_BARS * interval.ms / 1000) else "stopped"
    )


def _breakers(point: EquityPoint | None, risk: RiskParams) -> tuple[dict[str, Any], ...]:
    """Every level, what it does, and whether the drawdown is beyond it now."""
    drawdown = 0.0 if point is None else point.drawdown
    levels: list[tuple[float, float | None]] = [*zip(risk.pause_drawdowns, risk.pause_hours, strict=True)]
    levels.append((risk.max_drawdown, None))
    return tuple({"drawdown": level, "pause_hours": hours, "beyond": drawdown > level} for level, hours in levels)


def _position(held: Position, stops: Iterable[OrderRecord]) -> dict[str, Any]:
    resting = [order.intent for order in stops if order.intent.symbol == held.symbol]
    return {
        "symbol": held.symbol,
        "quantity": str(held.quantity),
        "entry_price": str(held.entry_price),
        "stops": [str(intent.stop_price) for intent in resting],
    }


def _halt(halt: Halt) -> dict[str, Any]:
    return {
        "symbol": halt.symbol,
        "reason": halt.reason,
        "since": format_ms(halt.since_ms),
        "until": None if halt.until_ms is None else format_ms(halt.until_ms),
    }


def _order(order: OrderRecord) -> dict[str, Any]:
    intent = order.intent
    return {
        "client_id": intent.client_id,
        "symbol": intent.symbol,
        "kind": intent.kind.value,
        "side": intent.side.value,
        "quantity": str(intent.quantity),
        "state": order.state.value,
        "decision": intent.decision_id,
    }


def _regimes(ledger: Ledger, record: BookRecord, settings: Settings) -> Iterable[dict[str, Any]]:
    """The newest regime of each asset of the book."""
    venue = str(record.settings.get("venue", settings.universe.venue))
    for symbol in record.settings.get("symbols", settings.universe.symbols):
        state = ledger.last_regime(record.book, Asset(venue, symbol))
        if state is not None:
            yield {
                "symbol": symbol,
                "regime": state.regime.value,
                "probabilities": state.probabilities.as_dict(),
                "stress_bars": state.stress_bars,
                "bar_close": format_ms(state.bar_close_ms),
            }


def _processes(beats: Iterable[Heartbeat], now_ms: int) -> Iterable[dict[str, Any]]:
    """The newest heartbeat of each process: a standby that has taken over is a trader."""
    newest: dict[str, Heartbeat] = {}
    for beat in sorted(beats, key=lambda beat: beat.time_ms):
        newest[beat.holder] = beat
    for beat in sorted(newest.values(), key=lambda beat: -beat.time_ms):
        if now_ms - beat.time_ms < DAY_MS:
            age_s = (now_ms - beat.time_ms) / 1000
            state = {"state": "stopped"} if beat.state.get("state") == ENDED and age_s > LAST_WORDS_S else {}
            yield {"role": beat.role, "holder": beat.holder, "age_s": age_s, **beat.state, **state}


def _warning(entry: Any) -> dict[str, Any]:
    return {"time": format_ms(entry["time_ms"]), **{name: entry[name] for name in ("source", "level", "message")}}


def _exposure(point: EquityPoint | None, positions: Sequence[Position]) -> float | None:
    """That of the last bar as a fraction of equity; nothing where nothing is held since."""
    if point is None or not point.equity:
        return None
    return float(point.exposure / point.equity) if positions else 0.0


def _problems(
    halts: Iterable[Halt], positions: Iterable[Position], stops: Iterable[OrderRecord], age_ms: int | None, interval: Interval
) -> Iterable[str]:
    """Sentences about what a person should look at."""
    for halt in halts:
        if halt.until_ms is None:
            yield f"{halt.symbol or 'the book'} is latched until a person resumes: {halt.reason}"
    protected = {order.intent.symbol for order in stops}
    for held in positions:
        if held.symbol not in protected:
            yield f"{held.symbol}: no stop rests at the venue for the position of {held.quantity}"
    if age_ms is not None and age_ms > LATE_BARS * interval.ms:
        yield f"the last bar is {age_ms / HOUR_MS:.1f} h old: is the session running?"
