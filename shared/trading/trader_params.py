"""Settings of the trader: how long it waits, how often it looks, when it gives up. Seconds unless a field says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, fields

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TraderParams:
    """How a trader runs between bars."""

    tick_s: float = 1.0
    """distance of the regular looks: halts, breakers, slices, deadlines, outbox"""
    bar_patience_s: float = 2.0
    """wait after a bar's close, or after its first message, for the other symbols; then they are asked for by REST"""
    catch_up_bars: int = 500
    """missed bars that are recorded at most when the trader comes back"""
    silence_s: float = 15.0
    """silence of the market stream after which the venue is asked whether it is quiet or the stream is dead"""
    reconcile_s: float = 300.0
    """distance of full reconciliations"""
    stops_s: float = 30.0
    """distance of the looks at what rests while the streams are believed: one lost message must not hide the end of a stop"""
    rules_refresh_s: float = 3600.0
    """distance of the questions for ticks, steps and states of the symbols"""
    heartbeat_s: float = 3.0
    """distance of the heartbeat rows"""
    quote_fresh_s: float = 5.0
    """age of a quote or mark beyond which it is not used"""
    backoff_s: float = 1.0
    """first pause after a failure of venue, ledger or bus; it doubles each time"""
    backoff_max_s: float = 30.0
    """longest pause after a failure"""
    outage_pause_s: float = 900.0
    """outage of the venue after which trading is paused and a person is told"""
    outage_pause_hours: float = 1.0
    """how long that pause lasts, hours"""
    operational_failures: int = 10
    """failures (dead streams, refused questions) within the window that halt the book and close its positions"""
    operational_window_s: float = 900.0
    """the window in which they are counted"""
    standby_poll_s: float = 1.0
    """distance of a standby's looks at the lease"""
    stop_grace_s: float = 5.0
    """what a running step may still take after the order to stop"""
    settle_s: float = 90.0
    """schedule mode: how long a request goes on until stops are confirmed and an emergency is over; then it ends as failed"""
    retention_days: float = 30.0
    """how long published events and the heartbeats of processes that are gone are kept, days"""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"trader.{field.name} is {value}; expected a finite number above 0")
        if self.backoff_max_s < self.backoff_s:
            raise ConfigError(f"trader.backoff_max_s is {self.backoff_max_s}; expected backoff_s ({self.backoff_s}) or more")
