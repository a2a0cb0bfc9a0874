"""Which book a live session writes: its own paper market's, or one that is named after the mode and the interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.local.bucket import FolderBucket
from shared.cli import wiring
from shared.cli.live_run import LiveBook

if TYPE_CHECKING:
    from shared.config.settings import Settings

Say = Callable[[str], None]


def book_of(settings: Settings, *, say: Say = lambda _: None) -> LiveBook:
    """The book of a process without flags: everything comes from the settings."""
    if settings.mode == "paper" and settings.venue.base_url is None:
        return own_book(settings, None, (), fresh=False, say=say)
    return external_book(settings)


def own_book(settings: Settings, data: Path | None, symbols: Sequence[str], *, fresh: bool, say: Say) -> LiveBook:
    """A book on a paper exchange of its own; the same market, symbols and parameters are the same book.

    Raises the `OstError` tree where there is no market to trade.
    """
    from shared.cli.run import prepare

    plan, run, continued = prepare(settings, data, ",".join(symbols) or None, None, None, fresh=fresh, live=True, say=say)
    if continued:
        say(f"continuing the book {run.book} (start over with --fresh)")
    return LiveBook(run.book, settings, plan.universe, run.ledger, run.folder, FolderBucket(run.folder), own=run)


def external_book(settings: Settings) -> LiveBook:
    """A book at a venue that runs already. Raises `LedgerError` where the ledger cannot be used."""
    name = book_name(settings) or "paper"
    folder = settings.storage.root / "live" / name
    wiring.make_folder(folder)
    return LiveBook(name, settings, settings.universe.universe, wiring.ledger(settings), folder, wiring.bucket(settings))


def book_name(settings: Settings) -> str | None:
    """The name of the configured book; `None` where it is derived from the market of an exchange that is started for it."""
    if settings.mode == "paper" and settings.venue.base_url is None:
        return None
    return settings.bot.book or f"{settings.mode.value}-{settings.interval.value}"
