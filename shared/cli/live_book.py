"""Which book a live session writes: its own paper market's, or one that is named after the mode and the interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.local.bucket import FolderBucket
from shared.cli import output, wiring
from shared.cli.live_run import LiveBook

if TYPE_CHECKING:
    from shared.config.settings import Settings


def own_book(settings: Settings, data: Path | None, symbols: str | None, *, fresh: bool) -> LiveBook:
    """A book on a paper exchange of its own; the same market, symbols and parameters are the same book.

    Raises the `OstError` tree where there is no market to trade.
    """
    from shared.cli.run import prepare

    plan, run, continued = prepare(settings, data, symbols, None, None, fresh=fresh, live=True)
    if continued:
        output.note(f"continuing the book {run.book} (start over with --fresh)")
    return LiveBook(run.book, settings, plan.universe, run.ledger, run.folder, FolderBucket(run.folder), own=run)


def external_book(settings: Settings) -> LiveBook:
    """A book at a venue that runs already. Raises `LedgerError` where the ledger's schema is not up to date."""
    name = settings.bot.book or f"{settings.mode.value}-{settings.interval.value}"
    folder = settings.storage.root / "live" / name
    wiring.make_folder(folder)
    return LiveBook(name, settings, settings.universe.universe, wiring.ledger(settings), folder, wiring.bucket(settings))
