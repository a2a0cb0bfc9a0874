"""A training of the old system as a policy of this one: weights as they are, everything else as its configuration says.

What carries over is the network and its scaler. What does not: the old agent saw the account's real portfolio, here it sees its
own shadow; observations are clipped and rounded here. A converted policy is therefore a new policy: evaluate it before use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.calibration.rl_export import AGREEMENT, Sb3Policy, actor_of, disagreement, torch_action
from shared.calibration.rl_legacy import LegacyScaler, our_columns, setting
from shared.calibration.rl_onnx import actor_onnx
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.errors import ModelError
from shared.domain.interval import Interval
from shared.strategy.ml_model import curation_version
from shared.strategy.rl_card import PolicyCard
from shared.strategy.rl_observation import RL_CONTRACT, ObservationSpec
from shared.strategy.rl_policy import RlPolicy
from shared.strategy.rl_shadow import ShadowRules

_WINDOW = ("window_size", "tamano_ventana", "ventana")
_THRESHOLD = ("action_threshold", "umbral_accion", "umbral_mantener", "umbral_mantener_posicion", "umbral")
_CAPITAL = ("capital", "balance_inicial", "capital_inicial", "initial_balance")
_NORMALISE = ("normalise_portfolio", "normalizar_portfolio", "normalize_portfolio")


@dataclass(frozen=True, slots=True)
class LegacyTraining:
    """What is converted, and what its files do not say."""

    train_id: str
    zip: bytes
    scaler: LegacyScaler
    configuration: Mapping[str, Any]
    asset: Asset
    interval: Interval
    train_start_ms: int
    train_end_ms: int
    features: tuple[str, ...] = ()
    """our columns in the scaler's order; empty: as the scaler names them"""
    window_size: int | None = None
    action_threshold: float | None = None


def convert(training: LegacyTraining, curation: CurationParams, shadow: ShadowRules) -> tuple[RlPolicy, float]:
    """The policy, and how far torch and ONNX are apart.

    Raises `ModelError` where a number is missing, or the network does not fit the observation.
    """
    network = actor_of(training.zip)
    spec = _observation(training)
    threshold = training.action_threshold
    if threshold is None:
        threshold = float(_needed(training, "the threshold of an action", "--threshold", *_THRESHOLD))
    onnx = actor_onnx(network.actor, spec.market_shape)
    card = PolicyCard(
        train_id=training.train_id,
        asset=str(training.asset),
        interval=training.interval,
        observation=spec,
        shadow=shadow,
        action_threshold=threshold,
        contract=RL_CONTRACT,
        curation=curation_version(curation),
        train_start_ms=training.train_start_ms,
        train_end_ms=training.train_end_ms,
        steps=network.steps,
        checksum=hashlib.sha256(onnx).hexdigest(),
    )
    policy = RlPolicy(card, onnx).checked()
    return policy, _apart(policy, network)


def exported(card: PolicyCard, content: bytes, activation: str) -> tuple[RlPolicy, float]:
    """The policy of a run folder's zip under its card, and how far torch and ONNX are apart. Raises `ModelError`."""
    network = actor_of(content, activation=activation)
    onnx = actor_onnx(network.actor, card.observation.market_shape)
    changed = replace(card, contract=RL_CONTRACT, checksum=hashlib.sha256(onnx).hexdigest())
    policy = RlPolicy(changed, onnx).checked()
    return policy, _apart(policy, network)


def _apart(policy: RlPolicy, network: Sb3Policy) -> float:
    """Largest difference between torch and ONNX over 1,000 random observations, always the same ones.

    Raises `ModelError` where the policy does not act like the network that it was made from.
    """
    found = disagreement(policy, torch_action(network.actor), np.random.default_rng(0))
    if found > AGREEMENT:
        raise ModelError(f"torch and ONNX differ by {found:.1e} on {policy.card.train_id}, at most {AGREEMENT:.0e} is allowed")
    return found


def _observation(training: LegacyTraining) -> ObservationSpec:
    names = training.features or our_columns(training.scaler.features)
    if not names:
        raise ModelError("the scaler does not name its columns; name ours in the order of training with --features a,b,c")
    window = training.window_size or int(_needed(training, "the bars of a window", "--window-size", *_WINDOW))
    normalise = setting(training.configuration, *_NORMALISE)
    return ObservationSpec(
        features=names,
        window_size=window,
        means=training.scaler.means,
        scales=training.scaler.scales,
        normalise_portfolio=bool(normalise) if normalise is not None else True,
        capital=float(setting(training.configuration, *_CAPITAL) or 10_000.0),
    )


def _needed(training: LegacyTraining, what: str, option: str, *names: str) -> Any:
    found = setting(training.configuration, *names)
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise ModelError(f"config_metadata.yaml does not say {what} (looked for {', '.join(names)}); give it with {option}")
    return found
