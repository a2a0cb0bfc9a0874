"""The account that the RL agent believes it has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.strategy.rl_shadow import START, Shadow, ShadowRules, episodes

RULES = ShadowRules(episode_bars=24, max_exposure=1.0, cost_bps=6.0)
FREE = ShadowRules(episode_bars=24, max_exposure=1.0, cost_bps=0.0)


def test_a_full_long_earns_what_the_market_earns() -> None:
    held = START.moved(1.0, 100.0, FREE)
    assert held.equity(110.0) == pytest.approx(1.1)
    assert held.profit(110.0) == pytest.approx(0.1)
    assert START.moved(-1.0, 100.0, FREE).equity(110.0) == pytest.approx(0.9)


def test_costs_are_paid_on_what_is_traded_and_only_then() -> None:
    held = START.moved(0.5, 100.0, RULES)
    assert held.equity(100.0) == pytest.approx(1 - 0.5 * 6e-4)
    assert held.moved(0.5, 250.0, RULES) is held
    assert held.moved(0.0, 100.0, RULES).equity(100.0) == pytest.approx(1 - 2 * 0.5 * 6e-4)


def test_an_increase_realises_nothing_and_a_close_everything() -> None:
    half = START.moved(0.5, 100.0, FREE)
    full = half.moved(1.0, 120.0, FREE)
    assert full.wallet == half.wallet
    assert full.profit(120.0) == pytest.approx(half.profit(120.0))
    closed = full.moved(0.0, 120.0, FREE)
    assert (closed.profit(999.0), closed.equity(999.0)) == (0.0, pytest.approx(1.1))


def test_an_account_that_lost_everything_stays_flat() -> None:
    ruined = START.moved(-1.0, 100.0, FREE)
    gone = ruined.moved(-1.0, 250.0, FREE).moved(0.0, 250.0, FREE)
    assert gone.equity(1.0) < 0
    assert gone.moved(1.0, 100.0, FREE) is gone


@given(
    prices=st.lists(st.floats(50, 200), min_size=2, max_size=30),
    positions=st.lists(st.floats(-1, 1), min_size=2, max_size=30),
)
def test_trading_changes_equity_by_its_cost_only(prices: list[float], positions: list[float]) -> None:
    shadow = Shadow()
    for price, position in zip(prices, positions, strict=False):
        before, quantity = shadow.equity(price), shadow.quantity
        shadow = shadow.moved(position, price, RULES)
        paid = abs(shadow.quantity - quantity) * price * 6e-4
        assert shadow.equity(price) == pytest.approx(before - paid, abs=1e-9)


def test_episodes_are_the_same_in_every_window() -> None:
    times = np.arange(0, 200 * 3_600_000, 3_600_000, dtype=np.int64)
    numbers = episodes(times, 3_600_000, 24)
    assert numbers[0] == numbers[23] != numbers[24]
    assert (episodes(times[37:], 3_600_000, 24) == numbers[37:]).all()
