"""The card of an RL policy: the JSON that lies beside its ONNX file and says what it is, what it sees and when it may speak.

Everything that a score depends on besides the bars is in it, and its id comes from its content: a card that was altered, or
that another version of the code wrote, is refused with the remedy.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from shared.domain.errors import ModelError, OstError
from shared.domain.ids import canonical_json, content_id
from shared.domain.interval import Interval
from shared.strategy.rl_observation import PORTFOLIO, ObservationSpec
from shared.strategy.rl_shadow import ShadowRules

AGAIN = "train again with `ost agent train`, or export the run folder again with `ost agent export`"
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PolicyCard:
    """The JSON that lies beside a policy's ONNX file."""

    train_id: str
    asset: str
    interval: Interval
    observation: ObservationSpec
    shadow: ShadowRules
    action_threshold: float
    """|action| below which nothing is done"""
    contract: str
    curation: str
    """`curation_version` of the training data"""
    train_start_ms: int
    train_end_ms: int
    """close of the last bar of the training: the policy speaks of later bars only"""
    steps: int
    """environment steps of the training"""
    checksum: str
    """SHA-256 of the ONNX bytes"""

    @property
    def id(self) -> str:
        """Content id."""
        return content_id("rl", self._plain())

    @property
    def lookback_bars(self) -> int:
        """Curated rows that a score depends on, its own included."""
        return self.shadow.episode_bars + self.observation.window_size

    def _plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(canonical_json({**asdict(self), "interval": self.interval.value}))
        return plain

    def to_json(self) -> str:
        """Canonical JSON with the id and, for a reader, the shapes of the inputs."""
        shapes = {"market": [1, *self.observation.market_shape], "portfolio": [1, len(PORTFOLIO)], "action": [1, 1]}
        return canonical_json({"schema": _SCHEMA, "id": self.id, "shapes": shapes, **self._plain()})

    @classmethod
    def from_json(cls, text: str | bytes) -> PolicyCard:
        """The card that `to_json` wrote. Raises `ModelError` for anything else."""
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise ModelError(f"RL policy card: not JSON ({error}); {AGAIN}") from error
        names = {entry.name for entry in fields(cls)}
        if not isinstance(stored, dict) or stored.get("schema") != _SCHEMA or set(stored) != names | {"schema", "id", "shapes"}:
            raise ModelError(f"RL policy card: not of schema {_SCHEMA} with the fields {' '.join(sorted(names))}; {AGAIN}")
        try:
            card = _card({name: stored[name] for name in names})
            found = card.id
        except (OstError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"RL policy card: {error}; {AGAIN}") from error
        if found != stored["id"]:
            raise ModelError(f"RL policy card: content gives id {found}, the file says {stored['id']}: it was altered; {AGAIN}")
        return card


def _card(values: dict[str, Any]) -> PolicyCard:
    seen: dict[str, Any] = dict(values["observation"])
    seen |= {name: tuple(value) for name, value in seen.items() if isinstance(value, list)}
    return PolicyCard(
        **{
            **values,
            "interval": Interval.parse(values["interval"]),
            "observation": ObservationSpec(**seen),
            "shadow": ShadowRules(**values["shadow"]),
        }
    )
