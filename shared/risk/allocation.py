"""How large positions are in this regime: a size multiplier that is continuous in the probabilities.

    blend  = Σ P(regime) · multiplier(regime), where the calm bonus counts only as far as it has ramped in:
             multiplier(calm) = balanced + (calm − balanced) · clip((P(calm) − s) / (1 − s), 0, 1),   s = 0.6
    w      = clip((P(stress) − 0.5 + b) / 2b, 0, 1),                                                  b = ramp half width
    size   = clip((1 − w) · blend + w · stress multiplier, minimum, maximum)

The reference document's formula jumps at P(stress) = 0.5 and forgets its own calm rule; this is the continuous form of
quant.md, "Capital allocation". Invariant: moving probability to stress never increases the size.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.regime import RegimeProbabilities
from shared.risk.params import RiskParams


def size_multiplier(probabilities: RegimeProbabilities, params: RiskParams) -> float:
    """Factor on the size of every position, in [minimum_multiplier, maximum_multiplier]."""
    calm, balanced, stress = probabilities.calm, probabilities.balanced, probabilities.stress
    bonus = _clip((calm - params.calm_ramp_start) / (1 - params.calm_ramp_start))
    calm_multiplier = params.balanced_multiplier + (params.calm_multiplier - params.balanced_multiplier) * bonus
    blend = calm * calm_multiplier + balanced * params.balanced_multiplier + stress * params.stress_multiplier
    ramp = _clip((stress - 0.5 + params.stress_ramp) / (2 * params.stress_ramp))
    size = (1 - ramp) * blend + ramp * params.stress_multiplier
    return min(max(size, params.minimum_multiplier), params.maximum_multiplier)


def size_multipliers(probabilities: FloatArray, params: RiskParams) -> FloatArray:
    """`size_multiplier` of each row of `probabilities` (n, 3), equal to it to the bit; NaN where they are unknown. (n,)."""
    calm, balanced, stress = probabilities.T
    bonus = np.clip((calm - params.calm_ramp_start) / (1 - params.calm_ramp_start), 0.0, 1.0)
    calm_multiplier = params.balanced_multiplier + (params.calm_multiplier - params.balanced_multiplier) * bonus
    blend = calm * calm_multiplier + balanced * params.balanced_multiplier + stress * params.stress_multiplier
    ramp = np.clip((stress - 0.5 + params.stress_ramp) / (2 * params.stress_ramp), 0.0, 1.0)
    sizes: FloatArray = (1 - ramp) * blend + ramp * params.stress_multiplier
    return np.clip(sizes, params.minimum_multiplier, params.maximum_multiplier)


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
