"""Simulated futures: seeded, made of past days only, in blocks of the right length."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.domain.errors import ConfigError, MalformedData, NotEnoughData
from shared.risk.monte_carlo import FAN, block_rows, simulate

RETURNS = np.random.default_rng(3).normal(0.001, 0.02, 400)


def futures(seed: int = 1, returns: np.ndarray = RETURNS, **changes: float):
    settings = {"paths": 400, "horizon_days": 60, "mean_block_days": 8.0} | changes
    return simulate(returns, np.random.default_rng(seed), **settings)


def test_the_same_seed_gives_the_same_futures() -> None:
    one, again, other = futures(1), futures(1), futures(2)
    np.testing.assert_array_equal(one.fan, again.fan)
    np.testing.assert_array_equal(one.drawdowns, again.drawdowns)
    assert not np.array_equal(one.fan, other.fan)


def test_constant_returns_leave_no_chance() -> None:
    found = futures(returns=np.full(50, 0.01))
    expected = 1.01 ** np.arange(61)
    np.testing.assert_allclose(found.fan, np.tile(expected, (len(FAN), 1)), rtol=1e-6)
    assert found.drawdown_probability(0.0) == 0
    assert found.loss_probability() == 0


def test_the_mean_of_the_futures_is_the_compounded_mean_of_the_past() -> None:
    # Independent days (blocks of mean 1): E[Π(1+r)] = (1 + mean)^h; 20,000 paths leave an error of about 0.1 %.
    found = futures(paths=20_000, mean_block_days=1.0, horizon_days=30)
    assert np.mean(1 + found.final_returns) == pytest.approx((1 + RETURNS.mean()) ** 30, rel=5e-3)


def test_blocks_have_geometric_lengths_and_run_through_consecutive_days() -> None:
    rows = block_rows(100, 300, 500, 10.0, np.random.default_rng(4))
    assert rows.min() >= 0
    assert rows.max() <= 99
    goes_on = (rows[:, 1:] - rows[:, :-1]) % 100 == 1
    # A new block begins with probability 1/10 and goes on by chance in 1 of 100 of these.
    assert goes_on.mean() == pytest.approx(0.9 + 0.1 / 100, abs=0.005)


def test_every_day_is_drawn_equally_often() -> None:
    rows = block_rows(20, 500, 400, 5.0, np.random.default_rng(5))
    shares = np.bincount(rows.ravel(), minlength=20) / rows.size
    np.testing.assert_allclose(shares, 0.05, atol=0.004)


def test_blocks_keep_what_neighbouring_days_have_in_common() -> None:
    # A perfectly alternating series: in long blocks gains and losses cancel, day by day they pile up.
    alternating = np.tile([0.05, -0.05], 50)
    spread = [futures(returns=alternating, mean_block_days=length).final_returns.std() for length in (1.0, 100.0)]
    assert spread[1] < spread[0] / 3


def test_drawdowns_count_from_the_start() -> None:
    found = futures(returns=np.full(40, -0.01), horizon_days=10)
    np.testing.assert_allclose(found.drawdowns, 1 - 0.99**10, rtol=1e-12)
    assert found.drawdown_probability(0.05) == 1
    assert found.loss_probability() == 1


def test_ruin_stays_ruin() -> None:
    found = futures(returns=np.concatenate([np.full(39, 0.5), [-1.0]]), horizon_days=365)
    assert np.all(found.final_returns >= -1)
    assert found.drawdown_probability(0.99) > 0.9


def test_the_fan_is_ordered_and_starts_at_one() -> None:
    found = futures()
    assert np.all(found.fan[:, 0] == 1)
    assert np.all(np.diff(found.fan, axis=0) >= 0)
    assert found.horizon_days == 60
    assert list(found.final_quantiles()) == ["5 %", "25 %", "50 %", "75 %", "95 %"]


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(NotEnoughData, match="at least 30"):
        futures(returns=np.zeros(29))
    with pytest.raises(MalformedData, match="finite"):
        futures(returns=np.append(np.zeros(40), math.nan))
    with pytest.raises(MalformedData, match="-1 or more"):
        futures(returns=np.append(np.zeros(40), -1.5))
    with pytest.raises(ConfigError, match="1 or more"):
        futures(paths=0)
