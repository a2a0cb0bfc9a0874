"""Which book a live session writes: its own paper market's, or one that is named after the mode and the interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.local.bucket import FolderBucket
from shared.cli import wiring
from shared.cli.books import refuse_another
from shared.cli.live_run import LiveBook
from shared.domain.errors import ConfigError

if TYPE_CHECKING:
    from shared.config.settings import Settings

Say = Callable[[str], None]


def book_of(settings: Settings, *, say: Say = lambda _: None) -> LiveBook:
    """The book of a process without flags: everything comes from the settings."""
    if settings.mode == "paper" and settings.venue.base_url is None:
        return own_book(settings, None, (), fresh=False, say=say)
    return traded_book(settings, say)


def own_book(settings: Settings, data: Path | None, symbols: Sequence[str], *, fresh: bool, say: Say) -> LiveBook:
    """A book on a paper exchange of its own; the same market, symbols and parameters are the same book.

    Raises the `OstError` tree where there is no market to trade.
    """
    from shared.cli.run import prepare

    plan, run, continued = prepare(settings, data, ",".join(symbols) or None, None, None, fresh=fresh, live=True, say=say)
    if continued:
        say(f"continuing the book {run.book} (start over with --fresh)")
    return LiveBook(run.book, settings, plan.universe, run.ledger, run.folder, FolderBucket(run.folder), own=run)


def traded_book(settings: Settings, say: Say) -> LiveBook:
    """A book to go on with, at a venue that runs already. Raises `ConfigError` for another one and for a weak ledger."""
    if settings.ledger_url.startswith("sqlite"):
        if settings.mode == "live":
            raise ConfigError(
                f"mode live trades real money and its ledger is the file {settings.ledger_url.removeprefix('sqlite:///')}, "
                "which dies with this disk; name a PostgreSQL database: OST_LEDGER__URL=postgresql+pg8000://USER@HOST/NAME"
            )
        if settings.mode == "testnet":
            say("the ledger is a SQLite file: good enough for a testnet, mode live asks for PostgreSQL (ledger.url)")
    book = external_book(settings)
    refuse_another(book.ledger, book.name, settings)
    return book


def external_book(settings: Settings) -> LiveBook:
    """A book at a venue that runs already. Raises `LedgerError` where the ledger cannot be used."""
    name = book_name(settings) or "paper"
    folder = settings.folder / "live" / name
    wiring.make_folder(folder)
    ledger = wiring.ledger(settings, live=True)
    keys = wiring.renewed_keys(settings, ledger)
    return LiveBook(name, settings, settings.universe.universe, ledger, folder, wiring.bucket(settings), keys=keys)


def book_name(settings: Settings) -> str | None:
    """The name of the configured book; `None` where it is derived from the market of an exchange that is started for it."""
    if settings.mode == "paper" and settings.venue.base_url is None:
        return None
    return settings.bot.book or f"{settings.mode.value}-{settings.interval.value}"
