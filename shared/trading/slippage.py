"""What execution cost, by day and symbol: fills against the price that was decided on and against the mid that the order met.

    slippage = sum over fills of side * quantity * (price - reference)      bps = slippage / sum of quantity * reference * 10^4

Positive is a cost. `decision` measures from the close of the decided bar (delay included), `arrival` from the mid of bid and
ask when the order was sent (the venue's part); a protective stop is measured from its stop price and has no arrival. It is the
implementation shortfall of Perold (1988) without its opportunity cost. Orders without a recorded arrival are only counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.interval import DAY_MS
from shared.domain.money import ZERO
from shared.domain.orders import Fill
from shared.domain.records import Arrival
from shared.ports import Ledger

BPS = 10_000


@dataclass(frozen=True, slots=True)
class SlippageRow:
    """One symbol on one day, UTC. Money in quote currency; `None` where nothing could be measured."""

    day_ms: int
    symbol: str
    orders: int
    notional: Decimal
    """of all fills"""
    against_decision: Decimal | None
    decision_bps: float | None
    against_arrival: Decimal | None
    arrival_bps: float | None
    fees: Decimal
    fee_bps: float
    answer_ms: float | None
    """mean time from sending an order to the venue's answer"""
    unmeasured: int
    """orders without a recorded arrival"""


def daily_slippage(ledger: Ledger, book: str, since_ms: int = 0) -> list[SlippageRow]:
    """Rows of the days from `since_ms` (ms UTC) on, oldest first, then by symbol."""
    return slippage_rows(
        [fill for fill in ledger.fills(book, since_ms=since_ms) if fill.client_id is not None], ledger.arrivals(book)
    )


def slippage_rows(fills: Iterable[Fill], arrivals: Iterable[Arrival]) -> list[SlippageRow]:
    """Fills of our orders, judged against their arrivals."""
    known = {arrival.client_id: arrival for arrival in arrivals}
    groups: dict[tuple[int, str], list[Fill]] = {}
    for fill in fills:
        groups.setdefault((fill.time_ms - fill.time_ms % DAY_MS, fill.symbol), []).append(fill)
    return [_row(day_ms, symbol, group, known) for (day_ms, symbol), group in sorted(groups.items())]


def _row(day_ms: int, symbol: str, fills: Sequence[Fill], known: Mapping[str, Arrival]) -> SlippageRow:
    notional = sum((fill.quantity * fill.price for fill in fills), ZERO)
    fees = sum((fill.fee for fill in fills), ZERO)
    orders = sorted({fill.client_id for fill in fills if fill.client_id is not None})
    met = [known[client_id] for client_id in orders if client_id in known]
    by_decision, decision_bps = _cost(fills, {one.client_id: one.decision_price for one in met})
    mids = {one.client_id: one.arrival_mid for one in met if one.arrival_mid is not None}
    by_arrival, arrival_bps = _cost(fills, mids)
    waits = [one.answered_ms - one.sent_ms for one in met if one.answered_ms is not None]
    return SlippageRow(
        day_ms=day_ms,
        symbol=symbol,
        orders=len(orders),
        notional=notional,
        against_decision=by_decision,
        decision_bps=decision_bps,
        against_arrival=by_arrival,
        arrival_bps=arrival_bps,
        fees=fees,
        fee_bps=float(fees / notional * BPS) if notional else 0.0,
        answer_ms=sum(waits) / len(waits) if waits else None,
        unmeasured=len(orders) - len(met),
    )


def _cost(fills: Iterable[Fill], references: Mapping[str, Decimal]) -> tuple[Decimal | None, float | None]:
    """(cost in quote currency, in bps of the reference's notional) of the fills whose order has a reference price."""
    measured = [
        (fill, references[fill.client_id]) for fill in fills if fill.client_id is not None and fill.client_id in references
    ]
    base = sum((fill.quantity * reference for fill, reference in measured), ZERO)
    if not base:
        return None, None
    cost = sum((fill.signed_quantity * (fill.price - reference) for fill, reference in measured), ZERO)
    return cost, float(cost / base * BPS)
