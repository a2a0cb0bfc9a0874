"""A campaign from plan to decision, on a small market without regimes: content ids, evidence, selection, full disks."""

import asyncio
import dataclasses
import math

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql.research import open_research
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.system import RegimeMode, backtest_system
from shared.backtest.venue_rules import symbol_spec
from shared.calibration import campaign, selection
from shared.calibration.campaign_data import data_id, freeze_market, frozen_market
from shared.calibration.looks import Seen, seen_before
from shared.calibration.ml import with_walk_forward_ml
from shared.calibration.ml_params import MlParams
from shared.calibration.params import CampaignParams
from shared.calibration.run import CampaignPorts, CampaignRequest, register_campaign, run_campaign
from shared.calibration.search import search
from shared.calibration.selection import Evidence
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.spec import CampaignSpec
from shared.calibration.task import CampaignWorker, TaskResult, load_prepared, run_task
from shared.calibration.trials import TrialContext, Try, trial_rows, tried, variant_key
from shared.calibration.variants import with_changes
from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.errors import ConfigError, DataNotFound, MalformedData, StorageError, UsageError
from shared.domain.interval import DAY_MS, Interval, parse_date_ms
from shared.domain.research import CampaignRecord
from shared.trading.params import SystemParams

BASE = SystemParams()
INTERVAL = Interval.H4
END = parse_date_ms("2025-01-01")
START = END - 700 * DAY_MS
BARS = 6 * 1000
POINTS = [{"strategy.stop_atr": 2.0}, {"strategy.entry_threshold": 0.3}, {"risk.stress_multiplier": 0.25}]
PARAMS = CampaignParams(train_days=60, test_days=30, min_folds=1, min_confirm_days=40, variants_per_task=2)
QUICK = SignificanceParams(resamples=200, set_resamples=200)


class Inline:
    """The `Jobs` port without processes."""

    def run(self, prepare, items, on_done):
        work = prepare() if items else None
        for place, item in enumerate(items):
            on_done(place, work(item))


class StandingClock:
    def now_ms(self):
        return END

    async def sleep(self, seconds):
        raise NotImplementedError


class FullBucket(FolderBucket):
    """A disk that takes `room` more task results."""

    def __init__(self, root, room):
        super().__init__(root)
        self.room = room

    def write(self, name, content, *, if_generation=None):
        if "/tasks/" in name:
            if self.room == 0:
                raise StorageError(f"cannot write {name}: the disk is full; the stored object is unchanged")
            self.room -= 1
        return super().write(name, content, if_generation=if_generation)


@pytest.fixture(scope="module")
def market():
    begin = END - BARS * INTERVAL.ms
    made = generate_market(np.random.default_rng(5), ("BTCUSDT",), INTERVAL, begin, BARS)
    candles = asyncio.run(made.candles("BTCUSDT", INTERVAL, begin, END))
    funding = asyncio.run(made.funding_rates("BTCUSDT", begin, END))
    spec = symbol_spec("BTCUSDT", float(candles.open[0]))
    return AssetMarket(Asset("binanceusdm", "BTCUSDT"), candles, spec, funding)


def request(market, **changes):
    wanted = CampaignRequest(
        market, BASE, BacktestParams(), PARAMS, QUICK, START, END, "test", points=POINTS, mode=RegimeMode.OFF
    )
    return dataclasses.replace(wanted, **changes)


@pytest.fixture
def ports(tmp_path):
    return CampaignPorts(
        FolderBucket(tmp_path / "lake"), open_research(f"sqlite:///{tmp_path / 'l.sqlite'}"), Inline(), StandingClock()
    )


