"""What every test here accepts: finite daily returns that move, in sufficient number, paired by row.

One place refuses what no statistic can be computed from, so that each test may assume it. Per-day Sharpe ratios are sample mean
over sample standard deviation (n - 1); 365 days a year for display.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from shared.domain.candles import BoolArray, FloatArray
from shared.domain.errors import MalformedData, NotEnoughData

DAYS_PER_YEAR = 365
YEAR_ROOT = math.sqrt(DAYS_PER_YEAR)
"""Factor from a Sharpe ratio per day to the annual one that is shown."""
MINIMUM_ROWS = 30
"""below this, no test here is meaningful, whatever the settings say"""
_UNDEFINED = "is constant, so that its Sharpe ratio is undefined"


def finite_returns(returns: ArrayLike, name: str, *, minimum: int = MINIMUM_ROWS) -> FloatArray:
    """Daily returns as a float64 vector (t,) that may be constant: cash is a benchmark too.

    Raises:
        MalformedData: not one-dimensional, not numeric or not finite.
        NotEnoughData: fewer than `minimum`.
    """
    values = _numbers(returns, name)
    if values.ndim != 1:
        raise MalformedData(f"{name} has shape {values.shape}; expected one series of daily returns, shape (days,)")
    _check_length(values, name, minimum)
    _refuse(_not_finite(values[:, None]), name, "holds values that are not finite")
    return values


def checked_returns(returns: ArrayLike, name: str, *, minimum: int = MINIMUM_ROWS) -> FloatArray:
    """As `finite_returns`, but a constant series, which has no Sharpe ratio, is `MalformedData`."""
    values = finite_returns(returns, name, minimum=minimum)
    _refuse(_constant(values[:, None]), name, _UNDEFINED)
    return values


def checked_panel(returns: ArrayLike, name: str, *, minimum: int = MINIMUM_ROWS) -> FloatArray:
    """Daily returns of several series as a float64 array (t, m), m >= 1.

    Raises: as `checked_returns`; the message names the first offending column.
    """
    values = _numbers(returns, name)
    if values.ndim != 2:
        raise MalformedData(f"{name} has shape {values.shape}; expected one column per series, shape (days, series)")
    if values.shape[1] == 0:
        raise NotEnoughData(f"{name} holds no series; expected at least one")
    _check_length(values, name, minimum)
    _refuse(_not_finite(values), name, "holds values that are not finite")
    _refuse(_constant(values), name, _UNDEFINED)
    return values


def check_same_days(first: FloatArray, second: FloatArray, names: str) -> None:
    """Raise `MalformedData` unless both have equally many rows: the tests are paired by day."""
    if len(first) != len(second):
        raise MalformedData(
            f"{names} have {len(first)} and {len(second)} days; the test is paired and needs the same days of both"
        )


def sharpe_ratio(returns: FloatArray) -> FloatArray:
    """Per-day Sharpe ratio of each column of (t, m), shape (m,), or of a vector, shape ()."""
    return np.asarray(returns.mean(axis=0) / returns.std(axis=0, ddof=1))


def sharpe_contributions(returns: FloatArray) -> FloatArray:
    """What each day contributes to the Sharpe ratio: a series of the shape of `returns` whose mean is the Sharpe ratio.

    s_t = SR + z_t - SR (z_t² - 1) / 2 with z = (r - μ) / σ: estimate plus influence function (Lo 2002, section "IID returns",
    gives the variance that follows from it). Its mean over a bootstrap resample is the Sharpe ratio there to first order, so
    that tests of means become tests of Sharpe ratios, and leverage changes nothing.
    """
    deviation = returns.std(axis=0)
    ratio = returns.mean(axis=0) / deviation
    z = (returns - returns.mean(axis=0)) / deviation
    return np.asarray(ratio + z - 0.5 * ratio * (z * z - 1.0))


def _numbers(returns: ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(returns, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MalformedData(f"{name} is not numeric ({error}); expected daily returns as fractions") from error


def _check_length(values: FloatArray, name: str, minimum: int) -> None:
    if len(values) < minimum:
        raise NotEnoughData(f"{name} has {len(values)} days; expected at least {minimum}: test a longer period")


def _not_finite(values: FloatArray) -> BoolArray:
    return np.asarray(~np.isfinite(values).all(axis=0))


def _constant(values: FloatArray) -> BoolArray:
    return np.asarray(np.ptp(values, axis=0) <= 1e-15)


def _refuse(columns: BoolArray, name: str, problem: str) -> None:
    """Raise `MalformedData` for the first of `columns` that is marked."""
    if columns.any():
        which = "" if len(columns) == 1 else f", column {int(np.argmax(columns))},"
        raise MalformedData(f"{name}{which} {problem}; expected daily returns that are finite and vary")
