"""Every event is what its schema says, every schema accepts what was ever published under it, and only events are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shared.domain.asset import Asset, Universe
from shared.domain.data_events import (
    READERS,
    CandlesCurated,
    CandlesIngested,
    CandlesRequested,
    DataEvent,
    RecalibrationTriggered,
    RegimeClassified,
)
from shared.domain.errors import MalformedData
from shared.domain.event_reading import read_event
from shared.domain.events import Event, EventKind, failed, halted, regime_changed, trade_executed
from shared.domain.interval import Interval
from shared.domain.orders import Fill, Side
from shared.domain.records import Halt, HaltKind, RegimeState
from shared.domain.regime import Regime, RegimeProbabilities

SCHEMAS = Path(__file__).parents[3] / "shared/domain/schemas"
PUBLISHED = Path(__file__).parent / "published_events.jsonl"
"""One event of each kind and version as it was published once. Lines are added, never changed."""

BTC = Asset("binanceusdm", "BTCUSDT")
TIME_MS = 1_751_378_400_000
STATE = RegimeState(BTC, TIME_MS, RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m-1", (0.1, 0.2, 0.7), 5, 2)
FILL = Fill("BTCUSDT", "17", "oabc-exit-1", "9", Side.SELL, Decimal("0.0100"), Decimal("106000.1"), Decimal("-0E-8"), TIME_MS)
HALT = Halt("b", "max drawdown: 21 %", TIME_MS, None, kind=HaltKind.DRAWDOWN)

DATA_EVENTS: list[DataEvent] = [
    CandlesRequested(Universe.of("binanceusdm", ("BTCUSDT", "ETHUSDT")), Interval.H1, TIME_MS, 1, 3),
    CandlesIngested(BTC, Interval.H1, TIME_MS, "c-abc"),
    CandlesCurated(BTC, Interval.H1, TIME_MS, "f-abc"),
    RegimeClassified(BTC, Interval.H1, TIME_MS, Regime.STRESS, STATE.probabilities, "m-1"),
    RecalibrationTriggered("r-abc", BTC, "sharpe", TIME_MS),
]
EVENTS: list[Event] = [
    *(made.made() for made in DATA_EVENTS),
    trade_executed("b", FILL),
    regime_changed("b", replace(STATE, regime=Regime.CALM), STATE),
    regime_changed("b", None, STATE),
    halted(EventKind.DRAWDOWN_THRESHOLD, HALT),
    halted(EventKind.ERROR, replace(HALT, symbol="BTCUSDT", until_ms=TIME_MS + 1)),
    failed("b", "trader", "the stream is silent", TIME_MS, {"seconds": 31.5}),
    failed("b", "trader", "the stream is silent", TIME_MS, None),
]


def schema_of(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(envelope["type"]).removeprefix("one-smart-trade.")
    found: Mapping[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    return found


def sent(event: Event, **changes: Any) -> bytes:
    return json.dumps({**event.as_cloud_event(), **changes}).encode()


def with_data(event: Event, **changes: Any) -> bytes:
    return sent(event, data={**event.data, **changes})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.kind.value))
def test_what_is_published_obeys_its_schema_and_comes_back_equal(event: Event) -> None:
    envelope = json.loads(json.dumps(event.as_cloud_event(), allow_nan=False))
    jsonschema.validate(envelope, schema_of(envelope))
    assert read_event(json.dumps(envelope).encode()) == event


@pytest.mark.parametrize("made", DATA_EVENTS, ids=lambda made: type(made).__name__)
def test_a_typed_event_comes_back_as_itself(made: DataEvent) -> None:
    event = read_event(sent(made.made()))
    assert READERS[event.kind](event) == made


def test_every_kind_has_a_sample_and_a_schema_that_names_itself() -> None:
    assert {event.kind for event in EVENTS} == set(EventKind)
    for path in SCHEMAS.iterdir():
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"one-smart-trade.{path.stem}" == schema["properties"]["type"]["const"]
    assert {path.stem.rpartition(".")[0] for path in SCHEMAS.iterdir()} == {kind.value for kind in EventKind}


def test_what_was_published_once_stays_valid_and_readable() -> None:
    kinds = set()
    for line in PUBLISHED.read_text().splitlines():
        envelope = json.loads(line)
        jsonschema.validate(envelope, schema_of(envelope))
        kinds.add(read_event(line.encode()).kind)
    assert kinds == set(EventKind)


def test_the_same_content_still_has_the_id_of_what_was_published() -> None:
    # A consumer's inbox holds these ids: another one for the same content would be a second event.
    published = {json.loads(line)["id"] for line in PUBLISHED.read_text().splitlines()}
    assert published == {event.id for event in EVENTS}


def test_content_alone_makes_the_id() -> None:
    first = DATA_EVENTS[1]
    assert isinstance(first, CandlesIngested)
    assert first.made().id == replace(first).made().id
    others = [replace(first, data_hash="c-other"), replace(first, interval=Interval.H4), replace(first, last_close_ms=1)]
    assert len({first.made().id, *(other.made().id for other in others)}) == 4


INGESTED = DATA_EVENTS[1].made()
CLASSIFIED = DATA_EVENTS[3].made()
REQUESTED = DATA_EVENTS[0].made()
MALFORMED = {
    "no JSON": (b"\x00\xff", "no JSON"),
    "no text": (b"\xff\xfe\x00", "no JSON"),
    "NaN": (with_data(INGESTED, last_close_ms=float("nan")), "NaN is no JSON"),
    "nested without end": (b"[" * 100_000, "no JSON"),
    "a list": (b"[1, 2]", "a list; expected a CloudEvent"),
    "empty": (b"{}", "lacks specversion; it has nothing"),
    "another specversion": (sent(INGESTED, specversion="0.3"), "specversion is '0.3', expected '1.0'"),
    "an unknown kind": (
        sent(INGESTED, type="one-smart-trade.candles.eaten.v1"),
        "unknown type 'one-smart-trade.candles.eaten.v1'",
    ),
    "somebody else's": (sent(INGESTED, type="com.example.v1"), "unknown type 'com.example.v1'"),
    "a later version": (sent(INGESTED, type="one-smart-trade.candles.ingested.v2"), "has version '2', this program reads 1"),
    "no id": (sent(INGESTED, id=""), "id is '', expected a text"),
    "an id that no ledger keeps": (sent(INGESTED, id="a\0b"), "expected a text without NUL"),
    "a number as id": (sent(INGESTED, id=7), "id is 7, expected a text"),
    "no subject": (sent(INGESTED, subject=None), "subject is None, expected a text"),
    "no time": (sent(INGESTED, time="yesterday"), "time 'yesterday', expected one of RFC 3339"),
    "a local time": (sent(INGESTED, time="2025-07-01T14:00:00"), "expected one of RFC 3339"),
    "a book's source": (sent(INGESTED, source="/one-smart-trade/books/b"), "expected /one-smart-trade/data"),
    "no book": (sent(EVENTS[5], source="/one-smart-trade/books/"), "expected /one-smart-trade/books/NAME"),
    "no data": (sent(INGESTED, data=None), "data is None, expected an object"),
    "a venue that is none": (with_data(INGESTED, venue="../../etc"), "is no venue name"),
    "a symbol that is none": (with_data(INGESTED, symbol="btc/usdt"), "is no symbol"),
    "an interval that is none": (with_data(INGESTED, interval="2h"), "unknown interval '2h'"),
    "a text as an instant": (with_data(INGESTED, last_close_ms="now"), "last_close_ms is 'now', expected a whole number"),
    "a truth as an instant": (with_data(INGESTED, last_close_ms=True), "last_close_ms is True, expected a whole number"),
    "a symbol twice": (with_data(REQUESTED, symbols=["BTCUSDT", "BTCUSDT"]), "names an asset twice"),
    "no symbols": (with_data(REQUESTED, symbols=[]), "symbols is [], expected a list of texts"),
    "a shard too many": (with_data(REQUESTED, shard=3), "shard 3 of 3"),
    "an unknown regime": (with_data(CLASSIFIED, regime="storm"), "'storm' is not a valid Regime"),
    "probabilities of nothing": (
        with_data(CLASSIFIED, probabilities={"calm": 0.1, "balanced": 0.1, "stress": 0.1}),
        "must lie in [0, 1] and sum to 1",
    ),
    "a trade without a price": (sent(EVENTS[5], data={**EVENTS[5].data, "price": 1.5}), "price is 1.5, expected a text"),
}


@pytest.mark.parametrize(("content", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_event_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(MalformedData) as refused:
        read_event(content)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_fields_of_a_later_publisher_are_left_alone() -> None:
    assert read_event(with_data(INGESTED, added=3)).data["added"] == 3
    assert read_event(sent(INGESTED, traceparent="00-1-2-01")) == INGESTED


def test_an_event_in_the_wrong_place_is_refused() -> None:
    with pytest.raises(MalformedData, match=r"is candles\.ingested, expected candles\.curated; it came to the wrong place"):
        CandlesCurated.of(INGESTED)
