"""Events brought to their end on a small market: champion or not, killed anywhere, failed and run again; champions by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import SqlResearch, open_research
from shared.adapters.sql.checks import find_problems
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams, CostParams
from shared.backtest.system import RegimeMode
from shared.backtest.venue_rules import symbol_spec
from shared.calibration.campaign import incumbent_variant
from shared.calibration.champions import CAMPAIGN, HAND, differences, propose, restore, settings_of, system_of
from shared.calibration.params import CampaignParams
from shared.calibration.recalibration import (
    champion_of,
    data_end_ms,
    manual_event,
    recalibrate,
    winner_returns,
)
from shared.calibration.run import CampaignPorts, CampaignRequest, run_campaign
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.spec import CampaignSpec
from shared.calibration.variants import changes_between, with_changes
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.errors import ConfigError, Conflict, NotEnoughData, StorageError, UsageError
from shared.domain.interval import DAY_MS, Interval, parse_date_ms
from shared.domain.research import CampaignRecord, Champion, RecalibrationEvent, unfinished_events
from shared.monitor.performance import Baseline
from shared.trading.params import SystemParams

BTC = Asset("binanceusdm", "BTCUSDT")
INTERVAL = Interval.H4
END = parse_date_ms("2025-01-01")
QUICK_REGIMES = {"train_bars": 700, "refit_days": 56, "search_days": 56, "restarts": 1}
BASE = with_changes(SystemParams(), {f"regime.{name}": value for name, value in QUICK_REGIMES.items()})
PARAMS = CampaignParams(train_days=60, test_days=30, min_folds=1, min_confirm_days=40, variants_per_task=2)
QUICK = SignificanceParams(resamples=200, set_resamples=200)
POINTS = [{"strategy.stop_atr": 2.0}, {"strategy.entry_threshold": 0.2}]
EVENT = manual_event(BTC, END, {"regime": "stress"}, "for the test")


class Inline:
    """The `Jobs` port without processes."""

    def run(self, prepare: Callable[[], Any], items: Sequence[Any], on_done: Callable[[int, Any], None]) -> None:
        work = prepare() if items else None
        for place, item in enumerate(items):
            on_done(place, work(item))  # type: ignore[misc]


class StandingClock:
    def now_ms(self) -> int:
        return END

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


class KilledOn(SqlResearch):
    """The memory of research, whose process is killed at one call."""

    def __init__(self, url: str, method: str, argument: str = "") -> None:
        super().__init__(open_research(url).engine)
        self.method, self.argument = method, argument

    def promote(self, *arguments: Any) -> Any:
        done = super().promote(*arguments)
        self._die("promote")
        return done

    def finish_campaign(self, *arguments: Any) -> None:
        super().finish_campaign(*arguments)
        self._die("finish_campaign")

    def record_task(self, task: Any) -> None:
        super().record_task(task)
        self._die("record_task")

    def _die(self, method: str) -> None:
        if method == self.method:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def market() -> AssetMarket:
    bars = 6 * 1000
    begin = END - bars * INTERVAL.ms
    made = generate_market(np.random.default_rng(5), ("BTCUSDT",), INTERVAL, begin, bars)
    candles = asyncio.run(made.candles("BTCUSDT", INTERVAL, begin, END))
    return AssetMarket(BTC, candles, symbol_spec("BTCUSDT", float(candles.open[0])))


@pytest.fixture
def request_(market: AssetMarket) -> CampaignRequest:
    start = END - 700 * DAY_MS
    return CampaignRequest(market, BASE, BacktestParams(), PARAMS, QUICK, start, END, "test", points=POINTS)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


@pytest.fixture
def ports(tmp_path: Path, url: str) -> CampaignPorts:
    return CampaignPorts(FolderBucket(tmp_path / "lake"), open_research(url), Inline(), StandingClock())


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that say yes: what follows from a promotion is looked at, not the statistics."""
    from shared.calibration import selection

    made = selection.outcome
    monkeypatch.setattr(selection, "outcome", lambda *a: {**made(*a), "promoted": True, "reason": "every condition holds"})


def run(ports: CampaignPorts, wanted: CampaignRequest, event: RecalibrationEvent = EVENT) -> tuple[Any, list[str]]:
    lines: list[str] = []

    def log(level: str, message: str, context: Mapping[str, Any]) -> None:
        lines.append(f"{level}: {message}")

    ports.research.record_recalibration(event)
    (current,) = [one for one in ports.research.recalibrations() if one.id == event.id]
    return recalibrate(current, lambda: wanted, ports, log), lines


