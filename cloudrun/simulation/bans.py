"""Who was told to wait (429, 418), and until when: a request before that is over is a violation.

A venue that bans does not forget. What was told binds the process that has heard it at once, and every process of the address
as soon as the ledger knows of it.
"""

from __future__ import annotations

from cloudrun.simulation.process import Process

MOMENT_S = 0.01
"""an instant on a clock that counts milliseconds"""


class Bans:
    """What the venue has told, and to whom. Times are simulated seconds."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._all_until_s = 0.0

    def told(self, process: Process, until_s: float) -> None:
        """`process` has heard that it must wait until `until_s`."""
        self._told[process.name] = max(self._told.get(process.name, 0.0), until_s)

    def known_to_all(self, until_s: float) -> None:
        """The ledger knows: every process could."""
        self._all_until_s = max(self._all_until_s, until_s)

    def until_s(self, process: Process) -> float:
        """The instant up to which `process` has to be silent; 0 where it need not."""
        return max(self._told.get(process.name, 0.0), self._all_until_s)

    def broken(self, process: Process, now_s: float, tolerance_s: float) -> bool:
        """Whether a request of `process` comes too early, by more than a clock that jumps `tolerance_s` explains."""
        return now_s + tolerance_s + MOMENT_S < self.until_s(process)
