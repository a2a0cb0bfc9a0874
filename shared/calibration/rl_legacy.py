"""What the files of an old training mean here: its columns, its settings, its days (`ost agent convert`).

The pickled scaler is opened by `shared/adapters/local/legacy_scaler.py`, which says why that is done with care.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.data.curation import CURATED_COLUMNS
from shared.domain.errors import ModelError

_SYNONYMS = {
    "apertura": "open",
    "maximo": "high",
    "minimo": "low",
    "cierre": "close",
    "volumen": "volume",
    "retorno_log": "log_return",
    "rsi_14": "rsi",
    "atr_14": "atr",
    "sma_20": "sma_fast",
    "sma_50": "sma_slow",
    "ema_21": "ema_fast",
    "ema_55": "ema_slow",
    "macd_hist": "macd_histogram",
    "macd_diff": "macd_histogram",
    "bb_upper": "bollinger_upper",
    "bb_middle": "bollinger_middle",
    "bb_lower": "bollinger_lower",
}
"""Columns of the old system that mean one of ours"""


@dataclass(frozen=True, slots=True)
class LegacyScaler:
    """What a pickled scaler says: (x - mean) / scale of each column."""

    features: tuple[str, ...]
    """as the pickle names them; empty where it does not"""
    means: tuple[float, ...]
    scales: tuple[float, ...]


def our_columns(names: tuple[str, ...]) -> tuple[str, ...]:
    """The curated columns that `names` mean. Raises `ModelError` for names that mean none of them."""
    found = tuple(_SYNONYMS.get(name.lower(), name.lower()) for name in names)
    unknown = [name for name, ours in zip(names, found, strict=True) if ours not in CURATED_COLUMNS]
    if unknown:
        raise ModelError(
            f"features {' '.join(unknown)}: this system computes no such column; name ours in the same order with --features, "
            f"from {' '.join(CURATED_COLUMNS)}, or train again with `ost agent train`"
        )
    return found


def setting(configuration: Mapping[str, Any], *names: str) -> Any:
    """The first value, at any depth, that has one of `names`; `None` where there is none."""
    flat = dict(_flattened(configuration))
    return next((flat[name] for name in names if name in flat), None)


def _flattened(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value)
        else:
            yield str(name), value


def training_days(train_id: str) -> tuple[str, str] | None:
    """First and last day in a train id such as `train_BTCUSDT_20230101_20250101_…`, as YYYY-MM-DD."""
    found = re.search(r"_(\d{4})(\d{2})(\d{2})_(\d{4})(\d{2})(\d{2})_", train_id)
    if found is None:
        return None
    part = found.groups()
    return "-".join(part[:3]), "-".join(part[3:])
