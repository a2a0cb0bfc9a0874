"""What an action means: hold, open, increase, close; bounded, mirrored, never turning around in one step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import ModelError
from shared.strategy.rl_action import Direction, Operation, interpret

UNIT = st.floats(-1, 1, allow_nan=False)
THRESHOLD = st.floats(0, 0.99)


@pytest.mark.parametrize(
    ("action", "position", "direction", "operation", "after"),
    [
        (0.05, 0.0, "hold", "hold", 0.0),
        (-0.05, 0.7, "hold", "hold", 0.7),
        (0.4, 0.0, "long", "open_long", 0.4),
        (-0.4, 0.0, "short", "open_short", -0.4),
        (0.8, 0.4, "long", "increase_long", 0.8),
        (-0.8, -0.4, "short", "increase_short", -0.8),
        (0.3, 0.4, "long", "hold", 0.4),
        (-0.9, 0.4, "short", "close_long", 0.0),
        (0.2, -0.4, "long", "close_short", 0.0),
        (0.0, 0.3, "hold", "hold", 0.3),
    ],
)
def test_the_table_of_reference_document_4(
    action: float, position: float, direction: str, operation: str, after: float
) -> None:
    found = interpret(action, position, 0.1)
    assert (found.direction, found.operation, found.position) == (Direction(direction), Operation(operation), after)


@given(action=UNIT, position=UNIT, threshold=THRESHOLD)
def test_the_position_stays_bounded_and_never_turns_around(action: float, position: float, threshold: float) -> None:
    after = interpret(action, position, threshold).position
    assert -1 <= after <= 1
    assert after * position >= 0
    assert abs(after) >= abs(position) or after == 0


@given(action=UNIT, position=UNIT, threshold=THRESHOLD)
def test_mirrored_inputs_are_mirrored(action: float, position: float, threshold: float) -> None:
    one, other = interpret(action, position, threshold), interpret(-action, -position, threshold)
    assert other.position == -one.position
    assert other.operation.value == one.operation.value.translate(str.maketrans({})).replace("long", "#").replace(
        "short", "long"
    ).replace("#", "short")


@given(action=UNIT, position=UNIT, threshold=THRESHOLD)
def test_an_action_below_the_threshold_changes_nothing(action: float, position: float, threshold: float) -> None:
    found = interpret(action, position, threshold)
    if abs(action) < threshold:
        assert (found.direction, found.operation, found.position) == (Direction.HOLD, Operation.HOLD, position)
    assert (found.operation is Operation.HOLD) == (found.position == position)


@pytest.mark.parametrize("action", [math.nan, 1.01, -math.inf])
def test_an_action_that_is_no_number_in_range_is_a_broken_policy(action: float) -> None:
    with pytest.raises(ModelError, match=r"expected a number in \[-1, 1\]"):
        interpret(action, 0.0, 0.1)
