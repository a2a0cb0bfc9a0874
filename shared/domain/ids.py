"""Identifiers derived from content: the same thing has the same name in every process, on every retry.

An identifier is a prefix and the start of a SHA-256 over a canonical JSON form, in lower-case base 32 (5 bits a character).
Client order ids obey Binance's rule `^[.A-Z:/a-z0-9_-]{1,36}$` and start with the tag of their book, so that fills can
be attributed to a book without asking anybody.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import numpy as np

from shared.domain.asset import Asset
from shared.domain.candles import COLUMNS, Candles
from shared.domain.frame import Frame

DIGEST_CHARS = 20  # 100 bits: a collision among 10^12 ids has a probability of about 10^-6


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


def digest(content: bytes, chars: int = DIGEST_CHARS) -> str:
    """The first `chars` base-32 characters of the SHA-256 of `content`."""
    return base64.b32encode(hashlib.sha256(content).digest()).decode().lower().rstrip("=")[:chars]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; floats in their shortest exact form."""
    return _canonical(value)


def content_id(prefix: str, *parts: Any) -> str:
    """`{prefix}-{digest}` of JSON-able `parts`."""
    return f"{prefix}-{digest(canonical_json(parts).encode())}"


def decision_id(book: str, asset: Asset, bar_close_ms: int, params_version: str) -> str:
    """One decision per book, asset, bar and parameter version (`design/failures.md`)."""
    return content_id("d", book, str(asset), bar_close_ms, params_version)


def book_tag(book: str) -> str:
    """The prefix that every client order id of `book` carries: `o` and six characters."""
    return f"o{digest(book.encode(), 6)}"


def client_order_id(book: str, decision: str, leg: str) -> str:
    """Deterministic client order id: book tag, leg, digest of all three. At most 36 characters."""
    return f"{book_tag(book)}-{leg[:6]}-{digest(canonical_json([book, decision, leg]).encode())}"


def candles_hash(candles: Candles) -> str:
    """Content hash of candles: interval, times and the exact bits of every value."""
    hasher = hashlib.sha256(candles.interval.value.encode())
    for name in COLUMNS:
        hasher.update(np.ascontiguousarray(getattr(candles, name)).tobytes())
    return "c-" + base64.b32encode(hasher.digest()).decode().lower().rstrip("=")[:DIGEST_CHARS]


def frame_hash(frame: Frame) -> str:
    """Content hash of a frame: interval, times, names and the exact bits of every column."""
    hasher = hashlib.sha256(frame.interval.value.encode())
    hasher.update(np.ascontiguousarray(frame.open_time).tobytes())
    for name, values in frame.columns.items():
        hasher.update(name.encode() + b"\0" + np.ascontiguousarray(values).tobytes())
    return "f-" + base64.b32encode(hasher.digest()).decode().lower().rstrip("=")[:DIGEST_CHARS]
