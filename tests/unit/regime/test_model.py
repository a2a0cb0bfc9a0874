from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from shared.domain.errors import ModelError
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams


def test_json_keeps_every_bit(hand_model: RegimeModel) -> None:
    again = RegimeModel.from_json(hand_model.to_json())
    assert again == hand_model
    assert again.id == hand_model.id
    assert again.to_json() == hand_model.to_json()
    assert again.fit_version == RegimeParams().fit_version


def test_id_follows_the_content(hand_model: RegimeModel) -> None:
    assert dataclasses.replace(hand_model, log_likelihood=-0.5).id != hand_model.id
    assert dataclasses.replace(hand_model).id == hand_model.id


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("start", [0.5, 0.5, 0.5], "start is not a distribution"),
        ("transition", [[1, 0, 0], [0, 2, -1], [0, 0, 1]], "transition is not a distribution"),
        ("means", [[0, 0, 0]], "means must be finite and of shape"),
        ("mean", ["a", 0, 0], "mean must hold numbers"),
        ("mean", [None, 0, 0], "mean must"),
        ("scale", [0, 1, 1], "scale and clip must be positive"),
        ("covariances", [[[1, 2, 0], [2, 1, 0], [0, 0, 1]]] * 3, "positive definite"),
        ("schema", 2, "schema 1 expected, found 2"),
        ("interval", "7h", "unknown interval"),
        ("log_likelihood", "x", "regime model"),
        ("train_bars", 3, "it was altered"),
    ],
)
def test_a_wrong_field_is_one_clear_line(hand_model: RegimeModel, field: str, value: Any, said: str) -> None:
    stored = json.loads(hand_model.to_json()) | {field: value}
    with pytest.raises(ModelError, match=said) as caught:
        RegimeModel.from_json(json.dumps(stored))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", b"\xff\xfe", '{"schema": 1}', '{"schema": NaN}'])
def test_other_text_is_no_model(text: str | bytes) -> None:
    with pytest.raises(ModelError):
        RegimeModel.from_json(text)


def test_an_unknown_field_is_refused(hand_model: RegimeModel) -> None:
    with pytest.raises(ModelError, match="colour"):
        RegimeModel.from_json(json.dumps(json.loads(hand_model.to_json()) | {"colour": 1}))


def test_stationary_distribution_stays(hand_model: RegimeModel) -> None:
    assert hand_model.stationary @ hand_model.transition_array == pytest.approx(hand_model.stationary)