def test_no_improvement_is_an_end_with_its_reason(ports: CampaignPorts, request_: CampaignRequest) -> None:
    done, lines = run(ports, request_)
    assert done.event.status == "no_improvement"
    assert done.reason.startswith("no significant improvement")
    assert done.event.outcome["campaign"] == done.campaign
    assert ports.research.champions() == []
    assert lines == [f"info: recalibration {EVENT.id} of BTCUSDT changed nothing: {done.reason}"]
    again, silence = run(ports, request_)
    assert again == done
    assert silence == []


@pytest.mark.usefixtures("passing")
def test_a_winner_becomes_champion_with_its_lineage_and_baseline(ports: CampaignPorts, request_: CampaignRequest) -> None:
    done, _ = run(ports, request_)
    (champion,) = ports.research.champions(active=True)
    assert (done.event.status, done.champion) == ("champion", champion.id)
    assert champion.lineage["recalibration"] == EVENT.id
    assert champion.lineage["campaign"] == done.campaign
    assert (champion.lineage["predecessor"], champion.lineage["by"]) == (None, "recalibration")
    record = ports.research.campaign(done.campaign)
    assert record is not None
    assert record.spec["origin"]["recalibration"] == EVENT.id
    confirmation = record.outcome["confirmation"]["winner"]
    assert champion.metrics["sharpe_daily"] == confirmation["sharpe_daily"]
    baseline = Baseline.from_metrics(champion.metrics)
    assert baseline is not None
    assert baseline.days == confirmation["days"]
    returns = winner_returns(CampaignSpec.from_dict(record.spec), record.outcome, ports.bucket)
    assert baseline.kurtosis == Baseline.of(returns, 30).kurtosis
    assert baseline.clustering is not None
    assert system_of(champion, BASE).version == champion.params_version
    assert champion_of(ports.research, EVENT) == champion


