"""What a piece is worth: muting is what the piece says, taking out is the weight, and noise is not found to help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.system import PreparedAsset, RegimeMode, prepare, signal_path
from shared.backtest.venue_rules import symbol_spec
from shared.calibration.ablation import muted_scores, with_ml, without
from shared.calibration.attribution import Attribution, attribute
from shared.calibration.attribution_page import render_page
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import NotEnoughData
from shared.domain.frame import Frame
from shared.strategy.agents import AGENT_NAMES
from shared.strategy.alphas import ALPHAS
from shared.strategy.alphas.ml_confidence import SCORE_COLUMN
from shared.strategy.plugins import Plugin
from shared.trading.params import SystemParams

PARAMS = SystemParams()
WARM = PARAMS.decision_bars + 10


@pytest.fixture(scope="module")
def prepared(walk: Callable[..., Candles]) -> PreparedAsset:
    candles = walk(9, 2600, volatility=0.008, price=60_000.0)
    asset = Asset("binanceusdm", "BTCUSDT")
    return prepare(AssetMarket(asset, candles, symbol_spec("BTCUSDT", 60_000.0)), PARAMS, mode=RegimeMode.OFF)


@pytest.fixture(scope="module")
def report(prepared: PreparedAsset) -> Attribution:
    close = prepared.frame.close_time
    noise = Plugin("noise", lambda frame: np.tanh(frame["volume_z"]), 1)
    scored = replace(prepared, frame=with_column(prepared.frame, np.tanh(prepared.frame["skewness"])))
    return attribute(
        [scored],
        PARAMS,
        BacktestParams(),
        np.random.default_rng(1),
        start_ms=int(close[WARM]),
        end_ms=int(close[-1]),
        plugins=[noise],
        method="hac",
    )


def with_column(frame: Frame, values: np.ndarray) -> Frame:
    return replace(frame, columns={**frame.columns, SCORE_COLUMN: values})


def test_every_alpha_agent_and_plugin_is_measured(report: Attribution) -> None:
    assert [one.name for one in report.information] == [*ALPHAS, *AGENT_NAMES, "noise", "consensus"]
    assert report.kinds["noise"] == "plug-in"
    assert report.correlations.shape == (13, 13)
    assert set(report.p_holm) <= set(report.kinds)


def test_every_piece_is_taken_out_and_muted_and_the_ml_alpha_added(report: Attribution) -> None:
    tried = {(one.name, one.how) for one in report.ablations}
    assert ("ml_confidence", "added") in tried
    assert {("momentum", "taken out"), ("momentum", "muted"), ("trend_hunter", "taken out")} <= tried
    assert ("ml_confidence", "taken out") not in tried
    tested = {name for name, _ in tried} | {text.split()[0] for text in report.problems}
    assert tested >= {*AGENT_NAMES, "momentum", "liquidity", "volatility", "order_block_quality"}


def test_every_backtest_of_the_report_is_a_try_of_its_own(report: Attribution) -> None:
    assert len(report.tries) == 1 + len(report.ablations) + len(report.problems) + len(report.alone)
    assert len({one.version for one in report.tries}) == len(report.tries)
    assert not any(one.is_default(RegimeMode.OFF) for one in report.tries)  # the breakers are off
    out = next(one for one in report.tries if not one.change and one.system.strategy.trend_hunter.share == 0)
    ((ratio, days),) = out.shown.values()
    known = next(one for one in report.ablations if (one.name, one.how) == ("trend_hunter", "taken out"))
    assert ratio is not None
    assert days == known.days
    assert {one.change for one in report.tries} >= {"momentum muted", "noise alone", ""}


def test_corrected_p_values_are_not_smaller_and_noise_earns_nothing(report: Attribution) -> None:
    for one in report.ablations:
        assert one.p_helps_holm >= one.p_helps
        assert one.p_hurts_holm >= one.p_hurts
        assert one.difference == pytest.approx(one.sharpe_with - one.sharpe_without)
        assert one.verdict not in ("helps", "hurts")
    assert "know the next 24 bars" in report.sentences[0]


def test_muting_an_agent_is_its_vote_without_its_weight(prepared: PreparedAsset) -> None:
    path = signal_path(prepared, PARAMS.strategy, PARAMS.risk)
    quiet = muted_scores(prepared, PARAMS.strategy, path.score)
    known = np.isfinite(path.score)
    # All agents muted together say nothing: the parts sum to the whole.
    parts = sum((path.score - quiet[name])[known] for name in AGENT_NAMES)
    assert np.abs(parts - path.score[known]).max() < 1e-12
    assert (np.isnan(quiet["momentum"]) == ~known).all()
    assert (quiet["ml_confidence"][known] == path.score[known]).all()


def test_without_and_with_change_what_they_name_only() -> None:
    strategy = PARAMS.strategy
    out = without(strategy, "alpha", "momentum")
    assert all(getattr(out, name).weights.momentum == 0 for name in AGENT_NAMES)
    assert out.trend_hunter.weights.volatility == strategy.trend_hunter.weights.volatility
    gone = without(strategy, "agent", "trend_hunter")
    assert gone.trend_hunter.share == 0
    assert gone.mean_reversion == strategy.mean_reversion
    added = with_ml(strategy)
    assert added.trend_hunter.weights.ml_confidence == 0.5
    assert added.volatility_filter == strategy.volatility_filter


def test_a_period_without_bars_is_refused(prepared: PreparedAsset) -> None:
    with pytest.raises(NotEnoughData, match="choose another period"):
        attribute([prepared], PARAMS, BacktestParams(), np.random.default_rng(1), start_ms=1, end_ms=2)


def test_the_page_says_what_the_report_says(report: Attribution) -> None:
    page = render_page(report, label="a <b>source</b>", generated=True)
    assert page.startswith("<!doctype html>")
    assert "a &lt;b&gt;source" in page
    assert "generated market" in page
    for line in report.sentences:
        assert line.replace("'", "&#x27;") in page
    assert "http://" not in page.split("<script>")[0]
