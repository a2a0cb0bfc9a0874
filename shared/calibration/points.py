"""What a variants file describes, as points: a grid `name: [values]`, a list of points, or `grid:` and `variants:`.

The content is anything that YAML can say, so each part is looked at before it is used: names that are given twice, values that
are no numbers, texts or lists of them, grids that are too large to write down, and content that holds itself.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from shared.domain.errors import ConfigError
from shared.domain.ids import canonical_json

_DEEPEST = 8  # levels of names; the settings have four. Content that holds itself is deeper than anything
_LARGEST_WHOLE = 2**53  # beyond it a number has no exact float
_SHOWN_COUNT = 10**12


def points_of(content: Any, origin: str, *, limit: int) -> list[dict[str, Any]]:
    """The points of a file, with dotted names; in the file names are dotted or nested. At most `limit` combinations of a grid.

    Raises `ConfigError` naming `origin`, the name, and what was found.
    """
    if isinstance(content, Mapping) and content and set(content) <= {"grid", "variants"}:
        points = []
        if "grid" in content:
            points += _grid_points(content["grid"], f"{origin}: grid", limit)
        if "variants" in content:
            points += _listed_points(content["variants"], f"{origin}: variants")
        return points
    return _grid_points(content, origin, limit) if isinstance(content, Mapping) else _listed_points(content, origin)


def grid(axes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the values of `axes`; a value that is no list is fixed."""
    values = [value if isinstance(value, list) else [value] for value in axes.values()]
    return [dict(zip(axes, combination, strict=True)) for combination in itertools.product(*values)]


def _grid_points(content: Any, origin: str, limit: int) -> list[dict[str, Any]]:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{origin} holds {_in_words(content)}; expected a grid such as `strategy.stop_atr: [2, 3]`")
    axes = _named(content, origin)
    empty = [name for name, values in axes.items() if isinstance(values, list) and not values]
    if empty or not axes:
        raise ConfigError(f"{origin}: the grid has no values for {', '.join(empty) or 'anything'}; name at least one")
    for name, values in axes.items():
        for value in values if isinstance(values, list) else [values]:
            _check(name, value, origin)
    twice = [name for name, values in axes.items() if isinstance(values, list) and _has_twins(values)]
    if twice:
        raise ConfigError(f"{origin}: a value stands twice in {', '.join(twice)}; delete one")
    count = math.prod(len(values) for values in axes.values() if isinstance(values, list))
    if count > limit:
        found = f"more than {_SHOWN_COUNT}" if count > _SHOWN_COUNT else str(count)
        raise ConfigError(
            f"{origin}: the grid has {found} combinations, at most {limit} (campaign.max_variants); name fewer values, or let "
            "--search look"
        )
    return grid(axes)


def _listed_points(content: Any, origin: str) -> list[dict[str, Any]]:
    if not isinstance(content, list):
        raise ConfigError(
            f"{origin} holds {_in_words(content)}; expected a grid `strategy.stop_atr: [2, 3]` or a list of variants"
        )
    wrong = [str(place) for place, point in enumerate(content, start=1) if not isinstance(point, Mapping)]
    if wrong:
        raise ConfigError(
            f"{origin}: entry {', '.join(wrong)} is no set of `name: value`; expected e.g. {{strategy.stop_atr: 4}}"
        )
    points = [_named(point, f"{origin}: variant {place}") for place, point in enumerate(content, start=1)]
    for place, point in enumerate(points, start=1):
        for name, value in point.items():
            _check(name, value, f"{origin}: variant {place}")
    return points


def _named(content: Mapping[Any, Any], origin: str) -> dict[str, Any]:
    """Dotted names with their values. Raises `ConfigError` for one that is given twice, once dotted and once nested."""
    named: dict[str, Any] = {}
    for name, value in _dotted(content, origin):
        if name in named:
            raise ConfigError(f"{origin}: {name} is given twice, dotted and nested; delete one")
        named[name] = value
    return named


def _dotted(content: Mapping[Any, Any], origin: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if prefix.count(".") > _DEEPEST:
        raise ConfigError(f"{origin}: {prefix[:60]}… is nested too deeply (does it hold itself?); write `strategy.stop_atr: 4`")
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, origin, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check(name: str, value: Any, origin: str) -> None:
    """Raise `ConfigError` unless `value` is a number, a text, or a list of them."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, bool | str):
            continue
        if not isinstance(part, int | float):
            found = _in_words(part)
        elif isinstance(part, int) and abs(part) > _LARGEST_WHOLE:
            found = f"a whole number beyond {_LARGEST_WHOLE}"
        elif not math.isfinite(part):
            found = str(part)
        else:
            continue
        raise ConfigError(f"{origin}: {name} is {found}; expected a finite number, a text, or a list of them")


def _in_words(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, datetime.date):
        return f"the date {value}"
    kinds = ((bool, "yes or no"), (str, "a text"), (int | float, "a number"), (list, "a list"), (Mapping, "names and values"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "something that is no number, text or list")


def _has_twins(values: list[Any]) -> bool:
    texts = [canonical_json(float(value) if isinstance(value, int) else value) for value in values]
    return len(set(texts)) < len(texts)
