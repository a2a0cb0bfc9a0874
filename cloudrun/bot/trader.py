"""The trading process: opens the book, trades until told to end, says what happens in lines of JSON.

The API process sees it through the ledger alone: its heartbeats say what it does and why.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from cloudrun.bot import light  # noqa: F401 - before everything else
from cloudrun.bot.log import heartbeat, say, telling
from cloudrun.bot.supervisor import end_with_parent
from shared.cli import wiring
from shared.cli.live_book import book_of
from shared.cli.live_run import LiveBook, get_ready, opened, trade
from shared.domain.errors import ConfigError, LedgerError, OstError, UsageError
from shared.domain.interval import format_ms
from shared.ports import Clock, Ledger
from shared.trading.health import TraderState
from shared.trading.session_types import StepReport
from shared.trading.trader import Trader

EXIT_PROBLEM, EXIT_USAGE = 1, 2
HEARTBEAT_S = 60.0
_TRADES = frozenset({TraderState.TRADING, TraderState.DEGRADED, TraderState.HALTED})


def told(report: StepReport) -> None:
    """One line for each bar, and one for whatever is wrong with an asset."""
    moves = ", ".join(f"{decision.asset.symbol} {decision.action.value}" for decision in report.decisions)
    say("INFO", f"{format_ms(report.bar_close_ms)} equity {report.equity:.2f} drawdown {report.drawdown:.4f}: {moves}")
    for problem in report.problems:
        say("WARNING", problem)


def is_looked_after(ledger: Ledger, book: str, now_ms: int) -> bool:
    """Whether a loop that trades the book has shown itself in the ledger within the last minute.

    Not one that hangs, waits as a standby, or has been refused. False where the ledger cannot be asked.
    """
    try:
        beats = ledger.heartbeats(book)
    except LedgerError:
        return False
    return any(
        beat.role == "trader" and beat.state.get("state") in _TRADES and now_ms - beat.time_ms <= HEARTBEAT_S * 1000
        for beat in beats
    )


async def beat(ledger: Ledger, book: str, clock: Clock) -> None:
    """A line each minute while somebody looks after the book."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        if is_looked_after(ledger, book, clock.now_ms()):
            heartbeat(book)


async def run(book: LiveBook, *, standby: bool) -> str:
    """Trade a book; why it ended. Raises the `OstError` tree."""

    def started(_: Trader) -> None:
        say("INFO", f"the trader of the book {book.name} starts{' as a standby' if standby else ''}")

    get_ready(book)
    async with opened(book) as session:
        beating = asyncio.create_task(beat(book.ledger, book.name, wiring.clock()))
        try:
            return await trade(telling(session), standby=standby, on_start=started, on_step=told)
        finally:
            beating.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the process; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cloudrun.bot.trader", description="Trade the configured book.")
    parser.add_argument("--standby", action="store_true", help="wait for the book of another process and take over")
    given = parser.parse_args(arguments)
    end_with_parent()
    try:
        book = book_of(wiring.settings(), say=lambda message: say("INFO", message))
        reason = asyncio.run(run(book, standby=given.standby))
    except OstError as error:
        for line in str(error).splitlines():
            say("ERROR", line)
        return EXIT_USAGE if isinstance(error, UsageError | ConfigError) else EXIT_PROBLEM
    say("INFO", f"the trader has ended: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
