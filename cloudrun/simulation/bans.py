"""Who was told to wait (429, 418), and until when: a request before that is over is a violation.

A venue that bans does not forget. What was told binds the process that has heard it at once. Once the ledger knows of it, it
binds the questions of every process: of one that starts later from its beginning, of the others a few seconds afterwards. An
order does not wait for the ledger, and nobody can ask a ledger that is away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cloudrun.simulation.process import Process
from shared.adapters.exchange.pauses import HEED_MS

MOMENT_S = 0.01
"""an instant on a clock that counts milliseconds"""
COPIED_S = 0.25
"""the ledger counts from when it was written, a little later than the venue has answered"""
HEED_S = HEED_MS / 1000 + 1.0
"""after this long every process has asked the ledger"""


@dataclass(slots=True)
class Bans:
    """What the venue has told, and to whom. Times are simulated seconds."""

    told: dict[str, float] = field(default_factory=dict)
    """by process: until when it has heard that it must wait"""
    _known_s: float = 0.0
    _known_until_s: float = 0.0
    _ledger_failed_s: float = -1.0

    def tell(self, process: Process, until_s: float) -> None:
        """`process` has heard that it must wait until `until_s`."""
        self.told[process.name] = max(self.told.get(process.name, 0.0), until_s)

    def known(self, now_s: float, until_s: float) -> None:
        """The ledger knows: every process can."""
        if until_s > self._known_until_s:
            self._known_s, self._known_until_s = now_s, until_s

    def ledger_failed(self, now_s: float) -> None:
        """Somebody has asked the ledger in vain."""
        self._ledger_failed_s = now_s

    def until_s(self, process: Process, what: str, now_s: float) -> float:
        """Until when `process` must not send the request `METHOD path`; 0 where it may."""
        told_s = self.told.get(process.name, 0.0)
        heeds = process.born_s > self._known_s or now_s > self._known_s + HEED_S
        if what.startswith("GET") and heeds and self._ledger_failed_s < self._known_s:
            return max(told_s, self._known_until_s - COPIED_S)
        return told_s

    def too_early_s(self, process: Process, what: str, now_s: float, tolerance_s: float) -> float:
        """How much too early a request comes, beyond what a clock that jumps `tolerance_s` explains; 0 where it may come."""
        early_s = self.until_s(process, what, now_s) - now_s
        return early_s if early_s > tolerance_s + MOMENT_S else 0.0
