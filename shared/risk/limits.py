"""How much of a wanted position may be taken: exposure limits, halts and freshness, applied to one asset's target.

Everything is a signed fraction of equity (notional / equity). A limit never turns a position around and never forbids a
reduction: exits are always allowed when entries are not. Each rule leaves an `Approval`, so that the ledger can say why a
position is smaller than the agents wanted. The backtest kernel compiles the rules (`within`, `room_left`, `stress_room`,
`without_new_risk`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.decision import Approval
from shared.domain.interval import format_ms
from shared.domain.records import Halt
from shared.risk.params import RiskParams


@dataclass(frozen=True, slots=True)
class LimitContext:
    """The account around one asset, as fractions of equity."""

    symbol: str
    held: float
    """signed exposure of the asset now"""
    others_gross: float
    """sum of |exposure| of all other assets"""
    halts: Sequence[Halt]
    """halts of the book that are in force"""
    age_ms: int
    """how long ago the decided bar was closed"""
    max_age_ms: int
    symbol_trading: bool
    """false while the venue has halted the symbol"""
    others_net: float = 0.0
    """signed sum of the exposures of all other assets"""
    var_cap: float = math.inf
    """largest |exposure| that the value at risk allows (`caps.exposure_cap`)"""


def limit_target(wanted: float, context: LimitContext, params: RiskParams) -> tuple[float, tuple[Approval, ...]]:
    """The largest part of `wanted` that every rule allows, and what each rule said.

    The result lies between `held` (or zero, when the side changes) and `wanted`.
    """
    approvals: list[Approval] = []
    target = wanted

    for rule, limit, detail in _caps(wanted, context, params):
        capped = within(limit, target)
        passed = capped == target
        approvals.append(Approval(rule, passed, detail if passed else f"{detail}: {target:+.3f} cut to {capped:+.3f}"))
        target = capped

    for rule, blocked, detail in _gates(context):
        approvals.append(Approval(rule, not blocked, detail))
        if blocked:
            target = without_new_risk(target, context.held)
    return target, tuple(approvals)


def within(limit: float, target: float) -> float:
    """`target` cut to [-limit, limit]."""
    return max(-limit, min(limit, target))


def room_left(max_total_exposure: float, others_gross: float) -> float:
    """What the other assets leave of the total exposure, not negative."""
    return max(0.0, max_total_exposure - others_gross)


def stress_room(max_net_exposure: float, others_net: float, target: float) -> float:
    """What a shock of all prices against the book leaves to one asset on the side of `target`, not negative."""
    return max(0.0, max_net_exposure - others_net if target > 0 else max_net_exposure + others_net)


def without_new_risk(target: float, held: float) -> float:
    """`target` where it only reduces `held`, zero where it would turn the position, else `held` unchanged."""
    if held * target < 0:
        return 0.0
    return target if abs(target) <= abs(held) else held


def _caps(wanted: float, context: LimitContext, params: RiskParams) -> list[tuple[str, float, str]]:
    """(rule, largest |exposure| it allows, sentence)."""
    room = room_left(params.max_total_exposure, context.others_gross)
    shock, loss = params.stress_shock, params.stress_loss_limit
    return [
        (
            "asset exposure",
            params.max_asset_exposure,
            f"at most {params.max_asset_exposure:.2f} of equity in one asset",
        ),
        (
            "total exposure",
            room,
            f"at most {params.max_total_exposure:.2f} of equity in all, {context.others_gross:.2f} held elsewhere",
        ),
        (
            "value at risk",
            context.var_cap,
            f"at most {context.var_cap:.2f} of equity: one day in a hundred may cost {params.var_limit:.0%}",
        ),
        (
            "stress loss",
            stress_room(params.max_net_exposure, context.others_net, wanted),
            f"a shock of {shock:.0%} may cost {loss:.0%} of equity, {context.others_net:+.2f} net is held elsewhere",
        ),
    ]


def _gates(context: LimitContext) -> list[tuple[str, bool, str]]:
    """(rule, whether it blocks new risk, sentence)."""
    halts = [halt for halt in context.halts if halt.symbol in (None, context.symbol)]
    said = "; ".join(
        f"{halt.reason} (until {format_ms(halt.until_ms) if halt.until_ms is not None else 'a person resumes'})"
        for halt in halts
    )
    stale = context.age_ms > context.max_age_ms
    return [
        ("no halt", bool(halts), said or "nothing is halted"),
        ("fresh", stale, f"the bar was closed {context.age_ms / 1000:.0f} s ago, at most {context.max_age_ms / 1000:.0f} s"),
        (
            "symbol trades",
            not context.symbol_trading,
            "the venue trades the symbol" if context.symbol_trading else "the venue has halted it",
        ),
    ]
