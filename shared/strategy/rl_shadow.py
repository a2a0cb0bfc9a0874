"""The account that the RL agent believes it has: its *shadow*, a function of closes and of its own actions alone.

    equity = wallet + quantity · close - basis,   wallet pays cost_bps of what is traded

The policy looks at its equity, open profit and position, so its next action depends on its path. The book's real position is
the consensus of seven agents and would tell it about the others, so it sees this account instead: flat at fixed calendar
instants, a whole number of episodes since 1970, and from there on what it did itself. A row therefore depends on a bounded
number of bars, live equals backtest, and a restart has nothing to restore. Funding and market impact are left out here; the
kernel that rewards and evaluates the agent counts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.candles import IntArray

_BPS = 10_000.0


@dataclass(frozen=True, slots=True)
class ShadowRules:
    """What the shadow may hold and what it pays."""

    episode_bars: int
    """bars after which it starts again, flat"""
    max_exposure: float
    """|notional| / equity of a full position"""
    cost_bps: float
    """fee and half-spread on what is traded, bps of notional"""


@dataclass(frozen=True, slots=True)
class Shadow:
    """The account, in units of its starting capital."""

    position: float = 0.0
    """signed part of a full position in [-1, 1], as it was last chosen"""
    wallet: float = 1.0
    quantity: float = 0.0
    basis: float = 0.0
    """what the quantity cost, signed"""

    def profit(self, price: float) -> float:
        """Unrealised profit at `price`, as a part of the starting capital."""
        return self.quantity * price - self.basis

    def equity(self, price: float) -> float:
        """Wallet and open profit, in starting capitals."""
        return self.wallet + self.profit(price)

    def moved(self, position: float, price: float, rules: ShadowRules) -> Shadow:
        """The account after trading to `position` at `price`; the same one where nothing changes.

        An account that has lost everything stays flat until it starts again.
        """
        equity = self.equity(price)
        wanted = position if equity > 0 else 0.0
        if wanted == self.position:
            return self
        quantity = wanted * rules.max_exposure * equity / price
        traded = quantity - self.quantity
        wallet = self.wallet - abs(traded) * price * rules.cost_bps / _BPS
        if self.quantity and quantity / self.quantity > 1:  # increased: the average cost moves, nothing is realised
            return Shadow(wanted, wallet, quantity, self.basis + traded * price)
        return Shadow(wanted, wallet + self.profit(price), quantity, quantity * price)


START = Shadow()


def episodes(open_time: IntArray, interval_ms: int, episode_bars: int) -> IntArray:
    """Number of the episode (n,) that each bar belongs to; the grid is the same for every window of the same market."""
    slots: IntArray = np.floor_divide(open_time, interval_ms * episode_bars)
    return slots
