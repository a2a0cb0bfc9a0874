"""What a session is given and what it answers: ports, specification, report. Values only.

`Ports` is the outside world of one step; `LivePorts` adds what lives between bars. The specification says what is traded under
which parameters; nothing in it changes while a session lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.asset import Universe
from shared.domain.decision import Decision
from shared.domain.interval import Interval
from shared.domain.orders import Fill
from shared.domain.stream import QuoteMessage
from shared.ports import Bucket, Bus, Clock, Exchange, ExitJournal, Ledger, MarketData, MarketStream, UserStream
from shared.trading.params import SystemParams

Quote = Callable[[str], QuoteMessage | None]
"""The newest quote of a symbol, if a fresh one is known"""


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world of a session."""

    exchange: Exchange
    market: MarketData
    ledger: Ledger
    models: Bucket
    """where regime models are kept"""
    clock: Clock
    lease_clock: Clock
    """real time: a lease protects against another process, and that one does not live in simulated time"""


@dataclass(frozen=True, slots=True)
class LivePorts(Ports):
    """The outside world of a trader: a session's, and what lives between bars."""

    market_stream: MarketStream
    user_stream: UserStream
    bus: Bus
    exits: ExitJournal


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a session trades."""

    book: str
    holder: str
    """who holds the lease: another text for every process that ever starts"""
    universe: Universe
    interval: Interval
    params: SystemParams
    leverage: int
    code_version: str
    lease_ttl_ms: int = 30_000
    """how long a silent holder keeps the book: a standby takes over after it"""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did."""

    bar_close_ms: int
    equity: Decimal
    drawdown: float
    decisions: tuple[Decision, ...]
    fills: tuple[Fill, ...]
    regimes: Mapping[str, str]
    """held regime by symbol"""
    problems: tuple[str, ...] = ()
    """one line for each asset that could not be decided"""
    undecided: tuple[str, ...] = ()
    """their symbols"""
