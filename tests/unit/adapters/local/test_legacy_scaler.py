"""Old pickled scalers are read as numbers, and what else a pickle may ask for does not run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from shared.adapters.local.legacy_scaler import read_scaler
from shared.calibration.rl_legacy import our_columns
from shared.domain.errors import ModelError


@pytest.mark.parametrize("kind", [StandardScaler, MinMaxScaler, RobustScaler])
def test_a_pickled_scaler_is_read_as_numbers(kind: type) -> None:
    rng = np.random.default_rng(1)
    data = rng.normal(3.0, 5.0, (200, 4))
    fitted = kind().fit(data)
    found = read_scaler(pickle.dumps(fitted))
    assert found.features == ()
    assert np.allclose((data - np.array(found.means)) / np.array(found.scales), fitted.transform(data), atol=1e-9)
    assert read_scaler(pickle.dumps(fitted), trusted=True) == found


def test_a_scaler_fitted_on_named_columns_names_them() -> None:
    fitted = StandardScaler().fit(pd.DataFrame({"close": [1.0, 2.0], "RSI": [3.0, 5.0]}))
    found = read_scaler(pickle.dumps(fitted))
    assert found.features == ("close", "RSI")
    assert our_columns(found.features) == ("close", "rsi")
    with pytest.raises(ModelError, match=r"features stochastic: this system computes no such column"):
        our_columns(("close", "stochastic"))


class Bomb:
    """Pickles into a call of `os.mkdir`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_a_pickle_that_asks_for_more_than_numbers_does_not_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with pytest.raises(ModelError, match=r"asks for (posix|nt|os).mkdir.*--i-trust-this-pickle"):
        read_scaler(pickle.dumps(Bomb(str(target))))
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"no pickle", "cannot be read"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps(StandardScaler()), "was never fitted"),
    ],
)
def test_a_file_that_is_no_scaler_is_one_error(content: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_scaler(content)
