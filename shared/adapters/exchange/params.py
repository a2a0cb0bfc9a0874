"""How the connections to a venue behave: patience, request budget, clock; and the streams: life signs, pauses, rotation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ConnectionParams:
    """Settings of one connection to a venue."""

    timeout_s: float = 10.0
    """longest wait for one answer; a sent order without answer after it has an unknown outcome"""
    weight_per_minute: int | None = 2400
    """request weight that the venue grants an egress address each minute (Binance USD-M: 2400); `None`: no limit"""
    weight_share: float = 0.9
    """part of it that is used; the rest is for other processes behind the same address"""
    read_attempts: int = 5
    """attempts of a read before its error is raised; orders are sent once"""
    backoff_s: float = 0.5
    """pause before the second attempt of a read; doubled each time, with jitter"""
    backoff_limit_s: float = 15.0
    """longest pause between two attempts"""
    wait_limit_s: float = 90.0
    """longest wait for the request budget or a Retry-After; a longer one is raised as `RateLimited`"""
    receive_window_ms: int = 5_000
    """age at which the venue refuses a signed request (Binance: at most 60 000)"""
    clock_skew_limit_ms: int | None = 10_000
    """largest accepted difference between our clock and the venue's; `None` for a venue with simulated time"""

    def __post_init__(self) -> None:
        positive = ("timeout_s", "backoff_s", "backoff_limit_s", "wait_limit_s")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigError(f"exchange.{name} must be positive, found {getattr(self, name)}")
        if self.weight_per_minute is not None and self.weight_per_minute <= 0:
            raise ConfigError(f"exchange.weight_per_minute must be positive or null, found {self.weight_per_minute}")
        if not 0 < self.weight_share <= 1:
            raise ConfigError(f"exchange.weight_share must be in (0, 1], found {self.weight_share}")
        if self.read_attempts < 1:
            raise ConfigError(f"exchange.read_attempts must be at least 1, found {self.read_attempts}")
        if not 0 < self.receive_window_ms <= 60_000:
            raise ConfigError(f"exchange.receive_window_ms must be in 1..60000, found {self.receive_window_ms}")
        if self.clock_skew_limit_ms is not None and self.clock_skew_limit_ms <= 0:
            raise ConfigError(f"exchange.clock_skew_limit_ms must be positive or null, found {self.clock_skew_limit_ms}")


PAPER_CONNECTION = ConnectionParams(weight_per_minute=None, clock_skew_limit_ms=None, receive_window_ms=60_000, timeout_s=30.0)
"""For the paper exchange: no request limit, and simulated time that may be any distance from ours."""


def on_paper(params: ConnectionParams) -> ConnectionParams:
    """`params` for a paper exchange: their patience, without a request limit and without a word about its simulated time."""
    paper = PAPER_CONNECTION
    return replace(
        params,
        weight_per_minute=paper.weight_per_minute,
        clock_skew_limit_ms=paper.clock_skew_limit_ms,
        receive_window_ms=paper.receive_window_ms,
    )


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
