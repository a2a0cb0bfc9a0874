"""At which prices is an account marked between two bars? The newest that are known: of the stream, the venue, or the last bar.

A price that has stood still misses what has happened since; but one that was never true would latch a drawdown that never was.
So the worst case is not assumed: the venue is asked instead, and a person is told. Invariant: a symbol without a fresh price
never keeps the others from being marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from shared.domain.asset import Universe
from shared.domain.money import ZERO
from shared.domain.stream import Channel
from shared.ports import Clock
from shared.trading.attempts import Attempts
from shared.trading.mailbox import Source
from shared.trading.session import Session
from shared.trading.tape import Tape

MARKS = "marks"


class MarkWatch:
    """Watches over the prices of what one session holds."""

    def __init__(self, clock: Clock, universe: Universe, session: Session, tape: Tape, attempts: Attempts) -> None:
        self._clock = clock
        self._universe = universe
        self._session = session
        self._tape = tape
        self._attempts = attempts
        self._next_ms = 0
        self._silent: tuple[str, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether the venue has to be asked: the account is not known, or the stream is silent about a mark of what is held."""
        return self._is_unknown or bool(self._silent_symbols())

    @property
    def due(self) -> bool:
        """Whether it may be asked again: at most twice within the time that a price stays fresh."""
        return self._clock.now_ms() >= self._next_ms

    async def refresh(self) -> None:
        """Ask for account and marks. Raises the `VenueError` tree."""
        session, unknown = self._session, self._is_unknown
        self._next_ms = self._clock.now_ms() + self._tape.fresh_ms // 2
        account = await session.exchange.account()
        if unknown:
            session.account.snapshot(account)
        for position in account.positions:
            self._tape.note_mark(position.symbol, position.mark_price)

    @property
    def _is_unknown(self) -> bool:
        return not self._session.account.known or self._attempts.health.ails(Source.USER.value)

    def newest_ms(self, symbols: Iterable[str]) -> int:
        """When the newest mark of `symbols` was told, by the stream or by the venue; 0 where none was."""
        marks = self._tape.last_marks()
        return max((marks[symbol][0] for symbol in symbols if symbol in marks), default=0)

    def prices(self) -> dict[str, Decimal]:
        """The newest known price by symbol, mark or close; a symbol that is not in it is marked with the venue's last word."""
        marks, board = self._tape.last_marks(), self._session.board
        closes, prices = board.closes(), {}
        for asset in self._universe:
            symbol = asset.symbol
            heard_ms, mark = marks.get(symbol, (0, ZERO))
            if symbol in closes and (board.window(asset).close_ms or 0) > heard_ms:
                prices[symbol] = closes[symbol]
            elif heard_ms:
                prices[symbol] = mark
        return prices

    def tell(self) -> None:
        """A person hears of marks that have fallen silent; no new risk while the venue does not tell them either."""
        attempts, silent, fresh = self._attempts, self._silent_symbols(), self._tape.marks()
        news = [symbol for symbol in silent if symbol not in self._silent]
        self._silent = silent
        if news:
            attempts.say("warning", f"marks of {' '.join(news)} are silent: the venue is asked for them")
        unknown = [symbol for symbol in silent if symbol not in fresh]
        if not unknown:
            attempts.health.recover(MARKS)
        elif not attempts.health.ails(MARKS):
            attempts.ail(MARKS, f"no price of {' '.join(unknown)} is known that is not old")

    def _silent_symbols(self) -> tuple[str, ...]:
        """Held symbols whose mark the stream has not told for longer than a price stays fresh."""
        tape, positions = self._tape, self._session.account.positions
        held = (asset.symbol for asset in self._universe if asset.symbol in positions)
        return tuple(symbol for symbol in held if tape.silent_ms(Channel.MARKS, symbol) > tape.fresh_ms)
