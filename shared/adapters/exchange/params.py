"""How the connections to a venue behave: patience, request budget, clock; and the streams: life signs, pauses, rotation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ConnectionParams:
    """Settings of one connection to a venue."""

    timeout_s: float = 10.0
    """longest wait for one answer"""
    weight_per_minute: int | None = 2400
    """request weight that the venue grants an egress address each minute (Binance USD-M: 2400); `None`: no limit"""
    weight_share: float = 0.9
    """part of it that is used; the rest is for questions about the account, and other processes behind the same address"""
    read_attempts: int = 5
    """attempts of a read before its error is raised; orders are sent once"""
    backoff_s: float = 0.5
    """pause before the second attempt of a read; doubled each time, with jitter"""
    backoff_limit_s: float = 15.0
    """longest pause between two attempts"""
    wait_limit_s: float = 90.0
    """longest wait for the request budget or a Retry-After; a longer one is raised at once"""
    read_limit_s: float = 300.0
    """longest time for a read with all its attempts and waits; then its last error is raised"""
    trader_read_s: float = 3.0
    """the same inside a trader, whose protection must not wait behind a question: also for budget and Retry-After"""
    receive_window_ms: int = 5_000
    """age at which the venue refuses a question, a stop, or an order that only reduces (Binance: at most 60 000);
    `execution.closing_grace_s` must be longer"""
    order_window_ms: int = 2_000
    """the same for what opens, increases, or takes a stop away: a later one dies at the venue; `execution.resend_grace_s`
    must be longer"""
    order_answer_s: float = 4.0
    """longest wait for the answer to an order; after it the outcome is unknown and the order is looked up"""
    clock_skew_limit_ms: int | None = 10_000
    """largest accepted difference between our clock and the venue's; `None` for a venue with simulated time"""

    def __post_init__(self) -> None:
        waits = ("timeout_s", "backoff_s", "backoff_limit_s", "wait_limit_s", "read_limit_s", "trader_read_s", "order_answer_s")
        for name in waits:
            if getattr(self, name) <= 0:
                raise ConfigError(f"exchange.{name} must be positive, found {getattr(self, name)}")
        if self.weight_per_minute is not None and self.weight_per_minute <= 0:
            raise ConfigError(f"exchange.weight_per_minute must be positive or null, found {self.weight_per_minute}")
        if not 0 < self.weight_share <= 1:
            raise ConfigError(f"exchange.weight_share must be in (0, 1], found {self.weight_share}")
        if self.read_attempts < 1:
            raise ConfigError(f"exchange.read_attempts must be at least 1, found {self.read_attempts}")
        for name in ("receive_window_ms", "order_window_ms"):
            if not 0 < getattr(self, name) <= 60_000:
                raise ConfigError(f"exchange.{name} must be in 1..60000, found {getattr(self, name)}")
        if self.clock_skew_limit_ms is not None and self.clock_skew_limit_ms <= 0:
            raise ConfigError(f"exchange.clock_skew_limit_ms must be positive or null, found {self.clock_skew_limit_ms}")


PAPER_CONNECTION = ConnectionParams(
    weight_per_minute=None,
    clock_skew_limit_ms=None,
    receive_window_ms=60_000,
    order_window_ms=60_000,
    timeout_s=30.0,
    order_answer_s=30.0,
    trader_read_s=15.0,
)
"""For the paper exchange: no request limit, simulated time that may be any distance from ours, and a process that may be busy
with simulating."""


def on_paper(params: ConnectionParams) -> ConnectionParams:
    """`params` for a paper exchange: their patience, without a request limit and without a word about its simulated time."""
    paper = PAPER_CONNECTION
    return replace(
        params,
        weight_per_minute=paper.weight_per_minute,
        clock_skew_limit_ms=paper.clock_skew_limit_ms,
        receive_window_ms=paper.receive_window_ms,
        order_window_ms=paper.order_window_ms,
        order_answer_s=paper.order_answer_s,
        trader_read_s=paper.trader_read_s,
    )


def in_trader(params: ConnectionParams) -> ConnectionParams:
    """`params` for a process that trades: a read is answered soon or fails soon, and what the venue asks to wait is raised."""
    limit_s = params.trader_read_s
    return replace(params, read_limit_s=limit_s, wait_limit_s=min(params.wait_limit_s, limit_s))


@dataclass(frozen=True, slots=True)
class StreamParams:
    """Settings of the WebSocket streams."""

    timeout_s: float = 10.0
    """longest wait for a connection and its subscriptions"""
    heartbeat_s: float = 15.0
    """silence after which the venue is pinged; without any sign of life for half as long again the connection is lost"""
    backoff_s: float = 0.5
    """pause before the first attempt to connect again; doubled each time, with jitter"""
    backoff_limit_s: float = 30.0
    """longest pause; a connection that lived longer than it makes the next pause short again"""
    rotate_after_s: float = 82_800.0
    """age at which a connection is replaced by a new one (23 h; the venue ends it after 24 h)"""
    overlap_s: float = 5.0
    """how long the old connection is still read after the new one was subscribed"""
    keep_alive_s: float = 1_800.0
    """how often the listen key is prolonged (30 min; it lives 60 min)"""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "heartbeat_s", "backoff_s", "backoff_limit_s", "rotate_after_s", "keep_alive_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"stream.{name} must be positive, found {getattr(self, name)}")
        if not 0 <= self.overlap_s < self.rotate_after_s:
            raise ConfigError(f"stream.overlap_s must be in [0, stream.rotate_after_s), found {self.overlap_s}")
        if self.backoff_s > self.backoff_limit_s:
            raise ConfigError(f"stream.backoff_s must not exceed stream.backoff_limit_s, found {self.backoff_s}")
