"""What an action of the RL agent means: a number in [-1, 1] becomes long, short or hold, and open, close or increase.

    |action| < threshold                 hold: what is held stays
    flat                                 open in the direction of the action, |action| of the full size
    held, action in the same direction   increase to |action|; a smaller one holds (nothing is ever reduced)
    held, action against it              close; the other side is opened by a later action

As `interpretar_accion` of reference document 4. Invariants: the position stays in [-1, 1]; it never turns around in one step; a
hold changes nothing; mirroring action and position mirrors the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.errors import ModelError


class Operation(StrEnum):
    """What is done with the position."""

    HOLD = "hold"
    OPEN_LONG = "open_long"
    OPEN_SHORT = "open_short"
    INCREASE_LONG = "increase_long"
    INCREASE_SHORT = "increase_short"
    CLOSE_LONG = "close_long"
    CLOSE_SHORT = "close_short"


class Direction(StrEnum):
    """What the action itself says."""

    LONG = "long"
    SHORT = "short"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Interpretation:
    """One action, understood."""

    direction: Direction
    operation: Operation
    position: float
    """the position after it, as a signed part of the full size"""


def interpret(action: float, position: float, threshold: float) -> Interpretation:
    """What `action` in [-1, 1] means to an agent that holds `position` in [-1, 1].

    Raises `ModelError` where the action is no number in [-1, 1]: then the policy is broken, not cautious.
    """
    if not -1.0 <= action <= 1.0:
        raise ModelError(
            f"the RL policy acts {action:g}; expected a number in [-1, 1]; export it again with `ost agent export`"
        )
    size = abs(action)
    if size < threshold or size == 0.0:
        return Interpretation(Direction.HOLD, Operation.HOLD, position)
    long = action > 0
    direction = Direction.LONG if long else Direction.SHORT
    if position == 0.0:
        return Interpretation(direction, Operation.OPEN_LONG if long else Operation.OPEN_SHORT, action)
    if long != (position > 0):
        return Interpretation(direction, Operation.CLOSE_LONG if position > 0 else Operation.CLOSE_SHORT, 0.0)
    if size <= abs(position):
        return Interpretation(direction, Operation.HOLD, position)
    return Interpretation(direction, Operation.INCREASE_LONG if long else Operation.INCREASE_SHORT, action)
