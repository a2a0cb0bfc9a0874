"""The run folder of a training: what is written into it, and how it is read back.

`runs/agents/<train-id>/` below storage.root holds `config_metadata.yaml`, `scaler.json`, `policy.zip` (stable-baselines3),
`policy.onnx` and `policy.json` (checksum, contract, shapes). The card is written last: a folder without one is unfinished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.errors import DataNotFound, ModelError
from shared.ports import Bucket
from shared.strategy.rl_card import PolicyCard
from shared.strategy.rl_observation import ObservationSpec
from shared.strategy.rl_policy import RlPolicy
from shared.strategy.rl_store import check_train_id

CONFIGURATION, SCALER, ZIP, ONNX, CARD = "config_metadata.yaml", "scaler.json", "policy.zip", "policy.onnx", "policy.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One training run in a bucket whose top level is `runs/agents`."""

    bucket: Bucket
    train_id: str

    def __post_init__(self) -> None:
        check_train_id(self.train_id)

    def write(self, policy: RlPolicy, configuration: Mapping[str, Any], zip_content: bytes | None) -> None:
        """Everything of a training; without `zip_content` the zip that is there stays."""
        import yaml

        self.bucket.delete(self._name(CARD))
        self.bucket.write(self._name(CONFIGURATION), yaml.safe_dump(dict(configuration), sort_keys=False).encode())
        self.bucket.write(self._name(SCALER), scaler_json(policy.card.observation).encode())
        if zip_content is not None:
            self.bucket.write(self._name(ZIP), zip_content)
        self.bucket.write(self._name(ONNX), policy.onnx)
        self.bucket.write(self._name(CARD), policy.card.to_json().encode())

    def card(self) -> PolicyCard:
        """The card. Raises `DataNotFound` or `ModelError`."""
        return PolicyCard.from_json(self.read(CARD))

    def configuration(self) -> dict[str, Any]:
        """What config_metadata.yaml says. Raises `DataNotFound` or `ModelError`."""
        import yaml

        try:
            content = yaml.safe_load(self.read(CONFIGURATION))
        except yaml.YAMLError as error:
            raise ModelError(f"{self.train_id}: {CONFIGURATION} is no YAML ({error}); restore it or train again") from error
        if not isinstance(content, dict):
            raise ModelError(f"{self.train_id}: {CONFIGURATION} holds no names and values; restore it or train again")
        return content

    def read(self, name: str) -> bytes:
        """One file. Raises `DataNotFound` naming the trainings that there are."""
        stored = self.bucket.read(self._name(name))
        if stored is None:
            known = " ".join(train_ids(self.bucket)) or "none"
            raise DataNotFound(f"the training {self.train_id} has no {name}; finished trainings: {known} (`ost agent list`)")
        return stored.content

    def _name(self, name: str) -> str:
        return f"{self.train_id}/{name}"


def scaler_json(spec: ObservationSpec) -> str:
    """Mean and scale of each feature, for people and other programs; the bot reads them from the card."""
    rows = {
        name: {"mean": mean, "scale": scale} for name, mean, scale in zip(spec.features, spec.means, spec.scales, strict=True)
    }
    return json.dumps({"schema": 1, "columns": rows}, indent=2, allow_nan=False) + "\n"


def train_ids(bucket: Bucket) -> tuple[str, ...]:
    """Names of the finished trainings, sorted."""
    return tuple(name.split("/")[0] for name in bucket.list() if name.count("/") == 1 and name.endswith(f"/{CARD}"))
