"""The record of one emergency: written step by step, as things happen, and continued by whoever comes after a kill.

The same halt is the same emergency: its id is derived from it. A step is in the ledger before the next thing is done; while the
ledger is away the steps are kept and written with the next one. What repeats is one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

from shared.domain.errors import LedgerUnavailable
from shared.domain.ids import content_id
from shared.domain.interval import format_ms
from shared.domain.records import EmergencyRecord, Halt
from shared.ports import Clock, Ledger

Tell = Callable[[str], None]
"""Is told every step, for a person who watches"""


def emergency_id(halt: Halt) -> str:
    """The emergency that a halt starts."""
    return content_id("em", halt.book, halt.kind.value, halt.reason, halt.since_ms)


class EmergencyLog:
    """One record being written."""

    def __init__(self, ledger: Ledger, clock: Clock, halt: Halt, tell: Tell) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tell = tell
        self._said: set[str] = set()
        self._is_known = False
        self.record = EmergencyRecord(
            emergency_id(halt), halt.book, halt.kind, halt.reason, clock.now_ms(), None, None, None, (), ()
        )

    def begin(self) -> None:
        """Continue what an earlier process has written, or write the first step; the ledger may be away."""
        with suppress(LedgerUnavailable):  # learned with the first step that the ledger takes
            self._learn()
        self.step(f"{self.record.kind.value}: {self.record.reason}" if not self.record.steps else "continued")

    def step(self, text: str) -> None:
        """Something was done, was seen, or did not succeed; said before by this process, it is not repeated."""
        if text not in self._said:
            self._add(text)
            self.save()

    def save(self) -> bool:
        """Write the record; whether the ledger took it."""
        try:
            self._learn()
            self._ledger.record_emergency(self.record)
        except LedgerUnavailable:
            return False
        return True

    def finish(self, text: str, wallet: Decimal, equity: Decimal, closed: Sequence[str]) -> bool:
        """The book is flat; whether the ledger knows it."""
        self._add(text)
        open_record = self.record
        self.record = replace(open_record, finished_ms=self._clock.now_ms(), wallet=wallet, equity=equity, closed=tuple(closed))
        if self.save():
            return True
        self.record = open_record
        return False

    def _add(self, text: str) -> None:
        self._said.add(text)
        line = f"{format_ms(self._clock.now_ms())}  {text}"
        self.record = replace(self.record, steps=(*self.record.steps, line))
        self._tell(line)

    def _learn(self) -> None:
        """Put what an earlier process has written before what this one has. Raises `LedgerUnavailable`."""
        if self._is_known:
            return
        known = next((row for row in self._ledger.emergencies(self.record.book) if row.id == self.record.id), None)
        self._is_known = True
        if known is not None:
            self.record = replace(known, finished_ms=None, steps=(*known.steps, *self.record.steps))
