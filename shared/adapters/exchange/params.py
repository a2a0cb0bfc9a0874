"""How the connection to a venue behaves: patience, request budget, clock."""

from __future__ import annotations

from dataclasses import dataclass

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
