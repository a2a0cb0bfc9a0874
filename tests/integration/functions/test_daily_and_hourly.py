"""The functions that the scheduler alone calls: what they do, that a second call changes nothing, and what they tell."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.local.clock import VirtualClock
from shared.adapters.local.market_files import FileMarket
from shared.adapters.sql import SqlResearch
from shared.calibration.recalibration import manual_event
from shared.data.ingestion import ingest_universe
from shared.domain.asset import Asset, Universe
from shared.domain.data_events import RecalibrationTriggered
from shared.domain.interval import DAY_MS, HOUR_MS, Interval
from shared.domain.records import Receipt, RegimeState
from shared.domain.regime import Regime, RegimeProbabilities
from tests.integration.functions.conftest import OPEN_BARS, START_MS, SYMBOLS, Cloud, slot

BTC = Asset("binanceusdm", "BTCUSDT")
NOW_MS = slot(OPEN_BARS)


@pytest.fixture
def cloud(new_cloud: Callable[..., Cloud], market_folder: Path) -> Cloud:
    """A lake with the closed bars of both assets."""
    return filled(new_cloud(), market_folder)


def filled(made: Cloud, market_folder: Path) -> Cloud:
    universe = Universe.of("binanceusdm", SYMBOLS)
    market, clock = FileMarket(market_folder, "binanceusdm", end_ms=NOW_MS), VirtualClock(NOW_MS)
    report = asyncio.run(ingest_universe(market, made.bucket, clock, universe, [Interval.H1], since_ms=START_MS))
    assert not report.failed
    return made


def told(cloud: Cloud, name: str, event: str) -> list[dict[str, Any]]:
    return [line for line in cloud.functions[name].lines() if line.get("event") == event]


def test_signal_decides_each_asset_once_a_bar(cloud: Cloud) -> None:
    cloud.start("signal")
    signal = cloud.functions["signal"]
    assert signal.tick(NOW_MS + 30 * 60_000, task="recommend") == 204, signal.log.read_text()
    decisions = cloud.ledger.decisions("signal")
    assert {decision.asset.symbol: decision.bar_close_ms for decision in decisions} == dict.fromkeys(SYMBOLS, NOW_MS)
    assert signal.tick(NOW_MS + 30 * 60_000, task="recommend") == 204
    assert cloud.ledger.decisions("signal") == decisions
    assert len(told(cloud, "signal", "signal.recommended")) == 4
    lease = cloud.ledger.acquire_lease("signal", "another", 60_000, 10**15)
    assert lease is not None
    assert signal.tick(NOW_MS + DAY_MS, task="recommend") == 503


def test_monitor_tells_gaps_and_stress_and_asks_recalibrations_to_go_on(cloud: Cloud) -> None:
    research = SqlResearch(cloud.ledger.engine)
    waiting = manual_event(BTC, NOW_MS, {}, "a test", NOW_MS)
    research.record_recalibration(waiting)
    slot_ms = NOW_MS + 5 * HOUR_MS + 20 * 60_000
    state = RegimeState(BTC, NOW_MS + 5 * HOUR_MS, RegimeProbabilities(0, 0, 1), Regime.STRESS, "m", (0.0, 0.0, 1.0), 9, 7)
    cloud.ledger.record_regimes("signal", [state])
    cloud.start("monitor")
    cloud.connect()
    monitor = cloud.functions["monitor"]
    assert monitor.tick(slot_ms, task="look") == 204, monitor.log.read_text()
    gaps = {line["asset"]: line["gap_hours"] for line in told(cloud, "monitor", "data.gap")}
    assert gaps == {f"binanceusdm:{symbol}": 5.0 for symbol in SYMBOLS}
    assert [(line["level"], line["bars"]) for line in told(cloud, "monitor", "regime.stress")] == [("critical", 7)]
    (event,) = cloud.pubsub.held("recalibration-triggered-hold", 1)
    assert event["id"] == RecalibrationTriggered(waiting.id, BTC, "manual", slot_ms).made().id
    assert monitor.tick(slot_ms, task="look") == 204
    (again,) = cloud.pubsub.held("recalibration-triggered-hold", 1)
    assert again == event


def test_maintain_backs_up_once_a_day_checks_and_forgets(cloud: Cloud) -> None:
    old, kept = Receipt("classify", "e-old", "x", NOW_MS - 46 * DAY_MS), Receipt("classify", "e-new", "x", NOW_MS)
    for receipt in (old, kept):
        cloud.ledger.record_receipt(receipt)
    cloud.bucket.write("backups/ledger/2025-01-01.jsonl.gz", b"old")
    cloud.bucket.write("backups/ledger/2025-08-30.jsonl.gz", b"young")
    cloud.start("maintain")
    maintain = cloud.functions["maintain"]
    assert maintain.tick(NOW_MS, task="all") == 204, maintain.log.read_text()
    names = cloud.bucket.list("backups/")
    assert names == ["backups/ledger/2025-08-30.jsonl.gz", "backups/ledger/2025-09-01.jsonl.gz"]
    stored = cloud.bucket.read(names[-1])
    assert gzip.decompress(stored.content).startswith(b'{"format":"one-smart-trade ledger"')
    assert (cloud.ledger.receipt("classify", "e-old"), cloud.ledger.receipt("classify", "e-new")) == (None, kept)
    assert told(cloud, "maintain", "ledger.sound")
    assert maintain.tick(NOW_MS, task="all") == 204
    assert cloud.bucket.read(names[-1]).generation == stored.generation


def test_a_recalibration_that_cannot_be_planned_fails_in_the_ledger_and_says_what_is_missing(cloud: Cloud) -> None:
    research = SqlResearch(cloud.ledger.engine)
    waiting = manual_event(BTC, NOW_MS, {}, "a test", NOW_MS)
    research.record_recalibration(waiting)
    cloud.start("recalibrate")
    recalibrate = cloud.functions["recalibrate"]
    assert recalibrate.push(RecalibrationTriggered("r-unknown", BTC, "manual", NOW_MS).made()) == 422
    assert recalibrate.push(RecalibrationTriggered(waiting.id, BTC, "manual", NOW_MS).made()) == 422
    (failed,) = research.recalibrations(BTC)
    assert failed.status == "failed"
    assert "the lake holds 1h bars" in str((failed.outcome or {})["reason"])
    assert "ost backfill" in str((failed.outcome or {})["reason"])


def outcome(cloud: Cloud) -> dict[str, Any]:
    """What the functions have left behind, without the instants at which they ran."""
    research = SqlResearch(cloud.ledger.engine)
    return {
        "decisions": {(row.id, row.action, row.approved_fraction) for row in cloud.ledger.decisions("signal")},
        "recalibrations": [(row.id, row.status, (row.outcome or {}).get("reason")) for row in research.recalibrations(BTC)],
        "objects": cloud.bucket.list(),
        "regimes": {symbol: cloud.ledger.regimes("signal", Asset("binanceusdm", symbol)) for symbol in SYMBOLS},
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["signal", "monitor", "maintain", "recalibrate"])
def test_killed_in_the_middle_it_is_called_again_to_the_same_result(
    new_cloud: Callable[..., Cloud], market_folder: Path, name: str
) -> None:
    """As the scheduler, or the subscription, does: until it is answered. A dead process's lease has to run out (60 s)."""
    waiting = manual_event(BTC, NOW_MS, {}, "a test", NOW_MS)
    calm, stormy = (filled(new_cloud(), market_folder) for _ in range(2))
    for cloud in (calm, stormy):
        SqlResearch(cloud.ledger.engine).record_recalibration(waiting)
        cloud.start(name)
        cloud.connect()

    def call(cloud: Cloud) -> int:
        function = cloud.functions[name]
        if name == "recalibrate":
            return function.push(RecalibrationTriggered(waiting.id, BTC, "manual", NOW_MS).made())
        return function.tick(NOW_MS + 30 * 60_000, task={"signal": "recommend", "monitor": "look", "maintain": "all"}[name])

    ends = 422 if name == "recalibrate" else 204  # what cannot be planned is told once and not asked again
    assert call(calm) == ends, calm.functions[name].log.read_text()
    for delay_s in (0.2, 0.6, 1.0, 1.5):
        calling = threading.Thread(target=call, args=(stormy,))
        calling.start()
        time.sleep(delay_s)
        stormy.functions[name].kill()
        calling.join()
        stormy.functions[name].start()
    deadline = time.monotonic() + 120
    while (status := call(stormy)) != ends:
        assert time.monotonic() < deadline, (status, stormy.functions[name].log.read_text()[-2000:])
        time.sleep(1.0)
    assert outcome(stormy) == outcome(calm)


def test_a_ledger_that_is_away_is_asked_again_later(cloud: Cloud) -> None:
    cloud.environment["OST_LEDGER__URL"] = "postgresql+pg8000://postgres@127.0.0.1:9/none"
    cloud.environment["OST_LEDGER__TIMEOUT_S"] = "1"
    cloud.start("signal")
    assert cloud.functions["signal"].tick(NOW_MS, task="recommend") == 503
    assert told(cloud, "signal", "call.refused")[-1]["error"] == "LedgerUnavailable"
