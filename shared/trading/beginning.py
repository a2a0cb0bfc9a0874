"""How a process begins on its book: account verified, everything reconciled, exits of an earlier process taken over.

An idle book is refused where that fails. What is held is looked after all the same: it takes no new risk until the beginning
has come to its end, and is reconciled, protected and closed as far as the venue answers.
"""

from __future__ import annotations

from shared.domain.errors import LedgerError, OstError
from shared.trading.guardian import Guardian
from shared.trading.session import Session


class Beginning:
    """The beginning of one process. Try it again while it is `refused`."""

    def __init__(self, session: Session, guardian: Guardian) -> None:
        self._session = session
        self._guardian = guardian
        self.refused: OstError | None = None
        """what it was refused with last"""

    async def attempt(self) -> None:
        """Raises what ledger and lease raise; everything else is `refused`."""
        try:
            await self._session.prepare()
            await self._guardian.take_over_exits()
        except LedgerError:
            raise
        except OstError as error:
            self.refused = error
            self._session.hold_back(str(error))
        else:
            self.refused = None

    async def first(self) -> None:
        """The first attempt, and a look at the halts. Raises what it was refused with where the book is idle."""
        await self.attempt()
        if self.refused is not None and self._session.is_idle:
            raise self.refused
        self._guardian.look()
