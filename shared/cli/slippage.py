"""`ost slippage`: what execution cost, by day and symbol.

Reads the ledger, changes nothing. Exit codes: 0 ok, 1 the ledger cannot be read, 2 no such book or day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from shared.trading.slippage import SlippageRow


def slippage(
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    day: Annotated[str | None, typer.Option(help="Only this day, e.g. 2026-11-21 (UTC).")] = None,
    since: Annotated[str | None, typer.Option(help="From this day on, e.g. 2026-11-01 (UTC).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show slippage against the decided price and the mid on arrival, with fees, for each day and symbol.

    Positive numbers are costs. Orders are measured from the moment that they were sent; stops from their stop price.

    Example: ost slippage --day 2026-11-21
    """
    from shared.cli import output, wiring
    from shared.cli.books import chosen_book
    from shared.domain.errors import UsageError
    from shared.domain.interval import DAY_MS, parse_date_ms
    from shared.trading.slippage import daily_slippage

    if day is not None and since is not None:
        raise UsageError("--day and --since name different days; give one of them")
    first = day or since
    since_ms = parse_date_ms(first) if first is not None else 0
    settings = wiring.settings()
    ledger = wiring.ledger(settings)
    name = chosen_book(ledger, book, settings).book
    rows = daily_slippage(ledger, name, since_ms)
    if day is not None:
        rows = [row for row in rows if row.day_ms < since_ms + DAY_MS]
    output.emit({"book": name, "rows": rows}, as_json, view=None if as_json else _view(name, rows))


def _view(book: str, rows: list[SlippageRow]) -> Any:
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output

    if not rows:
        return f"the book {book} has no executions then"
    columns = ("day", "symbol", "orders", "notional", "decided", "arrival", "fees")
    title = escape(f"slippage and fees of {book}, bps of the notional (positive: a cost)")
    lines: list[Any] = [output.table(columns, map(_cells, rows), title=title, right=columns[2:], whole=columns)]
    lines.append("decided, arrival: against the decided price, against the mid on arrival; money and answer times: --json")
    if unmeasured := sum(row.unmeasured for row in rows):
        lines.append(f"{unmeasured} orders have no recorded arrival and are in notional and fees only")
    return Group(*lines)


def _cells(row: SlippageRow) -> tuple[str, ...]:
    from shared.cli.texts import fixed
    from shared.domain.interval import format_ms

    day, counts = format_ms(row.day_ms)[:10], (str(row.orders), fixed(row.notional))
    return (day, row.symbol, *counts, fixed(row.decision_bps), fixed(row.arrival_bps), fixed(row.fee_bps))
