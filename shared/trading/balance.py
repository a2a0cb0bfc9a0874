"""Does the venue's wallet add up? What nothing explains is told with the exact amount, and stops entries when it is large.

    wallet = wallet of the first equity point + realised profit - fees + funding

Deposits, withdrawals, fines and rebates are not the book's: they show here. A person finds out which it was and resumes; the
same difference is not brought up again (a halt is keyed by its reason, which holds the amount). A difference counts once a
second look past a grace period finds it unchanged; nothing waits in between. Source: design/failures.md.
"""

from __future__ import annotations

from decimal import Decimal

from shared.domain.money import ZERO, to_decimal
from shared.domain.records import EquityPoint, Halt
from shared.ports import Clock, Exchange, Ledger
from shared.trading.execution_params import ExecutionParams
from shared.trading.reconciliation import Reconciler

DUST = Decimal("0.01")
"""difference of the wallet that is rounding, quote currency"""


class Balance:
    """Watches the wallet of one book's account."""

    def __init__(
        self, exchange: Exchange, ledger: Ledger, clock: Clock, reconciler: Reconciler, book: str, params: ExecutionParams
    ) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._reconciler = reconciler
        self._book = book
        self._params = params
        self._first: EquityPoint | None = None
        self._told = ZERO
        """the difference that was reported last"""
        self._seen: tuple[Decimal, int] | None = None
        """a difference that was seen once, and when"""

    @property
    def pending(self) -> bool:
        """Whether a difference was seen that a second look, `resend_grace_s` later, has to confirm."""
        return self._seen is not None

    async def settle(self) -> Decimal | None:
        """What of the wallet nothing explains, quote currency; `None` where that is nothing, told before, unknown or `pending`.

        Above `balance_tolerance` the book takes no new risk until a person has looked. Raises what venue and ledger raise.
        """
        difference = await self._difference()
        now_ms = self._clock.now_ms()
        if difference is None:
            self._seen = None
        elif self._seen is None or self._seen[0] != difference:
            self._seen = difference, now_ms
        elif now_ms - self._seen[1] >= 1000 * self._params.resend_grace_s:
            self._seen = None
            self._report(difference)
            return difference
        return None

    async def _difference(self) -> Decimal | None:
        if self._first is None:
            self._first = self._ledger.first_equity(self._book)
        if self._first is None:
            return None  # nothing was marked yet: there is nothing to measure from
        account = await self._exchange.account()
        await self._reconciler.book_funding()
        positions = self._ledger.positions(self._book).values()
        if any(position.quantity != account.position(position.symbol) for position in positions):
            return None  # executions are missing: positions are settled first
        earned = sum((position.realised - position.fees for position in positions), ZERO)
        difference = account.wallet - (self._first.wallet + earned + self._ledger.funding_total(self._book))
        return None if abs(difference - self._told) <= DUST else difference

    def _report(self, difference: Decimal) -> None:
        self._told = difference
        reason = (
            f"the venue's wallet differs by {difference.quantize(DUST)} from capital, profits, fees and funding: "
            "a transfer, a fine or a foreign trade; find out which, then resume"
        )
        if abs(difference) > to_decimal(self._params.balance_tolerance) and self._first is not None:
            self._ledger.set_halt(Halt(self._book, reason, self._first.time_ms, None))
        now_ms = self._clock.now_ms()
        self._ledger.log(self._book, "reconciliation", "warning", f"{reason} (exactly {difference})", now_ms)
