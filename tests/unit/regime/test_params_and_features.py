from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.domain.errors import ConfigError
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.regime.features import regime_features
from shared.regime.params import RegimeParams


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train_bars", 400),
        ("min_train_bars", 499),
        ("restarts", 0),
        ("restarts", 9),
        ("ema_alpha", 0.0),
        ("enter_threshold", 0.4),
        ("exit_threshold", 0.7),
        ("min_state_share", 0.5),
        ("stress_critical_bars", 3),
        ("tolerance", float("nan")),
        ("refit_days", 0),
        ("burn_in_bars", -1),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"regime\.{name} must be"):
        RegimeParams(**{name: value})


def test_version_follows_every_field_and_fit_version_those_of_the_fit() -> None:
    base, other = RegimeParams(), RegimeParams(ema_alpha=0.2)
    assert base.version != other.version
    assert base.fit_version == other.fit_version
    assert base.fit_version != RegimeParams(train_bars=1000).fit_version


def test_features_are_columns_of_the_frame_and_missing_rows_are_whole() -> None:
    columns = {
        "range_volatility": np.array([np.nan, 0.01, 0.0]),
        "skewness": np.array([0.0, -0.5, 0.0]),
        "volume_z": np.array([0.0, 1.5, 2.0]),
    }
    features = regime_features(Frame(Interval.H1, np.array([0, 3_600_000, 7_200_000]), columns))
    assert np.isnan(features[0]).all()
    np.testing.assert_allclose(features[1], [np.log(0.01), -0.5, 1.5])
    assert np.isfinite(features[2]).all()  # a market that stands still has a volatility floor
