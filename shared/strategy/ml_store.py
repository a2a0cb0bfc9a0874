"""Where ML models are kept: `models/ml/{venue}/{symbol}/{interval}/{valid_from_ms}-{id}.onnx` and `.json` in a bucket.

Models are immutable, and there is one for an asset, interval and instant: of two nobody could say which one spoke. The card is
written last: an ONNX file without one is a training that was cut off, and is not a model.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from shared.domain.asset import Asset
from shared.domain.errors import Conflict, ModelError
from shared.domain.interval import Interval, format_ms
from shared.ports import Bucket
from shared.strategy.ml_model import MlModel, ModelCard, Trained, UnusableModel

REPLACE = "`ost alphas train --replace`"


class OtherModel(ModelError):
    """The instant of a model already has another one."""


@dataclass(frozen=True, slots=True)
class StoredModels:
    """What a bucket holds for one asset."""

    trained: tuple[Trained, ...]
    """by `valid_from_ms`; one that cannot be used keeps its place, so that no older one speaks in its stead"""
    problems: tuple[str, ...]
    """what cannot be used, one line each"""

    @property
    def models(self) -> tuple[MlModel, ...]:
        """Those that can be used."""
        return tuple(model for model in self.trained if isinstance(model, MlModel))


def folder(asset: Asset, interval: Interval) -> str:
    """Prefix of an asset's models."""
    return f"models/ml/{asset.venue}/{asset.symbol}/{interval}/"


def save_ml_model(bucket: Bucket, asset: Asset, model: MlModel, *, replace: bool = False) -> str:
    """Store a model and return the name of its card; one that is already there stays as it is.

    Raises `ModelError` where the model is unusable or another asset's, `OtherModel` where its instant already has another
    model, unless `replace` says that the new one takes its place.
    """
    _belongs(model.checked(), asset, model.card.interval)
    instant = f"{folder(asset, model.card.interval)}{model.card.valid_from_ms:013d}-"
    stem = f"{instant}{model.card.id}"
    others = [name for name in bucket.list(instant) if name.endswith(".json") and name != f"{stem}.json"]
    if others and not replace:
        known = " ".join(name.removeprefix(instant).removesuffix(".json") for name in others)
        raise OtherModel(f"{format_ms(model.card.valid_from_ms)} already has the model {known}, this one is {model.card.id}")
    for name in others:  # the card first: without it the rest is no model
        bucket.delete(name)
        bucket.delete(f"{name.removesuffix('.json')}.onnx")
    for name, content in ((f"{stem}.onnx", model.onnx), (f"{stem}.json", model.card.to_json().encode())):
        # A conflict means that the same content is already stored under this name.
        with contextlib.suppress(Conflict):
            bucket.write(name, content, if_generation=0)
    return f"{stem}.json"


def load_ml_models(bucket: Bucket, asset: Asset, interval: Interval) -> StoredModels:
    """Every model of an asset, oldest first; what cannot be used is named, never silently left out.

    Of several models of one instant none is used: it is unknown which one is meant.
    """
    prefix = folder(asset, interval)
    found: dict[int, dict[str, Trained]] = {}
    problems = []
    for name in bucket.list(prefix):
        stem, dot, kind = name.removeprefix(prefix).rpartition(".")
        if (dot, kind) != (".", "json"):
            continue
        instant, _, model_id = stem.partition("-")
        try:
            model = _belongs(_read(bucket, name), asset, interval)
        except ModelError as error:
            problems.append(f"{stem}.json: {error}")
            if not instant.isdecimal():
                continue  # not a name of ours: it stands for no instant
            found.setdefault(int(instant), {})[model_id] = UnusableModel(int(instant), problems[-1])
        else:
            found.setdefault(model.card.valid_from_ms, {})[model_id] = model
    trained: list[Trained] = []
    for valid_from_ms, several in sorted(found.items()):
        if len(several) > 1:
            names = " ".join(several)
            problem = f"{format_ms(valid_from_ms)} has several models ({names}): none is used; keep one with {REPLACE}"
            problems.append(problem)
            trained.append(UnusableModel(valid_from_ms, problem))
        else:
            trained += several.values()
    return StoredModels(tuple(trained), tuple(problems))


def _belongs(model: MlModel, asset: Asset, interval: Interval) -> MlModel:
    """The model. Raises `ModelError` where it was trained on something else."""
    card = model.card
    if card.asset != str(asset) or card.interval is not interval:
        raise ModelError(
            f"model {card.id} was trained on {card.asset} {card.interval}, this is {asset} {interval}; train one for it with "
            "`ost alphas train`"
        )
    return model


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
