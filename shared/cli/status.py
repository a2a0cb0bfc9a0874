"""`ost status`: where a book stands and whether a person has to look at it.

Reads the ledger, changes nothing. Exit codes: 0 ok, 1 a book that is not finished has a problem (each is named) or the ledger
cannot be read, 2 there is no such book.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.texts import age, market_text, price

if TYPE_CHECKING:
    from shared.cli.book_status import BookStatus


def status(
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show a book: equity, drawdown against the breakers, positions and stops, halts, orders, regimes, warnings.

    Example: ost status --json
    """
    from shared.cli import output, wiring
    from shared.cli.book_status import book_status
    from shared.cli.books import chosen_book

    settings = wiring.settings()
    ledger = wiring.ledger(settings)
    found = book_status(ledger, chosen_book(ledger, book, settings), settings, wiring.clock().now_ms())
    others = [record.book for record in ledger.books() if record.book != found.book]
    data = {"status": found, "other_books": others}
    output.emit(data, as_json, view=None if as_json else _view(found, others))
    for problem in found.problems:
        output.print_error(problem)
    if found.problems:
        raise typer.Exit(1)


def _view(found: BookStatus, others: list[str]) -> Any:
    """The account first, then what it holds, then what the market does."""
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output

    parts: list[Any] = [output.table(("", escape(found.book)), _account_rows(found))]
    if found.positions:
        rows = [(p["symbol"], p["quantity"], price(p["entry_price"]), ", ".join(p["stops"]) or "none") for p in found.positions]
        columns = ("position", "quantity", "entry", "stop")
        parts.append(output.table(columns, rows, right=columns[1:]))
    if found.unfinished_orders:
        orders = [
            tuple(o[n] for n in ("client_id", "symbol", "kind", "side", "quantity", "state")) for o in found.unfinished_orders
        ]
        columns_ = ("unfinished order", "symbol", "kind", "side", "quantity", "state")
        parts.append(output.table(columns_, orders, right=("quantity",)))
    if found.regimes:
        parts.append(output.table(("asset", "regime", "calm", "balanced", "stress"), map(_regime_row, found.regimes)))
    if found.processes:
        beats = [(p["role"], p.get("state"), age(p["age_s"]), p.get("reason"), p["holder"]) for p in found.processes]
        parts.append(output.table(("process", "state", "heard", "reason", "holder"), beats, right=("heard",)))
    if found.warnings:
        entries = [(w["time"], w["source"], escape(w["message"])) for w in found.warnings]
        parts.append(output.table(("warning, UTC", "source", "message"), entries))
    if others:
        shown = ", ".join(others[-5:])
        parts.append(escape(f"other books: {shown}{' …' if len(others) > 5 else ''} (ost status --book NAME)"))
    return Group(*parts)


def _account_rows(found: BookStatus) -> list[tuple[str, str]]:
    from rich.markup import escape

    heard = "" if found.data_age_s is None else f" ({age(found.data_age_s)})"
    rows = [
        ("state", f"{found.state}, {found.mode}"),
        ("market", escape(market_text(found.market, found.generated))),
        ("last bar", "none yet" if found.last_bar is None else f"{found.last_bar} UTC, {found.interval}{heard}"),
    ]
    if found.equity is not None:
        exposure = "-" if found.exposure is None else f"{found.exposure:.0%} of equity"
        rows += [("equity", f"{price(found.equity)}, peak {price(found.peak or 0)}"), ("exposure", exposure)]
    if found.drawdown is not None:
        levels = ", ".join(_level(level) for level in found.breakers)
        rows.append(("drawdown", f"{found.drawdown:.2%}; breakers: {levels}"))
    halts = [f"{h['symbol'] or 'book'}: {h['reason']}, until {h['until'] or 'a person resumes'}" for h in found.halts]
    rows.append(("halts", escape("\n".join(halts)) or "none"))
    return rows


def _level(level: dict[str, Any]) -> str:
    does = "latch" if level["pause_hours"] is None else f"{level['pause_hours']:g} h pause"
    text = f"{level['drawdown']:.0%} {does}"
    return f"[bold red]{text} (beyond)[/]" if level["beyond"] else text


def _regime_row(state: dict[str, Any]) -> tuple[str, ...]:
    shares = (f"{share:.0%}" for share in state["probabilities"].values())
    return (state["symbol"], state["regime"], *shares)
