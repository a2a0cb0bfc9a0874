"""The one cost model: what a fill, a stop and a funding stamp cost. Used by backtest, paper exchange and live report.

A taker pays the reference price ± (half-spread + impact); impact follows the square-root law
`impact_bps · sqrt(notional / traded notional of the last closed bar)` (Almgren et al. 2005, "Direct estimation of equity
market impact"), so it knows nothing of the bar in which the order fills. Fees are on notional per side; funding is on the
position held at the stamp, and longs pay when the rate is positive.
Invariant: costs are never negative, so no fill is better than its reference price.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TypeVar

from shared.backtest.params import CostParams
from shared.domain.money import on_grid, to_decimal

Number = TypeVar("Number", float, Decimal)

_BPS = 10_000


def slippage_bps(params: CostParams, notional: float, bar_notional: float, *, is_stop: bool = False) -> float:
    """Distance from the reference price that a taker pays, bps (not negative).

    `notional` is the order's size and `bar_notional` what was traded in the last closed bar, both in quote currency.
    """
    impact = market_impact_bps(notional, bar_notional, params.impact_bps, params.max_impact_bps)
    return params.half_spread_bps + impact + (params.stop_slippage_bps if is_stop else 0.0)


def market_impact_bps(notional: float, bar_notional: float, impact_bps: float, max_impact_bps: float) -> float:
    """Impact of an order by the square-root law, bps: `max_impact_bps` where nothing was traded."""
    if bar_notional > 0:
        return min(impact_bps * math.sqrt(abs(notional) / bar_notional), max_impact_bps)
    return max_impact_bps if notional else 0.0


def slipped(reference: Number, sign: int, bps: Number) -> Number:
    """Price that a taker gets: above `reference` for a purchase (`sign` +1), below it for a sale (-1)."""
    return reference + sign * reference * bps / _BPS


def venue_price(reference: Decimal, sign: int, bps: float, tick: Decimal) -> Decimal:
    """`slipped` on the venue's grid, rounded against the taker, and never below one tick."""
    exact = slipped(reference, sign, to_decimal(round(bps, 9)))
    return max(on_grid(exact, tick, ROUND_CEILING if sign > 0 else ROUND_FLOOR), tick)


def fee(notional: Number, bps: Number) -> Number:
    """Fee on `notional` (quote currency, any sign); not negative."""
    return abs(notional) * bps / _BPS


def fee_bps(params: CostParams, *, maker: bool) -> float:
    """Fee rate of a fill, bps."""
    return params.maker_fee_bps if maker else params.taker_fee_bps


def funding_payment(quantity: Number, mark_price: Number, rate: Number) -> Number:
    """What the account receives (negative: pays) at a funding stamp, quote currency: -(quantity · mark · rate)."""
    return -(quantity * mark_price * rate)
