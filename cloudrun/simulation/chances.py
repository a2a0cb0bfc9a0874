"""A plan of faults by chance: how often each of them strikes in the random worlds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cloudrun.simulation.faults import Breakdown, Effect, FaultPlan, Part, Rates, Rule, Window

FOR_EVER = 1_000_000
PAINFUL = (
    "before POST /fapi/v1/order",
    "before POST /fapi/v1/algoOrder",
    "after POST /fapi/v1/order",
    "after ledger.commit_decision",
)
"""port calls about an order that is decided, allowed, or signed"""
ASKED = (
    *("v1/time", "v1/exchangeInfo", "v1/feeBurn", "v1/accountConfig", "v1/symbolConfig", "v1/userTrades", "v1/order"),
    *("v1/algoOrder", "v1/openOrders", "v1/openAlgoOrders", "v1/klines", "v1/premiumIndex"),
)
"""what may fail for good while what is held can be protected or closed"""
_SHARES: Sequence[tuple[Effect, float]] = (
    (Effect.REFUSED, 0.12),
    (Effect.LOST, 0.08),
    (Effect.NO_ANSWER, 0.12),
    (Effect.CUT, 0.10),
    (Effect.LATE, 0.08),
    (Effect.CUT_BEFORE, 0.08),
    (Effect.UNKNOWN, 0.10),
    (Effect.TIMED_OUT, 0.08),
    (Effect.GATEWAY, 0.06),
    (Effect.SLOW, 0.10),
    (Effect.THROTTLED, 0.05),
    (Effect.BANNED, 0.01),
    (Effect.SKEWED, 0.02),
)


def random_plan(rng: np.random.Generator, until_s: float) -> FaultPlan:
    """A plan of mixed faults up to `until_s`. Some plans are calm, some are wild; few are free of faults."""
    intensity = float(rng.choice([0.0, 0.3, 1.0, 2.5], p=[0.05, 0.25, 0.45, 0.25]))
    rates = Rates(
        requests=tuple((effect, share * 0.05 * intensity) for effect, share in _SHARES),
        kill=0.0012 * intensity * float(rng.choice([0.0, 1.0, 3.0])),
        fate=0.3 * min(intensity, 1.0) * float(rng.choice([0.0, 1.0])),
        stop=0.0003 * intensity * float(rng.choice([0.0, 1.0])),
        ledger=0.002 * intensity * float(rng.choice([0.0, 1.0])),
        drop=0.01 * intensity,
        delay=0.02 * intensity,
        repeat=0.02 * intensity,
        disconnect=0.002 * intensity,
        malformed=0.002 * intensity,
    )
    windows = [
        Window(part, start_s, min(start_s + float(rng.exponential(length_s)), until_s))
        for part, chance, length_s in (
            (Part.VENUE, 0.15, 60.0),
            (Part.NETWORK, 0.2, 20.0),
            (Part.LEDGER, 0.2, 20.0),
            (Part.LEDGER_HANGS, 0.1, 30.0),
            (Part.MARKET_STREAM, 0.15, 60.0),
            (Part.BARS, 0.08, 60.0),
            (Part.MARKS, 0.08, 60.0),
            (Part.QUOTES, 0.08, 60.0),
            (Part.USER_STREAM, 0.25, 60.0),
            (Part.STREAMS, 0.1, 40.0),
        )
        if rng.random() < chance * min(intensity, 1.0)
        for start_s in (float(rng.uniform(0, until_s)),)
    ]
    later = rng.spawn(1)[0]  # a seed stays the world that it was, whatever can fail besides by now
    if later.random() < 0.1 * min(intensity, 1.0):
        start_s = float(later.uniform(0, until_s))
        windows.append(Window(Part.LEDGER_WRITES, start_s, min(start_s + float(later.exponential(40.0)), until_s)))
    odd = rng.spawn(1)[0]
    if odd.random() < 0.1 * min(intensity, 1.0):  # last of the effects: the draws of the others stay what they are
        rates = replace(rates, requests=(*rates.requests, (Effect.UNREADABLE, 0.01 * intensity)))
    slower = rng.spawn(1)[0]
    if slower.random() < 0.1 * min(intensity, 1.0):
        start_s = float(slower.uniform(0, until_s))
        windows.append(Window(Part.SLOW_ORDERS, start_s, min(start_s + float(slower.exponential(60.0)), until_s)))
    jumps = ((float(rng.uniform(0, until_s)), int(rng.integers(-4000, 4000))),) if rng.random() < 0.1 * intensity else ()
    expiries = (float(rng.uniform(0, until_s)),) if rng.random() < 0.15 * intensity else ()
    plan = FaultPlan(
        rates,
        tuple(windows),
        rules=_rules(rng, intensity),
        stops=_stops(rng, intensity),
        jumps=jumps,
        key_expiries=expiries,
        terminations=_instants(rng, 0.1 * intensity, until_s),
        cancelled_stops=_instants(rng, 0.1 * intensity, until_s),
        until_s=until_s,
    )
    return _broken(odd, plan) if odd.random() < 0.25 * min(intensity, 1.0) else plan


def _instants(rng: np.random.Generator, chance: float, until_s: float) -> tuple[float, ...]:
    return (float(rng.uniform(0, until_s)),) if rng.random() < chance else ()


def _broken(rng: np.random.Generator, plan: FaultPlan) -> FaultPlan:
    """One endpoint fails for good, whoever asks, until the quiet period, which needs it; in half of these plans nothing else
    does, and the process that trades is told to end, and the stops are cancelled, while it fails: a start that needs it."""
    until_s = plan.until_s
    request = f"GET /fapi/{ASKED[int(rng.integers(len(ASKED)))]}"
    effect = (Effect.GATEWAY, Effect.LOST, Effect.UNREADABLE)[int(rng.integers(3))]
    start_s = float(rng.uniform(0, until_s))
    if rng.random() < 0.5:
        return replace(plan, breakdowns=(Breakdown(request, effect, start_s, until_s),))
    told_s = float(rng.uniform(60.0, 100.0))
    return FaultPlan(
        breakdowns=(Breakdown(request, effect, min(start_s, told_s), until_s),),
        terminations=(told_s,),
        cancelled_stops=(told_s + float(rng.uniform(-5.0, 20.0)),),
        until_s=until_s,
    )


def _rules(rng: np.random.Generator, intensity: float) -> tuple[Rule, ...]:
    """Sometimes what only the books need fails all the time, once the account was prepared."""
    if rng.random() >= 0.05 * intensity:
        return ()
    return (Rule("GET /fapi/v1/income", Effect.GATEWAY, skip=int(rng.integers(1, 4)), times=FOR_EVER),)


def _stops(rng: np.random.Generator, intensity: float) -> tuple[tuple[Rule, float], ...]:
    """Sometimes a process is frozen where it hurts: about an order that is decided, allowed, or signed."""
    if rng.random() >= 0.08 * intensity:
        return ()
    where = PAINFUL[int(rng.integers(len(PAINFUL)))]
    return ((Rule(where, skip=int(rng.integers(0, 4))), float(rng.uniform(1.0, 50.0))),)
