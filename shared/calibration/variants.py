"""Parameter variants: what a campaign tries, each as the settings in which it differs, by dotted name.

`strategy.entry_threshold`, `strategy.trend_hunter.share`, `strategy.trend_hunter.weights.momentum`, `risk.stress_multiplier`.
A variant is checked completely (names, types, ranges, playbooks) before anything runs, and all problems are named at once.
Safety limits are a person's: no variant touches them, whatever a backtest without them would earn.
Invariant: `with_changes(base, changes_between(base, other)) == other`, and equal parameters have one version.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.errors import ConfigError, OstError
from shared.trading.params import SystemParams

ROOMS = ("curation", "regime", "strategy", "risk")
"""What `with_changes` may change: the rooms that can change a decision."""
VARIED = ("strategy", "risk")
"""What a campaign may vary: features and regimes are computed once for all of its variants."""
LIMITS = (
    "risk.max_leverage",
    "risk.max_asset_exposure",
    "risk.max_total_exposure",
    "risk.pause_drawdowns",
    "risk.pause_hours",
    "risk.max_drawdown",
)
"""What a campaign may not vary although it stands in `risk`: what a person is ready to lose is no parameter to be tuned."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One point that is tried: `changes` against the base, and the version of the parameters that result."""

    changes: Mapping[str, Any]
    version: str

    @property
    def label(self) -> str:
        """`entry_threshold=0.3 stop_atr=4`, or `base`."""
        shown = (f"{name.removeprefix('strategy.')}={_short(value)}" for name, value in self.changes.items())
        return " ".join(shown) or "base"


def with_changes(params: SystemParams, changes: Mapping[str, Any]) -> SystemParams:
    """`params` with the named values replaced.

    Raises `ConfigError` for a name that does not exist (naming the nearest one), a value of the wrong type, or one that its
    room refuses (naming the range).
    """
    known = flattened(params)
    problems = [_unknown(name, known) for name in changes if name not in known]
    if problems:
        raise ConfigError("\n".join(problems))
    nested: dict[str, Any] = {}
    for name, value in changes.items():
        *path, leaf = name.split(".")
        inner = nested
        for part in path:
            inner = inner.setdefault(part, {})
        inner[leaf] = _typed(name, value, known[name])
    changed = _replaced(params, nested)
    assert isinstance(changed, SystemParams)  # noqa: S101 - for the type checker
    return changed


def flattened(params: SystemParams) -> dict[str, Any]:
    """Every value that can change a decision by dotted name, in JSON's own types."""
    rooms = {f"{room}.{name}": value for room in ROOMS for name, value in _leaves(getattr(params, room))}
    return {**rooms, "max_decision_age": params.max_decision_age}


def changes_between(base: SystemParams, other: SystemParams) -> dict[str, Any]:
    """What differs in `other`, by dotted name."""
    before = flattened(base)
    return {name: value for name, value in flattened(other).items() if value != before[name]}


def limits_named(names: Iterable[str]) -> tuple[str, ...]:
    """The safety limits among dotted names."""
    return tuple(name for name in names if name in LIMITS)


def as_variants(base: SystemParams, points: Sequence[Mapping[str, Any]], *, limit: int) -> tuple[Variant, ...]:
    """Checked variants in the order of `points`; a point that equals the base is left out, it is tried anyway.

    Raises `ConfigError` with a line for each problem: unknown, out of range, twice, not varied by a campaign, a safety limit,
    too many, none.
    """
    if not points:
        raise ConfigError("there are no variants; name at least one value that differs from the settings")
    if len(points) > limit:
        raise ConfigError(f"{len(points)} variants, at most {limit} (campaign.max_variants); each one makes promotion harder")
    known = flattened(base)
    problems: list[str] = []
    seen: dict[str, int] = {}
    variants = []
    for place, point in enumerate(points, start=1):
        outside = [name for name in point if name in known and name.split(".")[0] not in VARIED]
        problems += [f"variant {place}: {name} is not varied by a campaign, only strategy.* and risk.* are" for name in outside]
        problems += [
            f"variant {place}: {name} is a safety limit: a person sets it (`--set {name}=…` or the settings file), and all "
            "variants keep it; of risk.* only the sizing may vary"
            for name in limits_named(point)
        ]
        try:
            params = with_changes(base, point)
            _ = params.strategies  # every playbook must accept it
        except OstError as error:
            problems += [f"variant {place} ({_point(point)}): {line}" for line in str(error).splitlines()]
            continue
        if params.version in seen:
            problems.append(f"variant {place} is the same as variant {seen[params.version]} ({_point(point)}); delete one")
            continue
        seen[params.version] = place
        if params.version != base.version:
            variants.append(Variant(changes_between(base, params), params.version))
    if not problems and not variants:
        problems.append("no variant differs from the settings; name at least one other value")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return tuple(variants)


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    for entry in dataclasses.fields(value):
        inner = getattr(value, entry.name)
        if dataclasses.is_dataclass(inner):
            yield from ((f"{entry.name}.{name}", leaf) for name, leaf in _leaves(inner))
        else:
            yield (
                entry.name,
                [str(part) if isinstance(part, str) else part for part in inner] if isinstance(inner, tuple) else inner,
            )


def _replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    try:
        return dataclasses.replace(
            value,
            **{
                name: _replaced(getattr(value, name), change) if isinstance(change, Mapping) else change
                for name, change in changes.items()
            },
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error


def _typed(name: str, value: Any, current: Any) -> Any:
    """`value` in the type of the current one, so that 3 and 3.0 are one setting. Raises `ConfigError`."""
    if isinstance(current, list):
        if isinstance(value, list | tuple) and all(isinstance(part, str) or _is_number(part) for part in value):
            return tuple(value)
        raise ConfigError(f"{name} is {value!r}; expected a list such as {current}")
    if isinstance(current, str):
        if isinstance(value, str):
            return value
        raise ConfigError(f"{name} is {value!r}; expected a text such as {current!r}")
    if not _is_number(value):
        advice = "; YAML reads an exponent only with point and sign, as in 1.0e+9" if _is_exponent(value) else ""
        raise ConfigError(f"{name} is {value!r}; expected a number such as {current}{advice}")
    if isinstance(current, int):
        if value != round(value):
            raise ConfigError(f"{name} is {value}; expected a whole number such as {current}")
        return int(value)
    return float(value)


def _is_number(value: Any) -> bool:
    """Whether it is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 if isinstance(value, int) else math.isfinite(value)


def _is_exponent(value: Any) -> bool:
    """Whether it is a text such as 1e9, which YAML does not read as a number."""
    return isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value) is not None


def _unknown(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    advice = f"did you mean {nearest[0]}?" if nearest else "`ost config show` lists the known ones"
    return f"unknown parameter {name}; {advice}"


def _point(point: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in point.items()) or "no changes"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "+".join(map(str, value)) if isinstance(value, list) else str(value)
