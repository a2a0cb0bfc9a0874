"""Settings of order execution: how patient, how protected, how large orders are cut, what freezes. Seconds, quote currency."""

from __future__ import annotations

from dataclasses import dataclass, fields

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ExecutionParams:
    """How orders are sent, protected and accounted for. Decisions do not depend on it, but for the orders that they make."""

    resend_grace_s: float = 4.0
    """seconds between the two "does not exist" answers that let an order be sent again; longer than the venue may take it"""
    closing_grace_s: float = 6.5
    """seconds from the approval of a stop, or of an order that only reduces, in which it does not count as missing either: the
    venue may take it for longer, for late is better than never there"""
    query_bound_s: float = 60.0
    """age of an order that cannot be looked up at which its symbol is frozen"""
    query_backoff_s: float = 0.5
    """first pause between look-ups; it doubles each time, up to 30 s"""
    answer_patience_s: float = 2.0
    """how long anybody waits for the fate of an unknown order; then other work goes on, and it is asked about in between"""
    stop_deadline_s: float = 10.0
    """seconds from an entry's fill to a confirmed protective stop; what is not protected by then is closed"""
    unprotected_pause_s: float = 3600.0
    """how long a symbol whose position had to be closed for want of a stop takes no new risk"""
    remainder_attempts: int = 2
    """further orders for what a market order left unfilled, while its bar is fresh"""
    twap_notional: float = 50_000.0
    """orders above this notional are cut into slices, quote currency; 0: never"""
    twap_slices: int = 5
    """slices of a large order"""
    twap_seconds: float = 60.0
    """seconds from the first slice to the last"""
    balance_tolerance: float = 1.0
    """unexplained difference of the wallet that stops entries of the whole book, quote currency"""
    delisting_hours: float = 48.0
    """hours before a contract ends in which nothing is opened and what is held is closed"""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = _LEAST.get(field.name, 0.0)
            if not least <= value < float("inf"):
                raise ConfigError(f"execution: {field.name} is {value}; expected a finite number of at least {least:g}")
        if self.query_backoff_s == 0 or self.stop_deadline_s == 0:
            raise ConfigError("execution: query_backoff_s and stop_deadline_s are expected to be above 0")


_LEAST = {"twap_slices": 2.0}