@pytest.mark.usefixtures("passing")
@pytest.mark.parametrize("method", ["record_task", "finish_campaign", "promote"])
def test_killed_anywhere_it_goes_on_to_one_champion(
    ports: CampaignPorts, request_: CampaignRequest, url: str, method: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(replace(ports, research=KilledOn(url, method)), request_)
    (event,) = ports.research.recalibrations()
    assert event.status == "running"
    (before,) = ports.research.campaigns()
    done, _ = run(ports, request_)
    assert done.event.status == "champion"
    assert [record.id for record in ports.research.campaigns()] == [before.id]
    assert [champion.id for champion in ports.research.champions()] == [done.champion]


def test_a_failure_is_kept_with_its_error_and_may_run_again(ports: CampaignPorts, request_: CampaignRequest) -> None:
    with pytest.raises(NotEnoughData):
        run(ports, replace(request_, start_ms=END - 60 * DAY_MS))
    (event,) = ports.research.recalibrations()
    assert event.status == "failed"
    assert "days" in event.outcome["reason"]
    assert unfinished_events(ports.research.recalibrations()) == [event]
    done, _ = run(ports, request_)
    assert done.event.status == "no_improvement"
    assert unfinished_events(ports.research.recalibrations()) == []


@pytest.mark.usefixtures("passing")
def test_a_champion_that_came_in_between_is_not_replaced(ports: CampaignPorts, request_: CampaignRequest, url: str) -> None:
    class Overtaken(SqlResearch):
        """Another promotion comes between the verdict and ours."""

        def finish_campaign(self, campaign_id: str, outcome: Mapping[str, Any], now_ms: int) -> None:
            super().finish_campaign(campaign_id, outcome, now_ms)
            record = self.campaign(campaign_id)
            assert record is not None
            self.promote(propose(record, None, by=HAND, reason="faster", now_ms=1, active=None, costs=CostParams()).champion, 1)

    rival = Overtaken(ports.research.engine)  # type: ignore[attr-defined]
    with pytest.raises(Conflict, match="compared with no champion"):
        run(replace(ports, research=rival), request_)
    (event,) = ports.research.recalibrations()
    assert event.status == "failed"
    assert [champion.reason for champion in ports.research.champions(active=True)] == ["faster"]
    # Run again, it meets the new champion.
    done, _ = run(ports, request_)
    assert done.event.status == "champion"
    assert ports.research.champion(done.champion).lineage["predecessor"] == ports.research.champions()[0].id
    assert find_problems(rival.engine) == []


def test_failed_events_wait_only_while_they_are_the_newest() -> None:
    first, second = (manual_event(BTC, END + n, {}, "x") for n in range(2))
    assert unfinished_events([replace(first, status="failed"), second]) == [second]
    assert unfinished_events([replace(first, status="running"), replace(second, status="no_improvement")])[0].id == first.id


def test_an_event_may_say_where_its_data_end() -> None:
    assert data_end_ms(EVENT) == END
    assert data_end_ms(manual_event(BTC, END, {}, "x", end_ms=5)) == 5


class TestByHand:
    @pytest.fixture
    def record(self, ports: CampaignPorts, request_: CampaignRequest) -> CampaignRecord:
        finished = run_campaign(request_, ports)
        found = ports.research.campaign(finished.spec.id)
        assert found is not None
        return found

    def test_what_did_not_pass_can_be_promoted_with_a_warning(self, ports: CampaignPorts, record: CampaignRecord) -> None:
        with pytest.raises(UsageError, match="may not promote"):
            propose(record, None, by=CAMPAIGN, reason="x", now_ms=1, active=None, costs=CostParams())
        proposal = propose(record, None, by=HAND, reason="I say so", now_ms=1, active=None, costs=CostParams())
        assert proposal.champion.lineage["by"] == "hand"
        assert proposal.champion.statistical_test["promoted"] is False
        assert [warning.split(":")[0] for warning in proposal.warnings] == ["the campaign's verdict did not pass"]
        assert Baseline.from_metrics(proposal.champion.metrics).clustering is None
        ports.research.promote(proposal.champion, 1)

    @pytest.mark.usefixtures("passing")
    def test_what_was_measured_otherwise_than_it_will_trade_is_promoted_by_hand_only(
        self, ports: CampaignPorts, request_: CampaignRequest
    ) -> None:
        cheap = BacktestParams(costs=CostParams(taker_fee_bps=1, half_spread_bps=0))
        dear = BacktestParams(costs=CostParams(taker_fee_bps=6, half_spread_bps=0, maker_fee_bps=6))
        for change, message in (
            ({"mode": RegimeMode.OFF}, "regimes from 'off', trading uses 'hmm'"),
            ({"account": cheap}, "taker_fee_bps \\+ half_spread_bps 1 bps, the settings say 6"),
            ({"account": dear}, None),  # the fee takes the place of the spread
        ):
            record = ports.research.campaign(run_campaign(replace(request_, **change), ports).spec.id)
            assert record is not None
            by_hand = propose(record, None, by=HAND, reason="x", now_ms=1, active=None, costs=CostParams())
            assert len(by_hand.warnings) == (message is not None)
            assert by_hand.champion.lineage["regime_mode"] == record.spec["mode"]
            assert by_hand.champion.lineage["costs"] == record.spec["account"]["costs"]
            if message is None:
                propose(record, None, by=CAMPAIGN, reason="x", now_ms=1, active=None, costs=CostParams())
                continue
            with pytest.raises(UsageError, match=f"may not promote its winner: .*{message}"):
                propose(record, None, by=CAMPAIGN, reason="x", now_ms=1, active=None, costs=CostParams())

    @pytest.mark.usefixtures("passing")
    def test_who_trades_other_bars_than_the_champion_replaces_it_by_hand_only(
        self, ports: CampaignPorts, request_: CampaignRequest
    ) -> None:
        record = ports.research.campaign(run_campaign(request_, ports).spec.id)
        assert record is not None
        mine = propose(record, None, by=HAND, reason="x", now_ms=1, active=None, costs=CostParams()).champion
        active = replace(mine, id="champion-1h", interval=Interval.H1)
        with pytest.raises(UsageError, match="it trades 4h bars and champion-1h, which it would replace, 1h bars"):
            propose(record, None, by=CAMPAIGN, reason="x", now_ms=1, active=active, costs=CostParams())
        by_hand = propose(record, None, by=HAND, reason="x", now_ms=1, active=active, costs=CostParams())
        assert "must change to interval=4h" in by_hand.warnings[-1]
        back = restore(mine, active=active, reason="x", now_ms=2)
        assert "must change to interval=4h" in back.warnings[-1]
        alike = restore(mine, active=replace(active, interval=INTERVAL), reason="x", now_ms=2)
        assert not any("interval" in warning for warning in alike.warnings)

    @pytest.mark.usefixtures("passing")
    def test_a_winner_with_limits_of_its_own_is_promoted_by_hand_only(
        self, ports: CampaignPorts, request_: CampaignRequest
    ) -> None:
        record = ports.research.campaign(run_campaign(request_, ports).spec.id)
        assert record is not None
        assert record.outcome is not None
        winner = {**record.outcome["winner"], "changes": {"risk.max_drawdown": 0.95}}  # planned before limits were refused
        wild = replace(record, outcome={**record.outcome, "winner": winner})
        with pytest.raises(UsageError, match=r"changes the safety limit risk\.max_drawdown, which is a person's"):
            propose(wild, None, by=CAMPAIGN, reason="x", now_ms=1, active=None, costs=CostParams())
        assert (
            "risk.max_drawdown"
            in propose(wild, None, by=HAND, reason="x", now_ms=1, active=None, costs=CostParams()).warnings[-1]
        )

    def test_an_unfinished_campaign_or_one_without_a_winner_has_nobody_to_promote(self, record: CampaignRecord) -> None:
        with pytest.raises(UsageError, match="not finished"):
            propose(replace(record, outcome=None), None, by=HAND, reason="x", now_ms=1, active=None, costs=CostParams())
        with pytest.raises(UsageError, match="no winner"):
            propose(
                replace(record, outcome={**record.outcome, "winner": None}),
                None,
                by=HAND,
                reason="x",
                now_ms=1,
                active=None,
                costs=CostParams(),
            )

    def test_a_former_champion_comes_back_under_a_name_of_its_own(self, ports: CampaignPorts, record: CampaignRecord) -> None:
        first = propose(record, None, by=HAND, reason="first", now_ms=1, active=None, costs=CostParams()).champion
        ports.research.promote(first, 1)
        (active,) = ports.research.champions(active=True)
        with pytest.raises(UsageError, match="already"):
            restore(active, active=active, reason="x", now_ms=2)
        other = replace(first, id="champion-other", lineage={"predecessor": first.id}, params={})
        ports.research.promote(other, 2)
        former, active = ports.research.champions()
        proposal = restore(former, active=active, reason="the other one loses", now_ms=3)
        assert proposal.warnings
        assert ports.research.promote(proposal.champion, 3).id == other.id
        reigns = ports.research.champions()
        assert [champion.reason for champion in reigns] == ["first", "first", "the other one loses"]
        assert reigns[-1].lineage["restored"] == first.id
        assert reigns[-1].params == first.params
        with pytest.raises(Conflict):
            ports.research.promote(replace(proposal.champion, id="champion-late"), 4)

    def test_who_was_compared_with_another_one_is_warned_about(self, record: CampaignRecord, ports: CampaignPorts) -> None:
        first = propose(record, None, by=HAND, reason="first", now_ms=1, active=None, costs=CostParams()).champion
        later = propose(record, None, by=HAND, reason="x", now_ms=1, active=replace(first, id="champion-x"), costs=CostParams())
        assert later.champion.lineage["predecessor"] == "champion-x"
        assert "champion-x is active" in later.warnings[-1]

    def test_a_difference_names_what_changed_and_nothing_else(self, record: CampaignRecord) -> None:
        first = propose(record, None, by=HAND, reason="x", now_ms=1, active=None, costs=CostParams()).champion
        default = BASE.strategy.full_score
        second = replace(first, id="champion-2", params={"strategy.full_score": default, "risk.stress_multiplier": 0.25})
        second = replace(second, metrics={**first.metrics, "sharpe_daily": 9.0})
        found = differences(first, second)
        names = {change.name for change in found.params}
        assert names == {*first.params, "risk.stress_multiplier"}
        assert [change.name for change in found.metrics] == ["sharpe_daily"]
        assert found.tests == ()
        assert found.as_dict()["after"] == "champion-2"


def test_a_full_disk_is_a_failure_that_keeps_what_is_done(
    ports: CampaignPorts, request_: CampaignRequest, tmp_path: Path
) -> None:
    class Full(FolderBucket):
        def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
            if "/tasks/" in name:
                raise StorageError("the disk is full")
            return super().write(name, content, if_generation=if_generation)

    with pytest.raises(StorageError):
        run(replace(ports, bucket=Full(tmp_path / "lake")), request_)
    assert [event.status for event in ports.research.recalibrations()] == ["failed"]
    done, _ = run(ports, request_)
    assert done.event.status == "no_improvement"


def test_a_champion_is_its_parameters_whatever_the_settings_say_today() -> None:
    defaults = SystemParams()
    base = replace(defaults, max_decision_age=0.5)
    made = with_changes(defaults, {"strategy.entry_threshold": 0.3})
    metrics = {"sharpe_daily": 0.1, "volatility_daily": 0.01, "days": 300}
    known = Champion(
        "champion-1",
        BTC,
        INTERVAL,
        changes_between(defaults, made),
        made.version,
        metrics,
        {},
        {},
        {"predecessor": None},
        "x",
        1,
    )
    assert system_of(known, base).version == known.params_version
    assert incumbent_variant(base, known, INTERVAL).changes == {"strategy.entry_threshold": 0.3}
    assert settings_of(known)["strategy"] == {"entry_threshold": 0.3}
    with pytest.raises(ConfigError, match="other defaults"):
        settings_of(replace(known, params_version="p-of-last-year"))
