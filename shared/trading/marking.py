"""The account marked: the equity point of every bar, the breakers that it trips, and the record that Kelly is estimated from.

A point is wallet + open profit at the bar's close. It is stored with the first decision that was sized with it, at the latest
when the bar is decided, and stands from then on: a step that is done again computes every size from the same number. It holds
what is needed of the bars before it: a start reads the newest points and no others. Between bars the account is marked for the
breakers only; those marks are not stored. A bar does not ask for halts where a look just before it found none: the commit of
its decision tells them anew, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from shared.domain.errors import UsageError
from shared.domain.interval import DAY_MS, format_ms
from shared.domain.orders import Account
from shared.domain.records import EquityPoint, Halt, UnitReturns, next_peak
from shared.ports import Clock, Ledger
from shared.risk.breakers import check_breakers, day_start_equity
from shared.risk.kelly import recorded_cap
from shared.risk.params import RiskParams
from shared.trading.track_record import followed, moments

UNHALTED_MS = 1500
"""For so long a book in which nothing was halted is marked and decided as such."""


class Marks:
    """The equity points of one book."""

    def __init__(self, ledger: Ledger, clock: Clock, book: str, params: RiskParams) -> None:
        self._ledger = ledger
        self._now_ms = clock.now_ms
        self._book = book
        self._params = params
        self._last = last = ledger.last_equity(book)
        self._day_equity = None if last is None else _equity_at_day_start(ledger, book, last)
        self._returns = UnitReturns() if last is None else _returns(ledger, book, last)
        """of the bars up to the newest one"""
        self._forgotten_ms = ledger.peak_forgotten_ms(book)
        self.unstored: EquityPoint | None = None
        """the point of the newest bar, until it is in the ledger"""
        self._known_halts: list[Halt] = []
        self._looked_ms = 0
        self._cap: float | None = None
        self._seen: EquityPoint | None = self._last
        """the newest mark, stored or not: a level is crossed once"""

    @property
    def last(self) -> EquityPoint | None:
        """The newest bar's point."""
        return self._last

    def at_close(self, bar_close_ms: int, account: Account) -> tuple[EquityPoint, list[Halt]]:
        """The equity point of a bar, which the caller has to store, and the halts in force with the breakers that it trips.

        Raises `UsageError` for a bar that is past.
        """
        last = self._last
        in_force = self._halts(bar_close_ms)
        if last is not None and last.time_ms == bar_close_ms:
            return last, in_force
        if last is not None and last.time_ms > bar_close_ms:
            raise UsageError(
                f"the bar that closed at {format_ms(bar_close_ms)} is past: the book was marked at {format_ms(last.time_ms)}"
            )
        self.store()  # of a bar whose step did not come so far
        point = self._point(bar_close_ms, account)
        if last is not None:
            self._returns = followed(self._returns, last, point)
        point = replace(point, returns=self._returns)
        self._day_equity = self._equity_at_day_start(point)
        tripped = check_breakers(self._book, point, self._seen, in_force, self._params, self._day_equity)
        for halt in tripped:
            self._looked_ms = 0
            self._ledger.set_halt(halt)
            self._ledger.log(self._book, "breaker", "warning", halt.reason, bar_close_ms)
        self._cap = None
        self._last = self._seen = self.unstored = point
        return point, self._halts(bar_close_ms) if tripped else in_force

    def store(self) -> None:
        """Store the point of the bar where no decision has taken it along."""
        if self.unstored is not None:
            self._ledger.record_equity(self._book, self.unstored)
            self.unstored = None

    def between_bars(self, now_ms: int, account: Account, in_force: Sequence[Halt]) -> list[Halt]:
        """The breakers that the account trips now; neither they nor an equity point are stored. Asks nobody."""
        if self._last is None:
            return []
        point, before = self._point(now_ms, account), self._seen
        self._seen = point
        return check_breakers(self._book, point, before, in_force, self._params, self._equity_at_day_start(point))

    def exposed(self, point: EquityPoint) -> None:
        """The exposure that is held from this bar on, known after its trades."""
        if self._last is not None and point != self._last:
            self._ledger.record_equity(self._book, point)
            self._last = replace(self._last, exposure=point.exposure)

    def kelly_cap(self) -> float:
        """Largest |notional| / equity that Kelly allows."""
        if self._cap is None:
            self._cap = recorded_cap(self._returns, self._params)
        return self._cap

    def saw(self, in_force: Sequence[Halt], now_ms: int) -> None:
        """The halts that the ledger has in force now. A resume lifts some: only then the peak may have been rebased."""
        if in_force != self._known_halts:
            self._forgotten_ms = self._ledger.peak_forgotten_ms(self._book)
            self._known_halts = list(in_force)
        self._looked_ms = now_ms

    def _halts(self, bar_close_ms: int) -> list[Halt]:
        now_ms = self._now_ms()
        if self._known_halts or not 0 <= now_ms - self._looked_ms <= UNHALTED_MS:
            self.saw(self._ledger.halts(self._book, bar_close_ms), now_ms)
        return list(self._known_halts)

    def _equity_at_day_start(self, point: EquityPoint) -> Decimal:
        last = self._last
        if last is None or self._day_equity is None:
            return point.equity
        return day_start_equity(point.time_ms, point.equity, last.time_ms, last.equity, self._day_equity)

    def _point(self, time_ms: int, account: Account) -> EquityPoint:
        peak = next_peak(account.equity, self._last, self._forgotten_ms)
        return EquityPoint(time_ms, account.equity, account.wallet, peak)


def _equity_at_day_start(ledger: Ledger, book: str, last: EquityPoint) -> Decimal:
    """`day_start_equity` of the newest point; the first point's where the book is younger than its day."""
    before = ledger.equity(book, until_ms=last.time_ms // DAY_MS * DAY_MS, limit=1)
    return (before[0] if before else ledger.first_equity(book) or last).equity


def _returns(ledger: Ledger, book: str, last: EquityPoint) -> UnitReturns:
    """The record up to the newest point; computed from all of them where an older version has written it."""
    return moments(ledger.equity(book)) if last.returns is None else last.returns
