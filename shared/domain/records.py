"""Rows that the ledger keeps beside decisions, orders and fills. Money is Decimal in quote currency; instants are ms UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from shared.domain.asset import Asset
from shared.domain.money import ZERO
from shared.domain.regime import Regime, RegimeProbabilities
from shared.domain.text import storable


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """Funding that the account received (positive) or paid (negative), quote currency."""

    id: str
    symbol: str
    amount: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write a book. `token` grows with every change of holder and is checked inside each write."""

    book: str
    holder: str
    token: int
    expires_ms: int


class UnitReturns(NamedTuple):
    """What a book has earned per unit of exposure, bar by bar, as Welford's algorithm keeps it: no bar is needed again."""

    bars: int = 0
    """during which a position was held"""
    mean: float = 0.0
    """of their returns"""
    spread: float = 0.0
    """sum of squared differences from the mean"""


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """The account at the close of a bar, quote currency."""

    time_ms: int
    equity: Decimal
    wallet: Decimal
    peak: Decimal
    """highest equity so far"""
    exposure: Decimal = ZERO
    """sum of |notional| of all positions after the trades of this bar close, quote currency"""
    returns: UnitReturns | None = None
    """of all bars up to this one; `None` where they were not kept (a backtest, a row of an older ledger)"""

    @property
    def drawdown(self) -> float:
        """Loss from the peak as a fraction, 0 at a new high."""
        return float(1 - self.equity / self.peak) if self.peak else 0.0


def next_peak(equity: Decimal, last: EquityPoint | None, forgotten_ms: int | None) -> Decimal:
    """Highest equity so far, at a new mark of `equity`: what drawdown is measured from.

    `last` is the newest stored point. Peaks up to `forgotten_ms` do not count any more (`Ledger.rebase_peak`): the first mark
    after a resume is its own peak.
    """
    if last is None or (forgotten_ms is not None and last.time_ms <= forgotten_ms):
        return equity
    return max(equity, last.peak)


@dataclass(frozen=True, slots=True)
class RegimeState:
    """The regime of an asset at a bar close, with what a restart needs to go on."""

    asset: Asset
    bar_close_ms: int
    probabilities: RegimeProbabilities
    regime: Regime
    model_id: str
    ema: tuple[float, float, float]
    observations: int
    stress_bars: int
    """consecutive closed bars with P(stress) > 0.6"""


class HaltKind(StrEnum):
    """Why trading stopped; it decides who may resume, and whether positions are closed."""

    PAUSE = "pause"
    """a timed breaker: no new risk until it ends by itself"""
    DRAWDOWN = "drawdown"
    """the maximum drawdown: emergency protocol; never lifted automatically"""
    OPERATIONAL = "operational"
    """repeated failure: emergency protocol; a person resumes"""
    MANUAL = "manual"
    """a person asked for the emergency protocol; a person resumes"""
    FROZEN = "frozen"
    """something about a symbol cannot be explained: no new risk in it until a person has looked"""

    @property
    def flattens(self) -> bool:
        """Whether the emergency protocol runs until the book is flat."""
        return self in (HaltKind.DRAWDOWN, HaltKind.OPERATIONAL, HaltKind.MANUAL)


@dataclass(frozen=True, slots=True)
class Halt:
    """A stop of trading. `until_ms` is `None` for a latch that only a person can lift."""

    book: str
    reason: str
    since_ms: int
    until_ms: int | None
    symbol: str | None = None
    """`None`: the whole book"""
    kind: HaltKind = HaltKind.FROZEN

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True)
class Arrival:
    """What an order met on its way to the venue: the prices that its fills are judged against. Quote currency, ms UTC."""

    client_id: str
    book: str
    symbol: str
    decision_price: Decimal
    """close of the decided bar, the stop price of a protective stop, or the arrival mid of an exit: decided when it is sent"""
    arrival_mid: Decimal | None
    """mid of bid and ask when it was sent; `None` where no fresh quote was known"""
    sent_ms: int
    answered_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EmergencyRecord:
    """One run of the emergency protocol."""

    id: str
    book: str
    kind: HaltKind
    reason: str
    started_ms: int
    finished_ms: int | None
    """when the book was flat; `None` while it is not"""
    wallet: Decimal | None
    equity: Decimal | None
    """of the account at the end"""
    closed: tuple[str, ...]
    """symbols whose positions were closed"""
    steps: tuple[str, ...]
    """what was done and what the venue said, in order"""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A process that lives, and how it is."""

    book: str
    role: str
    """`trader`, `standby` …"""
    holder: str
    time_ms: int
    state: Mapping[str, Any]
    """plain JSON: mode, last bar, streams, counters"""


@dataclass(frozen=True, slots=True)
class Trade:
    """A round trip of one symbol: from flat to flat, or to the other side. Quote currency; prices are averages."""

    id: str
    book: str
    symbol: str
    side: str
    """`long` or `short`"""
    quantity: Decimal
    """largest size held"""
    entry_price: Decimal
    exit_price: Decimal
    opened_ms: int
    closed_ms: int
    profit: Decimal
    """realised profit minus fees"""
    fees: Decimal
    open_decision_id: str | None
    close_decision_id: str | None


@dataclass(frozen=True, slots=True)
class BookRecord:
    """A book: one account's history under one revision."""

    book: str
    created_ms: int
    """in the time that the book lives in: a paper exchange has one of its own"""
    settings: Mapping[str, Any]
    finished_ms: int | None
    summary: Mapping[str, Any] | None
