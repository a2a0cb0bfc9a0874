"""The variables that `infra/variables.tf` declares: type, default, and the bounds that their validations state.

A value is converted as Terraform converts it ("2" is a number where one is wanted) and held to the validations that are plain:
one of a list, between two numbers, a pattern. The bounds are read from the file, so that they are said in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.cli.cost_literals import Tokens
from shared.domain.errors import UsageError

_VARIABLE = re.compile(r'^variable "(\w+)" \{$(.*?)^\}$', re.MULTILINE | re.DOTALL)
_DEFAULT = re.compile(r"^  default\s*=", re.MULTILINE)
_TYPE = re.compile(r"^  type\s*=\s*(\S+)", re.MULTILINE)
_CONDITION = r"^    condition\s*=\s*"
_ONE_OF = re.compile(_CONDITION + r"contains\((\[[^\]]*\]), var\.\w+\)$", re.MULTILINE)
_BETWEEN = re.compile(_CONDITION + r"var\.(\w+) >= ([0-9]+) && var\.\1 <= ([0-9]+)", re.MULTILINE)
_PATTERN = re.compile(_CONDITION + r'can\(regex\("([^"\\]+)", var\.\w+\)\)$', re.MULTILINE)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. Where it has no bound of a kind, that is `None`."""

    type: str | None
    default: Any
    one_of: tuple[Any, ...] | None
    between: tuple[int, int] | None
    pattern: str | None


def declared(text: str) -> dict[str, Variable]:
    """The variables that a file declares; one without a default has the default `None`."""
    found: dict[str, Variable] = {}
    for name, body in _VARIABLE.findall(text):
        kind, default, between = _TYPE.search(body), _DEFAULT.search(body), _BETWEEN.search(body)
        one_of, pattern = _ONE_OF.search(body), _PATTERN.search(body)
        found[name] = Variable(
            type=kind[1] if kind else None,
            default=Tokens(body[default.end() :], f"variable {name}").value() if default else None,
            one_of=tuple(Tokens(one_of[1], f"variable {name}").value()) if one_of else None,
            between=(int(between[2]), int(between[3])) if between else None,
            pattern=pattern[1] if pattern else None,
        )
    return found


def value_of(variables: Mapping[str, Variable], name: str, chosen: Mapping[str, Any]) -> Any:
    """The value of a variable that must have one. Raises `UsageError` where it is of another type or out of bounds."""
    variable = variables[name]
    given = chosen.get(name, variable.default)
    try:
        value = _CONVERTED[variable.type](given) if variable.type in _CONVERTED else given
    except TypeError:
        raise UsageError(f"{name} is {given!r}; expected a {variable.type}, see infra/variables.tf") from None
    if variable.one_of is not None and value not in variable.one_of:
        raise UsageError(f"{name} is {value!r}; expected one of {', '.join(map(str, variable.one_of))}")
    if variable.between is not None and not variable.between[0] <= value <= variable.between[1]:
        raise UsageError(f"{name} is {value}; expected {variable.between[0]} to {variable.between[1]}")
    if variable.pattern is not None and not re.search(variable.pattern, value):
        raise UsageError(f"{name} is {value!r}; expected something like {variable.default!r}, see infra/variables.tf")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value) if value.lstrip("-").isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise TypeError
    return str(value)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError
    return [_text(item) for item in value]


_CONVERTED: dict[str | None, Callable[[Any], Any]] = {"number": _number, "string": _text, "list(string)": _texts}
