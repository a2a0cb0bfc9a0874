from __future__ import annotations

import dataclasses

import pytest

from shared.domain.asset import Asset
from shared.domain.errors import DataNotFound, ModelError
from shared.domain.interval import DAY_MS, Interval
from shared.regime.model import RegimeModel
from shared.regime.store import list_models, load_model, model_valid_at, save_model

ASSET = Asset("binanceusdm", "BTCUSDT")


def at(model: RegimeModel, instant: int, **changes) -> RegimeModel:
    return dataclasses.replace(model, valid_from_ms=instant, **changes)


def test_a_model_is_found_by_id_and_by_instant(memory_bucket, hand_model: RegimeModel) -> None:
    older, newer = at(hand_model, 7 * DAY_MS), at(hand_model, 14 * DAY_MS)
    name = save_model(memory_bucket, newer)
    save_model(memory_bucket, older)
    assert name == f"models/regime/binanceusdm/BTCUSDT/1h/{14 * DAY_MS:013d}-{newer.id}.json"
    assert [reference.model_id for reference in list_models(memory_bucket, ASSET, Interval.H1)] == [older.id, newer.id]
    assert load_model(memory_bucket, ASSET, Interval.H1, older.id) == older
    assert model_valid_at(memory_bucket, ASSET, Interval.H1, 7 * DAY_MS - 1) is None
    assert model_valid_at(memory_bucket, ASSET, Interval.H1, 14 * DAY_MS - 1) == older
    assert model_valid_at(memory_bucket, ASSET, Interval.H1, 99 * DAY_MS) == newer
    assert model_valid_at(memory_bucket, ASSET, Interval.H4, 99 * DAY_MS) is None


def test_saving_twice_changes_nothing(memory_bucket, hand_model: RegimeModel) -> None:
    name = save_model(memory_bucket, hand_model)
    generation = memory_bucket.read(name).generation
    assert save_model(memory_bucket, hand_model) == name
    assert memory_bucket.read(name).generation == generation


def test_models_of_other_settings_are_passed_over(memory_bucket, hand_model: RegimeModel) -> None:
    other = at(hand_model, 14 * DAY_MS, params={**hand_model.params, "train_bars": 999})
    older = at(hand_model, 7 * DAY_MS)
    save_model(memory_bucket, other)
    save_model(memory_bucket, older)
    assert model_valid_at(memory_bucket, ASSET, Interval.H1, 99 * DAY_MS, older.fit_version) == older
    assert model_valid_at(memory_bucket, ASSET, Interval.H1, 99 * DAY_MS, other.fit_version) == other


def test_missing_and_damaged_models_say_so(memory_bucket, hand_model: RegimeModel) -> None:
    with pytest.raises(DataNotFound, match="ost classify"):
        load_model(memory_bucket, ASSET, Interval.H1, "m-nothing")
    name = save_model(memory_bucket, hand_model)
    memory_bucket.write(name, b"{torn")
    with pytest.raises(ModelError, match=name):
        load_model(memory_bucket, ASSET, Interval.H1, hand_model.id)
    memory_bucket.write(name, at(hand_model, 5).to_json().encode())
    with pytest.raises(ModelError, match="renamed or replaced"):
        load_model(memory_bucket, ASSET, Interval.H1, hand_model.id)


def test_foreign_objects_are_no_models(memory_bucket) -> None:
    memory_bucket.write("models/regime/binanceusdm/BTCUSDT/1h/README.txt", b"hello")
    assert list_models(memory_bucket, ASSET, Interval.H1) == []
