"""A bounded memory of results: what was computed last is kept, what was not asked for longest is forgotten.

For research only: a sweep asks for the same arrays again and again, and must not fill the machine with all that it ever saw.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Result = TypeVar("Result")


class BoundedMemory:
    """Results by key, at most `max_bytes` of arrays. May be shared between threads: a result may then be computed twice."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], Result], size: Callable[[Result], int]) -> Result:
        """The result kept under `key`, or that of `compute`, which is then kept. `size` is its bytes."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                kept: Result = known[0]
                return kept
        result = compute()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (result, size(result))
                self._bytes += size(result)
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        return result

    @property
    def held_bytes(self) -> int:
        """Bytes of the results that are kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)
