"""What the strategy of an asset wants at an instant, how much of it is allowed, and what the account's own record says of size.

Scalars in, scalars out, around the functions that the live session calls: policy, limits and Kelly are compiled from their
source. Invariant: the bar-by-bar loop and the loop over quiet bars decide by these same functions.
"""

from __future__ import annotations

from shared.backtest.kernel_types import AccountNumbers, SignalArrays
from shared.compiled import compiled, uncounted
from shared.domain.records import UnitReturns
from shared.risk.kelly import extended as extended_record
from shared.risk.kelly import shrunk_kelly, sizing_cap
from shared.risk.limits import room_left, stress_room, within, without_new_risk
from shared.strategy.params import PolicyParams
from shared.strategy.policy import PolicyTarget, target_position

extended = uncounted(extended_record)
_shrunk_kelly = compiled(shrunk_kelly)
_sizing_cap = compiled(sizing_cap)
_within = compiled(within)
_room_left = compiled(room_left)
_stress_room = compiled(stress_room)
_without_new_risk = compiled(without_new_risk)
_target_position = compiled(target_position)


@uncounted
def kelly_cap(account: AccountNumbers, record: UnitReturns) -> float:
    """Largest |notional| / equity that Kelly allows; the leverage limit before there is any record."""
    bars = record.bars
    if bars == 0:
        return account.max_leverage
    variance = record.spread / bars
    kelly = _shrunk_kelly(bars, record.mean, variance, account.kelly_fraction, account.kelly_prior_bars, account.max_leverage)
    return _sizing_cap(bars, kelly, account.kelly_minimum_bars, account.kelly_floor, account.max_leverage)


@uncounted
def policy_target(signals: SignalArrays, account: AccountNumbers, a: int, i: int, held: float, cap: float) -> PolicyTarget:
    """What the policy of asset `a` makes of its score at instant `i`."""
    p = signals.policies[a, signals.policy_index[a, i]]
    return _target_position(
        signals.wanted[a, i],
        held,
        signals.volatility[a, i],
        account.bars_per_year,
        signals.atr_fraction[a, i],
        signals.size_multiplier[a, i],
        cap,
        PolicyParams(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10]),
    )


@uncounted
def allowed(
    account: AccountNumbers, wanted: float, held: float, others: float, others_net: float, var_cap: float, blocked: bool
) -> float:
    """What the limits leave of `wanted` beside the others' gross and net exposure; `blocked` is whether new risk is.

    Fractions of equity; `var_cap` is the cap by the value at risk.
    """
    approved = _within(_room_left(account.max_total_exposure, others), _within(account.max_asset_exposure, wanted))
    approved = _within(_stress_room(account.max_net_exposure, others_net, wanted), _within(var_cap, approved))
    return _without_new_risk(approved, held) if blocked else approved
