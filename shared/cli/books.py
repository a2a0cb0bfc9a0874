"""Which book a command means, what makes a book this book, and the settings that it is reached with.

A book is one account's history at one place: mode, venue, server and interval are written down when it is first traded and
never change. A trader that would go on elsewhere is refused, and a command that acts on a book goes to the place that the book
names, whatever the settings of the moment say. Only real money has to be named by the settings as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.domain.errors import ConfigError, UsageError, VenueUnreachable
from shared.domain.interval import Interval

if TYPE_CHECKING:
    from shared.cli.live_run import LiveBook
    from shared.config.settings import Settings
    from shared.domain.records import BookRecord, Heartbeat
    from shared.ports import Ledger

_SHOWN_BOOKS = 5
ENDED = "stopping"
"""State of the last heartbeat of a process that ended in order"""


def chosen_book(ledger: Ledger, name: str | None, settings: Settings, *, certain: bool = False) -> BookRecord:
    """The book called `name`; without a name the one that is traded now, else that holds a position, else the unfinished one.

    Where all are finished, the one that finished last. Raises `UsageError` where there is none, and where several could be
    meant: `certain` refuses as soon as two that are not finished have traded.
    """
    books = ledger.books()
    if not books:
        raise UsageError("the ledger holds no book yet; make one with: ost run --days 30")
    if name is not None:
        return _named(books, name)
    unfinished = [record for record in books if record.finished_ms is None]
    if not unfinished:
        return max(books, key=lambda record: record.finished_ms or 0)
    alive = [record for record in unfinished if state_of(ledger.heartbeats(record.book), settings.bot.alive_s)]
    holding = [record for record in unfinished if _held(ledger, record.book)]
    used = [record for record in unfinished if record in (*alive, *holding) or ledger.last_equity(record.book)] or unfinished
    among = used if certain else alive or holding or used  # a book without a bar is one whose start was refused
    if len(among) == 1:
        return among[0]
    known = [_told(record, record in alive, _held(ledger, record.book)) for record in among[-_SHOWN_BOOKS:]]
    more = " …" if len(among) > len(known) else ""
    raise UsageError(f"{len(among)} books could be meant: {'; '.join(reversed(known))}{more}. Name one with --book")


def state_of(beats: Sequence[Heartbeat], alive_s: float) -> str:
    """What the process that was heard last is doing; empty where none was heard within `alive_s`."""
    from shared.cli import wiring

    since_ms = wiring.clock().now_ms() - alive_s * 1000
    newest = {beat.holder: beat for beat in sorted(beats, key=lambda beat: beat.time_ms)}  # a standby may have become a trader
    fresh = [beat for beat in newest.values() if beat.time_ms >= since_ms and beat.state.get("state") != ENDED]
    traders = [beat for beat in fresh if beat.role == "trader"] or fresh
    return str(max(traders, key=lambda beat: beat.time_ms).state.get("state", "alive")) if traders else ""


def has_own_exchange(record: BookRecord) -> bool:
    """Whether the book lives on a paper exchange that runs only while somebody trades it."""
    place = _place_of(record.settings)
    return "market_hash" in record.settings or (place["mode"] == "paper" and place["base_url"] is None)


def symbols_of(ledger: Ledger, record: BookRecord) -> list[str]:
    """Everything that the book may have at the venue: what it was started with, what it holds, what its open orders name."""
    held = [symbol for symbol, row in ledger.positions(record.book).items() if row.quantity]
    ordered = [order.intent.symbol for order in ledger.orders(record.book, unfinished=True)]
    return list(dict.fromkeys([*map(str, record.settings.get("symbols", ())), *held, *ordered]))


def register(book: LiveBook, now_ms: int) -> None:
    """Make the book known to the ledger, where it is not: nothing that is older at the venue is its business."""
    if book.own is not None:
        book.ledger.register_book(book.name, book.own.plan.start_ms, book.own.plan.as_dict())
        return
    settings = book.settings
    plan = {
        "symbols": [asset.symbol for asset in book.universe],
        "params_version": settings.system.version,
        "market": settings.venue.base_url or f"{settings.universe.venue} ({settings.mode.value})",
        "simulated": settings.mode == "paper",
        "live": True,
    }
    book.ledger.register_book(book.name, now_ms, plan | _place(settings))


def is_registered(book: LiveBook) -> bool:
    """Whether the book has been traded before."""
    return any(record.book == book.name for record in book.ledger.books())


def refuse_another(ledger: Ledger, name: str, settings: Settings) -> None:
    """Raise `ConfigError` where `settings` would go on with the book `name` at another place, or without what it holds."""
    record = next((record for record in ledger.books() if record.book == name), None)
    if record is None:
        return
    if has_own_exchange(record):
        raise ConfigError(
            f"the book {name} is that of a paper exchange of its own, which no other venue can go on with; choose another name "
            "(--book or bot.book)"
        )
    then, now = _place_of(record.settings), _place(settings)
    if settings.mode == "paper":
        then["base_url"] = now["base_url"]  # a paper exchange may be started on another port
    if differ := _differences(then, now):
        raise ConfigError(
            f"the book {name} was begun with {differ}. A book goes on where it began: choose another name (--book or "
            "bot.book), or the settings that it began with"
        )
    dropped = [held for held in _held(ledger, name) if held.split()[1] not in settings.universe.symbols]
    if dropped:
        raise ConfigError(
            f"the book {name} holds {', '.join(dropped)}, which would not be tended: name it as well (--symbols or "
            f'universe.symbols), or close the book first: ost emergency --book {name} --reason "…"'
        )


def settings_of_book(record: BookRecord, settings: Settings) -> Settings:
    """The settings that reach the venue of a book: mode, server, symbols and interval are the book's own.

    Raises `ConfigError` where the book trades real money and the settings do not say the same, `VenueUnreachable` where its
    paper exchange runs only while somebody trades it.
    """
    from shared.config.settings import Mode

    if has_own_exchange(record):
        raise VenueUnreachable(
            f"nobody trades the book {record.book}, and its paper exchange runs only while somebody does; start `ost live` "
            "with the settings of the book"
        )
    place = _place_of(record.settings)
    mode = Mode(place["mode"] or settings.mode.value)
    if mode is Mode.LIVE:
        _check_real_money(record, place, settings)
    moved = settings.venue.base_url if mode is settings.mode == "paper" else None
    symbols = tuple(map(str, record.settings.get("symbols", ()))) or settings.universe.symbols
    venue = place["venue"] or settings.universe.venue
    return settings.model_copy(
        update={
            "mode": mode,
            "interval": Interval.parse(place["interval"] or settings.interval.value),
            "universe": settings.universe.model_copy(update={"venue": venue, "symbols": symbols}),
            "venue": settings.venue.model_copy(update={"base_url": moved or place["base_url"]}),
            "bot": settings.bot.model_copy(update={"book": record.book}),
        }
    )


def _check_real_money(record: BookRecord, place: Mapping[str, Any], settings: Settings) -> None:
    if settings.mode != "live":
        raise ConfigError(
            f"the book {record.book} trades real money (mode live), the settings say {settings.mode.value}; give the command "
            "with the settings of its trader: mode live, confirm_live and the keys of the account"
        )
    if differ := _differences(place, {**_place(settings), "interval": place["interval"]}):
        raise ConfigError(f"the book {record.book} is traded with {differ}; give the command with the settings of its trader")


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Where two places differ, for people; empty where they are one."""
    names = {"base_url": "venue.base_url"}
    differ = [key for key in now if then[key] != now[key] and (then[key] is not None or key == "base_url")]
    return ", ".join(f"{names.get(key, key)} {then[key] or 'null'} (now {now[key] or 'null'})" for key in differ)


