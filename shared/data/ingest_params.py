"""Parameters of ingestion."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class IngestParams:
    """How market data is fetched."""

    page_bars: int = 6000
    """bars asked for and merged at a time: what an interruption can lose, at most"""
    concurrency: int = 4
    """assets that are fetched at the same time"""
    default_days: int = 180
    """days of history for an asset of which nothing is stored, where no date is given"""
    shard_assets: int = 50
    """most assets that one message asks for"""
    series_assets: int = 400
    """most assets whose funding and open interest one round may ask for; a larger universe takes turns. A venue grants these
    requests apart (Binance: 500 and 1000 in 5 minutes to an address), and the shards of a round know nothing of each other"""

    def __post_init__(self) -> None:
        for name in ("page_bars", "concurrency", "default_days", "shard_assets", "series_assets"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"ingest.{name} must be at least 1, found {value}")
