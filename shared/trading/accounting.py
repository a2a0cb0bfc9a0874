"""Do a book's equity rows follow from its fills and funding, one at each bar, with none missing?

    wallet = capital + Σ realised − fees + funding        equity = wallet + Σ quantity · (mark − entry)        peak = max equity
A run over history steps at every bar from its first to its last; an instant without a row is a hole. Wallets are compared from
row to row, so that a removed fill shows at its own bar and a row that was altered at that row only. The paper exchange marks at
the price at the instant, which is the open of the bar that begins then; elsewhere no mark is recorded, and equity is checked
while no position is open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.interval import Interval
from shared.domain.money import ZERO, to_decimal
from shared.domain.orders import Fill, OrderKind, OrderRecord, Position
from shared.domain.records import BookRecord, EquityPoint, FundingPayment

TOLERANCE = Decimal("1e-6")
"""quote currency: prices and amounts are rounded to eight digits"""
Marks = Mapping[int, Mapping[str, float]]
"""price of each symbol at each instant (ms)"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A number of one row that is not what follows from the others, or a row that is not there."""

    time_ms: int
    what: str
    """`equity`, `wallet`, `peak`, or `row`"""
    stored: str
    expected: str
    cause: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A fill and the first row that has it."""

    from_ms: int
    fill: Fill
    foreign: bool
    """whether no order of the book asked for it: a liquidation, which also costs a fine that the ledger keeps no row of"""


@dataclass(frozen=True, eq=False, slots=True)
class AccountBook:
    """What the ledger holds of one book's money."""

    interval: Interval
    capital: Decimal
    first_ms: int
    """its first step"""
    planned_end_ms: int | None
    """its last step, where it was finished"""
    rows: Sequence[EquityPoint]
    """oldest first"""
    fills: Sequence[Counted]
    """in order"""
    funding: Sequence[FundingPayment]
    known_ms: Sequence[int]
    """instants at which something else was stored"""

    @property
    def instants(self) -> range:
        """Every bar close from its first step to its last known one."""
        known = [*(row.time_ms for row in self.rows), *self.known_ms]
        # A step that was cut off may have booked the fills of its bar and not yet written its row.
        known += [self.interval.floor(one.fill.time_ms - 1) for one in self.fills]
        if self.planned_end_ms is not None:
            known.append(self.planned_end_ms)
        last = max(known, default=self.first_ms - self.interval.ms)
        return range(self.first_ms, last + 1, self.interval.ms)


def account_book(
    record: BookRecord,
    rows: Sequence[EquityPoint],
    fills: Sequence[Fill],
    funding: Sequence[FundingPayment],
    orders: Mapping[str, OrderRecord],
    bar_of: Mapping[str, int],
    known_ms: Sequence[int],
) -> AccountBook | None:
    """The money of a run over history; `None` where `record` is not one. `bar_of`: bar close by decision id."""
    settings = record.settings
    if not {"market", "start_ms", "end_ms", "interval", "capital"} <= settings.keys():
        return None
    interval = Interval.parse(str(settings["interval"]))

    def counted(fill: Fill) -> Counted:
        order, booked_ms = orders.get(fill.client_id or ""), interval.ceil(fill.time_ms)
        if order is None or order.intent.kind is OrderKind.STOP:
            return Counted(booked_ms, fill, foreign=order is None)
        decided_ms = bar_of.get(order.intent.decision_id, order.intent.created_ms)  # its own row was written before it
        return Counted(max(interval.floor(decided_ms) + interval.ms, booked_ms), fill, foreign=False)

    return AccountBook(
        interval=interval,
        capital=Decimal(str(settings["capital"])),
        first_ms=int(settings["start_ms"]),
        planned_end_ms=None if record.finished_ms is None else int(settings["end_ms"]),
        rows=rows,
        fills=sorted((counted(fill) for fill in fills), key=lambda one: (one.from_ms, one.fill.time_ms, one.fill.trade_id)),
        funding=sorted(funding, key=lambda payment: payment.time_ms),
        known_ms=known_ms,
    )


def account_faults(book: AccountBook, marks: Marks | None = None) -> list[Fault]:
    """Everything in the rows that does not follow, oldest first. Without `marks` equity is checked while nothing is held."""
    grid = book.instants
    stored = {row.time_ms: row for row in book.rows}
    faults = [
        Fault(time_ms, "row", "a row", "none", f"no {book.interval} bar of this book closes then: the row was added or altered")
        for time_ms in stored
        if time_ms not in grid
    ]
    account = _Account(book)
    drift, peak = ZERO, None
    for time_ms in grid:
        row, before = stored.get(time_ms), account.foreign
        account.advance(time_ms)
        if row is None:
            faults.append(Fault(time_ms, "row", "none", "a row", "the equity row of this bar was removed"))
            continue
        found = row.wallet - account.wallet
        if abs(found - drift) > TOLERANCE and account.foreign == before:
            cause = "fills and funding give another wallet: one of them was removed or added, or this row was altered"
            faults.append(Fault(time_ms, "wallet", str(row.wallet), str(account.wallet + drift), cause))
        drift = found
        open_profit = account.open_profit(None if marks is None else marks.get(time_ms, {}))
        equity = row.equity if open_profit is None else row.wallet + open_profit
        if abs(row.equity - equity) > TOLERANCE:
            cause = "wallet and open profit give another equity: the row was altered"
            faults.append(Fault(time_ms, "equity", str(row.equity), str(equity), cause))
        peak = equity if peak is None else max(peak, equity)
        if abs(row.peak - peak) > TOLERANCE:
            cause = "the highest equity up to here is another one: the row was altered, or one before it removed"
            faults.append(Fault(time_ms, "peak", str(row.peak), str(peak), cause))
    return sorted(faults, key=lambda fault: fault.time_ms)


class _Account:
    """The wallet and the positions that follow from fills and funding, moved forward from bar to bar."""

    def __init__(self, book: AccountBook) -> None:
        self._fills, self._funding = deque(book.fills), deque(book.funding)
        self._positions: dict[str, Position] = {}
        self._capital, self._paid = book.capital, ZERO
        self.foreign = 0
        """fills so far that no order of the book asked for"""

    def advance(self, time_ms: int) -> None:
        """Count everything up to the row of this instant."""
        while self._fills and self._fills[0].from_ms <= time_ms:
            counted = self._fills.popleft()
            symbol = counted.fill.symbol
            self._positions[symbol] = self._positions.get(symbol, Position(symbol)).after(counted.fill)
            self.foreign += counted.foreign
        while self._funding and self._funding[0].time_ms <= time_ms:
            self._paid += self._funding.popleft().amount

    @property
    def wallet(self) -> Decimal:
        """Quote currency."""
        return self._capital + self._paid + sum((one.realised - one.fees for one in self._positions.values()), ZERO)

    def open_profit(self, marks: Mapping[str, float] | None) -> Decimal | None:
        """Of all positions; `None` where one of them has no mark."""
        total = ZERO
        for position in self._positions.values():
            if position.quantity:
                mark = None if marks is None else marks.get(position.symbol)
                if mark is None:
                    return None
                total += position.unrealised(to_decimal(mark))
        return total
