"""The fields of a JSON object by the type that they must have: whatever was sent is not believed before it was looked at.

Every refusal is a `MalformedData` that names the object, the field, what was found and what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.errors import MalformedData
from shared.domain.text import storable

_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of the object `name`."""

    name: str
    values: Mapping[str, Any]

    def text(self, field: str) -> str:
        """A text that is not empty and that every ledger can keep."""
        value = self._present(field)
        if not isinstance(value, str) or not value or storable(value) != value:
            raise self._wrong(field, value, "a text without NUL")
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts, none of them empty; at least one."""
        value = self._present(field)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
            raise self._wrong(field, value, "a list of texts")
        return tuple(value)

    def count(self, field: str) -> int:
        """A whole number that is not negative."""
        value = self._present(field)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(field, value, "a whole number, 0 or more")
        return value

    def number(self, field: str) -> float:
        """A finite number."""
        value = self._present(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(field, value, "a finite number")
        return float(value)

    def inner(self, field: str) -> Fields:
        """An object."""
        value = self._present(field)
        if not isinstance(value, dict):
            raise self._wrong(field, value, "an object")
        return Fields(f"{self.name}, {field}", value)

    def is_null(self, field: str) -> bool:
        """Whether it is there and null."""
        return self._present(field) is None

    def _present(self, field: str) -> Any:
        if field not in self.values:
            raise MalformedData(f"{self.name} lacks {field}; it has {' '.join(sorted(map(str, self.values))) or 'nothing'}")
        return self.values[field]

    def _wrong(self, field: str, value: Any, expected: str) -> MalformedData:
        return MalformedData(f"{self.name}: {field} is {repr(value)[:_SHOWN_CHARS]}, expected {expected}")
