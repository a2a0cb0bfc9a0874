"""Variants by dotted name: one way there and back, and every mistake named before anything runs."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.calibration.grids import default_points
from shared.calibration.points import points_of
from shared.calibration.variants import LIMITS, as_variants, changes_between, flattened, with_changes
from shared.domain.errors import ConfigError
from shared.domain.regime import Regime
from shared.trading.params import SystemParams

BASE = SystemParams()


def test_a_dotted_name_reaches_the_innermost_value_and_nothing_else():
    changed = with_changes(BASE, {"strategy.trend_hunter.weights.momentum": 2, "risk.stress_multiplier": 0.25})
    assert changed.strategy.trend_hunter.weights.momentum == 2.0
    assert changed.risk.stress_multiplier == 0.25
    assert changes_between(BASE, changed) == {"strategy.trend_hunter.weights.momentum": 2.0, "risk.stress_multiplier": 0.25}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "strategy.entry_threshold": st.floats(0.11, 0.49),
            "strategy.breakout_bars": st.integers(1, 200),
            "strategy.mean_reversion.share": st.floats(0, 5),
            "strategy.trend_hunter.target_regimes": st.lists(st.sampled_from(["calm", "stress"]), min_size=1, max_size=2),
            "risk.pause_hours": st.just([1, 2, 3]),
            "regime.refit_days": st.integers(1, 30),
            "max_decision_age": st.floats(0.1, 1),
        },
    )
)
def test_changes_lead_there_and_back(changes):
    other = with_changes(BASE, changes)
    back = with_changes(BASE, changes_between(BASE, other))
    assert back == other
    assert back.version == other.version


def test_whole_and_decimal_numbers_are_one_setting():
    assert with_changes(BASE, {"strategy.stop_atr": 4}).version == with_changes(BASE, {"strategy.stop_atr": 4.0}).version
    assert with_changes(BASE, {"strategy.breakout_bars": 24.0}).strategy.breakout_bars == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy.entry_treshold": 0.3}, "did you mean strategy.entry_threshold"),
        ({"strategy.trend_hunter": 3}, "unknown parameter strategy.trend_hunter"),
        ({"strategy.stop_atr": "wide"}, "strategy.stop_atr is 'wide'; expected a number"),
        ({"strategy.stop_atr": float("nan")}, "expected a number"),
        ({"strategy.stop_atr": 10**400}, "expected a number"),
        ({"strategy.stop_atr": "1e1"}, "YAML reads an exponent only with point and sign"),
        ({"strategy.trend_hunter.target_regimes": [float("nan")]}, "expected a list"),
        ({"strategy.stop_atr": True}, "expected a number"),
        ({"strategy.breakout_bars": 2.5}, "expected a whole number"),
        ({"strategy.breakout_bars": 5000}, "expected 1 to 2000 bars"),
        ({"strategy.stop_atr": 99}, "at most 50"),
        ({"strategy.trend_hunter.target_regimes": ["panic"]}, "panic"),
        ({"strategy.trend_hunter.target_regimes": "calm"}, "expected a list"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_what_could(change, message):
    with pytest.raises(ConfigError, match=message):
        with_changes(BASE, change)


def test_regimes_come_back_as_regimes():
    changed = with_changes(BASE, {"strategy.trend_hunter.target_regimes": ["stress"]})
    assert changed.strategy.trend_hunter.target_regimes == (Regime.STRESS,)


def test_all_problems_of_a_list_are_named_at_once():
    points = [
        {"strategy.entry_treshold": 0.3},
        {"strategy.stop_atr": 99},
        {"strategy.stop_atr": 4},
        {"strategy.stop_atr": 4.0},
        {"regime.refit_days": 3},
        {"strategy.breakout_bars": 900},
    ]
    with pytest.raises(ConfigError) as caught:
        as_variants(BASE, points, limit=100)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert "variant 1" in lines[0]
    assert "variant 2" in lines[1]
    assert "variant 4 is the same as variant 3" in lines[2]
    assert "variant 5: regime.refit_days is not varied" in lines[3]
    assert "looks back" in lines[4]


@pytest.mark.parametrize("name", LIMITS)
def test_a_safety_limit_is_no_variant_and_the_reason_is_said(name):
    point = {"strategy.stop_atr": 4.0, name: flattened(BASE)[name]}
    with pytest.raises(ConfigError, match=f"variant 1: {name} is a safety limit: a person sets it"):
        as_variants(BASE, [point], limit=10)


def test_of_risk_all_but_the_limits_may_vary():
    sizing = [name for name in flattened(BASE) if name.startswith("risk.") and name not in LIMITS]
    assert "risk.stress_multiplier" in sizing
    assert len(sizing) + len(LIMITS) == len(dataclasses.fields(BASE.risk))
    assert as_variants(BASE, [{"risk.kelly_fraction": 0.5}, {"risk.stress_multiplier": 0.25}], limit=10)


def test_none_too_many_and_only_the_base_are_refused():
    with pytest.raises(ConfigError, match="no variants"):
        as_variants(BASE, [], limit=10)
    with pytest.raises(ConfigError, match="3 variants, at most 2"):
        as_variants(BASE, [{"strategy.stop_atr": n} for n in (2, 4, 5)], limit=2)
    with pytest.raises(ConfigError, match="no variant differs"):
        as_variants(BASE, [{"strategy.stop_atr": BASE.strategy.stop_atr}], limit=2)


def test_the_base_in_a_grid_is_not_tried_twice():
    points = points_of({"strategy.stop_atr": [2, BASE.strategy.stop_atr, 4]}, "file", limit=10)
    assert [variant.changes for variant in as_variants(BASE, points, limit=10)] == [
        {"strategy.stop_atr": 2.0},
        {"strategy.stop_atr": 4.0},
    ]


def test_the_default_grid_is_valid_different_and_of_the_promised_size():
    variants = as_variants(BASE, default_points(BASE), limit=100)
    assert 24 <= len(variants) <= 55
    assert len({variant.version for variant in variants}) == len(variants)


def test_the_default_grid_survives_a_bolder_base():
    base = with_changes(
        BASE, {"strategy.entry_threshold": 0.5, "strategy.full_score": 0.83, "strategy.trend_hunter.share": 0.0}
    )
    assert as_variants(base, default_points(base), limit=100)


def test_every_known_name_can_be_set_to_what_it_is():
    assert with_changes(BASE, flattened(BASE)) == BASE
