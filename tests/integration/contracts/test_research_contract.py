"""What every memory of research does, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.sql import open_research
from shared.domain.asset import Asset
from shared.domain.errors import Conflict, LedgerError, OstError, UsageError
from shared.domain.interval import Interval
from shared.domain.research import CampaignRecord, Champion, Pattern, RecalibrationEvent, TaskRecord, Trial
from shared.ports import Research

BTC = Asset("binanceusdm", "BTCUSDT")
ETH = Asset("binanceusdm", "ETHUSDT")


def trial(n: int = 1, **changes: Any) -> Trial:
    made = Trial(
        id=f"t-{n}",
        asset=BTC,
        interval=Interval.H1,
        params_version="p-1",
        params={"strategy.entry_threshold": 0.1 + 0.2},
        code_version="0.1.0",
        data_hash="c-1",
        start_ms=0,
        end_ms=86_400_000 * 400,
        sharpe=0.05,
        days=400,
        metrics={"trades": 12, "profit_factor": None},
        campaign_id=None,
        created_ms=n,
    )
    return replace(made, **changes)


def campaign(name: str = "k-1", **changes: Any) -> CampaignRecord:
    made = CampaignRecord(name, BTC, Interval.H1, {"folds": [[0, 1], [1, 2]]}, {"held": "calm", "calm": 0.9}, 5)
    return replace(made, **changes)


def champion(name: str = "ch-1", **changes: Any) -> Champion:
    made = Champion(
        id=name,
        asset=BTC,
        interval=Interval.H1,
        params={"strategy.entry_threshold": 0.3},
        params_version="p-2",
        metrics={"sharpe_daily": 0.08, "volatility_daily": 0.02, "days": 400},
        trained_on_regime={"held": "calm"},
        statistical_test={"passed": True, "conditions": [{"name": "spa", "value": 0.01}]},
        lineage={"campaign": "k-1", "predecessor": None},
        reason="passed",
        created_ms=10,
    )
    return replace(made, **changes)


def event(name: str = "e-1", **changes: Any) -> RecalibrationEvent:
    made = RecalibrationEvent(name, BTC, 7, "sharpe", {"z": -3.2}, {"held": "stress"}, "open")
    return replace(made, **changes)


@pytest.fixture
def research(ledger_url: str) -> Iterator[Research]:
    opened = open_research(ledger_url, migrate=False)
    yield opened
    opened.close()


class TestTrials:
    def test_a_trial_comes_back_as_it_was(self, research: Research) -> None:
        assert research.record_trials([trial(1), trial(2, sharpe=None)]) == 2
        assert research.trials(BTC) == [trial(1), trial(2, sharpe=None)]
        assert research.trials(ETH) == []

    def test_the_same_trial_again_changes_nothing(self, research: Research) -> None:
        research.record_trials([trial(1)])
        assert research.record_trials([trial(1, sharpe=9.0), trial(2), trial(2)]) == 1
        assert [found.sharpe for found in research.trials(BTC)] == [0.05, 0.05]

    def test_they_can_be_narrowed_to_a_campaign(self, research: Research) -> None:
        research.register_campaign(campaign())
        research.record_trials([trial(2, campaign_id="k-1"), trial(1)])
        assert [found.id for found in research.trials(BTC)] == ["t-1", "t-2"]
        assert [found.id for found in research.trials(BTC, campaign_id="k-1")] == ["t-2"]

    def test_a_trial_of_a_campaign_that_is_not_there_is_refused_and_nothing_is_written(self, research: Research) -> None:
        with pytest.raises(LedgerError, match="refuses a row"):
            research.record_trials([trial(1), trial(2, campaign_id="k-none")])
        assert research.trials(BTC) == []

    def test_numbers_without_a_json_form_do_not_stop_it(self, research: Research) -> None:
        research.record_trials([trial(1, metrics={"sharpe": float("nan"), "trades": 0})])
        assert research.trials(BTC)[0].metrics["trades"] == 0


class TestCampaigns:
    def test_a_campaign_with_its_tasks_comes_back(self, research: Research) -> None:
        research.register_campaign(campaign())
        research.register_campaign(campaign(spec={"other": 1}))
        tasks = [TaskRecord(f"x-{n}", "k-1", n, {"sharpe": n / 3}, None if n else "research/x.npz", n) for n in (2, 0, 1)]
        for task in [*tasks, replace(tasks[0], result={})]:
            research.record_task(task)
        assert research.campaign("k-1") == campaign()
        assert research.tasks("k-1") == sorted(tasks, key=lambda task: task.position)
        assert research.tasks("k-2") == []

    def test_a_finished_campaign_keeps_its_first_verdict(self, research: Research) -> None:
        research.register_campaign(campaign())
        research.finish_campaign("k-1", {"promote": False}, 9)
        research.finish_campaign("k-1", {"promote": True}, 10)
        assert research.campaign("k-1") == campaign(finished_ms=9, outcome={"promote": False})

    def test_what_was_never_registered_has_no_tasks_and_no_end(self, research: Research) -> None:
        with pytest.raises(LedgerError, match="never registered"):
            research.finish_campaign("k-none", {}, 1)
        with pytest.raises(LedgerError, match="refuses a row"):
            research.record_task(TaskRecord("x", "k-none", 0, {}, None, 1))

    def test_lists_are_ordered_and_prefixes_find(self, research: Research) -> None:
        made = [campaign("k-abc", created_ms=3), campaign("k-abd", created_ms=1), campaign("k-x", created_ms=2, asset=ETH)]
        for record in made:
            research.register_campaign(record)
        assert [found.id for found in research.campaigns()] == ["k-abd", "k-x", "k-abc"]
        assert [found.id for found in research.campaigns(BTC)] == ["k-abd", "k-abc"]
        assert research.campaign("k-abc") == made[0]
        assert research.campaign("k-x") == made[2]
        assert research.campaign("k_") is None
        with pytest.raises(UsageError, match="k-abc k-abd"):
            research.campaign("k-ab")
        with pytest.raises(UsageError, match="empty"):
            research.campaign("")


class TestChampions:
    def test_a_promotion_replaces_the_one_before(self, research: Research) -> None:
        assert research.promote(champion("ch-1"), 20) is None
        before = research.promote(champion("ch-2", created_ms=11, lineage={"predecessor": "ch-1"}), 30)
        assert before == champion("ch-1", active=True, activated_ms=20)
        first, second = research.champions(BTC)
        assert first == champion("ch-1", activated_ms=20, deactivated_ms=30)
        assert second == champion("ch-2", created_ms=11, lineage={"predecessor": "ch-1"}, active=True, activated_ms=30)
        assert research.champions(active=True) == [second]
        assert research.champion("ch-1") == first

    def test_the_active_one_again_changes_nothing(self, research: Research) -> None:
        research.promote(champion(lineage={"predecessor": None}), 20)
        assert research.promote(champion(lineage={"predecessor": None}), 30) is None
        assert [found.activated_ms for found in research.champions()] == [20]

    def test_assets_do_not_disturb_each_other(self, research: Research) -> None:
        research.promote(champion("ch-1"), 20)
        assert research.promote(champion("ch-2", asset=ETH), 20) is None
        assert len(research.champions(active=True)) == 2
        assert [found.id for found in research.champions(ETH)] == ["ch-2"]

    def test_who_was_compared_with_another_one_is_refused_and_nothing_changes(self, research: Research) -> None:
        research.promote(champion("ch-1"), 20)
        for lineage in ({"predecessor": None}, {"predecessor": "ch-0"}):
            with pytest.raises(Conflict, match="ch-1 is active now"):
                research.promote(champion("ch-2", lineage=lineage), 30)
        assert [(found.id, found.active) for found in research.champions()] == [("ch-1", True)]

    def test_a_reign_that_has_ended_keeps_its_record(self, research: Research) -> None:
        research.promote(champion("ch-1"), 20)
        second = champion("ch-2", lineage={"predecessor": "ch-1"})
        research.promote(second, 30)
        with pytest.raises(Conflict, match="not active any more"):
            research.promote(champion("ch-1", lineage={"predecessor": "ch-2"}, reason="again"), 40)
        assert research.champion("ch-1") == champion("ch-1", activated_ms=20, deactivated_ms=30)
        assert research.champions(active=True) == [replace(second, active=True, activated_ms=30)]

    def test_the_id_of_another_assets_champion_is_refused(self, research: Research) -> None:
        research.promote(champion("ch-1"), 20)
        with pytest.raises(Conflict, match="ETHUSDT: ch-1 is in the ledger already"):
            research.promote(champion("ch-1", asset=ETH), 30)
        assert research.champions() == [champion("ch-1", active=True, activated_ms=20)]

    def test_a_lineage_that_does_not_name_a_predecessor_is_refused(self, research: Research) -> None:
        with pytest.raises(UsageError, match="predecessor"):
            research.promote(champion(lineage={"campaign": "k-1"}), 20)
        assert research.champions() == []

    def test_of_promotions_at_once_one_wins(self, research: Research, ledger_url: str) -> None:
        predecessor: str | None = None
        for round_ in range(4):
            made = [champion(f"ch-{round_}-{n}", lineage={"predecessor": predecessor}) for n in range(5)]
            outcomes = at_once(ledger_url, [lambda r, c=c, t=round_: r.promote(c, 20 + t) for c in made])
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 4
            (active,) = research.champions(BTC, active=True)
            predecessor = active.id
        assert len(research.champions(BTC)) == 4

    def test_a_recalibration_that_is_not_there_is_refused(self, research: Research) -> None:
        with pytest.raises(LedgerError, match="refuses a row"):
            research.promote(champion(lineage={"predecessor": None, "recalibration": "e-none"}), 1)
        research.record_recalibration(event())
        research.promote(champion(lineage={"predecessor": None, "recalibration": "e-1"}), 1)
        assert research.champions()[0].lineage == {"predecessor": None, "recalibration": "e-1"}


class TestRecalibrations:
    def test_an_event_goes_from_open_to_its_end(self, research: Research) -> None:
        research.record_recalibration(event())
        research.record_recalibration(event(trigger="manual"))
        assert research.recalibrations(BTC) == [event()]
        assert research.advance_recalibration("e-1", "running", 8) == event(status="running")
        ended = event(status="no_improvement", finished_ms=9, outcome={"campaign": "k-1"})
        assert research.advance_recalibration("e-1", "no_improvement", 9, {"campaign": "k-1"}) == ended
        assert research.recalibrations() == [ended]
        assert research.recalibrations(ETH) == []

    def test_an_end_stays_but_a_failure_may_run_again(self, research: Research) -> None:
        research.record_recalibration(event())
        research.advance_recalibration("e-1", "failed", 8, {"error": "disk full"})
        assert research.advance_recalibration("e-1", "running", 9) == event(status="running")
        ended = research.advance_recalibration("e-1", "champion", 10, {"champion": "ch-1"})
        assert research.advance_recalibration("e-1", "champion", 11, {"champion": "ch-2"}) == ended
        with pytest.raises(Conflict, match="ended as champion"):
            research.advance_recalibration("e-1", "running", 12)

    def test_nonsense_is_named(self, research: Research) -> None:
        research.record_recalibration(event())
        with pytest.raises(UsageError, match="no status"):
            research.advance_recalibration("e-1", "done", 1)
        with pytest.raises(LedgerError, match="never recorded"):
            research.advance_recalibration("e-2", "running", 1)


def test_patterns_come_back_by_the_instant_they_became_known(research: Research) -> None:
    later = Pattern("o-1", BTC, Interval.H1, "order_block_bullish", 0, 20, 0.7, {"low": 1.5})
    sooner = replace(later, id="o-2", end_ms=10)
    assert research.record_patterns([later, sooner]) == 2
    assert research.record_patterns([later, replace(later, id="o-3", asset=ETH)]) == 1
    assert research.patterns(BTC) == [sooner, later]
    assert research.patterns(BTC, since_ms=11) == [later]


def test_the_same_rows_from_many_writers_are_stored_once(research: Research, ledger_url: str) -> None:
    rows = [trial(n) for n in range(20)]
    outcomes = at_once(ledger_url, [lambda r, n=n: r.record_trials(rows[n:] + rows[:n]) for n in range(5)])
    assert sum(outcomes) == 20
    assert len(research.trials(BTC)) == 20


def at_once(url: str, tasks: list[Callable[[Research], Any]]) -> list[Any]:
    """Run the tasks in threads that start together, each with its own connections; their results, or what they raised."""
    results: list[Any] = [None] * len(tasks)
    start = threading.Barrier(len(tasks))

    def run(n: int) -> None:
        research = open_research(url, migrate=False)
        start.wait()
        try:
            results[n] = tasks[n](research)
        except OstError as error:
            results[n] = error
        finally:
            research.close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
