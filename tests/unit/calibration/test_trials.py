"""What counts as another try, and that the list of tries only grows."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backtest.params import BacktestParams, CostParams
from shared.backtest.system import RegimeMode
from shared.calibration.significance.deflation import deflation_benchmark
from shared.calibration.trials import TrialContext, Try, ever_tried, setting, trial_rows, variant_key
from shared.calibration.variants import with_changes
from shared.domain.asset import Asset
from shared.domain.interval import Interval
from shared.domain.research import Trial
from shared.trading.params import SystemParams

SETTING = setting(RegimeMode.HMM, BacktestParams())


def row(
    identity: str,
    version: str,
    sharpe: float | None,
    *,
    interval: Interval = Interval.H1,
    metrics: dict[str, Any] = SETTING,
    campaign: str | None = None,
) -> Trial:
    asset = Asset("binanceusdm", "BTCUSDT")
    return Trial(identity, asset, interval, version, {}, "c", "d", 0, 1, sharpe, 10, metrics, campaign, 0)


def test_interval_regime_mode_and_costs_make_another_variant() -> None:
    jump = setting(RegimeMode.JUMP, BacktestParams())
    dear = setting(RegimeMode.HMM, BacktestParams(costs=CostParams(taker_fee_bps=9.0)))
    small = setting(RegimeMode.HMM, BacktestParams(capital=5_000.0))
    known = [row(str(at), "a", 0.1, metrics=metrics) for at, metrics in enumerate((SETTING, jump, dear, small))]
    known.append(row("4", "a", 0.1, interval=Interval.H4))
    assert len({variant_key(trial) for trial in known}) == 5
    assert ever_tried(known).sharpe == (0.1,) * 5


def test_the_same_variant_on_other_data_counts_again_only_where_it_showed_more() -> None:
    lucky, dull, worse = row("1", "a", 0.2), row("3", "a", 0.1), row("4", "a", -0.3)
    other = row("2", "b", None)
    assert ever_tried([lucky, other, dull]).sharpe == (0.2, None)
    assert ever_tried([dull, other, lucky]).sharpe == (0.1, None, 0.2)
    assert ever_tried([lucky, other, worse]).sharpe == (0.2, None, -0.3)


def test_a_campaign_is_one_date_and_each_backtest_is_its_own() -> None:
    known = [row("1", "a", 0.1), row("2", "b", 0.2), row("3", "c", 0.3, campaign="k"), row("4", "d", 0.4, campaign="k")]
    assert ever_tried(known).dates == (1, 2, 4)
    assert ever_tried([*known, row("5", "a", 0.0)]).dates == (1, 2, 4)  # no new try, no new date


def look(system: SystemParams, change: str = "", mode: RegimeMode = RegimeMode.HMM) -> Try:
    return Try(system, mode, "b-1", change, {Asset("binanceusdm", "BTCUSDT"): (0.1, 40)})


def rows_of(*tries: Try, command: str = "backtest", account: BacktestParams | None = None) -> list[Trial]:
    hashes = {asset: "c-1" for one in tries for asset in one.shown}
    context = TrialContext(command, Interval.H1, 0, 1, hashes, account or BacktestParams(), "code")
    return trial_rows(tries, context, 7)


def test_a_try_is_the_default_only_where_nothing_was_changed() -> None:
    bold = with_changes(SystemParams(), {"strategy.entry_threshold": 0.3})
    assert look(SystemParams()).is_default(RegimeMode.HMM)
    for other in (look(bold), look(SystemParams(), "momentum muted"), look(SystemParams(), mode=RegimeMode.OFF)):
        assert not other.is_default(RegimeMode.HMM)


def test_each_try_is_a_row_of_its_own_and_the_same_one_again_is_the_same_row() -> None:
    system = SystemParams()
    tries = [look(system), look(system, "momentum muted"), look(system, "volatility muted"), look(system, mode=RegimeMode.JUMP)]
    known = rows_of(*tries)
    assert len({trial.id for trial in known}) == len({variant_key(trial) for trial in known}) == 4
    assert rows_of(*tries) == known
    assert known[1].metrics["change"] == "momentum muted"
    assert {trial.params_version for trial in (known[0], known[3])} == {system.version}
    small = rows_of(look(system), account=BacktestParams(capital=1.0))
    assert small[0].id != known[0].id


Row = tuple[str, float | None, str | None]
rows = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.none() | st.floats(-0.3, 0.3), st.sampled_from([None, "k", "l", "m"])),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)  # the first example imports scipy
@given(rows, rows)
def test_another_look_never_lowers_the_bar(first: list[Row], then: list[Row]) -> None:
    known = [row(str(at), version, ratio, campaign=name) for at, (version, ratio, name) in enumerate(first)]
    late = [
        row(f"late {at}", version, ratio, campaign=name and f"late {name}") for at, (version, ratio, name) in enumerate(then)
    ]
    before, after = ever_tried(known), ever_tried([*known, *late])
    assert after.sharpe[: len(before.sharpe)] == before.sharpe
    bar = deflation_benchmark(before.sharpe, before.dates)
    assert deflation_benchmark(after.sharpe, after.dates) >= bar - 1e-12
