"""Files of a training: the ONNX graph, the run folder, names and parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.calibration.rl_folder import CARD, ONNX, SCALER, ZIP, RunFolder, train_ids
from shared.calibration.rl_legacy import setting, training_days
from shared.calibration.rl_onnx import Actor, actor_onnx
from shared.calibration.rl_params import RlParams
from shared.calibration.rl_train import check_extra, default_train_id
from shared.data.curation import curate
from shared.domain.candles import Candles
from shared.domain.errors import ConfigError, DataNotFound, ModelError, UsageError
from shared.domain.interval import parse_date_ms
from shared.strategy.rl_policy import RlPolicy


@pytest.fixture(scope="module")
def policy(walk: Callable[..., Candles], rl_policy: Callable[..., RlPolicy]) -> RlPolicy:
    return rl_policy(curate(walk(1, 400)))


def layer(rng: np.random.Generator, out: int, given: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(out, given)).astype(np.float32) * 0.3, rng.normal(size=out).astype(np.float32) * 0.1


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu"])
def test_the_graph_computes_what_the_formula_says(activation: str, policy: RlPolicy) -> None:
    rng = np.random.default_rng(3)
    actor = Actor([layer(rng, 7, 27), layer(rng, 5, 7)], layer(rng, 1, 5), activation)
    onnx = actor_onnx(actor, policy.card.observation.market_shape)
    made = RlPolicy(replace(policy.card, checksum=sha256(onnx).hexdigest()), onnx).checked()
    functions = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "elu": lambda x: np.where(x > 0, x, np.expm1(x))}
    for _ in range(50):
        market, portfolio = rng.normal(size=(8, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
        x = np.concatenate([market.reshape(-1), portfolio]).astype(np.float64)
        for weights, biases in actor.layers:
            x = functions[activation](weights @ x + biases)
        expected = float(np.tanh(actor.mean[0] @ x + actor.mean[1])[0])
        assert made.action(market, portfolio) == pytest.approx(expected, abs=1e-5)
    assert actor_onnx(actor, policy.card.observation.market_shape) == onnx


def test_layers_that_do_not_fit_are_refused() -> None:
    rng = np.random.default_rng(0)
    for actor, words in (
        (Actor([layer(rng, 7, 26)], layer(rng, 1, 7)), r"expected 27 inputs: 8 bars x 3 features and 3 of the portfolio"),
        (Actor([layer(rng, 7, 27)], layer(rng, 2, 7)), "gives 2 numbers; expected one action"),
        (Actor([layer(rng, 7, 27)], layer(rng, 1, 7), "swish"), "activation is 'swish'"),
        (Actor([], (np.full((1, 27), np.nan, dtype=np.float32), np.zeros(1, dtype=np.float32))), "the training diverged"),
    ):
        with pytest.raises(ModelError, match=words):
            actor_onnx(actor, (8, 3))


def test_a_run_folder_is_read_back_and_unfinished_without_its_card(policy: RlPolicy, tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    folder = RunFolder(bucket, "toy")
    folder.write(policy, {"train_id": "toy", "agent": {"window_size": 8}}, b"zip")
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == [
        "config_metadata.yaml",
        "policy.json",
        "policy.onnx",
        "policy.zip",
        "scaler.json",
    ]
    assert folder.card() == policy.card
    assert folder.configuration()["agent"] == {"window_size": 8}
    assert (folder.read(ZIP), folder.read(ONNX)) == (b"zip", policy.onnx)
    assert '"rsi"' in folder.read(SCALER).decode()
    assert train_ids(bucket) == ("toy",)
    bucket.delete(f"toy/{CARD}")
    assert train_ids(bucket) == ()
    with pytest.raises(DataNotFound, match=r"the training toy has no policy.json; finished trainings: none"):
        folder.card()
    bucket.write("toy/config_metadata.yaml", b"a: [")
    with pytest.raises(ModelError, match="is no YAML"):
        folder.configuration()
    with pytest.raises(UsageError, match="train id"):
        RunFolder(bucket, "../../etc")


def test_settings_are_found_at_any_depth_and_days_in_the_name() -> None:
    assert setting({"entorno": {"window_size": 30}, "x": 1}, "ventana", "window_size") == 30
    assert setting({}, "window_size") is None
    assert training_days("train_BTCUSDT_20230101_20250101_lr3e-4_bs256_ws30_20251004_115513") == ("2023-01-01", "2025-01-01")
    assert training_days("mine") is None


def test_the_default_train_id_says_what_was_trained() -> None:
    days = (parse_date_ms("2023-01-01"), parse_date_ms("2025-01-01"))
    moment = parse_date_ms("2025-10-04") + 43_200_000 - 287_000
    name = default_train_id("BTCUSDT", *days, RlParams(), moment)
    assert name == "train_BTCUSDT_20230101_20250101_lr3e-4_bs256_ws30_20251004_115513"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window_size": 0}, "agent.window_size is 0; expected 1 to 500"),
        ({"features": ()}, "agent.features"),
        ({"action_threshold": 1.0}, "agent.action_threshold is 1.0"),
        ({"learning_rate": 0.0}, "agent.learning_rate is 0.0"),
        ({"layer_widths": (0,)}, "agent.layer_widths"),
    ],
)
def test_impossible_parameters_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RlParams(**changes)  # type: ignore[arg-type]


def test_without_the_extra_the_remedy_is_named() -> None:
    if find_spec("torch") is None:
        with pytest.raises(UsageError, match=r"gymnasium, stable_baselines3, torch: .* `make agent`"):
            check_extra()
    else:
        check_extra()
