"""The RL agent as people use it: refused with the reason, voting with a handmade policy, and the whole demo with the extra."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.calibration.rl_folder import RunFolder
from shared.calibration.rl_onnx import Actor, actor_onnx
from shared.data.params import CurationParams
from shared.domain.interval import Interval, parse_date_ms
from shared.strategy.ml_model import curation_version
from shared.strategy.rl_card import PolicyCard
from shared.strategy.rl_observation import RL_CONTRACT, ObservationSpec
from shared.strategy.rl_policy import RlPolicy
from shared.strategy.rl_shadow import ShadowRules
from shared.strategy.rl_store import save_rl_policy

TRAINED = find_spec("stable_baselines3") is not None
RUN = ("run", "--symbols", "BTCUSDT", "--start", "2024-12-29", "--end", "2024-12-31")


def handmade(asset: str = "binanceusdm:BTCUSDT") -> RlPolicy:
    """A policy that follows the sign of the last return: large weights, one layer."""
    weights = np.zeros((1, 4 * 1 + 3), dtype=np.float32)
    weights[0, 3] = 5.0
    onnx = actor_onnx(Actor([], (weights, np.zeros(1, dtype=np.float32))), (4, 1))
    card = PolicyCard(
        train_id="follower",
        asset=asset,
        interval=Interval.H1,
        observation=ObservationSpec(("log_return",), 4, (0.0,), (0.01,), True, 10_000.0),
        shadow=ShadowRules(24, 1.0, 6.0),
        action_threshold=0.1,
        contract=RL_CONTRACT,
        curation=curation_version(CurationParams()),
        train_start_ms=0,
        train_end_ms=parse_date_ms("2024-11-01"),
        steps=0,
        checksum=hashlib.sha256(onnx).hexdigest(),
    )
    return RlPolicy(card, onnx)


@pytest.fixture(scope="module")
def desk(new_ost: Callable[[str], Any], market_folder: Path) -> Any:
    ost = new_ost("agent")
    policy = handmade()
    save_rl_policy(FolderBucket(ost.root / "lake"), policy)
    RunFolder(FolderBucket(ost.root / "runs" / "agents"), "follower").write(policy, {"train_id": "follower"}, None)
    return ost


def test_the_policy_votes_as_the_seventh_agent_and_the_run_is_replayed(desk: Any, market_folder: Path) -> None:
    vote = {"OST_STRATEGY__RL_POLICIES": "follower"}
    ended = desk(*RUN, "--data", market_folder, "--json", environment=vote)
    assert ended.code == 0, ended
    ledger, book = desk.ledger(), json.loads(ended.out)["book"]
    decisions = ledger.decisions(book)
    assert len(decisions) > 40
    votes = [decision.votes[-1] for decision in decisions]
    assert {one.agent for one in votes} == {"rl_agent"}
    assert {np.sign(one.score) for one in votes if one.active} == {-1, 0, 1}
    assert all(one.active and "its policy holds" in one.reason for one in votes)
    again = desk("replay", "--book", book, "--json", environment=vote)
    assert again.code == 0, again
    without = desk("replay", "--book", book)
    assert without.code == 1
    plain = desk(*RUN, "--data", market_folder, "--json")
    assert all(len(decision.votes) == 6 for decision in ledger.decisions(json.loads(plain.out)["book"]))


def test_a_missing_or_corrupt_policy_is_refused_at_the_start(desk: Any, market_folder: Path) -> None:
    ended = desk(*RUN, "--data", market_folder, environment={"OST_STRATEGY__RL_POLICIES": "nothing"})
    ended.failed_with("RL policy nothing", "models/rl/nothing.json is missing", "follower", "ost agent train")
    lake = FolderBucket(desk.root / "lake")
    lake.write("models/rl/broken.json", replace(handmade().card, train_id="broken").to_json().encode())
    lake.write("models/rl/broken.onnx", b"half a file")
    ended = desk(*RUN, "--data", market_folder, environment={"OST_STRATEGY__RL_POLICIES": "broken"})
    ended.failed_with("checksum", "restore the file")


def test_the_evaluation_of_a_policy_is_out_of_sample_and_honest(desk: Any, market_folder: Path) -> None:
    ended = desk("agent", "evaluate", "follower", "--data", market_folder, "--json")
    assert ended.code == 0, ended
    found = json.loads(ended.out)
    assert found["start"] >= "2024-11-01"
    assert "too few to tell skill from luck" in found["judgement"][-1]
    desk("agent", "evaluate", "follower", "--data", market_folder, "--start", "2024-10-01").failed_with("not out of sample")
    desk("agent", "evaluate", "other", "--data", market_folder).failed_with("models/rl/other.json is missing")
    listed = json.loads(desk("agent", "list", "--json").out)
    assert [(row["train_id"], row["in_lake"], row["followed"]) for row in listed if "problem" not in row] == [
        ("follower", True, False)
    ]
    assert [row["train_id"] for row in listed if "problem" in row] == ["broken"]


@pytest.mark.skipif(TRAINED, reason="the agent extra is installed")
def test_without_the_extra_training_names_the_remedy(desk: Any, market_folder: Path) -> None:
    for command in (("train", "--data", str(market_folder)), ("export", "follower"), ("demo",)):
        desk("agent", *command).failed_with("the agent extra is not installed", "make agent")


@pytest.mark.skipif(not TRAINED, reason="the agent extra is not installed; get it with `make agent`")
def test_the_demo_goes_the_whole_way(new_ost: Callable[[str], Any]) -> None:
    ost = new_ost("agent-demo")
    process = ost.start("agent", "demo", "--steps", "300")
    out, err = process.communicate(timeout=400)  # seven processes, and torch in one of them
    assert process.returncode == 0, out + err
    for command in ("train", "export", "evaluate", "list"):
        assert f"agent {command}" in err
    assert "to the bit" in out
    run = ost.folder / "var" / "agent-demo" / "storage" / "runs" / "agents" / "demo"
    assert sorted(path.name for path in run.iterdir() if path.is_file()) == [
        "config_metadata.yaml",
        "policy.json",
        "policy.onnx",
        "policy.zip",
        "scaler.json",
    ]
    shutil.rmtree(ost.folder / "var")
