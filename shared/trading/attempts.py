"""Work that may fail, done under a name: what venue, ledger or bus refuse becomes the trouble of that name.

Every name fails, waits and recovers by itself, so that nothing that matters waits behind something that does not. Two things
bind all of them: a venue that asked to be left alone, and, for what needs it, the ledger. Troubles of `attempt` hold new risk
back; those of `errand` do not. What is not ours (a bug) and the loss of the lease pass through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.domain.errors import UNANSWERED, LeaseLost, LedgerUnavailable, OstError, RateLimited, StorageError
from shared.ports import Clock, Ledger
from shared.trading.health import LASTING_S, Health
from shared.trading.trader_params import TraderParams

VENUE, LEDGER, BUS, START = "venue", "ledger", "bus", "start"
_SHARED = frozenset({VENUE, LEDGER})
"""Names under which more than one work is done: only the work that proves it says that they are well again"""

Work = Callable[[], Awaitable[object]]


class Attempts:
    """The attempts of one process, and what troubles it."""

    def __init__(self, ledger: Ledger, clock: Clock, book: str, params: TraderParams, speaker: str = "trader") -> None:
        """`speaker` signs what is written to the book's log."""
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._speaker = speaker
        self.health = Health(params)
        """troubles that hold new risk back"""
        self.errands = Health(params)
        """troubles that hold nothing back"""
        self._alone_until_ms = 0
        self.in_doubt = False
        """whether something failed after which orders and account have to be asked for anew; whoever does that clears it"""
        self._told: frozenset[str] = frozenset()
        """troubles that a person was told of because they last"""
        self.too_many = ""
        """the failure with which the bound of unexplained ones was reached; whoever acts on it clears it"""

    def due(self, name: str) -> bool:
        """Whether the work of `name` may be tried: its pause is over, and so is the venue's."""
        now_ms = self._clock.now_ms()
        alone = name not in (LEDGER, BUS) and now_ms < self._alone_until_ms
        return not alone and self.health.due(name, now_ms) and self.errands.due(name, now_ms)

    async def when_due(self, name: str, work: Work, *, longest_s: float | None = None) -> bool:
        """`attempt` where it is due; whether it was done."""
        return self.due(name) and await self.attempt(name, work, longest_s=longest_s)

    async def attempt(self, name: str, work: Work, *, longest_s: float | None = None) -> bool:
        """Do `work`; whether it was done. A failure holds new risk back until `name` is well again.

        `longest_s` bounds the pause before it is due again. Raises `LeaseLost` and what is not ours.
        """
        try:
            await work()
        except LeaseLost:
            raise
        except LedgerUnavailable as error:
            self.ail(LEDGER, str(error))
            return False
        except UNANSWERED as error:
            self.in_doubt = True
            self.ail(name, str(error), self._left_alone(error), longest_s)
            return False
        except StorageError as error:  # a disk that a person mends: no new risk until then, and no reason to close anything
            self.ail(name, str(error), None, longest_s)
            return False
        except OstError as error:
            self.in_doubt = True
            begins = self.ail(name, str(error), None, longest_s)
            if begins or name in _SHARED:  # one thing that goes on failing, be it of a single symbol, is one failure
                self.count(f"{name}: {error}")
            return False
        if name not in _SHARED:
            self.health.recover(name)
        return True

    async def errand(self, name: str, work: Work) -> bool:
        """Do `work` where it is due; whether it was done. A failure holds nothing back: it is told once and tried again."""
        if not self.due(name):
            return False
        try:
            await work()
        except LeaseLost:
            raise
        except LedgerUnavailable as error:
            self.ail(LEDGER, str(error))
            return False
        except OstError as error:
            if self.errands.ail(name, str(error), self._clock.now_ms(), self._left_alone(error)) and name != BUS:
                self.say("warning", f"{name}: {error}")
            return False
        self.errands.recover(name)
        return True

    def ail(self, name: str, reason: str, retry_after_s: float | None = None, longest_s: float | None = None) -> bool:
        """`name` is not well: no new risk. Whether that is news."""
        news = self.health.ail(name, reason, self._clock.now_ms(), retry_after_s, longest_s)
        if news and name != LEDGER:
            self.say("warning", f"{name}: {reason}")
        return news

    def count(self, reason: str) -> None:
        """Count a failure that nobody explains."""
        if self.health.failed(self._clock.now_ms()):
            self.too_many = reason

    @property
    def lasting(self) -> dict[str, str]:
        """Troubles that have lasted for so long that a person has to know, by name."""
        now_ms = self._clock.now_ms()
        return {**self.errands.lasting(now_ms), **self.health.lasting(now_ms)}

    def tell_lasting(self) -> None:
        """Publish each of them once, as an error."""
        lasting = self.lasting
        self._told &= lasting.keys()
        for name in lasting.keys() - self._told:
            if self.say("error", f"not well for more than {LASTING_S / 60:.0f} min: {lasting[name]}"):
                self._told |= {name}

    def say(self, level: str, message: str) -> bool:
        """Into the book's log; while the ledger is away it is not heard, and the heartbeat says why afterwards."""
        if not self.due(LEDGER):
            return False
        try:
            self._ledger.log(self._book, self._speaker, level, message, self._clock.now_ms())
        except LedgerUnavailable as error:
            self.ail(LEDGER, str(error))
            return False
        return True

    def _left_alone(self, error: Exception) -> float | None:
        """The wait that the venue has asked for with `error`, seconds; nobody asks it anything meanwhile."""
        wait_s = error.retry_after_s if isinstance(error, RateLimited) else None
        if wait_s is not None:
            self._alone_until_ms = max(self._alone_until_ms, self._clock.now_ms() + round(wait_s * 1000))
        return wait_s
