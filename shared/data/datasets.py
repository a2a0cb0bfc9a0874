"""Dataset versions: immutable, labelled snapshots of raw and curated objects.

Contents are stored once under their SHA-256 (`datasets/objects/…`); a manifest per label (`datasets/manifests/{label}.json`)
names them with row range, code version and instant. A manifest is written once (compare-and-swap against nothing) and never
changed, so a label always means the same bytes; two labels of the same data have the same content hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shared.data.store import CURATED, RAW
from shared.data.tables import read_table, row_instants
from shared.domain.errors import Conflict, DataNotFound, MalformedData, UsageError
from shared.domain.ids import content_id
from shared.ports import Bucket

_MANIFESTS = "datasets/manifests/"
_OBJECTS = "datasets/objects/"
_LABEL = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,59}")


@dataclass(frozen=True, slots=True)
class Member:
    """One stored object of a snapshot. Instants are ms UTC of its first and last row; `None` where it has no rows."""

    name: str
    sha256: str
    rows: int
    first_ms: int | None
    last_ms: int | None
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A labelled set of objects. `content` is the hash of their names and bytes."""

    label: str
    content: str
    code_version: str
    created_ms: int
    members: tuple[Member, ...]

    @property
    def rows(self) -> int:
        """Rows of all objects."""
        return sum(member.rows for member in self.members)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Snapshot:
        """The inverse of `to_dict`."""
        members = tuple(Member(**{**member, "columns": tuple(member["columns"])}) for member in data["members"])
        return cls(data["label"], data["content"], data["code_version"], data["created_ms"], members)


def take_snapshot(
    bucket: Bucket, label: str, *, code_version: str, now_ms: int, layers: Iterable[str] = (RAW, CURATED), contains: str = ""
) -> Snapshot:
    """Keep every Parquet object of `layers` whose name contains `contains` under `label`.

    Raises `UsageError` where the label is malformed or taken, `DataNotFound` where there is nothing to keep.
    """
    if not _LABEL.fullmatch(label):
        raise UsageError(f"{label!r} is no label; expected letters, digits, '.', '-', '_', at most 60, e.g. before-tuning")
    if bucket.read(_manifest(label)) is not None:
        raise UsageError(f"the dataset {label} exists and is immutable; choose another label")
    names = [name for layer in layers for name in bucket.list(f"{layer}/") if name.endswith(".parquet") and contains in name]
    members = tuple(_keep(bucket, name) for name in names)
    if not members:
        raise DataNotFound("there is nothing to keep; fetch market data first: ost backfill --interval 1h")
    content = content_id("v", [(member.name, member.sha256) for member in members])
    snapshot = Snapshot(label, content, code_version, now_ms, members)
    try:
        bucket.write(_manifest(label), json.dumps(snapshot.to_dict(), indent=1).encode(), if_generation=0)
    except Conflict:
        raise UsageError(f"the dataset {label} was made by another process just now; choose another label") from None
    return snapshot


def list_snapshots(bucket: Bucket) -> list[Snapshot]:
    """All snapshots, oldest first."""
    snapshots = (load_snapshot(bucket, label) for label in _labels(bucket))
    return sorted(snapshots, key=lambda snapshot: (snapshot.created_ms, snapshot.label))


def load_snapshot(bucket: Bucket, label: str) -> Snapshot:
    """The snapshot `label`. Raises `DataNotFound` naming the known ones, `MalformedData` where its manifest is damaged."""
    stored = bucket.read(_manifest(label)) if _LABEL.fullmatch(label) else None
    if stored is None:
        known = " ".join(_labels(bucket))
        raise DataNotFound(f"there is no dataset {label!r}; known: {known or 'none'}")
    try:
        return Snapshot.from_dict(json.loads(stored.content))
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedData(f"the manifest of dataset {label} is damaged ({error})") from None


def read_member(bucket: Bucket, member: Member) -> bytes:
    """The bytes of a member. Raises `DataNotFound` where they are gone, `MalformedData` where they are not the ones kept."""
    stored = bucket.read(_object(member.sha256))
    if stored is None:
        raise DataNotFound(f"the kept copy of {member.name} ({member.sha256[:12]}) is gone")
    if hashlib.sha256(stored.content).hexdigest() != member.sha256:
        raise MalformedData(f"the kept copy of {member.name} ({member.sha256[:12]}) was altered")
    return stored.content


def restore(bucket: Bucket, label: str) -> list[str]:
    """Put every object of a snapshot back; return the names that changed.

    Every copy is checked before the first one is written, so that a damaged snapshot changes nothing. Objects that the
    snapshot does not know stay.
    """
    snapshot = load_snapshot(bucket, label)
    contents = {member.name: read_member(bucket, member) for member in snapshot.members}
    changed = []
    for name, content in contents.items():
        stored = bucket.read(name)
        if stored is None or stored.content != content:
            bucket.write(name, content, if_generation=stored.generation if stored else 0)
            changed.append(name)
    return changed


def describe(name: str, content: bytes) -> Member:
    """Hash, rows and columns of a Parquet object. Raises `MalformedData` where it cannot be read."""
    table = read_table(content, name)
    first = last = None
    if table.num_rows:
        times = row_instants(table)
        first, last = int(times[0]), int(times[-1])
    return Member(name, hashlib.sha256(content).hexdigest(), table.num_rows, first, last, tuple(table.column_names))


def _keep(bucket: Bucket, name: str) -> Member:
    stored = bucket.read(name)
    if stored is None:
        raise DataNotFound(f"{name} disappeared while the snapshot was taken; try again")
    member = describe(name, stored.content)
    if bucket.read(_object(member.sha256)) is None:
        bucket.write(_object(member.sha256), stored.content)
    return member


def _labels(bucket: Bucket) -> list[str]:
    return [name.removeprefix(_MANIFESTS).removesuffix(".json") for name in bucket.list(_MANIFESTS)]


def _manifest(label: str) -> str:
    return f"{_MANIFESTS}{label}.json"


def _object(sha256: str) -> str:
    return f"{_OBJECTS}{sha256[:2]}/{sha256}.parquet"
