"""What `ost live` shows: a live table on a terminal, one line per bar and per change of state in a log.

State, equity, drawdown, positions with their stops, streams, halts, the newest decisions: read from the session's own ledger,
twice a second at most, so that what is shown is what any other process would see.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from shared.cli import output
from shared.domain.errors import LedgerError
from shared.domain.interval import format_ms
from shared.domain.orders import OrderKind, OrderState

if TYPE_CHECKING:
    from rich.live import Live as RichLive

    from shared.cli.live_run import Live
    from shared.trading.session_types import StepReport
    from shared.trading.trader import Trader

REFRESH_S = 0.5
SHOWN_DECISIONS = 8


class LiveView:
    """The view of one session; `with` shows it."""

    def __init__(self, session: Live) -> None:
        self._session = session
        self._trader: Trader | None = None
        self._last: StepReport | None = None
        self._decisions: list[tuple[str, ...]] = []
        self._rich: RichLive | None = None
        self._said: tuple[str, str] = ("", "")
        self.bars = 0
        self.fills = 0

    @property
    def equity(self) -> Decimal | None:
        """Of the newest bar, quote currency."""
        return self._last.equity if self._last else None

    def __enter__(self) -> Self:
        if output.error_console().is_terminal:
            from rich.live import Live as RichLive

            self._rich = RichLive(console=output.error_console(), auto_refresh=False, transient=False)
            self._rich.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._rich is not None:
            self._rich.stop()

    def follow(self, trader: Trader) -> None:
        """Show the state of `trader` from now on."""
        self._trader = trader

    def on_step(self, report: StepReport) -> None:
        """A bar was stepped."""
        self._last = report
        self.bars += 1
        self.fills += len(report.fills)
        close = format_ms(report.bar_close_ms)
        new = [
            (close, d.asset.symbol, d.regime.value, f"{d.score:+.2f}", d.action.value, f"{d.approved_fraction:+.1%}")
            for d in report.decisions
        ]
        self._decisions = [*self._decisions, *new][-SHOWN_DECISIONS:]
        if self._rich is None:
            moves = " ".join(f"{d.asset.symbol} {d.action.value}" for d in report.decisions) or "nothing decided"
            output.note(
                f"{format_ms(report.bar_close_ms)}  equity {report.equity:,.2f}  drawdown {report.drawdown:.2%}  {moves}"
                + (f"  {len(report.fills)} fills" if report.fills else "")
            )
            for problem in report.problems:
                output.note(problem)

    async def refresh(self) -> None:
        """Show what is new, until cancelled."""
        while True:
            state = self._trader.state.value if self._trader else "checking the venue"
            try:
                reason = self._heartbeat().get("reason") or ""
                if self._rich is not None:
                    self._rich.update(self._table(state, reason), refresh=True)
            except LedgerError as error:
                reason = str(error)
            if self._rich is None and (state, reason) != self._said:
                self._said = (state, reason)
                output.note(f"{state}{f': {reason}' if reason else ''}")
            await asyncio.sleep(REFRESH_S)

    def _heartbeat(self) -> dict[str, Any]:
        book, holder = self._session.book, self._session.spec.holder
        return next((dict(beat.state) for beat in book.ledger.heartbeats(book.name) if beat.holder == holder), {})

    def _table(self, state: str, reason: str) -> Any:
        from rich.console import Group
        from rich.markup import escape

        colour = {"trading": "green", "halted": "bold red"}.get(state, "yellow")
        last, clock = self._last, self._session.ports.clock
        rows = [
            ("state", f"[{colour}]{state}[/]{f' {escape(reason)}' if reason else ''}"),
            ("time", f"{format_ms(clock.now_ms())} UTC"),
            ("last bar", format_ms(last.bar_close_ms) if last else "none yet"),
        ]
        if last is not None:
            rows.append(("equity", f"{last.equity:,.2f}, drawdown {last.drawdown:.2%}"))
        beat = self._heartbeat()
        troubles = ", ".join(f"{beat.get(name, 0)} {name}" for name in ("reconnects", "failures"))
        rows.append(("counters", f"{self.bars} bars, {self.fills} fills, {troubles}"))
        parts = [output.table(("", escape(self._session.book.name)), rows), *self._positions()]
        columns = ("bar close, UTC", "symbol", "regime", "score", "decision", "target")
        parts.append(output.table(columns, self._decisions, right=("score", "target")))
        return Group(*parts)

    def _positions(self) -> list[Any]:
        ledger, book = self._session.book.ledger, self._session.book.name
        held = [position for position in ledger.positions(book).values() if position.quantity]
        if not held:
            return []
        stops: dict[str, list[str]] = {}
        for order in ledger.orders(book, unfinished=True):
            if order.intent.kind is OrderKind.STOP and order.state is OrderState.OPEN:
                stops.setdefault(order.intent.symbol, []).append(str(order.intent.stop_price))
        rows = [(p.symbol, str(p.quantity), f"{p.entry_price:,.6g}", ", ".join(stops.get(p.symbol, ["none"]))) for p in held]
        columns = ("position", "quantity", "entry", "stop")
        return [output.table(columns, rows, right=columns[1:])]
