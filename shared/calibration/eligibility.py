"""Why a winner may not be promoted by a machine although it passed: it did not show what it would do live.

Each function names the reasons in words; none means that nothing is against it. A person may pass over them, and is warned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from shared.backtest.params import CostParams
from shared.backtest.system import RegimeMode
from shared.calibration.variants import limits_named
from shared.domain.research import CampaignRecord, Champion


def own_limits(changes: Iterable[str]) -> tuple[str, ...]:
    """A variant's changes, by dotted name, that are safety limits: planned before they were refused, or written by hand."""
    return tuple(f"its winner changes the safety limit {name}, which is a person's to set" for name in limits_named(changes))


def measured_otherwise(mode: RegimeMode, measured: CostParams, configured: CostParams) -> tuple[str, ...]:
    """Why a winner of such a campaign did not show that it would earn live: another classifier, lower costs. Empty: it did."""
    found = [] if mode is RegimeMode.HMM else [f"it was measured with regimes from {mode.value!r}, trading uses 'hmm'"]
    charged, due = _charges(measured), _charges(configured)
    found += [
        f"it was measured at lower costs: {name} {charged[name]:g} bps, the settings say {due[name]:g}"
        for name in due
        if charged[name] < due[name] - 1e-9
    ]
    return tuple(found)


def other_bars(wanted: CampaignRecord | Champion, active: Champion | None) -> tuple[str, ...]:
    """Why it does not simply take the place of the active champion: it trades other bars."""
    if active is None or active.interval is wanted.interval:
        return ()
    found = (
        f"it trades {wanted.interval} bars and {active.id}, which it would replace, {active.interval} bars: the two were never "
        f"compared, and the runs of {active.asset.symbol} must change to interval={wanted.interval} with it"
    )
    return (found,)


def _charges(costs: CostParams) -> dict[str, float]:
    """What can be compared: a taker pays fee and half-spread together, however they are divided."""
    parts = asdict(costs)
    taker = parts.pop("taker_fee_bps") + parts.pop("half_spread_bps")
    return {"taker_fee_bps + half_spread_bps": taker, **parts}
