"""How large positions are in this regime: a size multiplier that is continuous in the probabilities.

    blend  = Σ P(regime) · multiplier(regime), where the calm bonus counts only as far as it has ramped in:
             multiplier(calm) = balanced + (calm − balanced) · clip((P(calm) − s) / (1 − s), 0, 1),   s = 0.6
    w      = clip((P(stress) − 0.5 + b) / 2b, 0, 1),                                                  b = ramp half width
    size   = clip((1 − w) · blend + w · stress multiplier, minimum, maximum)

The reference document's formula jumps at P(stress) = 0.5 and forgets its own calm rule; this is the continuous form of
quant.md, "Capital allocation". Invariant: moving probability to stress never increases the size. `multiplier` is the one source
of the arithmetic, for a bar and (compiled) for a history.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.regime import RegimeProbabilities
from shared.risk.params import RiskParams
from shared.speed import takes_twin


class Levels(NamedTuple):
    """The numbers of the allocation, plain floats so that it can be compiled."""

    calm: float
    balanced: float
    stress: float
    calm_ramp_start: float
    stress_ramp: float
    minimum: float
    maximum: float


def size_multiplier(probabilities: RegimeProbabilities, params: RiskParams) -> float:
    """Factor on the size of every position, in [minimum_multiplier, maximum_multiplier]."""
    return multiplier(probabilities.calm, probabilities.balanced, probabilities.stress, _levels(params))


def size_multipliers(probabilities: FloatArray, params: RiskParams) -> FloatArray:
    """`size_multiplier` of each row of `probabilities` (n, 3), equal to it to the bit; NaN where they are unknown. (n,)."""
    levels = _levels(params)
    if takes_twin(len(probabilities)):
        from shared.risk.allocation_compiled import multipliers

        return multipliers(probabilities, levels)
    sizes = [multiplier(calm, balanced, stress, levels) for calm, balanced, stress in probabilities.tolist()]
    return np.array(sizes, dtype=np.float64)


def multiplier(calm: float, balanced: float, stress: float, levels: Levels) -> float:
    """The formula of the module's opening lines; NaN probabilities give NaN."""
    bonus = (calm - levels.calm_ramp_start) / (1 - levels.calm_ramp_start)
    bonus = 0.0 if bonus < 0.0 else 1.0 if bonus > 1.0 else bonus
    calm_multiplier = levels.balanced + (levels.calm - levels.balanced) * bonus
    blend = calm * calm_multiplier + balanced * levels.balanced + stress * levels.stress
    ramp = (stress - 0.5 + levels.stress_ramp) / (2 * levels.stress_ramp)
    ramp = 0.0 if ramp < 0.0 else 1.0 if ramp > 1.0 else ramp
    size = (1 - ramp) * blend + ramp * levels.stress
    return levels.minimum if size < levels.minimum else levels.maximum if size > levels.maximum else size


def _levels(params: RiskParams) -> Levels:
    return Levels(
        calm=float(params.calm_multiplier),
        balanced=float(params.balanced_multiplier),
        stress=float(params.stress_multiplier),
        calm_ramp_start=float(params.calm_ramp_start),
        stress_ramp=float(params.stress_ramp),
        minimum=float(params.minimum_multiplier),
        maximum=float(params.maximum_multiplier),
    )
