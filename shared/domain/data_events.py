"""Events of the data chain, one type each: requested -> ingested -> curated -> classified, and a recalibration that is due.

Their content is the state of the lake or of the ledger, never who made it so or when: whoever repeats an effect tells it with
the same id. `made()` gives the event, `of(event)` the way back, which refuses what no publisher of that version can have sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from shared.domain.asset import Asset, Universe
from shared.domain.errors import MalformedData, UsageError
from shared.domain.events import Event, EventKind, event
from shared.domain.fields import Fields
from shared.domain.interval import Interval
from shared.domain.regime import Regime, RegimeProbabilities

NO_BOOK = ""

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class CandlesRequested:
    """The bars of a shard of the universe that are closed at `slot_ms` are to be fetched."""

    universe: Universe
    """on one venue"""
    interval: Interval
    slot_ms: int
    """the instant that the schedule names"""
    shard: int
    """its number, from 0"""
    shards: int
    """how many there are"""

    def made(self) -> Event:
        """The event."""
        data = {
            "venue": self.universe.assets[0].venue,
            "symbols": [asset.symbol for asset in self.universe],
            "interval": self.interval.value,
            "slot_ms": self.slot_ms,
            "shard": self.shard,
            "shards": self.shards,
        }
        return event(EventKind.CANDLES_REQUESTED, NO_BOOK, f"{self.interval}/{self.shard}", self.slot_ms, data)

    @classmethod
    def of(cls, given: Event) -> Self:
        """Raises `MalformedData`."""
        fields = _fields(given, EventKind.CANDLES_REQUESTED)
        venue, symbols = fields.text("venue"), fields.texts("symbols")
        universe = _understood(lambda: Universe.of(venue, symbols))
        shard, shards = fields.count("shard"), fields.count("shards")
        if not shard < shards:
            raise MalformedData(f"{fields.name}: shard {shard} of {shards}; expected a number from 0 to shards - 1")
        return cls(universe, _interval(fields), fields.count("slot_ms"), shard, shards)


@dataclass(frozen=True, slots=True)
class CandlesIngested:
    """The raw bars of an asset, as they are stored now."""

    asset: Asset
    interval: Interval
    last_close_ms: int
    """close of the newest one"""
    data_hash: str
    """content of all of them"""

    def made(self) -> Event:
        """The event."""
        told = {"last_close_ms": self.last_close_ms, "data_hash": self.data_hash}
        return _of_asset(EventKind.CANDLES_INGESTED, self.asset, self.interval, self.last_close_ms, told)

    @classmethod
    def of(cls, given: Event) -> Self:
        """Raises `MalformedData`."""
        fields = _fields(given, EventKind.CANDLES_INGESTED)
        return cls(_asset(fields), _interval(fields), fields.count("last_close_ms"), fields.text("data_hash"))


@dataclass(frozen=True, slots=True)
class CandlesCurated:
    """The curated frame of an asset, as it is stored now."""

    asset: Asset
    interval: Interval
    last_close_ms: int
    """close of its newest row"""
    data_hash: str
    """content of the whole frame"""

    def made(self) -> Event:
        """The event."""
        told = {"last_close_ms": self.last_close_ms, "data_hash": self.data_hash}
        return _of_asset(EventKind.CANDLES_CURATED, self.asset, self.interval, self.last_close_ms, told)

    @classmethod
    def of(cls, given: Event) -> Self:
        """Raises `MalformedData`."""
        fields = _fields(given, EventKind.CANDLES_CURATED)
        return cls(_asset(fields), _interval(fields), fields.count("last_close_ms"), fields.text("data_hash"))


@dataclass(frozen=True, slots=True)
class RegimeClassified:
    """The regime of an asset at a bar close, as the ledger keeps it."""

    asset: Asset
    interval: Interval
    bar_close_ms: int
    regime: Regime
    probabilities: RegimeProbabilities
    model_id: str

    def made(self) -> Event:
        """The event."""
        told = {
            "bar_close_ms": self.bar_close_ms,
            "regime": self.regime.value,
            "probabilities": self.probabilities.as_dict(),
            "model_id": self.model_id,
        }
        return _of_asset(EventKind.REGIME_CLASSIFIED, self.asset, self.interval, self.bar_close_ms, told)

    @classmethod
    def of(cls, given: Event) -> Self:
        """Raises `MalformedData`."""
        fields = _fields(given, EventKind.REGIME_CLASSIFIED)
        regime, probabilities = fields.text("regime"), fields.inner("probabilities")
        return cls(
            _asset(fields),
            _interval(fields),
            fields.count("bar_close_ms"),
            _understood(lambda: Regime(regime)),
            RegimeProbabilities(*(probabilities.number(known.value) for known in Regime)),
            fields.text("model_id"),
        )


@dataclass(frozen=True, slots=True)
class RecalibrationTriggered:
    """A recalibration that the ledger holds is to be brought to its end."""

    recalibration: str
    """its id"""
    asset: Asset
    trigger: str
    """`sharpe`, `volatility` or `manual`"""
    time_ms: int
    """when it is asked for: the slot of the look"""

    def made(self) -> Event:
        """The event."""
        data = {
            "recalibration": self.recalibration,
            "venue": self.asset.venue,
            "symbol": self.asset.symbol,
            "trigger": self.trigger,
            "time_ms": self.time_ms,
        }
        return event(EventKind.RECALIBRATION_TRIGGERED, NO_BOOK, str(self.asset), self.time_ms, data)

    @classmethod
    def of(cls, given: Event) -> Self:
        """Raises `MalformedData`."""
        fields = _fields(given, EventKind.RECALIBRATION_TRIGGERED)
        return cls(fields.text("recalibration"), _asset(fields), fields.text("trigger"), fields.count("time_ms"))


DataEvent = CandlesRequested | CandlesIngested | CandlesCurated | RegimeClassified | RecalibrationTriggered

READERS: Mapping[EventKind, Callable[[Event], DataEvent]] = {
    EventKind.CANDLES_REQUESTED: CandlesRequested.of,
    EventKind.CANDLES_INGESTED: CandlesIngested.of,
    EventKind.CANDLES_CURATED: CandlesCurated.of,
    EventKind.REGIME_CLASSIFIED: RegimeClassified.of,
    EventKind.RECALIBRATION_TRIGGERED: RecalibrationTriggered.of,
}


def _of_asset(kind: EventKind, asset: Asset, interval: Interval, time_ms: int, told: Mapping[str, Any]) -> Event:
    data = {"venue": asset.venue, "symbol": asset.symbol, "interval": interval.value, **told}
    return event(kind, NO_BOOK, f"{asset}/{interval}", time_ms, data)


def _fields(given: Event, expected: EventKind) -> Fields:
    if given.kind is not expected:
        raise MalformedData(f"event {given.id} is {given.kind.value}, expected {expected.value}; it came to the wrong place")
    return Fields(f"{given.kind.value} {given.id}", given.data)


def _asset(fields: Fields) -> Asset:
    venue, symbol = fields.text("venue"), fields.text("symbol")
    return _understood(lambda: Asset(venue, symbol))


def _interval(fields: Fields) -> Interval:
    text = fields.text("interval")
    return _understood(lambda: Interval.parse(text))


def _understood(make: Callable[[], Made]) -> Made:
    """What `make` makes; what it does not understand is the event's fault."""
    try:
        return make()
    except (UsageError, ValueError) as error:
        raise MalformedData(str(error)) from None
