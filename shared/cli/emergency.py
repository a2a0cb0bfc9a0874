"""`ost emergency`: close a book by hand. The halt is in the ledger first; whoever trades the book obeys it within a second.

Where nobody trades it, this process takes the lease and runs the protocol itself. Exit codes: 0 flat, 1 not known to be flat
(the halt stays, and is obeyed by the next trader), 2 usage.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from shared.domain.records import BookRecord, EmergencyRecord, Halt
    from shared.ports import Ledger


def emergency(
    reason: Annotated[str, typer.Option(help="Why, in a sentence; it is kept.")],
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds to wait for the book to be flat.", min=1.0)] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Close a book now: cancel its entries, close its positions reduce-only, cancel its stops, and halt it.

    Nothing is traded in the book until `ost resume`. The same command again goes on where it stood.

    Example: ost emergency --reason "the venue announced maintenance" --yes
    """
    from shared.cli import output, wiring
    from shared.cli.books import chosen_book
    from shared.cli.emergency_run import book_time_ms, execute
    from shared.cli.person import confirmed, person
    from shared.domain.records import Halt, HaltKind

    if not reason.strip():
        raise UsageError("--reason is empty; say why, it is kept")
    settings = wiring.settings()
    ledger = wiring.ledger(settings)
    record = chosen_book(ledger, book, settings, certain=yes)
    if record.finished_ms is not None:
        raise UsageError(f"the book {record.book} is a finished run; there is nothing to close")
    held = [f"{row.quantity} {row.symbol}" for row in ledger.positions(record.book).values() if row.quantity]
    confirmed(f"Close the book {record.book} ({', '.join(held) or 'it holds nothing'})?", yes)
    now_ms = book_time_ms(ledger, record, wiring.clock())
    halt = _in_force(ledger, record, now_ms)
    if halt is None:
        halt = Halt(record.book, f"by {person()}: {reason.strip()}", now_ms, None, kind=HaltKind.MANUAL)
        ledger.set_halt(halt)
        ledger.log(record.book, "emergency", "warning", f"halted {halt.reason}", now_ms)
    else:
        output.note(f"the book is halted already ({halt.reason})")
    try:
        ended = asyncio.run(execute(ledger, record, halt, settings, patience, output.note))
    except KeyboardInterrupt:
        output.note("interrupted; the halt stays and the same command goes on")
        raise typer.Exit(130) from None
    output.emit(_data(record, halt, ended), as_json, view=_view(record, halt, ended))
    if ended is None or ended.finished_ms is None:
        raise typer.Exit(1)


def _in_force(ledger: Ledger, record: BookRecord, now_ms: int) -> Halt | None:
    """A halt of the whole book that closes positions already."""
    halts = ledger.halts(record.book, now_ms)
    return next((halt for halt in halts if halt.kind.flattens and halt.symbol is None), None)


def _data(record: BookRecord, halt: Halt, ended: EmergencyRecord | None) -> dict[str, Any]:
    return {"book": record.book, "halt": halt, "flat": ended is not None and ended.finished_ms is not None, "emergency": ended}


def _view(record: BookRecord, halt: Halt, ended: EmergencyRecord | None) -> Any:
    from shared.cli import output
    from shared.domain.interval import format_ms

    rows = [("halted", halt.reason), ("kind", halt.kind.value)]
    if ended is None or ended.finished_ms is None:
        rows.append(("flat", "NOT KNOWN: the halt stays; start the trader, or give the command again"))
    else:
        closed = " ".join(ended.closed) or "nothing was open"
        rows += [("flat", format_ms(ended.finished_ms)), ("closed", closed), ("wallet", f"{ended.wallet}")]
        rows.append(("next", f'ost resume --book {record.book} --reason "…"'))
    return output.table(("", record.book), rows)