def _place(settings: Settings) -> dict[str, Any]:
    """Where and on what the settings trade."""
    return {
        "mode": settings.mode.value,
        "venue": settings.universe.venue,
        "base_url": settings.venue.base_url,
        "interval": settings.interval.value,
    }


def _place_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Where and on what a book was begun; books that are older than `base_url` have it in the name of their market."""
    market = str(plan.get("market", ""))
    known = {"base_url": market if market.startswith("http") else None, **plan}
    return {key: known.get(key) for key in ("mode", "venue", "base_url", "interval")}


def _named(books: Sequence[BookRecord], name: str) -> BookRecord:
    for record in books:
        if record.book == name:
            return record
    shown = ", ".join(record.book for record in books[-_SHOWN_BOOKS:])
    raise UsageError(f"there is no book {name!r} in the ledger; there is {shown}")


def _held(ledger: Ledger, book: str) -> list[str]:
    """`quantity symbol` of every open position."""
    return [f"{row.quantity} {row.symbol}" for row in ledger.positions(book).values() if row.quantity]


def _told(record: BookRecord, is_alive: bool, held: Sequence[str]) -> str:
    facts = [*(["traded now"] if is_alive else []), *([f"holds {' '.join(held)}"] if held else [])]
    return f"{record.book} ({', '.join(facts)})" if facts else record.book
