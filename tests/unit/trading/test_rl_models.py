"""The RL policies of a book: live equals backtest, refused at the start where unusable, silent with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import open_ledger
from shared.backtest.market import AssetMarket
from shared.backtest.memo import SignalMemo
from shared.backtest.system import prepare, signal_path
from shared.backtest.venue_rules import symbol_spec
from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import ModelError
from shared.domain.interval import Interval, parse_date_ms
from shared.regime.params import RegimeParams
from shared.strategy.params import StrategyParams
from shared.strategy.rl_policy import RlPolicy
from shared.strategy.rl_store import save_rl_policy
from shared.trading.analysis import analyse, remembered
from shared.trading.params import SystemParams
from shared.trading.rl_models import RlPolicies, load_policies, policies_of, with_stored_rl
from shared.trading.window import MarketWindow, empty_series

ASSET = Asset("binanceusdm", "BTCUSDT")
PARAMS = SystemParams(
    regime=RegimeParams(train_bars=700, burn_in_bars=200, restarts=1),
    strategy=StrategyParams(rl_policies=("toy",), rl_history_bars=100),
)
FIRST_ROW = 1750


@pytest.fixture(scope="module")
def candles() -> Candles:
    market = generate_market(np.random.default_rng(3), ["BTCUSDT"], Interval.H1, parse_date_ms("2025-04-01"), 1900)
    return market.history["BTCUSDT"]


@pytest.fixture(scope="module")
def policy(candles: Candles, rl_policy: Callable[..., RlPolicy]) -> RlPolicy:
    return rl_policy(curate(candles), train_end_ms=int(candles.close_time[1200]), seed=2)


@pytest.fixture
def bucket(tmp_path: Path, policy: RlPolicy) -> FolderBucket:
    lake = FolderBucket(tmp_path)
    save_rl_policy(lake, policy)
    return lake


def window(candles: Candles, row: int, bars: int) -> MarketWindow:
    empty = MarketWindow.empty(ASSET, Interval.H1, bars)
    return empty.extended(candles[: row + 1], empty_series(), empty_series())


def test_the_live_decision_counts_the_policy_as_the_backtest_does(candles: Candles, bucket: FolderBucket) -> None:
    market = AssetMarket(ASSET, candles, symbol_spec("BTCUSDT", float(candles.open[0])))
    prepared = prepare(market, PARAMS, held_from_ms=int(candles.close_time[FIRST_ROW]))
    assert prepared.path is not None
    bare = signal_path(prepared, PARAMS.strategy, PARAMS.risk)
    scored = replace(prepared, frame=with_stored_rl(prepared.frame, ASSET, bucket, PARAMS))
    path = signal_path(scored, PARAMS.strategy, PARAMS.risk, SignalMemo())
    policy = policies_of(bucket, (ASSET,), Interval.H1, PARAMS)[0][ASSET]
    memory, differs = remembered(None), 0
    for row in range(FIRST_ROW, FIRST_ROW + 60):
        model = prepared.path.models[prepared.path.model_index[row]]
        shown = window(candles, row, PARAMS.window_bars(Interval.H1))
        seen = analyse(shown, int(candles.close_time[row]), model, memory, PARAMS, None, policy)
        memory = seen.memory
        assert seen.score == pytest.approx(path.score[row], abs=1e-9)
        vote = seen.votes[-1]
        assert (vote.agent, vote.active, seen.rl_problem) == ("rl_agent", True, "")
        differs += abs(seen.score - bare.score[row]) > 1e-3
    assert differs > 20


def test_without_a_name_nobody_is_asked(bucket: FolderBucket, candles: Candles) -> None:
    quiet = SystemParams()
    assert load_policies(bucket, quiet) == {}
    frame = curate(candles[:200])
    assert with_stored_rl(frame, ASSET, bucket, quiet) is frame


def test_another_policy_is_another_version_of_the_parameters() -> None:
    assert len({PARAMS.version, SystemParams().version, replaced("other").version}) == 3


def replaced(*names: str, **changes: object) -> SystemParams:
    return replace(PARAMS, strategy=replace(PARAMS.strategy, rl_policies=names, **changes))


def test_a_policy_that_cannot_be_used_is_refused_with_the_remedy(
    bucket: FolderBucket, policy: RlPolicy, rl_policy: Callable[..., RlPolicy], candles: Candles
) -> None:
    with pytest.raises(ModelError, match=r"gone.json is missing in the lake, which has toy; .* take it out of strategy"):
        load_policies(bucket, replaced("gone"))
    with pytest.raises(ModelError, match=r"depends on 56 bars, strategy.rl_history_bars keeps 50; set it to 56"):
        load_policies(bucket, replaced("toy", rl_history_bars=50))
    save_rl_policy(bucket, rl_policy(curate(candles), train_id="twin", seed=3))
    with pytest.raises(ModelError, match=r"names toy and twin for binanceusdm:BTCUSDT"):
        load_policies(bucket, replaced("toy", "twin"))
    with pytest.raises(ModelError, match=r"was trained on binanceusdm:BTCUSDT 1h, this is binanceusdm:BTCUSDT 4h"):
        policies_of(bucket, (ASSET,), Interval.H4, PARAMS)
    other = replace(PARAMS, curation=replace(PARAMS.curation, rsi_bars=15))
    with pytest.raises(ModelError, match="other curation settings"):
        policies_of(bucket, (ASSET,), Interval.H1, other)
    bucket.write("models/rl/toy.onnx", policy.onnx[:-1])
    with pytest.raises(ModelError, match="checksum"):
        load_policies(bucket, PARAMS)


def test_a_policy_of_an_asset_that_is_not_traded_is_named(bucket: FolderBucket) -> None:
    chosen, idle = policies_of(bucket, (Asset("binanceusdm", "ETHUSDT"),), Interval.H1, PARAMS)
    assert chosen == {}
    assert idle == ("policy toy is for binanceusdm:BTCUSDT, which is not traded here",)


def test_a_book_refuses_at_its_start_and_logs_changes_once(
    bucket: FolderBucket, policy: RlPolicy, candles: Candles, tmp_path: Path
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.register_book("b", 0, {})
    with pytest.raises(ModelError, match="is missing"):
        RlPolicies(bucket, ledger, "b", replaced("gone")).load()
    policies = RlPolicies(bucket, ledger, "b", PARAMS)
    shown = window(candles, 1800, 1700)
    assert policies.policy_for(shown) is not None
    assert policies.policy_for(replace(shown, asset=Asset("binanceusdm", "ETHUSDT"))) is None
    silent = analysis_with("policy toy lacks features of the newest bars")
    for seen in (analysis_with(""), analysis_with(""), silent, silent):
        policies.report(seen)
    lines = [(entry["level"], entry["message"]) for entry in ledger.agent_log("b")]
    assert lines == [
        ("info", f"BTCUSDT: the RL agent follows policy toy ({policy.card.id})"),
        ("warning", "BTCUSDT: the RL agent takes no part: policy toy lacks features of the newest bars"),
    ]


def analysis_with(problem: str) -> Any:
    return SimpleNamespace(asset=ASSET, rl_problem=problem, bar_close_ms=0)