def test_a_campaign_is_named_by_its_content(market, ports):
    spec = register_campaign(request(market), ports)[0]
    assert register_campaign(request(market), ports)[0].id == spec.id
    assert register_campaign(request(market, origin={"market": "another folder"}), ports)[0].id == spec.id
    for change in (
        {"origin": {"recalibration": "r-1"}},
        {"code_version": "other"},
        {"ml": MlParams(regularisation=0.01)},
        {"points": POINTS[:2]},
        {"account": BacktestParams(capital=5000)},
        {"end_ms": END - DAY_MS},
        {"params": dataclasses.replace(PARAMS, seed=8)},
        {"significance": dataclasses.replace(QUICK, alpha=0.2)},
        {"base": with_changes(BASE, {"strategy.full_score": 0.6})},
    ):
        assert register_campaign(request(market, **change), ports)[0].id != spec.id


def test_the_record_in_the_ledger_is_enough_to_do_the_work_elsewhere(market, ports):
    spec, _ = register_campaign(request(market), ports)
    stored = ports.research.campaign(spec.id)
    again = CampaignSpec.from_dict(stored.spec)
    assert again == spec
    assert again.tasks == spec.tasks
    assert [spec.system(variant).version for variant in spec.variants] == [variant.version for variant in spec.variants]
    with pytest.raises(MalformedData, match="schema 99"):
        CampaignSpec.from_dict({**stored.spec, "schema": 99})
    with pytest.raises(MalformedData, match="cannot be read"):
        CampaignSpec.from_dict({**stored.spec, "base": {"strategy.gone": 1}})


def test_a_frozen_market_comes_back_to_the_bit(market, ports):
    identity = freeze_market(ports.bucket, market)
    again = frozen_market(ports.bucket, identity, market.asset, INTERVAL)
    assert data_id(again) == identity == freeze_market(ports.bucket, again)
    assert again.spec == market.spec
    with pytest.raises(DataNotFound):
        frozen_market(ports.bucket, "data-gone", market.asset, INTERVAL)


def test_the_incumbent_is_first_and_every_variant_is_in_one_task(market, ports):
    spec, _ = register_campaign(request(market), ports)
    assert spec.variants[0].version == BASE.version
    assert [len(task.variants) for task in spec.tasks] == [2, 2]
    assert [variant for task in spec.tasks for variant in task.variants] == list(spec.variants)


def test_a_task_gives_each_fold_a_fresh_account_and_survives_its_bytes(market, ports):
    spec, prepared = register_campaign(request(market), ports)
    result = run_task(spec.tasks[0], spec, lambda: prepared)
    assert result.train_sharpe.shape == (2, len(spec.plan.folds))
    assert result.test_returns.shape == (2, spec.plan.test_days)
    again = TaskResult.from_bytes(result.task_id, result.to_bytes(), "x")
    assert again.to_bytes() == result.to_bytes()
    assert again.versions == result.versions
    with pytest.raises(MalformedData, match="cannot be read"):
        TaskResult.from_bytes("t", b"no archive", "campaigns/w/tasks/t.npz")


def test_a_worker_elsewhere_finds_the_same_as_the_parent(market, ports):
    spec, prepared = register_campaign(request(market), ports)
    work = CampaignWorker(ports.bucket, spec)()
    assert work(spec.tasks[1]).to_bytes() == run_task(spec.tasks[1], spec, lambda: prepared).to_bytes()
    assert load_prepared(ports.bucket, spec).held.tolist() == prepared.held.tolist()


def test_later_days_change_no_result_of_an_earlier_test_window(market, ports):
    spec, prepared = register_campaign(request(market), ports)
    fold = spec.plan.folds[0]
    cut = dataclasses.replace(
        market, candles=market.candles[: int(np.searchsorted(market.candles.open_time, fold.test.end_ms))]
    )
    short = dataclasses.replace(spec, data=freeze_market(ports.bucket, cut), plan=dataclasses.replace(spec.plan, folds=(fold,)))
    full = run_task(spec.tasks[0], spec, lambda: prepared)
    part = run_task(spec.tasks[0], short, lambda: load_prepared(ports.bucket, short))
    np.testing.assert_array_equal(part.test_returns, full.test_returns[:, : fold.test.days])


