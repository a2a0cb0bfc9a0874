"""Training of the RL agent: soft actor-critic (Haarnoja et al. 2018) of stable-baselines3 on the world of `rl_environment`.

A training is one run folder with everything that it came from: configuration, scaler, stable-baselines3's own file, the ONNX
policy and its card. The scaler is fitted on the training bars only. One seed, one thread, the CPU: the same inputs give the
same policy on the same machine. Needs the agent extra (requirements/agent.txt).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.calibration.rl_environment import Episodes, World, gymnasium_environment, training_rows
from shared.calibration.rl_export import AGREEMENT, actor_of, disagreement, sb3_action
from shared.calibration.rl_onnx import actor_onnx
from shared.calibration.rl_params import RlParams
from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.errors import ModelError, UsageError
from shared.domain.interval import Interval, format_ms
from shared.risk.params import RiskParams
from shared.strategy.ml_model import curation_version
from shared.strategy.rl_card import PolicyCard
from shared.strategy.rl_observation import RL_CONTRACT, ObservationSpec, check_features, fitted_scaler, raw_columns
from shared.strategy.rl_policy import RlPolicy
from shared.strategy.rl_shadow import ShadowRules

INSTALL = "the agent extra is not installed; get it with `make agent` (requirements/agent.txt)"


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What is trained on what."""

    train_id: str
    params: RlParams
    curation: CurationParams
    account: BacktestParams
    risk: RiskParams
    seed: int
    start_ms: int
    """open of the first bar that is learned from"""
    end_ms: int
    """close of the last one"""
    data_hash: str


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training."""

    policy: RlPolicy
    zip: bytes
    """stable-baselines3's file"""
    configuration: Mapping[str, Any]
    """content of config_metadata.yaml"""
    episodes: int
    """different episodes in the training bars"""
    disagreement: float
    """largest |torch - ONNX| over 1,000 random observations"""


def default_train_id(symbol: str, start_ms: int, end_ms: int, params: RlParams, now_ms: int) -> str:
    """A name that says what was trained: symbol, days, learning rate, batch size, window and the moment."""
    day = [format_ms(instant)[:10].replace("-", "") for instant in (start_ms, end_ms)]
    moment = format_ms(now_ms).replace("-", "").replace(":", "").replace(" ", "_")
    rate = f"{params.learning_rate:.0e}".replace("e-0", "e-")
    return f"train_{symbol}_{day[0]}_{day[1]}_lr{rate}_bs{params.batch_size}_ws{params.window_size}_{moment}"


def check_extra() -> None:
    """Raise `UsageError` with the remedy where the libraries of the training are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("gymnasium", "stable_baselines3", "torch") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)}: {INSTALL}")


def train(market: AssetMarket, plan: TrainingPlan, on_progress: Callable[[int, int], None] | None = None) -> Trained:
    """Train a policy on the bars of `market` between the plan's instants; earlier candles warm the features up.

    `on_progress(steps, total)` is told of every hundredth step. Raises `UsageError` without the agent extra, `NotEnoughData`
    where no whole episode fits, `ModelError` where the exported policy does not act like the trained one.
    """
    check_extra()
    check_features(plan.params.features)
    world = world_of(market, plan)
    play = Episodes(world)
    model = _learned(gymnasium_environment(play), plan, on_progress)
    content = io.BytesIO()
    model.save(content)
    network = actor_of(content.getvalue(), activation="relu")
    onnx = actor_onnx(network.actor, world.observation.market_shape)
    policy = RlPolicy(_card(market, plan, world, onnx), onnx).checked()
    apart = disagreement(policy, sb3_action(model), np.random.default_rng(plan.seed))
    if apart > AGREEMENT:
        raise ModelError(
            f"the exported policy differs from the trained one by {apart:.1e}, at most {AGREEMENT:.0e} is allowed: the "
            "training is not used; please report it with the versions of torch and onnxruntime"
        )
    return Trained(policy, content.getvalue(), configuration(market, plan), len(play), apart)


def world_of(market: AssetMarket, plan: TrainingPlan) -> World:
    """The training bars as a world; the curation look-back before them is used and not learned from."""
    params, candles = plan.params, market.candles
    rows = training_rows(candles, plan.start_ms, plan.end_ms)
    frame = curate(candles, plan.curation, market.funding, market.open_interest).rows(rows)
    means, scales = fitted_scaler(raw_columns(frame, params.features))
    spec = ObservationSpec(
        params.features, params.window_size, means, scales, params.normalise_portfolio, float(plan.account.capital)
    )
    costs = plan.account.costs
    shadow = ShadowRules(params.episode_bars, params.max_exposure, costs.taker_fee_bps + costs.half_spread_bps)
    learned = AssetMarket(market.asset, candles[rows], market.spec, market.funding, market.open_interest)
    return World(learned, frame, spec, shadow, params.action_threshold, plan.account, plan.risk)


def _learned(environment: Any, plan: TrainingPlan, on_progress: Callable[[int, int], None] | None) -> Any:
    """stable-baselines3's model after its steps."""
    import torch
    from stable_baselines3 import SAC
    from stable_baselines3.common.callbacks import BaseCallback

    params = plan.params

    class Telling(BaseCallback):  # type: ignore[misc] # an optional extra
        def _on_step(self) -> bool:
            if on_progress is not None and (self.num_timesteps % 100 == 0 or self.num_timesteps == params.steps):
                on_progress(self.num_timesteps, params.steps)
            return True

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small layers: more threads cost more than they bring, and change the last bits
    try:
        model = SAC(
            "MultiInputPolicy",
            environment,
            learning_rate=params.learning_rate,
            batch_size=params.batch_size,
            buffer_size=min(params.buffer_size, max(params.steps, 1)),
            learning_starts=params.learning_starts,
            gamma=params.discount,
            policy_kwargs={"net_arch": list(params.layer_widths), "activation_fn": torch.nn.ReLU},
            seed=plan.seed,
            device="cpu",
        )
        model.learn(params.steps, callback=Telling())
    finally:
        torch.set_num_threads(threads)
    return model


def _card(market: AssetMarket, plan: TrainingPlan, world: World, onnx: bytes) -> PolicyCard:
    return PolicyCard(
        train_id=plan.train_id,
        asset=str(market.asset),
        interval=Interval(market.candles.interval),
        observation=world.observation,
        shadow=world.shadow,
        action_threshold=plan.params.action_threshold,
        contract=RL_CONTRACT,
        curation=curation_version(plan.curation),
        train_start_ms=int(world.frame.open_time[0]),
        train_end_ms=int(world.frame.close_time[-1]),
        steps=plan.params.steps,
        checksum=hashlib.sha256(onnx).hexdigest(),
    )


def configuration(market: AssetMarket, plan: TrainingPlan) -> dict[str, Any]:
    """What config_metadata.yaml says: enough to train the same again."""
    return {
        "train_id": plan.train_id,
        "asset": str(market.asset),
        "interval": market.candles.interval.value,
        "start": format_ms(plan.start_ms),
        "end": format_ms(plan.end_ms),
        "data_hash": plan.data_hash,
        "seed": plan.seed,
        "algorithm": "SAC",
        "activation": "relu",
        "agent": _plain(asdict(plan.params)),
        "curation": _plain(asdict(plan.curation)),
        "account": _plain(asdict(plan.account)),
        "risk": _plain(asdict(plan.risk)),
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists: YAML has no tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else _plain(value) if isinstance(value, dict) else value
        for name, value in values.items()
    }
