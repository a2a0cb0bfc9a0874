"""The RL agent's training with its real libraries: what runs in the bot is what was trained, and nothing in a zip runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.legacy_scaler import read_scaler
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.venue_rules import symbol_spec
from shared.calibration.rl_convert import LegacyTraining, convert, exported
from shared.calibration.rl_export import AGREEMENT, actor_of, disagreement, sb3_action, torch_action
from shared.calibration.rl_onnx import actor_onnx
from shared.calibration.rl_params import RlParams
from shared.calibration.rl_train import Trained, TrainingPlan, train, world_of
from shared.cli.main import app
from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import ModelError
from shared.domain.interval import Interval, parse_date_ms
from shared.risk.params import RiskParams
from shared.strategy.rl_observation import raw_columns
from shared.strategy.rl_policy import follow
from shared.strategy.rl_shadow import ShadowRules
from shared.strategy.rl_store import load_rl_policy

pytestmark = pytest.mark.skipif(
    find_spec("stable_baselines3") is None, reason="the agent extra is not installed; get it with `make agent`"
)

ASSET = Asset("binanceusdm", "BTCUSDT")
PARAMS = RlParams(
    features=("log_return", "rsi"),
    window_size=6,
    episode_bars=24,
    steps=160,
    learning_starts=40,
    batch_size=16,
    layer_widths=(16, 16),
)
LOOKBACK = CurationParams().lookback_bars


def market_of(candles: Candles) -> AssetMarket:
    return AssetMarket(ASSET, candles, symbol_spec("BTCUSDT", float(candles.open[0])))


def plan_of(candles: Candles, seed: int = 7) -> TrainingPlan:
    start, end = int(candles.open_time[LOOKBACK]), int(candles.close_time[LOOKBACK + 300])
    return TrainingPlan("toy", PARAMS, CurationParams(), BacktestParams(), RiskParams(), seed, start, end, "c-x")


@pytest.fixture(scope="module")
def candles() -> Candles:
    market = generate_market(np.random.default_rng(6), ("BTCUSDT",), Interval.H1, parse_date_ms("2024-01-01"), LOOKBACK + 600)
    return market.history["BTCUSDT"]


@pytest.fixture(scope="module")
def trained(candles: Candles) -> Trained:
    return train(market_of(candles), plan_of(candles))


def test_torch_and_onnx_agree_on_a_thousand_observations(trained: Trained) -> None:
    from stable_baselines3 import SAC

    assert trained.disagreement <= AGREEMENT
    model = SAC.load(io.BytesIO(trained.zip), device="cpu")
    rng = np.random.default_rng(11)
    assert disagreement(trained.policy, sb3_action(model), rng, 1000) <= AGREEMENT
    assert disagreement(trained.policy, torch_action(actor_of(trained.zip).actor), rng, 1000) <= AGREEMENT


def test_the_same_seed_trains_the_same_policy(candles: Candles, trained: Trained) -> None:
    assert train(market_of(candles), plan_of(candles)).policy == trained.policy
    assert train(market_of(candles), plan_of(candles, seed=8)).policy.onnx != trained.policy.onnx


def test_the_future_is_not_learned_from(candles: Candles, trained: Trained) -> None:
    card = trained.policy.card
    cut = candles[: LOOKBACK + 301]
    assert card.train_end_ms == int(cut.close_time[-1])
    assert train(market_of(cut), plan_of(candles)).policy == trained.policy
    world = world_of(market_of(candles), plan_of(candles))
    raw = raw_columns(world.frame, PARAMS.features)
    assert card.observation.means == pytest.approx(tuple(raw.mean(axis=0)))


def test_the_environment_is_what_gymnasium_expects(candles: Candles) -> None:
    from gymnasium.utils.env_checker import check_env

    from shared.calibration.rl_environment import Episodes, gymnasium_environment

    check_env(gymnasium_environment(Episodes(world_of(market_of(candles), plan_of(candles)))), skip_render_check=True)


def test_an_export_of_the_zip_gives_the_same_bytes(trained: Trained) -> None:
    policy, apart = exported(trained.policy.card, trained.zip, "relu")
    assert policy == trained.policy
    assert apart <= AGREEMENT


def changed_zip(content: bytes, **files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, files.get(name.replace(".", "_"), old.read(name)))
    return made.getvalue()


class Bomb:
    """Pickles into a call of `open` for writing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_zip_whose_tensors_are_a_program_does_not_run(trained: Trained, tmp_path: Path) -> None:
    target = tmp_path / "made"
    for content in (pickle.dumps(Bomb(str(target))), b"", b"junk"):
        with pytest.raises(ModelError, match="tensors cannot be read"):
            actor_of(changed_zip(trained.zip, policy_pth=content))
    assert not target.exists()