def test_a_campaign_is_decided_once_and_its_variants_are_trials_for_ever(market, ports):
    done = run_campaign(request(market), ports)
    again = run_campaign(request(market), ports)
    assert (done.tasks_done, again.tasks_done) == (2, 0)
    assert again.outcome == done.outcome
    assert len(ports.research.trials(market.asset)) == 4
    assert done.outcome["trials_ever"] == 4
    more = run_campaign(request(market, points=[{"strategy.stop_atr": 2.0}, {"strategy.stop_atr": 6.0}]), ports)
    assert more.outcome["trials_ever"] == 5  # the incumbent and one variant were tried before
    assert done.spec.id != more.spec.id


def test_another_promotion_rule_gives_a_verdict_of_its_own_and_computes_nothing_again(market, ports):
    strict = run_campaign(request(market), ports)
    full = dataclasses.replace(ports, bucket=FullBucket(ports.bucket.root, room=0))  # whoever computes a task fails
    laxer = dataclasses.replace(QUICK, minimum_days=30, minimum_confirm_days=30)
    lax = run_campaign(request(market, significance=laxer), full)
    assert lax.spec.id != strict.spec.id
    assert lax.spec.work == strict.spec.work

    def threshold(done):
        return next(one["threshold"] for one in done.outcome["verdict"]["conditions"] if one["name"] == "enough_days")

    assert (threshold(strict), threshold(lax)) == (365, 30)
    assert len(ports.research.trials(market.asset)) == 4  # the same tries, judged twice
    assert run_campaign(request(market), ports).outcome == strict.outcome


def test_a_plan_says_beforehand_that_its_days_cannot_be_enough(market, ports):
    told = []
    spec, _ = register_campaign(request(market), ports, on_plan=told.append)
    assert told == [spec]
    assert [text.split(",")[0] for text in spec.shortfalls()] == [
        f"{spec.plan.test_days} test days",
        f"{spec.plan.confirm.days} days of confirmation",
    ]
    enough = dataclasses.replace(QUICK, minimum_days=30, minimum_confirm_days=30)
    assert register_campaign(request(market, significance=enough), ports)[0].shortfalls() == ()


def test_a_full_disk_keeps_what_is_finished_and_the_next_run_goes_on(market, ports):
    full = dataclasses.replace(ports, bucket=FullBucket(ports.bucket.root, room=1))
    with pytest.raises(StorageError, match="the disk is full"):
        run_campaign(request(market), full)
    assert len(ports.research.tasks(register_campaign(request(market), ports)[0].id)) == 1
    done = run_campaign(request(market), ports)
    assert (done.tasks_known, done.tasks_done) == (1, 1)


def test_a_task_whose_arrays_are_gone_is_done_again(market, ports):
    done = run_campaign(request(market), ports)
    name = campaign.artefact_name(done.spec, done.spec.tasks[0])
    ports.bucket.delete(name)
    assert campaign.unfinished(done.spec, ports.bucket, ports.research) == (done.spec.tasks[0],)
    with pytest.raises(DataNotFound, match="lacks task 0"):
        campaign.evidence(done.spec, ports.bucket)


def test_a_promoted_champion_is_the_next_incumbent(market, ports):
    done = run_campaign(request(market), ports)
    outcome = {**done.outcome, "verdict": {"promoted": True}}
    champion = selection.champion(done.spec, outcome, done.regime, "for the test", END)
    ports.research.promote(champion, END)
    spec, _ = register_campaign(request(market), ports)
    assert spec.incumbent == champion.id
    assert spec.variants[0].version == champion.params_version
    assert spec.variants[1].version == BASE.version  # what it replaced is an alternative again
    assert len({variant.version for variant in spec.variants}) == len(spec.variants)


def test_a_champion_of_other_features_is_named(market, ports):
    done = run_campaign(request(market), ports)
    champion = selection.champion(done.spec, dict(done.outcome), done.regime, "for the test", END)
    other = dataclasses.replace(champion, params={"curation.rsi_bars": 20})
    with pytest.raises(ConfigError, match="other settings of curation"):
        campaign.incumbent_variant(BASE, other, INTERVAL)


