"""The file of `ost campaign --variants`: YAML or JSON, read strictly.

A name that stands twice is an error with its line: YAML itself would keep the last one in silence, and half of a grid with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from shared.calibration.points import points_of
from shared.config.load import one_line
from shared.domain.errors import ConfigError

_MERGE = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    """Refuses a mapping that names something twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, where its names are different."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice; delete one", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_points(path: Path, limit: int) -> list[dict[str, Any]]:
    """The points of a variants file, at most `limit` from a grid. Raises `ConfigError` naming file, place and reason."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"cannot read the variants file {path}: {reason}") from None
    try:
        content = yaml.load(text, _StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} cannot be read as YAML or JSON: {one_line(error)}") from None
    except RecursionError:
        raise ConfigError(f"{path} cannot be read as YAML or JSON: it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a date or number that no calendar and no computer has
        raise ConfigError(f"{path} cannot be read as YAML or JSON: {str(error).splitlines()[0]}") from None
    return points_of(content, str(path), limit=limit)
