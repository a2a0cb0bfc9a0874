"""A recalibration step by step while a task array computes: at work, decided, failed for good, or away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import VirtualClock
from shared.adapters.sql import open_research
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.venue_rules import symbol_spec
from shared.calibration.campaign import run_tasks, unfinished
from shared.calibration.params import CampaignParams
from shared.calibration.recalibration import Recalibrated, manual_event, recalibrate
from shared.calibration.recalibration_elsewhere import recalibrate_elsewhere
from shared.calibration.run import CampaignPorts, CampaignRequest
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.spec import CampaignSpec
from shared.calibration.variants import with_changes
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.errors import JobError, NotEnoughData, OstError, StorageError, TasksFailed
from shared.domain.interval import DAY_MS, Interval, parse_date_ms
from shared.ports import Execution
from shared.trading.params import SystemParams

BTC = Asset("binanceusdm", "BTCUSDT")
INTERVAL = Interval.H4
END = parse_date_ms("2025-01-01")
QUICK_REGIMES = {"train_bars": 700, "refit_days": 56, "search_days": 56, "restarts": 1}
BASE = with_changes(SystemParams(), {f"regime.{name}": value for name, value in QUICK_REGIMES.items()})
PARAMS = CampaignParams(train_days=60, test_days=30, min_folds=1, min_confirm_days=40, variants_per_task=2)
QUICK = SignificanceParams(resamples=200, set_resamples=200)
EVENT = manual_event(BTC, END, {"regime": "stress"}, "for the test")


class Inline:
    """The `Jobs` port without processes."""

    def run(self, prepare: Callable[[], Any], items: Sequence[Any], on_done: Callable[[int, Any], None]) -> None:
        work = prepare() if items else None
        for place, item in enumerate(items):
            on_done(place, work(item))  # type: ignore[misc]


class Array:
    """The `TaskArray` port; `work` is what the instances do in the end, `fail` is that they do not."""

    def __init__(self, ports: CampaignPorts) -> None:
        self.ports, self.is_away = ports, False
        self.runs: list[Execution] = []

    def start(self, arguments: Sequence[str], tasks: int) -> Execution:
        if self.is_away:
            raise JobError("the Run API does not answer")
        if not self.runs or self.runs[-1].is_finished:
            self.runs.append(Execution(f"run-{len(self.runs) + 1}", tuple(arguments), tasks))
        return self.runs[-1]

    def execution(self, name: str) -> Execution | None:
        return next((run for run in self.runs if run.name == name), None)

    def work(self) -> None:
        record = self.ports.research.campaign(self.runs[-1].arguments[0])
        assert record is not None
        spec, ports = CampaignSpec.from_dict(record.spec), self.ports
        todo = unfinished(spec, ports.bucket, ports.research)
        run_tasks(spec, todo, bucket=ports.bucket, research=ports.research, jobs=Inline(), clock=ports.clock)
        self.runs[-1] = replace(self.runs[-1], succeeded=self.runs[-1].tasks, is_finished=True)

    def fail(self) -> None:
        self.runs[-1] = replace(self.runs[-1], failed=1, is_finished=True)


@pytest.fixture(scope="module")
def market() -> AssetMarket:
    bars = 6 * 1000
    begin = END - bars * INTERVAL.ms
    made = generate_market(np.random.default_rng(5), ("BTCUSDT",), INTERVAL, begin, bars)
    candles = asyncio.run(made.candles("BTCUSDT", INTERVAL, begin, END))
    return AssetMarket(BTC, candles, symbol_spec("BTCUSDT", float(candles.open[0])))


@pytest.fixture
def request_(market: AssetMarket) -> CampaignRequest:
    points = [{"strategy.stop_atr": 2.0}, {"strategy.entry_threshold": 0.2}]
    return CampaignRequest(market, BASE, BacktestParams(), PARAMS, QUICK, END - 700 * DAY_MS, END, "test", points=points)


@pytest.fixture
def new_ports(tmp_path: Path) -> Callable[[str], CampaignPorts]:
    def make(name: str) -> CampaignPorts:
        research = open_research(f"sqlite:///{tmp_path / name}.sqlite")
        research.record_recalibration(EVENT)
        return CampaignPorts(FolderBucket(tmp_path / name), research, Inline(), VirtualClock(END))

    return make


@pytest.fixture
def ports(new_ports: Callable[[str], CampaignPorts]) -> CampaignPorts:
    return new_ports("here")


def step(ports: CampaignPorts, wanted: CampaignRequest | OstError, array: Array, instances: int = 100) -> Recalibrated | None:
    def request() -> CampaignRequest:
        if isinstance(wanted, OstError):
            raise wanted
        return wanted

    (current,) = ports.research.recalibrations()
    return recalibrate_elsewhere(current, request, ports, array, lambda *_: None, instances)


def status(ports: CampaignPorts) -> str:
    (event,) = ports.research.recalibrations()
    return event.status


def test_a_task_array_does_the_tasks_and_a_later_call_decides(ports: CampaignPorts, request_: CampaignRequest) -> None:
    array = Array(ports)
    for _ in range(2):
        assert step(ports, request_, array) is None
    assert len(array.runs) == 1
    assert status(ports) == "running"
    array.work()
    done = step(ports, request_, array)
    assert done is not None
    assert done.event.status == "no_improvement"
    assert array.runs[0].arguments == (done.campaign,)
    assert step(ports, request_, array) == done


def test_it_ends_as_a_campaign_here_does(
    new_ports: Callable[[str], CampaignPorts], ports: CampaignPorts, request_: CampaignRequest
) -> None:
    there = new_ports("there")
    array = Array(there)
    assert step(there, request_, array, instances=1) is None
    assert array.runs[0].tasks == 1
    array.work()
    assert step(there, request_, array) == recalibrate(EVENT, lambda: request_, ports, lambda *_: None)


def test_an_execution_that_was_lost_is_started_again(ports: CampaignPorts, request_: CampaignRequest) -> None:
    array = Array(ports)
    step(ports, request_, array)
    array.runs[-1] = replace(array.runs[-1], is_finished=True)  # stopped by a person, tasks left
    assert step(ports, request_, array) is None
    assert [run.name for run in array.runs] == ["run-1", "run-2"]


def test_a_campaign_waits_while_another_one_is_at_work(ports: CampaignPorts, request_: CampaignRequest) -> None:
    array = Array(ports)
    array.runs.append(Execution("run-1", ("k-of-another-asset",), 3))
    for _ in range(2):
        assert step(ports, request_, array) is None
    assert len(array.runs) == 1
    assert status(ports) == "running"
    array.fail()  # the other one's trouble
    assert step(ports, request_, array) is None
    assert [run.name for run in array.runs] == ["run-1", "run-2"]
    array.work()
    done = step(ports, request_, array)
    assert done is not None
    assert array.runs[-1].arguments == (done.campaign,)


def test_tasks_that_failed_for_good_are_the_end_and_are_not_paid_for_again(
    ports: CampaignPorts, request_: CampaignRequest
) -> None:
    array = Array(ports)
    step(ports, request_, array)
    array.fail()
    with pytest.raises(TasksFailed, match=r"1 of \d+ instances of the execution run-1 failed for good; see their log"):
        step(ports, request_, array)
    assert status(ports) == "failed"
    assert len(array.runs) == 1


@pytest.mark.parametrize("wanted", [StorageError("the bucket does not answer")])
def test_what_passes_by_itself_leaves_it_running(ports: CampaignPorts, request_: CampaignRequest, wanted: OstError) -> None:
    array = Array(ports)
    with pytest.raises(StorageError):
        step(ports, wanted, array)
    array.is_away = True
    with pytest.raises(JobError):
        step(ports, request_, array)
    assert status(ports) == "running"
    array.is_away = False
    assert step(ports, request_, array) is None


def test_a_plan_that_cannot_be_made_is_the_end(ports: CampaignPorts) -> None:
    array = Array(ports)
    with pytest.raises(NotEnoughData):
        step(ports, NotEnoughData("the lake is empty"), array)
    assert status(ports) == "failed"
    assert array.runs == []
