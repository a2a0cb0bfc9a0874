"""A user's own alphas and agents: what a plug-in declares, and how it is asked.

A plug-in is a pure function from a curated frame to a score in [-1, 1] for each bar, with the number of bars that it looks back
on. It gets a read-only copy of the frame, and its answer is checked: shape, range, numbers. `ost audit lookahead` looks at the
rest. Loading code from disk is the adapter's business (`shared/adapters/local/plugins.py`), only where a user names a folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.errors import UsageError
from shared.domain.frame import Frame
from shared.domain.regime import REGIMES, Regime
from shared.strategy.agents import AGENT_NAMES
from shared.strategy.alphas import ALPHAS
from shared.strategy.series import bounded

_KINDS = ("alpha", "agent")
_TAKEN = (*ALPHAS, *AGENT_NAMES, "consensus", "curation", "regime")
"""names of ours in audits and reports"""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Plugin:
    """One score of the user's. An alpha is an opinion; an agent also says in which regimes it trades."""

    name: str
    compute: Callable[[Frame], Any]
    """frame of n bars -> (n,) in [-1, 1], positive for long; NaN in its warm-up"""
    lookback_bars: int
    """curated rows that a value depends on, its own included"""
    kind: str = "alpha"
    target_regimes: tuple[Regime, ...] = REGIMES
    """agents only: the regimes in which it votes"""
    description: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in _TAKEN:
            raise UsageError(
                f"plug-in name {self.name!r}: expected a Python identifier other than ours, which are {' '.join(_TAKEN)}"
            )
        if self.kind not in _KINDS:
            raise UsageError(f"plug-in {self.name}: kind is {self.kind!r}; expected alpha or agent")
        if (
            isinstance(self.lookback_bars, bool)
            or not isinstance(self.lookback_bars, int)
            or not 1 <= self.lookback_bars <= 2000
        ):
            raise UsageError(f"plug-in {self.name}: lookback_bars is {self.lookback_bars!r}; expected 1 to 2000 bars")
        object.__setattr__(self, "target_regimes", tuple(Regime(regime) for regime in self.target_regimes))


def raw_score(plugin: Plugin, frame: Frame) -> FloatArray:
    """What the plug-in says, (n,), NaN where it has no opinion.

    Raises `UsageError` where it fails, writes into the frame, or answers with another shape, no numbers, or beyond [-1, 1].
    """
    given = _read_only(frame)
    try:
        answer = np.array(plugin.compute(given), dtype=np.float64)
    except (Exception, SystemExit) as error:  # it is not our code: whatever it raises is reported as the user's
        where = _line_of(error)
        raise UsageError(f"plug-in {plugin.name} failed{where}: {type(error).__name__}: {error}") from error
    if (written := _written(given, frame)) is not None:
        raise UsageError(f"plug-in {plugin.name} wrote into {written} of the frame, which is read-only; copy it first")
    if answer.shape != (len(frame),):
        raise UsageError(
            f"plug-in {plugin.name} answered with the shape {answer.shape}; expected ({len(frame)},), one for each bar"
        )
    beyond = np.flatnonzero(np.isinf(answer) | (np.abs(np.nan_to_num(answer)) > 1.0 + _ROUNDING))
    if len(beyond):
        raise UsageError(f"plug-in {plugin.name} says {answer[beyond[0]]:g} at row {beyond[0]}; expected values in [-1, 1]")
    return answer


def plugin_score(plugin: Plugin, frame: Frame) -> FloatArray:
    """Score (n,) in [-1, 1] with 0 where it has no opinion."""
    return bounded(raw_score(plugin, frame))


def _read_only(frame: Frame) -> Frame:
    """A protected copy: even a plug-in that lifts the protection cannot reach what others read."""
    return Frame(frame.interval, _protected(frame.open_time), {name: _protected(one) for name, one in frame.columns.items()})


def _protected(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    copy = values.copy()
    copy.flags.writeable = False
    return copy


def _written(given: Frame, frame: Frame) -> str | None:
    """The first column of the copy `given` that is not what it was, or `None`."""
    if not np.array_equal(given.open_time, frame.open_time):
        return "open_time"
    for name, values in frame.columns.items():
        if name not in given.columns or not np.array_equal(given.columns[name], values, equal_nan=True):
            return name
    return None


def _line_of(error: BaseException) -> str:
    """File and line in the plug-in where the error was raised."""
    trace = error.__traceback__
    last = ""
    while trace is not None:
        last = f" at {trace.tb_frame.f_code.co_filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return last


TEMPLATE = '''"""A plug-in of One Smart Trade: your own alphas and agents. Each *.py of a folder that you name is loaded.

    ost audit lookahead --plugins {folder}     does it see the future?
    ost alphas report --plugins {folder}       does it predict anything?

A score is a function of a curated frame: float64 columns over the bars, oldest first, NaN in their warm-up. It returns one
number in [-1, 1] for each bar, positive for long. Row i may use rows up to i only, and at most `lookback_bars` of them.
Columns: {columns}
"""

import numpy as np

from shared.data.rolling import window_mean, window_mean_std
from shared.strategy.plugins import Plugin

BARS = 48


def stretched(frame):
    """Fades a close far from its mean: -tanh of its distance in standard deviations."""
    mean, std = window_mean_std(frame["close"], BARS)
    distance = np.divide(frame["close"] - mean, std, out=np.zeros(len(frame)), where=std > 0)
    return -np.tanh(distance / 2)


def calm_trend(frame):
    """Long above a rising average, short below a falling one, otherwise flat."""
    average = window_mean(frame["close"], BARS)
    before = np.full(len(frame), np.nan)
    before[BARS:] = average[:-BARS]
    return np.sign(frame["close"] - average) * (np.sign(average - before) == np.sign(frame["close"] - average))


PLUGINS = [
    Plugin("stretched", stretched, lookback_bars=BARS, description="fades stretched prices"),
    Plugin("calm_trend", calm_trend, lookback_bars=2 * BARS, kind="agent", target_regimes=("calm", "balanced")),
]
'''
"""What `ost audit template` writes: a plug-in that works and passes the audit."""
