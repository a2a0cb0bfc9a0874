"""The waits that a venue has asked for (429, 418), told to every process of the same address through the ledger.

The request weight needs no such memory: the venue counts it for the whole address and says so with each answer. A ban it tells
only to whom it bans, and each request of another process makes it longer. Invariant: a ledger that is away is no reason to ask
or not to ask the venue: what this process has heard itself binds it in any case.
"""

from __future__ import annotations

import logging

from shared.domain.errors import LedgerUnavailable
from shared.ports import Ledger

HEED_MS = 5_000
"""How old the answer of the ledger may be. A process that starts or takes over asks with its first question."""
_LOG = logging.getLogger(__name__)


class SharedPauses:
    """The pauses of one venue. Instants are ms of the venue's clock."""

    def __init__(self, ledger: Ledger, venue: str) -> None:
        self._ledger = ledger
        self._venue = venue

    def note(self, until_ms: int) -> None:
        """The venue has asked this process to wait."""
        try:
            self._ledger.note_pause(self._venue, until_ms)
        except LedgerUnavailable as error:
            _LOG.warning("%s asks to wait, and other processes could not be told: %s", self._venue, error)

    def until_ms(self) -> int:
        """Until when any process was asked to wait; 0 where that is not known."""
        try:
            return self._ledger.pause_until_ms(self._venue)
        except LedgerUnavailable:
            return 0
