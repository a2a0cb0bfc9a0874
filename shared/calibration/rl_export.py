"""From stable-baselines3's zip to the ONNX policy of the bot, and the proof that both act alike.

The zip holds tensors (`policy.pth`) and a JSON description whose pickled parts are never opened: tensors are read by torch in
its weights-only mode, so that a file cannot run code here. Only what can be read that way is exported: a SAC actor of dense
layers over the flattened observation. Invariant: over 1,000 random observations torch and ONNX differ by at most 1e-5.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.calibration.rl_onnx import ACTIVATIONS, Actor
from shared.domain.errors import ModelError
from shared.strategy.rl_observation import PORTFOLIO, Float32Array
from shared.strategy.rl_policy import RlPolicy

AGREEMENT = 1e-5
"""Largest difference of an action between torch and ONNX."""
OBSERVATIONS = 1000
"""Random observations that they are compared on."""

Act = Callable[[Float32Array, Float32Array], float]
"""market (window, features), portfolio (3,) -> action"""

_LAYER = re.compile(r"actor\.latent_pi\.(\d+)\.weight")


@dataclass(frozen=True, eq=False, slots=True)
class Sb3Policy:
    """What is in a zip, as far as it is needed."""

    actor: Actor
    steps: int
    """steps that it was trained for, as the file says"""


def actor_of(content: bytes, *, activation: str | None = None) -> Sb3Policy:
    """The actor in stable-baselines3's zip; `activation` is that of its description unless given.

    Raises `ModelError` where it is no such file, or holds another kind of network.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            described, tensors = json.loads(archive.read("data")), archive.read("policy.pth")
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelError(f"no file of stable-baselines3 ({error}); expected the zip that SAC.save wrote") from error
    if not isinstance(described, dict):
        raise ModelError("no file of stable-baselines3: its description is no set of names and values")
    state = _tensors(tensors)
    _refuse_others(described, state)
    found = activation or _activation(described)
    if found not in ACTIVATIONS:
        raise ModelError(f"the policy's activation is {found}; expected one of {' '.join(ACTIVATIONS)}")
    places = sorted(int(match[1]) for name in state if (match := _LAYER.fullmatch(name)))
    layers = [(state[f"actor.latent_pi.{place}.weight"], state[f"actor.latent_pi.{place}.bias"]) for place in places]
    mean = (state["actor.mu.weight"], state["actor.mu.bias"])
    return Sb3Policy(Actor(layers, mean, found), int(described.get("num_timesteps") or 0))


def _tensors(content: bytes) -> Mapping[str, Float32Array]:
    """Tensors by name, read without running anything."""
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return {str(name): tensor.detach().numpy().astype(np.float32) for name, tensor in state.items()}
    except Exception as error:  # a broken or refused file raises whatever it likes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"the policy's tensors cannot be read ({reason}); expected the policy.pth of SAC.save") from error


def _refuse_others(described: Mapping[str, Any], state: Mapping[str, Float32Array]) -> None:
    """Raise `ModelError` for a network that is no SAC actor of dense layers with one action in [-1, 1]."""
    if "actor.mu.weight" not in state or "actor.log_std.weight" not in state:
        raise ModelError("the zip holds no SAC actor (no tensor actor.mu.weight); only SAC policies can be exported")
    extractor = [name for name in state if name.startswith("actor.features_extractor.")]
    if extractor:
        raise ModelError(f"the actor has a features extractor of its own ({extractor[0]}); only flattened observations can be")
    space = described.get("action_space")
    bounds = (space.get("low_repr"), space.get("high_repr")) if isinstance(space, dict) else (None, None)
    if bounds not in ((None, None), ("-1.0", "1.0")):
        raise ModelError(f"the actions reach from {bounds[0]} to {bounds[1]}; expected -1 to 1")


def _activation(described: Mapping[str, Any]) -> str:
    """Name of the hidden layers' function as the description shows it to people; stable-baselines3's default is relu."""
    kwargs = described.get("policy_kwargs")
    shown = str(kwargs.get("activation_fn", "")) if isinstance(kwargs, dict) else ""
    named = re.search(r"(\w+)'?>?$", shown)
    return named[1].lower() if named else "relu"


def torch_action(actor: Actor) -> Act:
    """The actor rebuilt in torch: the reference that ONNX is compared with."""
    import torch

    kinds = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "elu": torch.nn.ELU}
    layers: list[Any] = []
    for place, (weights, biases) in enumerate([*actor.layers, actor.mean]):
        layer = torch.nn.Linear(weights.shape[1], weights.shape[0])
        layer.load_state_dict({"weight": torch.from_numpy(weights), "bias": torch.from_numpy(biases)})
        layers += [layer, kinds[actor.activation]() if place < len(actor.layers) else torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers)

    def act(market: Float32Array, portfolio: Float32Array) -> float:
        with torch.no_grad():
            return float(network(torch.from_numpy(np.concatenate([market.reshape(-1), portfolio]))[None])[0, 0])

    return act


def sb3_action(model: Any) -> Act:
    """The deterministic prediction of a model of stable-baselines3 in memory."""

    def act(market: Float32Array, portfolio: Float32Array) -> float:
        return float(model.predict({"market": market, "portfolio": portfolio}, deterministic=True)[0][0])

    return act


def disagreement(policy: RlPolicy, reference: Act, rng: np.random.Generator, count: int = OBSERVATIONS) -> float:
    """Largest |reference - ONNX| over `count` random observations."""
    shape, worst = policy.card.observation.market_shape, 0.0
    for _ in range(count):
        market = np.clip(rng.normal(0.0, 2.0, shape), -10, 10).astype(np.float32)
        portfolio = rng.normal(0.0, 0.5, len(PORTFOLIO)).astype(np.float32)
        worst = max(worst, abs(reference(market, portfolio) - policy.action(market, portfolio)))
    return worst
