"""What differs between two dataset versions: objects, rows, columns and values.

Rows are matched by their instant; values are compared where both sides have them, exactly, and the largest relative
difference of each column is given, so that "one more week" is told from "history was rewritten".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shared.data.datasets import Member, Snapshot, read_member
from shared.data.tables import read_table, row_instants
from shared.domain.candles import FloatArray
from shared.ports import Bucket


@dataclass(frozen=True, slots=True)
class ObjectDiff:
    """How one object differs between two snapshots."""

    name: str
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    changed: dict[str, int]
    """rows with another value, by column"""
    largest: dict[str, float]
    """largest relative difference, by changed column (infinite where a value is missing on one side)"""


@dataclass(frozen=True, slots=True)
class DatasetDiff:
    """How two snapshots differ."""

    before: str
    after: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ObjectDiff, ...]
    same: int
    """objects that are equal byte for byte"""

    @property
    def is_empty(self) -> bool:
        """Whether both hold the same bytes."""
        return not (self.added or self.removed or self.changed)


def diff(bucket: Bucket, before: Snapshot, after: Snapshot) -> DatasetDiff:
    """The differences from `before` to `after`. Raises `DataError` where a kept copy is gone or altered."""
    old = {member.name: member for member in before.members}
    new = {member.name: member for member in after.members}
    shared = sorted(old.keys() & new.keys())
    differing = [name for name in shared if old[name].sha256 != new[name].sha256]
    return DatasetDiff(
        before=before.label,
        after=after.label,
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(_object_diff(bucket, old[name], new[name]) for name in differing),
        same=len(shared) - len(differing),
    )


def _object_diff(bucket: Bucket, before: Member, after: Member) -> ObjectDiff:
    old = read_table(read_member(bucket, before), before.name)
    new = read_table(read_member(bucket, after), after.name)
    old_times, new_times = row_instants(old), row_instants(new)
    common, old_rows, new_rows = np.intersect1d(old_times, new_times, assume_unique=True, return_indices=True)
    changed, largest = {}, {}
    for column in old.column_names[1:]:
        if column not in new.column_names:
            continue
        first, second = _values(old, column)[old_rows], _values(new, column)[new_rows]
        differs = ~((first == second) | (np.isnan(first) & np.isnan(second)))
        if differs.any():
            changed[column] = int(differs.sum())
            largest[column] = _largest(first[differs], second[differs])
    return ObjectDiff(
        name=after.name,
        rows_before=len(old_times),
        rows_after=len(new_times),
        rows_added=len(new_times) - len(common),
        rows_removed=len(old_times) - len(common),
        columns_added=tuple(column for column in new.column_names if column not in old.column_names),
        columns_removed=tuple(column for column in old.column_names if column not in new.column_names),
        changed=changed,
        largest=largest,
    )


def _values(table: pa.Table, column: str) -> FloatArray:
    return np.asarray(table.column(column).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _largest(first: FloatArray, second: FloatArray) -> float:
    scale = np.maximum(np.maximum(np.abs(first), np.abs(second)), np.finfo(np.float64).tiny)
    relative = np.abs(first - second) / scale
    return float(np.max(np.where(np.isnan(relative), np.inf, relative)))
