"""Idempotent merge of new closed bars into the lake, by compare-and-swap.

The same bars again change nothing. A bar that differs from a stored closed bar is reported and the stored one stays: history
that was traded on is not rewritten behind anybody's back. The open bar never enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.data.findings import Finding, FindingKind
from shared.data.store import RAW, series_path, update
from shared.data.tables import Series, candles_from_bytes, candles_to_bytes, series_from_bytes, series_to_bytes
from shared.domain.asset import Asset
from shared.domain.candles import COLUMNS, BoolArray, Candles
from shared.domain.errors import MalformedData
from shared.domain.interval import format_ms
from shared.ports import Bucket

# The venue's decimals survive a float64; anything beyond this relative difference is another number.
_SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Merged:
    """The union of stored and new bars, and what the merge did."""

    candles: Candles
    added: int
    findings: tuple[Finding, ...]
    """revised and open bars that were kept out"""


def merge(stored: Candles, new: Candles, now_ms: int | None = None) -> Merged:
    """Stored bars plus those of `new` that are not among them and are closed at `now_ms` (`None`: all are)."""
    if stored.interval is not new.interval:
        raise MalformedData(f"cannot merge {new.interval} bars into {stored.interval} bars")
    findings = []
    if now_ms is not None and len(new) and int(new.close_time[-1]) > now_ms:
        is_open = new.close_time > now_ms
        first, last = int(new.open_time[is_open][0]), int(new.open_time[-1])
        detail = f"not closed at {format_ms(now_ms)}"
        findings.append(Finding(FindingKind.OPEN_BAR, first, last, int(is_open.sum()), detail))
        new = new[: len(new) - int(is_open.sum())]
    known = np.isin(new.open_time, stored.open_time, assume_unique=True)
    findings.extend(_revised(stored, new, known))
    if known.all():
        return Merged(stored, 0, tuple(findings))
    joined = {name: np.concatenate([getattr(stored, name), getattr(new, name)[~known]]) for name in COLUMNS}
    order = np.argsort(joined["open_time"], kind="stable")
    union = Candles(stored.interval, *(joined[name][order] for name in COLUMNS))
    return Merged(union, int((~known).sum()), tuple(findings))


def merge_into(bucket: Bucket, asset: Asset, new: Candles, now_ms: int | None = None) -> Merged:
    """`merge` into the stored raw bars of `asset`; nothing is written where nothing is new.

    Raises `Conflict` where other writers keep being faster, `StorageError` and `MalformedData` with the stored object unharmed.
    """
    name = asset.path(RAW, new.interval)
    result = Merged(Candles.empty(new.interval), 0, ())

    def change(content: bytes | None) -> bytes | None:
        nonlocal result
        stored = Candles.empty(new.interval) if content is None else candles_from_bytes(content, new.interval, name)
        result = merge(stored, new, now_ms)
        return candles_to_bytes(result.candles) if result.added else None

    update(bucket, name, change)
    return result


def merge_series(bucket: Bucket, asset: Asset, kind: tuple[str, str], new: Series) -> int:
    """Add the instants of `new` that are not stored yet to a stored series; return how many there were."""
    folder, value = kind
    name = series_path(asset, folder)
    added = 0

    def change(content: bytes | None) -> bytes | None:
        nonlocal added
        times, values = new
        if content is not None:
            stored_times, stored_values = series_from_bytes(content, value, name)
            fresh = ~np.isin(times, stored_times)
            times, values = np.concatenate([stored_times, times[fresh]]), np.concatenate([stored_values, values[fresh]])
            added = int(fresh.sum())
        else:
            added = len(times)
        order = np.argsort(times, kind="stable")
        return series_to_bytes((times[order], values[order]), value) if added else None

    if not np.isfinite(new[1]).all():
        raise MalformedData(f"{asset}: every {value} must be finite")
    update(bucket, name, change)
    return added


def _revised(stored: Candles, new: Candles, known: BoolArray) -> list[Finding]:
    """One finding for each run of known bars that differ from the stored ones."""
    rows = np.flatnonzero(known)
    positions = np.searchsorted(stored.open_time, new.open_time[rows])
    differs = np.zeros(len(rows), dtype=bool)
    for name in COLUMNS[1:]:
        before, after = getattr(stored, name)[positions], getattr(new, name)[rows]
        differs |= np.abs(before - after) > _SAME * np.maximum(np.abs(before), np.abs(after))
    found = []
    for row, position in zip(rows[differs], positions[differs], strict=True):
        at = int(new.open_time[row])
        changes = [
            f"{name} {float(getattr(stored, name)[position])!r} → {float(getattr(new, name)[row])!r}"
            for name in COLUMNS[1:]
            if getattr(stored, name)[position] != getattr(new, name)[row]
        ]
        found.append(Finding(FindingKind.REVISED, at, at, 1, ", ".join(changes)))
    return found