def test_a_champion_of_other_bars_is_not_challenged_on_these(market, ports):
    done = run_campaign(request(market), ports)
    champion = selection.champion(done.spec, {**done.outcome, "verdict": {}}, done.regime, "for the test", END)
    ports.research.promote(dataclasses.replace(champion, interval=Interval.H1), END)
    before = len(ports.research.campaigns())
    for change in ({"end_ms": END - DAY_MS}, {"search_trials": 2}):
        with pytest.raises(ConfigError, match=r"trades 1h bars, this campaign looks at 4h bars.*--set interval=1h"):
            register_campaign(request(market, **change), ports)
    assert len(ports.research.campaigns()) == before


def test_a_champion_is_challenged_under_the_limits_of_today(market, ports):
    done = run_campaign(request(market), ports)
    champion = selection.champion(done.spec, {**done.outcome, "verdict": {}}, done.regime, "for the test", END)
    wild = dataclasses.replace(champion, params={**champion.params, "risk.max_drawdown": 0.95, "risk.pause_drawdowns": []})
    wild = dataclasses.replace(wild, params={**wild.params, "risk.pause_hours": []})
    assert campaign.incumbent_variant(BASE, wild, INTERVAL) == campaign.incumbent_variant(BASE, champion, INTERVAL)


def test_a_search_sees_nothing_after_the_first_training_window(market, ports):
    spec, prepared = register_campaign(request(market), ports)
    points = campaign.search_points(prepared, spec, 25)

    def garbled(rows):
        """The same market whose bars in `rows` are turned upside down."""
        columns = {name: getattr(market.candles, name).copy() for name in ("open", "high", "low", "close", "volume")}
        level = columns["open"][rows][0]
        mirrored = {"open": "open", "close": "close", "high": "low", "low": "high"}
        mirrored = {name: level**2 / columns[other][rows] for name, other in mirrored.items()}
        for name, values in mirrored.items():
            columns[name][rows] = values
        columns["volume"][rows] = columns["volume"][rows][::-1]
        candles = dataclasses.replace(market.candles, **columns)
        data = freeze_market(ports.bucket, dataclasses.replace(market, candles=candles))
        return load_prepared(ports.bucket, dataclasses.replace(spec, data=data))

    train, times = spec.plan.folds[0].train, market.candles.open_time
    later = garbled(slice(int(np.searchsorted(times, train.end_ms)), None))
    assert campaign.search_points(later, spec, 25) == points
    inside = garbled(slice(*np.searchsorted(times, [train.start_ms, train.end_ms]).tolist()))
    # What it learns from is that window: after its random beginning it looks elsewhere on another market.
    assert campaign.search_points(inside, spec, 25) != points


def found(train, test, active=None):
    variants = len(test)
    active = np.ones(np.shape(train)) if active is None else np.array(active, dtype=float)
    return Evidence(np.array(train, dtype=float), active, np.array(test, dtype=float), np.zeros(variants), np.zeros(variants))


