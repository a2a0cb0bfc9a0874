"""Where ML models are kept: `models/ml/{venue}/{symbol}/{interval}/{valid_from_ms}-{id}.onnx` and `.json` in a bucket.

Models are immutable. The card is written last: an ONNX file without one is a training that was cut off, and is not a model.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from shared.domain.asset import Asset
from shared.domain.errors import Conflict, ModelError
from shared.domain.interval import Interval
from shared.ports import Bucket
from shared.strategy.ml_model import MlModel, ModelCard


@dataclass(frozen=True, slots=True)
class StoredModels:
    """What a bucket holds for one asset."""

    models: tuple[MlModel, ...]
    """by `valid_from_ms`"""
    problems: tuple[str, ...]
    """models that cannot be used, one line each"""


def folder(asset: Asset, interval: Interval) -> str:
    """Prefix of an asset's models."""
    return f"models/ml/{asset.venue}/{asset.symbol}/{interval}/"


def save_ml_model(bucket: Bucket, asset: Asset, model: MlModel) -> str:
    """Store a model and return the name of its card; one that is already there stays as it is."""
    model.checked()
    stem = f"{folder(asset, model.card.interval)}{model.card.valid_from_ms:013d}-{model.card.id}"
    for name, content in ((f"{stem}.onnx", model.onnx), (f"{stem}.json", model.card.to_json().encode())):
        # A conflict means that the same content is already stored under this name.
        with contextlib.suppress(Conflict):
            bucket.write(name, content, if_generation=0)
    return f"{stem}.json"


def load_ml_models(bucket: Bucket, asset: Asset, interval: Interval) -> StoredModels:
    """Every usable model of an asset, oldest first; what cannot be used is named, never silently left out."""
    prefix = folder(asset, interval)
    models, problems = [], []
    for name in bucket.list(prefix):
        if not name.endswith(".json"):
            continue
        try:
            models.append(_read(bucket, name))
        except ModelError as error:
            problems.append(f"{name.removeprefix(prefix)}: {error}")
    return StoredModels(tuple(sorted(models, key=lambda model: model.card.valid_from_ms)), tuple(problems))


def copy_ml_models(source: Bucket, target: Bucket, asset: Asset, interval: Interval) -> int:
    """Copy an asset's models as they are; return how many objects there were. A run keeps its own, like its candles."""
    names = source.list(folder(asset, interval))
    for name in names:
        stored = source.read(name)
        if stored is not None and target.read(name) is None:
            target.write(name, stored.content)
    return len(names)


def _read(bucket: Bucket, name: str) -> MlModel:
    card, onnx = bucket.read(name), bucket.read(f"{name.removesuffix('.json')}.onnx")
    if card is None or onnx is None:
        raise ModelError("its ONNX file is missing; train again with `ost alphas train`")
    return MlModel(ModelCard.from_json(card.content), onnx.content).checked()
