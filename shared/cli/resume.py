"""`ost resume`: let a halted book trade again, by its rules, with a name and a reason that are kept.

Exit codes: 0 nothing halts the book any more, 1 something still does (each is named) or the request was refused, 2 usage.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import ReconciliationError, UsageError, VenueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.config.settings import Settings
    from shared.domain.records import BookRecord, Halt
    from shared.ports import Ledger


def resume(
    reason: Annotated[str, typer.Option(help="Why it is safe to go on, in a sentence; it is kept.")],
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    symbol: Annotated[str | None, typer.Option(help="Lift only what halts this symbol.")] = None,
    pauses: Annotated[bool, typer.Option("--pauses", help="Lift timed pauses as well, before they end by themselves.")] = False,
    after_drawdown: Annotated[
        bool, typer.Option("--after-drawdown", help="Lift the maximum drawdown; it is measured anew from here.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask (--after-drawdown does).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Lift the halts of a book: frozen symbols, emergencies by hand or after failures, a drawdown only when it is named.

    Refused while the emergency is not finished, and while ledger and venue hold different positions.

    Example: ost resume --reason "compared the order lists, the foreign order was mine" --symbol BTCUSDT
    """
    from shared.cli import output, wiring
    from shared.cli.books import chosen_book, has_own_exchange
    from shared.cli.emergency_run import book_time_ms
    from shared.cli.person import confirmed, person
    from shared.trading.resume import ResumeRequest, carry_out, plan_resume

    if not reason.strip():
        raise UsageError("--reason is empty; say why it is safe to go on, it is kept")
    settings = wiring.settings()
    ledger = wiring.ledger(settings)
    record = chosen_book(ledger, book, settings, certain=True)
    now_ms = book_time_ms(ledger, record, wiring.clock())
    request = ResumeRequest(symbol.strip().upper() if symbol else None, pauses, after_drawdown)
    positions = list(ledger.positions(record.book).values())
    plan = plan_resume(ledger.halts(record.book, now_ms), ledger.emergencies(record.book), positions, request)
    if plan.lift:
        if has_own_exchange(record):
            output.note("ledger and venue were not compared: the exchange of this book runs only while it is traded")
        else:
            _compare(ledger, record, settings, [halt.symbol for halt in plan.lift if halt.symbol])
        if plan.rebases_peak:
            confirmed(f"Trade the book {record.book} again after its maximum drawdown, measured anew from here?", yes)
        carry_out(ledger, record.book, plan, person(), reason.strip(), now_ms)
    left = ledger.halts(record.book, now_ms)
    data = {"book": record.book, "lifted": plan.lift, "in_force": left, "why": {halt.reason: why for halt, why in plan.stay}}
    output.emit(data, as_json, view=_view(record, plan.lift, left, dict(plan.stay)))
    if left:
        raise typer.Exit(1)


def _compare(ledger: Ledger, record: BookRecord, settings: Settings, halted: Sequence[str]) -> None:
    """Ask the venue of the book for its positions. Raises `ReconciliationError` where the ledger's are others.

    Raises it as well where the venue cannot be asked, and `ConfigError` where it cannot be found: nothing is lifted unseen.
    """
    from shared.cli import output
    from shared.cli.books import settings_of_book, symbols_of
    from shared.cli.live_book import external_book
    from shared.cli.live_run import opened

    of_book = settings_of_book(record, settings)

    async def asked() -> list[str]:
        async with opened(external_book(of_book)) as live:
            account = await live.ports.exchange.account()
        held = {symbol: row.quantity for symbol, row in ledger.positions(record.book).items()}
        return [
            f"{symbol}: the ledger holds {held.get(symbol, 0)}, the venue {account.position(symbol)}"
            for symbol in dict.fromkeys((*symbols_of(ledger, record), *halted))
            if held.get(symbol, 0) != account.position(symbol)
        ]

    with output.working("comparing ledger and venue"):
        try:
            differences = asyncio.run(asked())
        except VenueError as error:
            where = of_book.venue.base_url or f"{of_book.universe.venue} ({of_book.mode.value})"
            raise ReconciliationError(
                f"nothing was lifted: the book {record.book} could not be compared with its venue {where}: {error}"
            ) from None
    if differences:
        raise ReconciliationError(
            f"ledger and venue differ, nothing was lifted: {'; '.join(differences)}. Mend it at the venue, "
            "let the trader reconcile, and resume then"
        )


def _view(record: BookRecord, lifted: Any, left: list[Halt], why: dict[Halt, str]) -> Any:
    from rich.markup import escape

    from shared.cli import output

    rows = [("lifted", halt.kind.value, halt.symbol or "the book", halt.reason, "") for halt in lifted]
    rows += [("in force", halt.kind.value, halt.symbol or "the book", halt.reason, why.get(halt, "")) for halt in left]
    if not rows:
        return f"nothing halts the book {record.book}"
    stays = ["why it stays"] if any(row[-1] for row in rows) else []
    return output.table(
        ("", "kind", "of", "reason", *stays), [row[: 4 + len(stays)] for row in rows], title=escape(record.book)
    )