def test_the_walk_forward_takes_in_each_fold_what_training_preferred():
    evidence = found([[0.1, 0.3], [0.2, math.nan], [math.nan, 0.1]], [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    chosen, stitched = evidence.walk_forward([3, 1], 0.1)
    assert chosen.tolist() == [1, 0]
    assert stitched.tolist() == [5, 6, 7, 4]


def test_a_handful_of_trades_is_not_chosen_however_good_its_sharpe():
    busy, idle = [0.1, -0.1, 0.02] * 10, [0.0] * 28 + [0.1, 0.11]
    evidence = found([[0.1], [0.2], [0.9]], [busy, busy, idle], [[1.0], [1.0], [0.05]])
    assert evidence.test_sharpe()[2] > evidence.test_sharpe()[1]
    assert evidence.best_candidate(0.1) == 1
    assert evidence.walk_forward([30], 0.1)[0].tolist() == [1]
    assert evidence.walk_forward([30], 0.0)[0].tolist() == [2]
    quiet = found([[0.1], [0.2]], [busy, busy], [[0.01], [0.01]])
    assert quiet.walk_forward([30], 0.1)[0].tolist() == [0]  # nobody was active enough: the incumbent stays


def test_the_best_candidate_is_never_the_incumbent_and_one_that_moved():
    evidence = found(np.zeros((4, 1)), [[0.1, 0.2, 0.1], [0.0, 0.0, 0.0], [0.1, -0.1, 0.1], [-0.1, 0.1, -0.1]])
    assert evidence.best_candidate(0.1) == 2
    still = found(np.zeros((2, 1)), [[0.1, 0.2], [0.0, 0.0]])
    assert still.best_candidate(0.1) is None


def test_no_variant_that_trades_is_a_decision_too(market, ports):
    lazy = [{"strategy.minimum_fraction": 50.0}]
    outcome = run_campaign(request(market, points=lazy), ports).outcome
    assert outcome["promoted"] is False
    assert outcome["reason"] == "no significant improvement: no variant was active on 10% of the test days"


def test_a_campaign_trains_the_ml_alpha_as_the_settings_say(market, ports):
    points = [{"strategy.trend_hunter.weights.ml_confidence": 0.5}]
    ml = MlParams(min_train_samples=200, horizon_bars=6, retrain_days=56)
    spec, prepared = register_campaign(request(market, points=points, ml=ml), ports)
    assert CampaignSpec.from_dict(ports.research.campaign(spec.id).spec) == spec
    frame = curate(market.candles, BASE.curation, market.funding)
    expected = with_walk_forward_ml(frame, market.asset, ml, BASE.curation)["ml_score"]
    assert np.isfinite(expected).any()
    assert np.array_equal(prepared.frame["ml_score"], expected, equal_nan=True)


def test_another_campaign_that_looks_at_the_same_confirmation_must_show_more(market, ports):
    eager = dataclasses.replace(PARAMS, min_active_share=0.0)
    first = run_campaign(request(market, params=eager), ports)
    second = run_campaign(request(market, params=dataclasses.replace(eager, seed=8)), ports)
    looks = [done.outcome["verdict"]["record"]["ledoit_wolf"] for done in (first, second)]
    assert [(look["earlier_looks"], look["alpha"]) for look in looks] == [(0, pytest.approx(0.04)), (1, pytest.approx(0.008))]
    again = run_campaign(request(market, params=eager), ports)
    assert again.outcome == first.outcome


def test_only_finished_campaigns_that_looked_at_days_of_this_confirmation_count(market, ports):
    spec, _ = register_campaign(request(market), ports)

    def other(identity, shift_days, outcome):
        confirm = {name: getattr(spec.plan.confirm, name) + shift_days * DAY_MS for name in ("start_ms", "end_ms")}
        return CampaignRecord(identity, spec.asset, INTERVAL, {"plan": {"confirm": confirm}}, {}, 0, 1, outcome)

    looked, days = {"confirmation": {}}, spec.plan.confirm.days
    counted = [other("a", 0, looked), other("b", 1 - days, looked), other("c", days - 1, looked)]
    others = [other("d", -days, looked), other("e", days, looked), other("f", 0, None), other("g", 0, {"confirmation": None})]
    assert seen_before(spec, [*counted, *others, other(spec.id, 0, looked)], []) == Seen(3, 0, 0)


def test_a_candidate_that_was_shown_on_days_of_the_confirmation_is_a_look(market, ports):
    spec, _ = register_campaign(request(market), ports)
    days, confirm = (spec.plan.confirm.start_ms, spec.plan.confirm.end_ms), spec.plan.confirm
    bold, wide = (spec.system(spec.variants[place]) for place in (2, 1))

    def shown(system, *, mode=RegimeMode.OFF, change="", interval=INTERVAL, period=days, account=spec.account):
        context = TrialContext("backtest", interval, *period, {market.asset: "c-1"}, account, "test")
        return trial_rows([Try(system, mode, "b-1", change, {market.asset: (0.1, 50)})], context, END)

    def seen(*shows):
        return seen_before(spec, [], [row for rows in shows for row in rows])

    assert seen() == seen(shown(bold, period=(0, confirm.start_ms))) == Seen(0, 0, 0)
    assert seen(shown(bold)) == seen(shown(bold, period=(confirm.end_ms - 1, END + 1))) == Seen(0, 1, 0)
    assert seen(shown(bold), shown(wide)).looks == 2
    # The same idea at other costs or under other limits is no new one.
    dear = BacktestParams(capital=1.0)
    assert seen(shown(bold), shown(bold, account=dear)) == seen(shown(with_changes(bold, {"risk.max_drawdown": 0.9})))
    others = [shown(bold, mode=RegimeMode.JUMP), shown(bold, interval=Interval.H1), shown(bold, change="momentum muted")]
    others.append(shown(with_changes(BASE, {"strategy.stop_atr": 7.0})))
    assert seen(*others) == Seen(0, 0, 4)
    assert seen(*others).looks == 0


def test_a_backtest_of_a_candidate_over_the_confirmation_takes_from_its_level(market, ports):
    eager = request(market, params=dataclasses.replace(PARAMS, min_active_share=0.0))
    spec, prepared = register_campaign(eager, ports)
    for point in (POINTS[1], {"strategy.stop_atr": 7.0}):
        system = with_changes(BASE, point)
        result = backtest_system([prepared], system, spec.account, start_ms=START, end_ms=END)
        context = TrialContext("backtest", INTERVAL, START, END, {market.asset: "c-1"}, spec.account, "test")
        ports.research.record_trials(trial_rows([tried(result, [market], system, spec.mode)], context, END - 1))
    record = run_campaign(eager, ports).outcome["verdict"]["record"]
    assert record["seen_before"] == {"campaigns": 0, "candidates": 1, "other_variants": 1}
    assert (record["ledoit_wolf"]["earlier_looks"], record["ledoit_wolf"]["alpha"]) == (1, pytest.approx(0.008))


def test_a_damaged_result_is_named(market, ports):
    done = run_campaign(request(market), ports)
    name = campaign.artefact_name(done.spec, done.spec.tasks[0])
    ports.bucket.write(name, b"half of an arch")
    with pytest.raises(MalformedData, match=f"{name} in the lake .* delete that file"):
        campaign.evidence(done.spec, ports.bucket)


def test_campaigns_leave_the_setting_of_their_trials(market, ports):
    run_campaign(request(market), ports)
    run_campaign(request(market, account=BacktestParams(capital=5000)), ports)
    known = ports.research.trials(market.asset)
    assert {trial.metrics["regime"] for trial in known} == {"off"}
    assert len({trial.params_version for trial in known}) == 4
    assert len({variant_key(trial) for trial in known}) == 8


def test_a_search_repeats_itself_and_stays_in_range():
    seen = []

    def objective(system):
        seen.append(system)
        return None if system.strategy.stop_atr > 6 else -abs(system.strategy.entry_threshold - 0.2)

    points = search(BASE, objective, 30, PARAMS)
    assert len(points) == len(seen) == 30
    assert points == search(BASE, objective, 30, PARAMS)
    assert points != search(BASE, objective, 30, dataclasses.replace(PARAMS, seed=8))
    assert len({with_changes(BASE, point).version for point in points}) == 30
    late = [abs(point["strategy.entry_threshold"] - 0.2) for point in points[15:]]
    assert np.median(late) < np.median([abs(point["strategy.entry_threshold"] - 0.2) for point in points[:10]])


@pytest.mark.parametrize("trials", [0, 6000])
def test_a_search_of_nothing_or_too_much_is_refused(trials):
    with pytest.raises(UsageError, match="expected 1 to 5000"):
        search(BASE, lambda system: 0.0, trials, PARAMS)
