"""The world that the RL agent is trained in: our own curated bars, our own kernel, our own costs. A step is a bar.

    reward = ln(equity after the bar / equity before it), of the backtest kernel that follows the agent's positions

The kernel fills at the next open with fees, spread, impact and funding, and knows stops, breakers and liquidation; it is run
over the episode so far at each step (its prefix never changes). What the agent *sees* of its account is its shadow, as live.
An episode is one of the calendar episodes in which the shadow starts again; it ends early where the account is latched.
`Episodes` is plain; `gymnasium_environment` is the thin coat that stable-baselines3 asks for (optional extra).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.backtest.engine import Arena
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.signals import TargetPath
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import NotEnoughData
from shared.domain.frame import Frame
from shared.risk.params import RiskParams
from shared.strategy.rl_action import Interpretation, interpret
from shared.strategy.rl_observation import (
    LARGEST,
    PORTFOLIO,
    Float32Array,
    ObservationSpec,
    complete_windows,
    normalised,
    portfolio_vector,
)
from shared.strategy.rl_shadow import START, Shadow, ShadowRules, episodes

Observation = dict[str, Float32Array]
"""`market` (window, features) and `portfolio` (3,)"""

_LATCHED = -1
_RUIN = -1.0
"""reward of a bar that loses more than 63 %: the logarithm of nothing teaches nothing"""


@dataclass(frozen=True, eq=False, slots=True)
class World:
    """Everything that stays the same over the episodes."""

    market: AssetMarket
    frame: Frame
    """curated candles of `market`, row by row"""
    observation: ObservationSpec
    shadow: ShadowRules
    action_threshold: float
    account: BacktestParams
    risk: RiskParams


@dataclass(frozen=True, slots=True)
class Step:
    """What one action led to."""

    reward: float
    ended: bool
    """the account is latched or gone"""
    cut_off: bool
    """the calendar episode is over"""
    done: Interpretation


class Episodes:
    """Plays episodes of a world: `reset`, then `step` until one of its ends."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._rows = normalised(world.frame, world.observation)
        ready = complete_windows(self._rows, world.observation.window_size)
        self._spans = _whole_episodes(world.frame, ready, world.shadow.episode_bars)
        if not len(self._spans):
            raise NotEnoughData(
                f"{int(ready.sum())} bars with a whole window; an episode takes {world.shadow.episode_bars} without a gap: "
                "give more history or a smaller agent.episode_bars"
            )
        self._episode: _Playing | None = None

    def __len__(self) -> int:
        """How many different episodes there are."""
        return len(self._spans)

    def reset(self, rng: np.random.Generator) -> Observation:
        """Begin one of the episodes, drawn at random; the first observation."""
        first, last = self._spans[int(rng.integers(len(self._spans)))]
        self._episode = _Playing.begun(self.world, int(first), int(last))
        return self._seen(self._episode)

    def step(self, action: float) -> tuple[Observation, Step]:
        """Act at the close of the current bar and move to the next one."""
        playing = self._episode
        if playing is None:
            raise RuntimeError("reset comes before the first step")
        done = playing.act(action)
        return self._seen(playing), done

    def _seen(self, playing: _Playing) -> Observation:
        spec, row = self.world.observation, playing.row
        price = float(self.world.frame["close"][row])
        window = self._rows[row + 1 - spec.window_size : row + 1].copy()  # whoever gets it may keep it
        return {"market": window, "portfolio": portfolio_vector(playing.shadow, price, spec)}


def _whole_episodes(frame: Frame, ready: Any, episode_bars: int) -> IntArray:
    """First and last row (k, 2) of every calendar episode whose bars are all there and known."""
    number = episodes(frame.open_time, frame.interval.ms, episode_bars)
    starts = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
    ends = np.append(starts[1:], len(frame)) - 1
    known = np.concatenate([[0], np.cumsum(ready)])
    whole = (ends - starts + 1 == episode_bars) & (known[ends + 1] - known[starts] == episode_bars)
    spans: IntArray = np.column_stack([starts, ends])[whole]
    return spans


class _Playing:
    """One episode that is being played."""

    def __init__(self, world: World, arena: Arena, first: int, last: int) -> None:
        self._world, self._arena = world, arena
        self.row, self._first, self._last = first, first, last
        self.shadow: Shadow = START
        self._fraction: FloatArray = np.full(last - first + 1, np.nan)
        self._equity = float(world.account.capital)

    @classmethod
    def begun(cls, world: World, first: int, last: int) -> _Playing:
        candles = world.market.candles[first : last + 1]
        market = AssetMarket(world.market.asset, candles, world.market.spec, world.market.funding)
        times = candles.close_time
        return cls(world, Arena.of([market], start_ms=int(times[0]), end_ms=int(times[-1])), first, last)

    def act(self, action: float) -> Step:
        world, place = self._world, self.row - self._first
        price = float(world.frame["close"][self.row])
        done = interpret(action, self.shadow.position, world.action_threshold)
        moved = self.shadow.moved(done.position, price, world.shadow)
        if moved is not self.shadow:
            self._fraction[place] = moved.position * world.shadow.max_exposure
        self.shadow = moved
        result = self._arena.run([TargetPath(self._fraction, np.zeros(len(self._fraction)))], world.account, world.risk)
        equity = float(result.equity[place + 1])
        reward = math.log(equity / self._equity) if equity > 0 else _RUIN
        latched = bool(((result.halts[:, 1] == _LATCHED) & (result.halts[:, 0] <= result.time_ms[place + 1])).any())
        self._equity = equity
        self.row += 1
        return Step(max(reward, _RUIN), latched or equity <= 0, self.row == self._last, done)


def gymnasium_environment(play: Episodes) -> Any:
    """The episodes as a `gymnasium.Env` with a dictionary of boxes and one action in [-1, 1]. Needs the agent extra.

    Which episode comes is drawn from gymnasium's generator: `reset(seed=…)` makes it repeatable.
    """
    import gymnasium
    from gymnasium import spaces

    spec = play.world.observation

    class TradingEnvironment(gymnasium.Env):  # type: ignore[misc] # an optional extra
        """A coat of `Episodes`."""

        def __init__(self) -> None:
            market = spaces.Box(-LARGEST, LARGEST, spec.market_shape)
            self.observation_space = spaces.Dict(
                {"market": market, "portfolio": spaces.Box(-np.inf, np.inf, (len(PORTFOLIO),))}
            )
            self.action_space = spaces.Box(-1.0, 1.0, (1,))

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Observation, dict[str, Any]]:
            super().reset(seed=seed)
            return play.reset(self.np_random), {}

        def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
            seen, done = play.step(float(np.clip(np.asarray(action).reshape(-1)[0], -1.0, 1.0)))
            return seen, done.reward, done.ended, done.cut_off, {"operation": done.done.operation.value}

    return TradingEnvironment()


def training_rows(candles: Candles, start_ms: int, end_ms: int) -> slice:
    """Rows of the bars that open at or after `start_ms` and close at or before `end_ms`."""
    return slice(
        int(np.searchsorted(candles.open_time, start_ms)), int(np.searchsorted(candles.close_time, end_ms, side="right"))
    )
