"""What a variants file may say, and that whatever else it says is one clear error."""

import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.calibration.points import points_of
from shared.domain.errors import ConfigError

LIMIT = 100
HOLDS_ITSELF: dict = {}
HOLDS_ITSELF["strategy"] = HOLDS_ITSELF
LIST_IN_ITSELF: list = []
LIST_IN_ITSELF.append(LIST_IN_ITSELF)


def test_a_file_is_a_grid_a_list_or_both_dotted_or_nested():
    grid = {"strategy": {"stop_atr": [2, 4], "entry_threshold": [0.2, 0.3]}, "risk.stress_multiplier": 0.25}
    points = points_of(grid, "file", limit=LIMIT)
    assert len(points) == 4
    assert points[0] == {"strategy.stop_atr": 2, "strategy.entry_threshold": 0.2, "risk.stress_multiplier": 0.25}
    listed = [{"strategy.stop_atr": 5}, {"strategy.trend_hunter.target_regimes": ["calm", "stress"]}]
    assert points_of(listed, "file", limit=LIMIT) == listed
    assert points_of({"grid": grid, "variants": listed}, "file", limit=LIMIT) == [*points, *listed]
    regimes = [["calm"], ["calm", "stress"]]
    assert len(points_of({"strategy.trend_hunter.target_regimes": regimes}, "file", limit=LIMIT)) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"strategy.stop_atr": []}, "no values for strategy.stop_atr"),
        ({}, "no values"),
        ({"strategy.stop_atr": [2, 2.0]}, "a value stands twice in strategy.stop_atr"),
        ([{"strategy.stop_atr": 2}, 7], "entry 2"),
        ("strategy.stop_atr", "holds a text"),
        (None, "holds nothing"),
        (7, "holds a number"),
        ({"grid": [1]}, "grid holds a list"),
        ({"variants": {"strategy.stop_atr": 2}}, "variants holds names and values"),
        ({"strategy.stop_atr": [2, math.nan]}, "strategy.stop_atr is nan"),
        ({"strategy.stop_atr": -math.inf}, "strategy.stop_atr is -inf"),
        ([{"strategy.stop_atr": datetime.date(2024, 1, 2)}], "variant 1: strategy.stop_atr is the date 2024-01-02"),
        ({"strategy.stop_atr": [10**400]}, "strategy.stop_atr is a whole number beyond"),
        ({"strategy.stop_atr": [None]}, "strategy.stop_atr is nothing"),
        ({"strategy.stop_atr": [{"a": 1}]}, "strategy.stop_atr is names and values"),
        ({"strategy.stop_atr": {1, 2}}, "strategy.stop_atr is something that is no number"),
        (HOLDS_ITSELF, "nested too deeply"),
        ([HOLDS_ITSELF], "nested too deeply"),
        ({"strategy.stop_atr": LIST_IN_ITSELF}, "strategy.stop_atr is a list"),
        ({"strategy.stop_atr": 2, "strategy": {"stop_atr": 3}}, "strategy.stop_atr is given twice"),
        ([{"strategy.stop_atr": 2, "strategy": {"stop_atr": 3}}], "variant 1: strategy.stop_atr is given twice"),
    ],
)
def test_a_file_that_says_nothing_usable_is_named(content, message):
    with pytest.raises(ConfigError, match=f"v.yaml.*{message}"):
        points_of(content, "v.yaml", limit=LIMIT)


@pytest.mark.parametrize(("axes", "found"), [(3, "1000"), (400, "more than 1000000000000"), (5000, "more than 1000000000000")])
def test_a_grid_is_counted_before_it_is_written_down(axes, found):
    content = {f"strategy.x{axis}": list(range(10)) for axis in range(axes)}
    with pytest.raises(ConfigError, match=f"the grid has {found} combinations, at most 100"):
        points_of(content, "v.yaml", limit=LIMIT)
    assert len(points_of({"strategy.x": list(range(10)), "strategy.y": list(range(10))}, "v.yaml", limit=LIMIT)) == LIMIT


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.dates() | st.binary(max_size=2)
contents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars.filter(bool), inner, max_size=3), max_leaves=12
)


@given(contents)
def test_whatever_yaml_can_say_is_points_or_one_error(content):
    try:
        points = points_of(content, "v.yaml", limit=LIMIT)
    except ConfigError:
        return
    assert all(isinstance(name, str) for point in points for name in point)
