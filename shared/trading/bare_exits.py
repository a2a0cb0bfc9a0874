"""Exits without ledger or executions: what of the book's own position no own stop covers is closed, and nothing else.

    own position (`own_position.py`), no more than lies at the venue - own stops of the closing side = what is bare

The exits are reduce-only and go through the exit journal. What another book or a person holds is left alone, as far as
executions tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from shared.domain.errors import DataError, LeaseLost, LedgerUnavailable, OstError, OutcomeUnknown, VenueUnreachable
from shared.domain.money import ZERO
from shared.domain.orders import Account, OrderKind, OrderReport
from shared.trading.emergency_exits import EmergencyExits
from shared.trading.holdings import filled
from shared.trading.inquiry import Inquiries
from shared.trading.session import LivePorts, Session, SessionSpec
from shared.trading.side_by_side import gravest

Resting = Sequence[tuple[OrderReport, OrderKind]]


class BareExits:
    """Closes what is bare in one book."""

    def __init__(self, ports: LivePorts, spec: SessionSpec, session: Session) -> None:
        self._session = session
        self._ledger = ports.ledger
        self._book = spec.book
        self._exits = EmergencyExits(
            exchange=session.exchange,
            ledger=ports.ledger,
            clock=ports.clock,
            executor=session.executor,
            inquiries=Inquiries(session.exchange, ports.clock, spec.params.execution),
            book=spec.book,
            lease=lambda: session.lease,
            journal=ports.exits,
            own=session.reconciler.own,
        )

    async def close(self, outage: str) -> list[str]:
        """Send what is needed; what was done, in words. `outage` names the outage: each of its exits has one client id.

        One symbol does not hold up the others: the gravest failure is raised at the end. Raises the `VenueError` tree,
        `LeaseLost`, and `LedgerUnavailable` where an exit can be kept nowhere.
        """
        session, done = self._session, []
        account = await session.exchange.account()
        resting = await session.exchange.open_orders()
        failures: list[BaseException] = []
        for symbol in session.symbols:
            rules = session.desk.rules[symbol]
            try:
                bare = await self._bare(symbol, account, resting)
                if rules.quantity(bare) != 0:
                    done.append(await self._exits.close(outage, bare, rules))
            except LeaseLost:
                raise
            except OstError as error:
                failures.append(error)
        if failures:
            raise gravest(failures)
        return done

    async def _bare(self, symbol: str, account: Account, resting: Resting) -> Decimal:
        """What of the book's own position in a symbol no own stop covers, signed base units."""
        own, there = self._session.reconciler.own, account.position(symbol)
        if own.covered(symbol, there, resting) >= abs(there):
            return ZERO
        try:
            held = await own.now(symbol)
        except (DataError, VenueUnreachable, OutcomeUnknown):
            held = self._unlisted(symbol)
        if held * there <= 0:
            return ZERO
        bare = min(abs(held), abs(there)) - own.covered(symbol, held, resting)
        return max(bare, ZERO).copy_sign(held)

    def _unlisted(self, symbol: str) -> Decimal:
        """What is held where executions cannot be had: what the orders have filled, else what was held when they could."""
        try:
            return filled(self._ledger, self._book, symbol)
        except LedgerUnavailable:
            return self._session.reconciler.own.noted(symbol)
