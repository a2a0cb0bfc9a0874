"""What is traded: an asset is a symbol on a venue; a universe is an ordered set of assets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.errors import UsageError
from shared.domain.interval import Interval

_SYMBOL = re.compile(r"[A-Z0-9]{3,30}(_[0-9]{6})?")
_VENUE = re.compile(r"[a-z][a-z0-9_]{1,30}")


@dataclass(frozen=True, slots=True, order=True)
class Asset:
    """A symbol in the venue's own spelling (`BTCUSDT`) on a venue in ccxt's spelling (`binanceusdm`)."""

    venue: str
    symbol: str

    def __post_init__(self) -> None:
        if not _VENUE.fullmatch(self.venue):
            raise UsageError(f"{self.venue!r} is no venue name; expected lower case, e.g. binanceusdm")
        if not _SYMBOL.fullmatch(self.symbol):
            raise UsageError(f"{self.symbol!r} is no symbol; expected the exchange's spelling, e.g. BTCUSDT")

    def __str__(self) -> str:
        return f"{self.venue}:{self.symbol}"

    def path(self, layer: str, interval: Interval) -> str:
        """Object name in the lake: `{layer}/{venue}/{symbol}/{interval}/data.parquet`."""
        return f"{layer}/{self.venue}/{self.symbol}/{interval}/data.parquet"


@dataclass(frozen=True, slots=True)
class Universe:
    """The assets that a process works on, in a fixed order and without repetition."""

    assets: tuple[Asset, ...]

    def __post_init__(self) -> None:
        if not self.assets:
            raise UsageError("the universe is empty; name at least one symbol")
        if len(set(self.assets)) != len(self.assets):
            raise UsageError(f"the universe names an asset twice: {' '.join(map(str, self.assets))}")

    @classmethod
    def of(cls, venue: str, symbols: tuple[str, ...]) -> Universe:
        """All `symbols` on one `venue`."""
        return cls(tuple(Asset(venue, symbol) for symbol in symbols))

    def __iter__(self) -> Iterator[Asset]:
        return iter(self.assets)

    def __len__(self) -> int:
        return len(self.assets)


DEFAULT_UNIVERSE = Universe.of("binanceusdm", ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"))