def test_other_files_and_networks_are_refused(trained: Trained) -> None:
    import torch

    with pytest.raises(ModelError, match="no file of stable-baselines3"):
        actor_of(b"PK nothing")
    strange = io.BytesIO()
    torch.save({"q_net.0.weight": torch.zeros(2, 2)}, strange)
    with pytest.raises(ModelError, match="holds no SAC actor"):
        actor_of(changed_zip(trained.zip, policy_pth=strange.getvalue()))
    described = json.loads(zipfile.ZipFile(io.BytesIO(trained.zip)).read("data"))
    described["action_space"] |= {"low_repr": "-2.0", "high_repr": "2.0"}
    with pytest.raises(ModelError, match=r"the actions reach from -2.0 to 2.0"):
        actor_of(changed_zip(trained.zip, data=json.dumps(described).encode()))


def legacy(trained: Trained, candles: Candles, **changes: object) -> LegacyTraining:
    import pandas as pd

    frame = curate(candles).rows(slice(LOOKBACK, LOOKBACK + 300))
    scaler = StandardScaler().fit(pd.DataFrame({name: frame[name] for name in PARAMS.features}))
    values = {
        "train_id": "old",
        "zip": trained.zip,
        "scaler": read_scaler(pickle.dumps(scaler)),
        "configuration": {"entorno": {"window_size": 6, "umbral_accion": 0.1, "normalizar_portfolio": True}},
        "asset": ASSET,
        "interval": Interval.H1,
        "train_start_ms": 0,
        "train_end_ms": 1,
    }
    return LegacyTraining(**(values | changes))  # type: ignore[arg-type]


def test_an_old_training_becomes_a_policy_that_acts_alike(trained: Trained, candles: Candles) -> None:
    rules = ShadowRules(24, 1.0, 6.0)
    policy, apart = convert(legacy(trained, candles), CurationParams(), rules)
    assert apart <= AGREEMENT
    assert policy.onnx == trained.policy.onnx
    assert (policy.card.action_threshold, policy.card.observation.features) == (0.1, PARAMS.features)
    frame = curate(candles)
    one, other = follow(frame, policy).action[LOOKBACK:], follow(frame, trained.policy).action[LOOKBACK:]
    assert np.isfinite(one).all()
    assert np.abs(one - other).max() < 0.05
    with pytest.raises(ModelError, match="does not say the threshold of an action"):
        convert(legacy(trained, candles, configuration={"window_size": 6}), CurationParams(), rules)
    with pytest.raises(ModelError, match="expected 13 inputs"):
        convert(legacy(trained, candles, window_size=5), CurationParams(), rules)


def test_the_command_converts_a_folder_of_the_old_system(trained: Trained, candles: Candles, tmp_path: Path) -> None:
    import pandas as pd

    folder = tmp_path / "train_BTCUSDT_20230101_20240101_lr3e-4_bs256_ws6_20251004_115513"
    folder.mkdir()
    (folder / "modelo.zip").write_bytes(trained.zip)
    scaler = StandardScaler().fit(pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["retorno_log", "RSI"]))
    (folder / "scaler_train.pkl").write_bytes(pickle.dumps(scaler))
    (folder / "config_metadata.yaml").write_text("entorno: {window_size: 6, umbral_accion: 0.1}\n", encoding="utf-8")
    options = [f"--set=storage.root={tmp_path / 'var'}", "agent", "convert", str(folder), "--symbol", "BTCUSDT", "--json"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    policy = load_rl_policy(FolderBucket(tmp_path / "var" / "lake"), folder.name)
    assert policy.card.observation.features == ("log_return", "rsi")
    listed = CliRunner().invoke(app, [f"--set=storage.root={tmp_path / 'var'}", "agent", "list", "--json"])
    assert json.loads(listed.stdout)[0]["train_id"] == folder.name
    (folder / "scaler_train.pkl").write_bytes(pickle.dumps(SimpleNamespace(mean_=1)))
    refused = CliRunner().invoke(app, options)
    assert refused.exit_code == 1
    assert "--i-trust-this-pickle" in refused.output
    (folder / "modelo.zip").unlink()
    assert "has no modelo.zip" in CliRunner().invoke(app, options).output


def test_a_training_that_diverged_is_not_exported(trained: Trained) -> None:
    network = actor_of(trained.zip)
    weights = network.actor.mean[0].copy()
    weights[0, 0] = np.inf
    with pytest.raises(ModelError, match="the training diverged"):
        actor_onnx(replace(network.actor, mean=(weights, network.actor.mean[1])), (6, 2))
