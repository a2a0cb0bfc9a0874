"""Which halts a person may lift, and which stay: the rules of resuming.

A timed pause ends by itself and is lifted early only on request; a drawdown is never lifted in passing; a halt that closes
positions stays until its emergency is finished and the book is flat. What is lifted, by whom and why is kept by the ledger.
Source: reference document 4 (no restart by itself after a drawdown, by hand after an operational error) and correction 18.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.interval import format_ms
from shared.domain.orders import Position
from shared.domain.records import EmergencyRecord, Halt, HaltKind
from shared.ports import Ledger
from shared.trading.emergency_log import emergency_id


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """What a person asks for."""

    symbol: str | None = None
    """only halts of this symbol"""
    pauses: bool = False
    """timed pauses as well"""
    after_drawdown: bool = False
    """the latch of the maximum drawdown as well; drawdown is measured anew from here"""


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What a resume would do."""

    lift: tuple[Halt, ...]
    stay: tuple[tuple[Halt, str], ...]
    """each with the reason"""

    @property
    def rebases_peak(self) -> bool:
        """Whether drawdown is measured anew from here."""
        return any(halt.kind is HaltKind.DRAWDOWN for halt in self.lift)


def plan_resume(
    halts: Sequence[Halt], emergencies: Sequence[EmergencyRecord], positions: Sequence[Position], request: ResumeRequest
) -> ResumePlan:
    """Which of the `halts` in force the request lifts. `positions` are those of the book."""
    held = sorted(position.symbol for position in positions if position.quantity)
    finished = {row.id for row in emergencies if row.finished_ms is not None}
    lift, stay = [], []
    for halt in halts:
        why = _why_it_stays(halt, request)
        if not why and halt.kind.flattens and (emergency_id(halt) not in finished or held):
            holds = f"the book still holds {' '.join(held)}" if held else "it is not known that nothing of the book rests"
            why = f"its emergency is not finished: {holds}"
        if why:
            stay.append((halt, why))
        else:
            lift.append(halt)
    return ResumePlan(tuple(lift), tuple(stay))


def carry_out(ledger: Ledger, book: str, plan: ResumePlan, by: str, reason: str, now_ms: int) -> int:
    """Lift what the plan lifts; how many halts there were. Raises `LedgerUnavailable`.

    The peak is forgotten first: cut off between the two, the book stays halted.
    """
    if plan.rebases_peak:
        ledger.rebase_peak(book, now_ms)
    # These halts and no others: one that was set since the plan was shown is a person's next question.
    lifted = ledger.lift_halts(plan.lift, by, reason, now_ms)
    if lifted:
        ledger.log(book, "resume", "warning", f"halts lifted by {by} ({lifted}): {reason}", now_ms)
    return lifted


def _why_it_stays(halt: Halt, request: ResumeRequest) -> str:
    if request.symbol is not None and halt.symbol != request.symbol:
        return f"it is not one of {request.symbol}"
    if halt.until_ms is not None and not request.pauses:
        return f"it ends by itself at {format_ms(halt.until_ms)} (--pauses lifts it now)"
    if halt.kind is HaltKind.DRAWDOWN and not request.after_drawdown:
        return "the maximum drawdown is lifted with --after-drawdown only"
    return ""
