"""The RL policy over a frame: causal, the same in a live window as in research, refused where it must not speak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.candles import Candles
from shared.domain.errors import ModelError, UsageError
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.strategy.agents import AGENTS, agents_of
from shared.strategy.agents.rl_agent import RL_AGENT, RL_COLUMN
from shared.strategy.orchestrator import consensus, opinion
from shared.strategy.params import StrategyParams
from shared.strategy.rl_card import PolicyCard
from shared.strategy.rl_observation import ObservationSpec, complete_windows, normalised, portfolio_vector
from shared.strategy.rl_policy import RlPolicy, follow, with_newest_rl_score, with_rl_scores
from shared.strategy.rl_shadow import START, ShadowRules
from shared.strategy.rl_store import copy_rl_policies, load_rl_policy, rl_policy_ids, save_rl_policy

LOOKBACK = CurationParams().lookback_bars
PARAMS = StrategyParams()


@pytest.fixture(scope="module")
def frame(walk: Callable[..., Candles]) -> Frame:
    return curate(walk(5, LOOKBACK + 700))


@pytest.fixture(scope="module")
def policy(frame: Frame, rl_policy: Callable[..., RlPolicy]) -> RlPolicy:
    return rl_policy(frame)


def test_the_toy_opens_increases_closes_and_holds(frame: Frame, policy: RlPolicy) -> None:
    path = follow(frame, policy)
    known = np.isfinite(path.position)
    assert known[LOOKBACK:].all()
    assert len(np.unique(np.sign(path.position[known]))) == 3
    assert np.abs(path.position[known]).max() <= 1
    assert (path.equity[known] > 0).all()


def test_cutting_off_the_future_changes_no_earlier_row(frame: Frame, policy: RlPolicy) -> None:
    whole = follow(frame, policy)
    for rows in (LOOKBACK + 10, LOOKBACK + 333):
        cut = follow(frame.rows(slice(0, rows)), policy)
        assert np.array_equal(cut.position, whole.position[:rows], equal_nan=True)
        assert np.array_equal(cut.equity, whole.equity[:rows], equal_nan=True)


def test_a_live_window_gives_the_last_row_of_the_whole_history(
    walk: Callable[..., Candles], rl_policy: Callable[..., RlPolicy]
) -> None:
    candles = walk(9, LOOKBACK + 500)
    policy = rl_policy(curate(candles), seed=3)
    needed = LOOKBACK + policy.card.lookback_bars
    whole = with_rl_scores(curate(candles), policy)[RL_COLUMN]
    for end in range(needed + 1, len(candles), 37):
        live, problem = with_newest_rl_score(curate(candles[end - needed : end]), policy)
        assert problem == ""
        assert live[RL_COLUMN][-1] == whole[end - 1]
        assert np.isnan(live[RL_COLUMN][:-1]).all()


def test_gaps_in_the_candles_do_not_break_the_equality(
    walk: Callable[..., Candles], rl_policy: Callable[..., RlPolicy]
) -> None:
    candles = walk(2, LOOKBACK + 300, missing=slice(LOOKBACK + 100, LOOKBACK + 131))
    policy = rl_policy(curate(candles), seed=1)
    needed = LOOKBACK + policy.card.lookback_bars
    whole = follow(curate(candles), policy).position
    for end in range(needed + 1, len(candles), 11):
        live, _ = with_newest_rl_score(curate(candles[end - needed : end]), policy)
        assert live[RL_COLUMN][-1] == whole[end - 1]


def test_every_episode_begins_flat(frame: Frame, policy: RlPolicy) -> None:
    path = follow(frame, policy)
    number = frame.open_time // (frame.interval.ms * policy.card.shadow.episode_bars)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    starts = starts[np.isfinite(path.held[starts])]
    assert len(starts) > 5
    assert (path.held[starts] == 0).all()
    assert (path.equity[starts] == 1).all()
    inner = np.setdiff1d(np.flatnonzero(np.isfinite(path.held))[1:], starts)
    assert (path.held[inner] == path.position[inner - 1]).all()


def test_a_policy_does_not_speak_about_its_training_bars(frame: Frame, rl_policy: Callable[..., RlPolicy]) -> None:
    end = int(frame.close_time[LOOKBACK + 200])
    policy = rl_policy(frame, train_end_ms=end)
    score = with_rl_scores(frame, policy)[RL_COLUMN]
    assert np.isnan(score[frame.close_time <= end]).all()
    assert np.isfinite(score[frame.close_time > end]).all()
    early, problem = with_newest_rl_score(frame.rows(slice(0, LOOKBACK + 150)), policy)
    assert np.isnan(early[RL_COLUMN]).all()
    assert problem == "policy toy was trained on this bar"


def test_unknown_funding_is_zero_and_a_warm_up_is_silence(frame: Frame, rl_policy: Callable[..., RlPolicy]) -> None:
    policy = rl_policy(frame, features=("log_return", "funding_rate"))
    assert np.isfinite(follow(frame, policy).position[LOOKBACK:]).all()
    short, problem = with_newest_rl_score(frame.rows(slice(0, 5)), policy)
    assert np.isnan(short[RL_COLUMN][-1])
    assert "lacks features" in problem


def test_windows_are_complete_only_where_every_bar_is_known() -> None:
    rows = np.zeros((12, 2), dtype=np.float32)
    rows[5, 1] = np.nan
    assert np.flatnonzero(complete_windows(rows, 3)).tolist() == [2, 3, 4, 8, 9, 10, 11]


def test_normalised_rows_are_clipped_rounded_and_without_negative_zero(frame: Frame) -> None:
    spec = ObservationSpec(("log_return", "close"), 4, (0.0, 0.0), (1.0, 1e-3), True, 100.0)
    rows = normalised(frame, spec)
    assert rows.dtype == np.float32
    assert rows[1:, 1].max() == 10
    assert (np.round(rows[1:, 0], 4) == rows[1:, 0]).all()
    assert not np.signbit(rows[1:, 0][rows[1:, 0] == 0]).any()


def test_the_portfolio_is_normalised_by_the_starting_capital_or_in_money() -> None:
    shadow = START.moved(0.5, 100.0, ShadowRules(10, 1.0, 0.0))
    spec = ObservationSpec(("close",), 1, (0.0,), (1.0,), True, 10_000.0)
    assert portfolio_vector(shadow, 120.0, spec).tolist() == pytest.approx([0.1, 0.1, 0.5])
    money = portfolio_vector(shadow, 120.0, replace(spec, normalise_portfolio=False))
    assert money.tolist() == pytest.approx([11_000.0, 1_000.0, 0.5])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": ("close", "wisdom")}, "found wisdom"),
        ({"features": ("close", "close")}, "found close, close"),
        ({"means": (0.0,)}, "1 means and 2 scales"),
        ({"scales": (1.0, 0.0)}, "positive scales"),
        ({"window_size": 0}, "window of 0 bars"),
    ],
)
def test_an_impossible_observation_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        replace(ObservationSpec(("close", "rsi"), 4, (0.0, 0.0), (1.0, 1.0), True, 1.0), **changes)


def test_the_seventh_agent_votes_only_where_a_policy_was_asked(frame: Frame, policy: RlPolicy) -> None:
    rows = np.full((len(frame), 3), 1 / 3)
    without, scored = consensus(frame, rows, PARAMS), with_rl_scores(frame, policy)
    assert agents_of(frame) == AGENTS
    assert agents_of(scored) == (*AGENTS, RL_AGENT)
    voted = consensus(scored, rows, PARAMS)
    assert voted.votes.shape == (len(frame), 7)
    assert np.array_equal(voted.votes[:, :6], without.votes)
    speaks = np.isfinite(scored[RL_COLUMN])
    assert np.array_equal(voted.votes[speaks, 6], scored[RL_COLUMN][speaks])
    assert np.array_equal(voted.score[~speaks], without.score[~speaks])
    vote = opinion(scored, rows[-1].tolist(), PARAMS).votes[-1]
    assert (vote.agent, vote.score) == ("rl_agent", scored[RL_COLUMN][-1])
    assert "its policy holds" in vote.reason
    silent = replace(PARAMS, rl_agent=replace(PARAMS.rl_agent, share=0.0))
    assert np.array_equal(consensus(scored, rows, silent).score, without.score)


def test_history_is_kept_only_where_a_policy_needs_it() -> None:
    longer = replace(PARAMS, rl_history_bars=600)
    assert longer.lookback_bars == PARAMS.lookback_bars
    assert replace(longer, rl_policies=["a"]).lookback_bars == 601


def test_a_card_survives_its_json_and_an_altered_one_is_refused(policy: RlPolicy) -> None:
    card = policy.card
    assert PolicyCard.from_json(card.to_json()) == card
    for text, words in (
        ("{", "not JSON"),
        ("[]", "not of schema"),
        (card.to_json().replace('"action_threshold":0.2', '"action_threshold":0.1'), "it was altered"),
        (card.to_json().replace('"interval":"1h"', '"interval":"7h"'), "unknown interval"),
        (card.to_json().replace('"window_size":8', '"window_size":"8"'), "RL policy card"),
    ):
        with pytest.raises(ModelError, match=words):
            PolicyCard.from_json(text)


def test_a_policy_of_other_bytes_contract_asset_interval_or_curation_is_refused(policy: RlPolicy) -> None:
    with pytest.raises(ModelError, match="checksum"):
        RlPolicy(policy.card, policy.onnx + b"x").checked()
    curation, asset = CurationParams(), policy.card.asset
    assert policy.refusal(asset, Interval.H1, curation) == ""
    assert "other curation" in policy.refusal(asset, Interval.H1, CurationParams(rsi_bars=15))
    assert "was trained on" in policy.refusal(asset, Interval.H4, curation)
    assert "was trained on" in policy.refusal("binanceusdm:ETHUSDT", Interval.H1, curation)
    old = RlPolicy(replace(policy.card, contract="rl-old"), policy.onnx)
    assert "has the contract rl-old" in old.refusal(asset, Interval.H1, curation)


def test_bytes_that_are_no_network_are_a_model_error(policy: RlPolicy) -> None:
    import hashlib

    broken = RlPolicy(replace(policy.card, checksum=hashlib.sha256(b"no").hexdigest()), b"no")
    with pytest.raises(ModelError, match="onnxruntime cannot read the RL policy"):
        broken.checked()
    wider = replace(policy.card, observation=replace(policy.card.observation, window_size=9))
    with pytest.raises(ModelError, match="no action for"):
        RlPolicy(wider, policy.onnx).checked()


def test_the_store_names_what_is_missing_and_what_there_is(policy: RlPolicy, tmp_path: object) -> None:
    lake, run = FolderBucket(f"{tmp_path}/lake"), FolderBucket(f"{tmp_path}/run")
    with pytest.raises(ModelError, match=r"models/rl/toy.json is missing in the lake, which has none; train again with"):
        load_rl_policy(lake, "toy")
    assert save_rl_policy(lake, policy) == "models/rl/toy.json"
    assert save_rl_policy(lake, policy) == "models/rl/toy.json"
    assert load_rl_policy(lake, "toy") == policy
    copy_rl_policies(lake, run, ("toy",))
    assert (rl_policy_ids(run), load_rl_policy(run, "toy")) == (("toy",), policy)
    lake.delete("models/rl/toy.onnx")
    with pytest.raises(ModelError, match=r"toy.onnx is missing"):
        load_rl_policy(lake, "toy")
    run.write("models/rl/other.json", policy.card.to_json().encode())
    run.write("models/rl/other.onnx", policy.onnx)
    with pytest.raises(ModelError, match="its card is that of toy"):
        load_rl_policy(run, "other")
    with pytest.raises(UsageError, match="train id"):
        load_rl_policy(run, "../toy")
