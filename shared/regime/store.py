"""Where models are kept: `models/regime/{venue}/{symbol}/{interval}/{valid_from_ms}-{id}.json` in a bucket.

Models are immutable: saving one twice changes nothing, but for a damaged file, which is mended; a decision of years ago finds
its model by id. The name carries the instant from which a model is valid, so that the model of the day is found without opening
the others.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from shared.domain.asset import Asset
from shared.domain.errors import Conflict, DataNotFound, ModelError
from shared.domain.interval import Interval
from shared.ports import Bucket
from shared.regime.model import RegimeModel


@dataclass(frozen=True, slots=True, order=True)
class ModelReference:
    """A stored model by name; sorts by instant."""

    valid_from_ms: int
    model_id: str
    name: str
    """object name in the bucket"""


def folder(asset: Asset, interval: Interval) -> str:
    """Prefix of an asset's models."""
    return f"models/regime/{asset.venue}/{asset.symbol}/{interval}/"


def object_name(model: RegimeModel) -> str:
    """Object name of a model. Raises `ModelError` where its asset is not `venue:symbol`."""
    venue, _, symbol = model.asset.partition(":")
    if not symbol:
        raise ModelError(f"model {model.id} belongs to {model.asset!r}; expected venue:symbol")
    return f"{folder(Asset(venue, symbol), model.interval)}{model.valid_from_ms:013d}-{model.id}.json"


def save_model(bucket: Bucket, model: RegimeModel) -> str:
    """Store a model and return its object name; what is there and is not that model is damaged, and replaced."""
    name, content = object_name(model), model.to_json().encode()
    stored = bucket.read(name)
    if stored is None or stored.content != content:
        # A conflict means that another writer stored the same content under the same name.
        with contextlib.suppress(Conflict):
            bucket.write(name, content, if_generation=0 if stored is None else stored.generation)
    return name


def list_models(bucket: Bucket, asset: Asset, interval: Interval) -> list[ModelReference]:
    """All models of an asset, oldest first. Foreign objects in the folder are not models and are left out."""
    prefix = folder(asset, interval)
    references = []
    for name in bucket.list(prefix):
        instant, _, model_id = name.removeprefix(prefix).removesuffix(".json").partition("-")
        if instant.isdigit() and model_id and name.endswith(".json"):
            references.append(ModelReference(int(instant), model_id, name))
    return sorted(references)


def load_model(bucket: Bucket, asset: Asset, interval: Interval, model_id: str) -> RegimeModel:
    """The model with that id. Raises `DataNotFound` where there is none, `ModelError` where it cannot be read."""
    for reference in list_models(bucket, asset, interval):
        if reference.model_id == model_id:
            return _read(bucket, reference)
    raise DataNotFound(f"no regime model {model_id} of {asset} {interval}; run `ost classify` to fit one")


def model_valid_at(
    bucket: Bucket, asset: Asset, interval: Interval, time_ms: int, fit_version: str | None = None
) -> RegimeModel | None:
    """The model in force at an instant: the latest `valid_from_ms` ≤ `time_ms`, or `None`.

    With `fit_version` (`RegimeParams.fit_version`) models that were fitted under other settings do not count. Two models of
    one instant: the one whose id sorts last.
    """
    for reference in reversed(list_models(bucket, asset, interval)):
        if reference.valid_from_ms <= time_ms:
            model = _read(bucket, reference)
            if fit_version is None or model.fit_version == fit_version:
                return model
    return None


def _read(bucket: Bucket, reference: ModelReference) -> RegimeModel:
    stored = bucket.read(reference.name)
    if stored is None:
        raise DataNotFound(f"{reference.name} disappeared while it was read; fit the model again with `ost classify`")
    try:
        model = RegimeModel.from_json(stored.content)
    except ModelError as error:
        raise ModelError(f"{reference.name}: {error}") from error
    if model.id != reference.model_id:
        raise ModelError(f"{reference.name} holds model {model.id}; it was renamed or replaced")
    return model
