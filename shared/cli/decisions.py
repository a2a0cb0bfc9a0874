"""`ost decisions`: why a trade happened, from the candles to the fills, and which decisions there are.

Reads the ledger, changes nothing. Exit codes: 0 ok, 1 the ledger cannot be read, 2 an id, book or symbol that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.texts import price
from shared.domain.errors import UsageError
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from shared.domain.decision import Decision

app = typer.Typer(no_args_is_help=True, help="Decisions of the ledger: list them, and why they were made.")

_COLUMNS: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "decision": lambda row: row["id"][:10],  # a unique prefix is enough for `decisions show`
    "bar close, UTC": lambda row: row["bar_close"],
    "symbol": lambda row: row["symbol"],
    "action": lambda row: row["action"],
    "regime": lambda row: row["regime"],
    "score": lambda row: f"{row['score']:+.2f}",
    "target": lambda row: f"{row['approved_fraction']:+.2f}",
    "price": lambda row: price(row["price"]),
    "orders": lambda row: row["orders"],
}
_NARROW = ("decision", "bar close, UTC", "symbol", "action", "score", "target")
_WIDE = 112
"""Columns of a terminal from which on all are shown"""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback()
def decisions() -> None:
    """Decisions of the ledger: list them, and why they were made."""


@app.command()
def show(
    wanted: Annotated[
        str,
        typer.Argument(metavar="ID", help="Decision id or the start of one, client id of an order, or id of a closed trade."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Explain a decision from candle to fill: window, features, regime, votes, approvals, orders, fills, profit.

    A trade is explained by the decision that opened it and the one that closed it.

    Example: ost decisions show d-nyn7pn77
    """
    from shared.cli import output, wiring
    from shared.cli.decision_tree import trees
    from shared.cli.lineage import find, lineage

    ledger = wiring.ledger(wiring.settings())
    found = find(ledger, wanted)
    explanations = [lineage(ledger, decision) for decision in found.decisions]
    if not explanations:
        raise UsageError(f"{found.kind} {found.id} came from no decision of ours (the venue closed it by itself)")
    data = {"kind": found.kind, "id": found.id, "decisions": [explanation.as_dict() for explanation in explanations]}
    output.emit(data, as_json, view=None if as_json else trees(explanations))


@app.command("list")
def list_decisions(
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol, e.g. BTCUSDT.")] = None,
    traded: Annotated[bool, typer.Option("--traded", help="Only decisions that made orders.")] = False,
    limit: Annotated[int, typer.Option(help="At most this many, the newest ones.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the newest decisions of a book, oldest first.

    Example: ost decisions list --symbol BTCUSDT --traded --limit 10
    """
    from shared.cli import output, wiring
    from shared.cli.books import chosen_book

    settings = wiring.settings()
    ledger = wiring.ledger(settings)
    # The book of recommendations has decisions, but no run that would have registered it.
    known = book is not None and bool(ledger.decisions(book, limit=1))
    name = book if book is not None and known else chosen_book(ledger, book, settings).book
    wanted = None if symbol is None else symbol.upper()
    found = ledger.decisions(name, symbol=wanted, limit=None if traded else limit)
    chosen = [decision for decision in found if decision.order_ids][-limit:] if traded else found
    if not chosen and wanted is not None and not ledger.decisions(name, symbol=wanted, limit=1):
        raise UsageError(f"book {name} has no decision on {wanted}; leave --symbol out to see which symbols it has")
    rows = [_row(decision) for decision in chosen]
    view = None if as_json else _table(name, rows)
    output.emit({"book": name, "decisions": rows}, as_json, view=view)


def _row(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "bar_close": format_ms(decision.bar_close_ms),
        "symbol": decision.asset.symbol,
        "action": decision.action.value,
        "regime": decision.regime.value,
        "score": decision.score,
        "target_fraction": decision.target_fraction,
        "approved_fraction": decision.approved_fraction,
        "price": decision.price,
        "orders": len(decision.order_ids),
    }


def _table(book: str, rows: list[dict[str, Any]]) -> Any:
    from shared.cli import output

    if not rows:
        return f"book {book}: no such decision"
    shown = _COLUMNS if output.console().width >= _WIDE else {name: _COLUMNS[name] for name in _NARROW}
    cells = [[text(row) for text in shown.values()] for row in rows]
    return output.table(tuple(shown), cells, title=book, right=("score", "target", "price", "orders"), whole=shown)
