"""Where RL policies are kept: `models/rl/{train_id}.onnx` and `.json` in a bucket, under the name of their training run.

The strategy names the policies that it follows (`strategy.rl_policies`), so what cannot be used is an error with its remedy,
never a silent absence. The card is written last: an ONNX file without one is an export that was cut off, and is not a policy.
"""

from __future__ import annotations

import re

from shared.domain.errors import ModelError, UsageError
from shared.ports import Bucket
from shared.strategy.rl_card import AGAIN, PolicyCard
from shared.strategy.rl_policy import RlPolicy

FOLDER = "models/rl/"
_TRAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def check_train_id(train_id: str) -> str:
    """The id, fit to be a file name. Raises `UsageError`."""
    if not _TRAIN_ID.fullmatch(train_id):
        raise UsageError(f"train id {train_id!r}: expected letters, digits, and . _ - after the first, at most 120 characters")
    return train_id


def save_rl_policy(bucket: Bucket, policy: RlPolicy) -> str:
    """Store a policy under its train id, in the place of an earlier export; return the name of its card."""
    stem = f"{FOLDER}{check_train_id(policy.checked().card.train_id)}"
    bucket.delete(f"{stem}.json")
    bucket.write(f"{stem}.onnx", policy.onnx)
    bucket.write(f"{stem}.json", policy.card.to_json().encode())
    return f"{stem}.json"


def load_rl_policy(bucket: Bucket, train_id: str) -> RlPolicy:
    """The policy of one training run. Raises `ModelError` where it is missing, altered or gives no action."""
    stem = f"{FOLDER}{check_train_id(train_id)}"
    card, onnx = bucket.read(f"{stem}.json"), bucket.read(f"{stem}.onnx")
    if card is None or onnx is None:
        missing = f"{stem}.json" if card is None else f"{stem}.onnx"
        raise ModelError(
            f"RL policy {train_id}: {missing} is missing in the lake, which has {' '.join(rl_policy_ids(bucket)) or 'none'}; "
            f"{AGAIN}, or take it out of strategy.rl_policies"
        )
    policy = RlPolicy(PolicyCard.from_json(card.content), onnx.content)
    if policy.card.train_id != train_id:
        raise ModelError(f"RL policy {train_id}: its card is that of {policy.card.train_id}; {AGAIN}")
    return policy.checked()


def rl_policy_ids(bucket: Bucket) -> tuple[str, ...]:
    """Train ids that have a card in the bucket, sorted."""
    return tuple(name.removeprefix(FOLDER).removesuffix(".json") for name in bucket.list(FOLDER) if name.endswith(".json"))


def copy_rl_policies(source: Bucket, target: Bucket, train_ids: tuple[str, ...]) -> None:
    """Copy the named policies. A run keeps its own, like its candles. Raises `ModelError` where one cannot be used."""
    for train_id in train_ids:
        save_rl_policy(target, load_rl_policy(source, train_id))
