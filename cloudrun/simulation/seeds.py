"""From a seed to a world: which symbols, market, habits, faults and mode. The same seed is the same world, for ever."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from cloudrun.exchange.depth import Depth
from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.chances import random_plan
from cloudrun.simulation.market import SYMBOLS, MarketShape
from cloudrun.simulation.spec import Mode, WorldSpec
from shared.domain.interval import Interval
from shared.trading.execution_params import ExecutionParams

QUIET_BARS = 3
SPARSE = 0.006
"""share of worlds that are asked for long bars by requests, and looked after each minute in between"""


def world_of(seed: int, mode: Mode | None = None) -> WorldSpec:
    """The world of `seed`."""
    rng = np.random.default_rng([seed, 0])
    if mode is None and rng.random() < SPARSE:
        return _sparse(seed, rng)
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.4, 0.1]))
    bars = int(rng.integers(4, 7))
    faults_end_s = WorldSpec(seed, bars=bars).faults_end_s
    shape = MarketShape(
        sigma=float(rng.choice([0.001, 0.002, 0.005])),
        jump_rate=float(rng.choice([0.0, 0.05, 0.2])),
        jump=float(rng.choice([0.01, 0.03])),
        gap_rate=float(rng.choice([0.0, 0.03])),
        frozen_rate=float(rng.choice([0.0, 0.02])),
    )
    drawn = Mode(str(rng.choice([Mode.STREAM, Mode.SCHEDULE, Mode.LOOP], p=[0.8, 0.1, 0.1])))
    chosen = mode or drawn
    # Only a trader watches an order that fills for seconds; at the venue a market order is final when it is answered.
    shallow = rng.random() < 0.3 and chosen is Mode.STREAM
    spec = WorldSpec(
        seed=seed,
        mode=chosen,
        plan=random_plan(rng, faults_end_s),
        symbols=tuple(SYMBOLS[i] for i in sorted(rng.choice(len(SYMBOLS), count, replace=False))),
        bars=bars,
        quiet_bars=QUIET_BARS,
        shape=shape,
        habits=Habits(
            flat=float(rng.choice([0.1, 0.3, 0.5])),
            hold_bars=int(rng.choice([1, 1, 2, 3])),
            flat_at_end=bool(rng.random() < 0.5),
        ),
        depth=Depth(Decimal(int(rng.choice([300, 2000])))) if shallow else None,
        standby=bool(rng.random() < 0.15),
        execution=_execution(rng),
    )
    # Nobody looks after slices between the steps of a loop: as in `ost paper`, there are none.
    return replace(spec, execution=ExecutionParams()) if chosen is Mode.LOOP else spec


def _execution(rng: np.random.Generator) -> ExecutionParams:
    """In some worlds most orders are large enough to be cut into slices."""
    if rng.random() >= 0.25:
        return ExecutionParams()
    return ExecutionParams(twap_notional=1_000.0, twap_slices=int(rng.integers(2, 5)), twap_seconds=float(rng.choice([10, 25])))


def _sparse(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Requests for long bars: between two of them nobody looks, but for the requests that tend the book."""
    interval = Interval.H1 if rng.random() < 0.2 else Interval.M15
    spec = WorldSpec(seed, Mode.SCHEDULE, interval=interval, bars=int(rng.integers(2, 4)), quiet_bars=QUIET_BARS)
    plan = random_plan(rng, spec.faults_end_s)
    return replace(spec, plan=plan, habits=Habits(flat=0.1, hold_bars=1), execution=_execution(rng))
