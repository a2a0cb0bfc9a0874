"""The tree of setting names, read from the types themselves.

Sections are pydantic models (`shared/config/settings.py`) or the frozen parameter dataclasses of the rooms; both are walked
the same way, so that a parameter added to a room is a setting at once: in the file, the environment and `ost config show`.
A name is written with dots: `risk.max_leverage`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel


@cache
def fields_of(section: Any) -> Mapping[str, Any] | None:
    """Field names and types of a section; `None` where `section` is the type of a single value."""
    section = _bare(section)
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {name: field.annotation for name, field in section.model_fields.items()}
    if dataclasses.is_dataclass(section) and isinstance(section, type):
        hints = typing.get_type_hints(section)
        return {field.name: hints[field.name] for field in dataclasses.fields(section) if field.init}
    return None


def _bare(annotation: Any) -> Any:
    """`annotation` without `Annotated` and without an optional `None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        choices = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
        if len(choices) == 1:
            return _bare(choices[0])
    return annotation


def names_of(section: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of every single value under `section`."""
    for name, annotation in (fields_of(section) or {}).items():
        if fields_of(annotation) is None:
            yield prefix + name
        else:
            yield from names_of(annotation, f"{prefix}{name}.")


def is_sequence(section: Any, dotted: str) -> bool:
    """Whether the value called `dotted` is a list of values."""
    for part in dotted.split("."):
        section = (fields_of(section) or {}).get(part)
    return typing.get_origin(_bare(section)) in (tuple, list, frozenset, set)


def unknown_names(section: Any, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """(unknown name, nearest known name) for each key of nested `values` that no field answers to."""
    known = fields_of(section) or {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            yield name, _nearest(str(key), known, prefix)
        elif fields_of(known[key]) is not None and isinstance(value, Mapping):
            yield from unknown_names(known[key], value, f"{name}.")


def nearest_name(section: Any, dotted: str) -> str | None:
    """The known dotted name that looks most like `dotted`."""
    return next(iter(difflib.get_close_matches(dotted, list(names_of(section)), n=1, cutoff=0.6)), None)


def _nearest(key: str, known: Mapping[str, Any], prefix: str) -> str | None:
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return f"{prefix}{match[0]}" if match else None


def flatten(section: Any, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of nested `values`; what belongs to one field stays together."""
    known = fields_of(section) or {}
    for key, value in values.items():
        if isinstance(value, Mapping) and fields_of(known.get(key)) is not None:
            yield from flatten(known[key], value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for name, value in dotted.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree
