"""Which status says what, what a refusal says, and what the log keeps of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Request

from functions.answer import Jobs, answered, for_each, say
from functions.call import Tick
from shared.domain.asset import Asset
from shared.domain.data_events import CandlesIngested
from shared.domain.errors import (
    PASSING,
    ConfigError,
    DataNotFound,
    LedgerUnavailable,
    MalformedData,
    NotEnoughData,
    OstError,
    StorageError,
    VenueUnreachable,
)
from shared.domain.events import Event
from shared.domain.interval import Interval

BTC, ETH, SOL = (Asset("binanceusdm", symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"))
EVENT = CandlesIngested(BTC, Interval.H1, 1_751_378_400_000, "c-abc").made()


def raising(error: Exception) -> Jobs:
    def work(_: Event | Tick) -> None:
        raise error

    return Jobs(on_event=work, on_tick=work)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    from functions import answer

    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    answer._speak.cache_clear()
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_and_a_slot_reach_their_work(pushed: Callable[..., Request], ticked: Callable[..., Request]) -> None:
    seen: list[Any] = []
    jobs = Jobs(on_event=seen.append, on_tick=seen.append)
    assert answered(pushed(EVENT), jobs) == ({}, 204)
    assert answered(ticked({"interval": "1h"}), jobs) == ({}, 204)
    assert seen[0] == EVENT
    assert (seen[1].slot_ms, seen[1].body.text("interval")) == (1_751_378_400_000, "1h")


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_by_itself_is_to_come_again(kind: type[OstError], pushed: Callable[..., Request]) -> None:
    body, status = answered(pushed(EVENT), raising(kind("away; try again")))
    assert (status, body) == (503, {"error": "away; try again", "event": EVENT.id})


@pytest.mark.parametrize("kind", [MalformedData, DataNotFound, NotEnoughData, ConfigError])
def test_what_nobody_can_do_goes_to_the_dead_letters(kind: type[OstError], pushed: Callable[..., Request]) -> None:
    body, status = answered(pushed(EVENT), raising(kind("wrong")))
    assert (status, body) == (422, {"error": "wrong", "event": EVENT.id})


def test_a_bug_is_told_with_its_traceback_and_tried_again(pushed: Callable[..., Request], lines: Any) -> None:
    body, status = answered(pushed(EVENT), raising(ZeroDivisionError("secret detail")))
    assert (status, body) == (500, {"error": "internal error; the log has it", "event": EVENT.id})
    (line,) = lines()
    assert (line["severity"], line["event"]) == ("ERROR", "bug")
    assert "ZeroDivisionError: secret detail" in line["message"]
    assert line["logging.googleapis.com/labels"]["event_id"] == EVENT.id


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"", {}, "no JSON"),
        (b"\xff", {}, "no JSON"),
        ([], {}, "a list, expected an object"),
        ({}, {}, "has no x-cloudscheduler-scheduletime"),
        ({"interval": "1h"}, {"X-CloudScheduler-ScheduleTime": "soon"}, "cannot read the date 'soon'"),
        ({"interval": "1h"}, {"X-CloudScheduler-ScheduleTime": "9999-01-01T00:00:00Z"}, "outside the years"),
        ({"message": {}}, {}, "lacks data"),
        ({"message": {"data": "?"}}, {}, "no base64"),
        ({"message": {"data": "e30="}}, {}, "lacks specversion"),
        ({"message": {"data": 5}}, {}, "data is 5, expected a text"),
    ],
)
def test_a_malformed_call_is_refused_with_the_reason(post: Any, body: Any, headers: dict[str, str], reason: str) -> None:
    answer, status = answered(post(body, headers), raising(AssertionError("is not reached")))
    assert status == 422
    assert reason in answer["error"]


def test_only_posts_are_answered(post: Any) -> None:
    assert answered(post({}, method="GET"), Jobs())[1] == 405


def test_a_call_that_came_to_the_wrong_function_is_refused(pushed: Any, ticked: Any) -> None:
    body, status = answered(pushed(EVENT), Jobs(on_tick=print))
    assert status == 422
    assert "the event candles.ingested came to a function that is called otherwise" in body["error"]
    assert answered(ticked({}), Jobs(on_event=print))[1] == 422


def test_a_line_carries_trace_event_and_fields(post: Any, pushed: Any, lines: Any) -> None:
    request = pushed(EVENT)
    request.environ["HTTP_X_CLOUD_TRACE_CONTEXT"] = "105445aa7843bc8bf206b12000100000/1;o=1"
    answered(request, Jobs(on_event=lambda _: say("WARNING", "data.gap", "BTCUSDT: 3 missing", gap_hours=3.0)))
    (line,) = lines()
    assert (line["severity"], line["event"], line["gap_hours"], line["message"]) == (
        "WARNING",
        "data.gap",
        3.0,
        "BTCUSDT: 3 missing",
    )
    assert line["logging.googleapis.com/trace"] == "projects/demo/traces/105445aa7843bc8bf206b12000100000"
    assert line["logging.googleapis.com/labels"]["event_id"] == EVENT.id


def test_one_bad_asset_never_stops_the_others(lines: Any, pushed: Any) -> None:
    done: list[Asset] = []

    def work(asset: Asset) -> None:
        if asset == BTC:
            raise MalformedData("rotten")
        if asset == SOL:
            raise NotEnoughData("young")
        done.append(asset)

    assert answered(pushed(EVENT), Jobs(on_event=lambda _: for_each((BTC, ETH, SOL), work, "x.failed"))) == ({}, 204)
    assert done == [ETH]
    assert [(line["severity"], line["event"], line["asset"]) for line in lines()] == [
        ("ERROR", "x.failed", str(BTC)),
        ("INFO", "data.too_short", str(SOL)),
    ]


@pytest.mark.parametrize("error", [StorageError("full"), LedgerUnavailable("down"), VenueUnreachable("gone")])
def test_an_asset_that_failed_for_a_while_brings_the_call_back(error: OstError, pushed: Any) -> None:
    def work(asset: Asset) -> None:
        if asset == BTC:
            raise error

    body, status = answered(pushed(EVENT), Jobs(on_event=lambda _: for_each((BTC, ETH), work, "x.failed")))
    assert (status, body["error"]) == (503, f"{BTC}: not now; tried again")
