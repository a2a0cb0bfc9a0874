"""From layers to one frozen `Settings`, remembering where each value came from.

Later layers win: `default.yaml` < the user's file (`--config`, `OST_CONFIG` or `ost.yaml` in the working directory) < `.env` <
the environment (`OST_SECTION__KEY`) < the command line. A key that nobody knows is an error with the nearest known key; so is a
value of the wrong type or outside its range. Every finding is one line that names the key, what was found, and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.config import schema
from shared.config.secret_names import ENVIRONMENT_PREFIX, SECRET_VARIABLES
from shared.config.settings import Settings
from shared.domain.errors import ConfigError

CONFIG_VARIABLE = "OST_CONFIG"
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, "OST_COMPILED", "OST_USER"})
"""Variables with our prefix that are no settings: where the settings are, where compiled code is kept."""
USER_FILE = Path("ost.yaml")
DOTENV_FILE = Path(".env")
DEFAULTS = "default.yaml"
COMMAND_LINE = "command line"

_QUICK_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""For our own file: ten times as fast, but its words about errors are not those that people get for theirs."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one origin, by dotted name."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and, by dotted name, the origin of each value."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    config_file: Path | None = None,
    *,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Loaded:
    """Read all layers and check them.

    `environment` is usually `os.environ`; `overrides` are the flags of the command line by dotted name; `folder` is where
    `ost.yaml` and `.env` are looked for (default: the working directory). Raises `ConfigError` with one line per finding.
    """
    here = folder or Path()
    layers = [
        Layer(DEFAULTS, _flat(default_values(), DEFAULTS)),
        *_user_layer(config_file, environment, here),
        *_dotenv_layer(here / DOTENV_FILE),
        Layer("environment", _from_environment(environment, "environment")),
        Layer(COMMAND_LINE, _known(dict(overrides or {}), COMMAND_LINE)),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        values.update(layer.values)
        origins.update(dict.fromkeys(layer.values, layer.origin))
    try:
        settings = Settings.model_validate(schema.nested(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_finding(detail, origins) for detail in error.errors(include_url=False))) from None
    return Loaded(settings, origins)


def default_values() -> Mapping[str, Any]:
    """What `default.yaml` says, nested."""
    text = resources.files("shared.config").joinpath(DEFAULTS).read_text(encoding="utf-8")
    values = yaml.load(text, _QUICK_LOADER)  # noqa: S506 - a safe one
    assert isinstance(values, dict)  # noqa: S101 - our own file
    return values


def _user_layer(config_file: Path | None, environment: Mapping[str, str], folder: Path) -> list[Layer]:
    """The user's file; only the one in the working directory may be absent."""
    named = config_file or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    path = named or folder / USER_FILE
    if named is None and not path.is_file():
        return []
    return [Layer(str(path), _flat(_read_yaml(path), str(path)))]


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"cannot read the settings file {path}: {reason}; name another one with --config") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {one_line(error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; expected keys and values, e.g. `mode: paper`")
    return values


def one_line(error: yaml.YAMLError) -> str:
    """Where YAML stopped to understand a text, and why."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be parsed"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def _flat(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Nested `values` by dotted name; raises `ConfigError` naming every unknown one."""
    unknown = list(schema.unknown_names(Settings, values))
    if unknown:
        raise ConfigError("\n".join(_unknown(name, nearest, origin) for name, nearest in unknown))
    return dict(schema.flatten(Settings, values))


def _dotenv_layer(path: Path) -> list[Layer]:
    if not path.is_file():
        return []
    pairs = {name: value for name, value in dotenv_values(path).items() if value is not None}
    return [Layer(str(path), _from_environment(pairs, str(path)))]


def _from_environment(environment: Mapping[str, str], origin: str) -> dict[str, Any]:
    """`OST_RISK__MAX_LEVERAGE=2` as `risk.max_leverage`; other names are somebody else's."""
    pairs = {
        name.upper().removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."): text
        for name, text in environment.items()
        if name.upper().startswith(ENVIRONMENT_PREFIX) and name.upper() not in SECRET_VARIABLES | OTHER_VARIABLES
    }
    return {name: parse_text(name, text) for name, text in _known(pairs, origin).items()}


def parse_text(name: str, text: str) -> Any:
    """The value of a setting written on one line: YAML; a list also as `BTCUSDT,ETHUSDT`."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if schema.is_sequence(Settings, name) and not isinstance(value, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    return value


def _known(values: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    """`values` by dotted name, after a check that each name exists."""
    names = set(schema.names_of(Settings))
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ConfigError("\n".join(_unknown(name, schema.nearest_name(Settings, name), origin) for name in unknown))
    return values


def _unknown(name: str, nearest: str | None, origin: str) -> str:
    advice = f"did you mean {nearest}?" if nearest else "`ost config show` lists the known ones"
    return f"unknown setting {name} ({origin}); {advice}"


def _finding(detail: ErrorDetails, origins: Mapping[str, str]) -> str:
    """One line for one validation error: which key, what was found, what is expected, where it was set."""
    parts = [str(part) for part in detail["loc"]]
    name = next((".".join(parts[:end]) for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in origins), None)
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    message = (
        message.replace("a valid integer", "a whole number")
        .replace("a valid ", "a ")
        .replace("String should match pattern", "expected text of the form")
    )
    if detail["type"] in ("model_type", "dataclass_type"):
        message = "expected a section: keys and values"
    if name is None:
        return f"{'.'.join(parts)}: {message}" if parts else message
    if detail["type"] == "value_error":
        return f"{name} ({origins[name]}): {message}"
    return f"{name} ({origins[name]}): found {detail['input']!r}, {message}"
