"""The bot's HTTP interface. It reads the ledger; only POST /step and POST /tend (schedule mode) trade.

GET /healthz   this process answers                    GET /metrics   Prometheus text
GET /readyz    the ledger answers and a trader lives   GET /status    the book as JSON, as `ost status --json`
POST /step     the whole step of the newest closed bar (or ?bar_close_ms=…); the same request again changes nothing
POST /tend     between bars, each minute: what happened since is settled, protected and, where a halt says so, closed

A delivery of Pub/Sub to /step tells of a bar: 200 done, or nothing of ours; 202 at work; 503 not yet; 422 never.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from cloudrun.bot.log import heartbeat, say, telling
from cloudrun.bot.metrics import BookCollector
from cloudrun.bot.turns import Busy, Turns
from shared.cli import wiring
from shared.cli.book_status import book_status
from shared.cli.live_book import book_name, book_of
from shared.cli.live_run import LiveBook, opened, step_once
from shared.cli.output import to_json
from shared.config.settings import BotCallers, BotMode, Settings
from shared.domain.data_events import RegimeClassified
from shared.domain.errors import (
    BusUnavailable,
    DataError,
    LeaseLost,
    LedgerError,
    LedgerUnavailable,
    MalformedData,
    NotAtRest,
    OstError,
    StorageError,
    UsageError,
    VenueError,
)
from shared.domain.fields import Fields
from shared.domain.pushes import is_push, pushed
from shared.domain.records import Heartbeat
from shared.ports import Ledger
from shared.trading.health import TraderState
from shared.trading.schedule import tend_once
from shared.trading.session_types import StepReport

LONGEST_MS = 13
"""Digits of an instant in ms: until the year 2286"""
RETRY_S = 10
_WORKING = frozenset({TraderState.TRADING, TraderState.DEGRADED, TraderState.HALTED, TraderState.STANDBY})


def create_app(settings: Settings, ledger: Ledger | None = None) -> Flask:
    """The application of one book; `ledger` is opened at the first request that needs it unless given."""
    app = Flask("bot")
    memory = _Memory(settings, ledger)

    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> Response:
        reason = memory.why_not_ready()
        return _json({"status": "not ready", "reason": reason}, 503) if reason else _json({"status": "ready"})

    @app.get("/status")
    def status() -> Response:
        found = memory.status()
        return _json({"error": f"there is no book {memory.book} yet"}, 404) if found is None else _json(found)

    @app.get("/metrics")
    def metrics() -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(BookCollector(memory.ledger, memory.book, wiring.clock()))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    if settings.bot.mode is BotMode.SCHEDULE:
        turns = Turns()

        @app.post("/step")
        def step() -> Response:
            text = request.args.get("bar_close_ms", "")
            if text and not (text.isdecimal() and len(text) <= LONGEST_MS):
                return _json({"error": f"bar_close_ms is {text[:40]!r}; expected milliseconds since 1970"}, 400)
            if not _is_allowed(settings):
                return _refusal()
            try:
                told = _told()
            except MalformedData as error:
                _tell_refusal(error, 422)
                return _json({"error": str(error)}, 422)
            if told is not None and told.interval is not settings.interval:
                return _json({"book": memory.book, "not_traded": told.interval.value})
            with turns.step(told.bar_close_ms if told is not None else None) as turn:
                if turn.is_mine:
                    answer, is_whole = asyncio.run(_step(memory.traded, int(text) if text else None))
                    turn.report = answer if is_whole else None
                    return _json(answer)
                return _json({"book": memory.book, "at_work": True}, 202) if turn.done is None else _json(turn.done)

        @app.post("/tend")
        def tend() -> Response:
            if not _is_allowed(settings):
                return _refusal()
            with turns.tend() as is_mine:
                return _json(asyncio.run(_tend(memory.traded))) if is_mine else _json({"at_work": True}, 202)

        @app.errorhandler(Busy)
        def busy(_: Busy) -> Response:
            return _json({"error": "another request trades the book; ask again later"}, 503)

    @app.errorhandler(OstError)
    def refused(error: OstError) -> Response:
        status = _status_of(error)
        if request.method == "POST":  # who asks by GET is told; who announces a bar reads no answers
            _tell_refusal(error, status)
        return _json({"error": str(error)}, status)

    @app.errorhandler(HTTPException)
    def unknown(error: HTTPException) -> Response:
        return _json({"error": error.description}, error.code or 500)

    return app


class _Memory:
    """The book as the ledger knows it."""

    def __init__(self, settings: Settings, ledger: Ledger | None) -> None:
        self._settings = settings
        self._ledger = ledger
        self._opening = threading.Lock()
        self._traded: LiveBook | None = None

    @property
    def ledger(self) -> Ledger:
        with self._opening:
            if self._ledger is None:
                self._ledger = wiring.ledger(self._settings, live=True)
            return self._ledger

    @property
    def traded(self) -> LiveBook:
        """The book with its market, prepared at the first step."""
        if self._traded is None:
            self._traded = book_of(self._settings)
        return self._traded

    @property
    def book(self) -> str:
        """The configured book; of paper exchanges that are started for a book, the newest one."""
        return book_name(self._settings) or next(
            (r.book for r in reversed(self.ledger.books()) if r.settings.get("live")), "none"
        )

    def why_not_ready(self) -> str:
        """Empty where requests and bars are served."""
        try:
            now_ms = wiring.clock().now_ms()
            beats = self.ledger.heartbeats(self.book)
        except LedgerError as error:
            return str(error)
        if self._settings.bot.mode is BotMode.SCHEDULE:
            requests = sorted((beat for beat in beats if beat.role == "schedule"), key=lambda beat: beat.time_ms)
            return _left_alone(requests[-1]) if requests else ""
        fresh = [beat for beat in beats if now_ms - beat.time_ms <= self._settings.bot.alive_s * 1000]
        if not fresh:
            newest = max((beat.time_ms for beat in beats), default=None)
            age = "" if newest is None else f": the last one is {(now_ms - newest) / 1000:.0f} s old"
            return f"no heartbeat of a trader of the book {self.book}{age}"
        states = {beat.state.get("state") for beat in fresh}
        if not states & _WORKING:
            return f"the trader is {' '.join(sorted(map(str, states)))}"
        return next(filter(None, map(_left_alone, fresh)), "")

    def status(self) -> dict[str, Any] | None:
        record = next((record for record in self.ledger.books() if record.book == self.book), None)
        if record is None:
            return None
        now_ms = wiring.clock().now_ms()
        return {"status": book_status(self.ledger, record, self._settings, now_ms)}


def _tell_refusal(error: OstError, status: int) -> None:
    severity = "WARNING" if status == 503 else "ERROR"  # what is asked for again is no error yet
    say(severity, str(error), event="call.refused", status=str(status), error=type(error).__name__, path=request.path)


def _refusal() -> Response:
    return _json({"error": "this request carries no valid token (Authorization: Bearer …)"}, 401)


def _told() -> RegimeClassified | None:
    """The event that a delivery of Pub/Sub tells; `None` for the scheduler and for people. Raises `MalformedData`."""
    content = request.get_json(force=True, silent=True)
    body = Fields("the request", content if isinstance(content, dict) else {})
    return RegimeClassified.of(pushed(body)) if is_push(body) else None


async def _step(book: LiveBook, bar_close_ms: int | None) -> tuple[dict[str, Any], bool]:
    """The report of the newest bar, and whether it is the whole one: nothing of that bar is left to be asked for."""
    async with opened(book, lockstep=True) as live:
        report = await step_once(telling(live), bar_close_ms)
    return _report(book.name, report), bar_close_ms is None and not report.undecided


async def _tend(book: LiveBook) -> dict[str, Any]:
    if book.keys is not None:  # not at a step: the bar does not wait for the store
        await book.keys.look()
    async with opened(book, lockstep=True) as live:
        await tend_once(telling(live).ports, live.spec, live.params)
    heartbeat(book.name)
    return {"book": book.name, "at_rest": True}


def _report(book: str, report: StepReport) -> dict[str, Any]:
    return {
        "book": book,
        "bar_close_ms": report.bar_close_ms,
        "equity": report.equity,
        "drawdown": report.drawdown,
        "decisions": [
            {"id": d.id, "symbol": d.asset.symbol, "action": d.action, "approved_fraction": d.approved_fraction}
            for d in report.decisions
        ],
        "fills": len(report.fills),
        "problems": report.problems,
    }


def _left_alone(beat: Heartbeat) -> str:
    """What a process holds without protection, or what has troubled it for minutes, in words; empty where there is nothing."""
    symbols, lasting = beat.state.get("bare") or [], beat.state.get("lasting") or []
    return f"held without a full stop: {' '.join(symbols)}" if symbols else "; ".join(lasting)


def _is_allowed(settings: Settings) -> bool:
    """Outside paper mode a request carries the token; in paper mode too, where one is set. Cloud Run asks before us."""
    if settings.bot.callers is BotCallers.PLATFORM:
        return True
    token = wiring.secrets().bot_token
    if token is None:
        return settings.mode == "paper"
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return hmac.compare_digest(given.encode(), token.get_secret_value().encode())


def _status_of(error: OstError) -> int:
    if isinstance(error, LeaseLost | LedgerUnavailable | VenueError | BusUnavailable | DataError | NotAtRest | StorageError):
        return 503
    return 400 if isinstance(error, UsageError) else 500


def _json(content: Any, status: int = 200) -> Response:
    headers = {"Retry-After": str(RETRY_S)} if status == 503 else {}
    return Response(to_json(content), status, headers, content_type="application/json")
