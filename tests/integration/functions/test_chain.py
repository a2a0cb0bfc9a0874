"""Scheduler -> ingest -> curate -> classify on real components: once, twice, out of order, killed, poisoned."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from shared.cli.main import app
from shared.domain.asset import Asset
from shared.domain.data_events import CandlesIngested
from shared.domain.interval import Interval
from shared.domain.records import Handled
from tests.integration.functions.conftest import OPEN_BARS, SYMBOLS, Cloud, slot

CHAIN = ("ingest", "curate", "classify")
NewCloud = Callable[..., Cloud]


def run_chain(cloud: Cloud, bars: int) -> dict[str, list[dict[str, Any]]]:
    """One round; what was published on the way, by topic."""
    assert cloud.functions["ingest"].tick(slot(bars), interval="1h") == 204
    counts = {"candles-requested": 1, "candles-ingested": 2, "candles-curated": 2, "regimes-classified": 2}
    found = {topic: cloud.pubsub.held(f"{topic}-hold", count) for topic, count in counts.items()}
    assert {topic: len(events) for topic, events in found.items()} == counts
    return found


def newest_bars(state: dict[str, Any]) -> dict[str, int]:
    return {symbol: regimes[-1].bar_close_ms for symbol, regimes in state["regimes"].items()}


@pytest.fixture
def cloud(new_cloud: NewCloud) -> Cloud:
    made = new_cloud()
    made.start(*CHAIN)
    made.connect()
    return made


def test_a_tick_becomes_regimes_and_nothing_changes_when_everything_comes_again(cloud: Cloud) -> None:
    first = run_chain(cloud, OPEN_BARS)
    state = cloud.state()
    frames = {f"{layer}/binanceusdm/{symbol}/1h/data.parquet" for layer in ("raw", "curated") for symbol in SYMBOLS}
    assert set(state["objects"]) >= frames
    assert newest_bars(state) == dict.fromkeys(SYMBOLS, slot(OPEN_BARS))
    told = {event["data"]["symbol"]: event["data"] for event in first["regimes-classified"]}
    for symbol in SYMBOLS:
        newest = state["regimes"][symbol][-1]
        assert (told[symbol]["regime"], told[symbol]["model_id"]) == (newest.regime.value, newest.model_id)

    # Everything a second time.
    for topic, name in (("candles-requested", "ingest"), ("candles-ingested", "curate"), ("candles-curated", "classify")):
        for event in reversed(first[topic]):
            assert cloud.functions[name].push(event) == 204
    assert cloud.functions["ingest"].tick(slot(OPEN_BARS), interval="1h") == 204
    assert cloud.state() == state

    # An hour later; then the events of the hour before again: stale.
    cloud.pubsub.held("candles-requested-hold", 99, timeout_s=1)
    again = {topic: cloud.pubsub.held(f"{topic}-hold", 99, timeout_s=1) for topic in first}
    for topic in ("candles-ingested", "candles-curated", "regimes-classified"):
        assert {event["id"] for event in again[topic]} <= {event["id"] for event in first[topic]}
    cloud.exchange.advance(OPEN_BARS + 1)
    second = run_chain(cloud, OPEN_BARS + 1)
    later = cloud.state()
    assert newest_bars(later) == dict.fromkeys(SYMBOLS, slot(OPEN_BARS + 1))
    for event in (*first["candles-ingested"], *second["candles-ingested"]):
        assert cloud.functions["curate"].push(event) == 204
    for event in (*second["candles-curated"], *first["candles-curated"]):
        assert cloud.functions["classify"].push(event) == 204
    assert cloud.state() == later
    outcomes = {cloud.ledger.receipt("classify", event["id"]).outcome for event in first["candles-curated"]}  # type: ignore[union-attr]
    assert outcomes == {Handled.APPLIED}
    assert any(line.get("event") == "event.stale" for line in cloud.functions["curate"].lines())


def test_a_newer_bar_that_is_classified_first_makes_the_older_event_stale(cloud: Cloud) -> None:
    run_chain(cloud, OPEN_BARS)
    cloud.exchange.advance(OPEN_BARS + 1)
    old = CandlesIngested(Asset("binanceusdm", "BTCUSDT"), Interval.H1, slot(OPEN_BARS - 5), "c-old").made()
    state = cloud.state()
    assert cloud.functions["curate"].push(old) == 204
    assert cloud.state() == state
    assert cloud.functions["curate"].lines()[-1]["event"] == "event.stale"
    assert cloud.functions["curate"].lines()[-1]["logging.googleapis.com/labels"]["event_id"] == old.id


def test_killed_in_the_middle_the_chain_ends_with_the_same_result(new_cloud: NewCloud) -> None:
    calm, stormy = new_cloud(), new_cloud()
    for cloud in (calm, stormy):
        cloud.start(*CHAIN)
        cloud.connect()
    run_chain(calm, OPEN_BARS)
    ticking = threading.Thread(target=stormy.functions["ingest"].tick, args=(slot(OPEN_BARS),), kwargs={"interval": "1h"})
    ticking.start()
    for delay_s in (0.3, 0.6, 0.9):
        for name in CHAIN:
            time.sleep(delay_s)
            stormy.functions[name].kill()
            stormy.functions[name].start()
    ticking.join()
    assert stormy.functions["ingest"].tick(slot(OPEN_BARS), interval="1h") == 204  # the scheduler tries again
    classified = {event["data"]["symbol"] for event in stormy.pubsub.held("regimes-classified-hold", 2)}
    while classified != set(SYMBOLS):
        more = stormy.pubsub.held("regimes-classified-hold", 1)
        assert more, [function.log.read_text()[-2000:] for function in stormy.functions.values()]
        classified |= {event["data"]["symbol"] for event in more}
    assert stormy.content() == calm.content()


def test_poison_ends_in_the_dead_letters_and_comes_back_after_the_fix(
    new_cloud: NewCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.adapters.gcp.dead_letters import DeadLetters

    cloud = new_cloud()
    cloud.start("curate")
    cloud.connect()
    absent = CandlesIngested(Asset("binanceusdm", "BTCUSDT"), Interval.H1, slot(OPEN_BARS), "c-gone").made()
    cloud.pubsub.publish("candles-ingested", b"\x00 no event", id="garbage")
    cloud.pubsub.publish("candles-ingested", json.dumps(absent.as_cloud_event()).encode(), id=absent.id)
    letters = DeadLetters(cloud.pubsub.project, wait_s=2.0)
    deadline = time.monotonic() + 60
    while len(found := letters.listed()) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert {letter.event_id for letter in found} == {"garbage", absent.id}
    assert {(letter.subscription, letter.attempts) for letter in found} == {("candles-ingested-curate", 5)}
    refused = [line for line in cloud.functions["curate"].lines() if line.get("event") == "call.refused"]
    assert len(refused) == 10
    assert {line["status"] for line in refused} == {422}

    cloud.start("ingest")  # the fix: the bars are fetched
    assert cloud.functions["ingest"].tick(slot(OPEN_BARS), interval="1h") == 204
    (request,) = cloud.pubsub.held("candles-requested-hold", 1)
    assert cloud.functions["ingest"].push(request) == 204
    monkeypatch.setenv("OST_BUS__URL", cloud.environment["OST_BUS__URL"])
    monkeypatch.chdir(cloud.folder)
    ost = CliRunner()
    rows = json.loads(ost.invoke(app, ["events", "dead-letters", "--json"]).stdout)["dead_letters"]
    problems = {row["event"]: row["problem"] for row in rows}
    assert "no JSON" in problems["garbage"]
    assert problems[absent.id] == ""
    done = json.loads(ost.invoke(app, ["events", "replay", "--all", "--json"]).stdout)
    assert ([row["event"] for row in done["replayed"]], done["kept"], done["unknown"]) == ([absent.id], [], [])
    unknown = ost.invoke(app, ["events", "replay", "e-none"])
    assert (unknown.exit_code, "e-none: no such message" in unknown.stderr) == (1, True)
    assert cloud.pubsub.held("candles-curated-hold", 1)
    assert [letter.event_id for letter in letters.listed()] == ["garbage"]
