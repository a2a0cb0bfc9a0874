"""A trained RL policy as a value: its ONNX bytes and a card that says what it is, and the path that it takes over a frame.

    score of a bar = the position that the policy's shadow holds after its action at the bar's close, in [-1, 1]

Inference is by onnxruntime, one row at a time. A policy does not speak about bars that it was trained on, about another asset,
interval or curation, nor under another contract; one whose bytes do not have the checksum of its card is refused.
Invariant: a score depends on the last `lookback_bars` bars only (see `rl_shadow.py`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from shared.data.params import CurationParams
from shared.domain.candles import FloatArray
from shared.domain.errors import ModelError
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.strategy.agents.rl_agent import RL_COLUMN
from shared.strategy.ml_model import curation_version
from shared.strategy.rl_action import interpret
from shared.strategy.rl_card import AGAIN, PolicyCard
from shared.strategy.rl_observation import (
    PORTFOLIO,
    RL_CONTRACT,
    Float32Array,
    complete_windows,
    normalised,
    portfolio_vector,
)
from shared.strategy.rl_shadow import START, episodes

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class RlPolicy:
    """A policy that can follow a market. Built by the trainer or the store; `checked` says whether it may be used."""

    card: PolicyCard
    onnx: bytes

    def checked(self) -> RlPolicy:
        """This policy. Raises `ModelError` where the bytes do not belong to the card or give no action."""
        card, found = self.card, hashlib.sha256(self.onnx).hexdigest()
        if found != card.checksum:
            raise ModelError(
                f"RL policy {card.train_id}: the ONNX file has checksum {found[:12]}…, its card says {card.checksum[:12]}…; "
                f"restore the file, or {AGAIN}"
            )
        self.action(np.zeros(card.observation.market_shape, dtype=np.float32), np.zeros(len(PORTFOLIO), dtype=np.float32))
        return self

    def refusal(self, asset: str, interval: Interval, curation: CurationParams) -> str:
        """Why the policy must not speak about such frames; empty where it may."""
        card = self.card
        if card.contract != RL_CONTRACT:
            return f"policy {card.train_id} has the contract {card.contract}, this code has {RL_CONTRACT}; {AGAIN}"
        if card.asset != asset or card.interval is not interval:
            return f"policy {card.train_id} was trained on {card.asset} {card.interval}, this is {asset} {interval}; {AGAIN}"
        if card.curation != curation_version(curation):
            return f"policy {card.train_id} was trained under other curation settings; restore them, or {AGAIN}"
        return ""

    def action(self, market: Float32Array, portfolio: Float32Array) -> float:
        """The deterministic action in [-1, 1] for one observation. Raises `ModelError` where the network gives none."""
        session = _session(self.onnx)
        try:
            found = float(session.run(None, {"market": market[np.newaxis], "portfolio": portfolio[np.newaxis]})[0][0, 0])
        except Exception as error:  # onnxruntime's own errors have no common base
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ModelError(f"RL policy {self.card.train_id}: no action for {market.shape} ({reason}); {AGAIN}") from error
        # The runtime's tanh passes 1 by a rounding.
        return math.copysign(1.0, found) if 1.0 < abs(found) < 1.0 + _ROUNDING else found


@lru_cache(maxsize=16)
def _session(onnx: bytes) -> Any:
    """The runtime of a policy; a function of its bytes alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common base
        raise ModelError(f"onnxruntime cannot read the RL policy ({str(error).splitlines()[0]}); {AGAIN}") from error


@dataclass(frozen=True, eq=False, slots=True)
class RlPath:
    """What a policy did over n bars; NaN where it could not see a whole window."""

    action: FloatArray
    """(n,) in [-1, 1]"""
    position: FloatArray
    """(n,) of the shadow after the action, in [-1, 1]"""
    equity: FloatArray
    """(n,) of the shadow at the bar's close, in starting capitals, before the action"""
    held: FloatArray
    """(n,) position before the action: that of the bar before, or 0 where an episode begins"""


def follow(frame: Frame, policy: RlPolicy, on_progress: Callable[[int, int], None] | None = None) -> RlPath:
    """Let the policy act at every bar of `frame`. The first `lookback_bars` rows may differ with more history.

    `on_progress(done, total)` is told every thousand bars. Raises `ModelError`.
    """
    spec, rules, threshold = policy.card.observation, policy.card.shadow, policy.card.action_threshold
    rows, close = normalised(frame, spec), frame["close"]
    ready = complete_windows(rows, spec.window_size)
    number = episodes(frame.open_time, frame.interval.ms, rules.episode_bars)
    action, position, equity, held = (np.full(len(frame), np.nan) for _ in range(4))
    shadow = START
    for row in range(len(frame)):
        if row == 0 or number[row] != number[row - 1]:
            shadow = START
        if on_progress is not None and row % 1000 == 0:
            on_progress(row, len(frame))
        if not ready[row]:
            continue
        price = float(close[row])
        equity[row], held[row] = shadow.equity(price), shadow.position
        window = rows[row + 1 - spec.window_size : row + 1]
        action[row] = policy.action(window, portfolio_vector(shadow, price, spec))
        shadow = shadow.moved(interpret(float(action[row]), shadow.position, threshold).position, price, rules)
        position[row] = shadow.position
    return RlPath(action, position, equity, held)


def with_rl_scores(frame: Frame, policy: RlPolicy) -> Frame:
    """The research form: `frame` with the policy's score of every bar after its training, where the agent reads it."""
    score = follow(frame, policy).position
    score[frame.close_time <= policy.card.train_end_ms] = np.nan
    return with_score(frame, score)


def with_newest_rl_score(frame: Frame, policy: RlPolicy) -> tuple[Frame, str]:
    """The live form: only the last row has a score. Returns the frame and why the row has none, if so.

    Equal to the last row of `with_rl_scores`: the shadow is followed from the beginning of its episode.
    """
    score, problem = np.full(len(frame), np.nan), ""
    if int(frame.close_time[-1]) <= policy.card.train_end_ms:
        problem = f"policy {policy.card.train_id} was trained on this bar"
    else:
        try:
            score[-1] = follow(_of_episode(frame, policy.card), policy).position[-1]
        except ModelError as error:
            problem = str(error)
        else:
            if np.isnan(score[-1]):
                problem = f"policy {policy.card.train_id} lacks features of the newest bars"
    return with_score(frame, score), problem


def _of_episode(frame: Frame, card: PolicyCard) -> Frame:
    """The bars of the newest row's episode and the window before its first one."""
    number = episodes(frame.open_time, frame.interval.ms, card.shadow.episode_bars)
    first = int(np.searchsorted(number, number[-1]))
    return frame.rows(slice(max(0, first + 1 - card.observation.window_size), None))


def with_score(frame: Frame, score: FloatArray) -> Frame:
    """`frame` with `score` (n,) where the RL agent reads it."""
    return replace(frame, columns={**frame.columns, RL_COLUMN: score})
