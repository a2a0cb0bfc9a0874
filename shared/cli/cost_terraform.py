"""What a deployment consists of, read from its Terraform files: the chosen variables over their defaults, functions, schedules.

Only literals are understood (texts, numbers, true, false, null, lists, maps), which is all that .tfvars files and defaults hold
here; anything else is refused with its line. Nothing of Terraform is needed to read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.domain.errors import UsageError
from shared.domain.interval import Interval

_TOKEN = re.compile(r'\s+|(?:#|//)[^\n]*|(?P<token>"(?:[^"\\]|\\.)*"|[\w.-]+|[=:,{}\[\]()])')
_VARIABLE = re.compile(r'^variable "(\w+)" \{$(.*?)^\}$', re.MULTILINE | re.DOTALL)
_DEFAULT = re.compile(r"^  default\s*=", re.MULTILINE)
_FUNCTIONS = re.compile(r"^  function = (?=\{)", re.MULTILINE)
PROFILES = ("schedule", "stream")
_WORDS = {"true": True, "false": False, "null": None}
_UNITS_MIB = {"Mi": 1, "Gi": 1024}


@dataclass(frozen=True, slots=True)
class Function:
    """One function as it is deployed."""

    memory_gib: float
    instances: int
    asks_venue: bool
    """its traffic leaves through the NAT"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed, as far as it costs something."""

    environment: str
    profile: str
    mode: str
    assets: int
    interval: Interval
    intervals: tuple[Interval, ...]
    bot_cpu: float
    bot_memory_gib: float
    campaign_tasks: int
    campaign_cpu: float
    campaign_memory_gib: float
    ledger_tier: str
    ledger_is_regional: bool
    ledger_disk_gib: float
    noncurrent_days: float
    schedules: int
    functions: dict[str, Function]


def read_deployment(tfvars: Path, assets: int | None = None, profile: str | None = None) -> Deployment:
    """The deployment of `tfvars`, a file in `infra/environments`; `assets` and `profile` replace what it says.

    Raises `UsageError` for files that are missing or cannot be read, for variables that do not exist, for an unknown profile.
    """
    infra = tfvars.resolve().parent.parent
    chosen = assignments(_text(tfvars), tfvars.name)
    values = defaults(_text(infra / "variables.tf"))
    if unknown := sorted(chosen.keys() - values.keys()):
        raise UsageError(f"{tfvars} sets {', '.join(unknown)}, which {infra / 'variables.tf'} does not declare")
    values.update(chosen)
    if profile is not None:
        values["profile"] = profile
    if values["profile"] not in PROFILES:
        raise UsageError(f"the profile is {values['profile']!r}; expected schedule or stream")
    try:
        interval, intervals = Interval(values["interval"]), tuple(map(Interval, values["intervals"]))
        return Deployment(
            environment=values["environment"],
            profile=values["profile"],
            mode=values["mode"],
            assets=len(values["symbols"]) if assets is None else assets,
            interval=interval,
            intervals=intervals,
            bot_cpu=values["bot_cpu"],
            bot_memory_gib=values["bot_memory_mib"] / 1024,
            campaign_tasks=values["campaign_tasks"],
            campaign_cpu=values["campaign_cpu"],
            campaign_memory_gib=values["campaign_memory_mib"] / 1024,
            ledger_tier=values["ledger_tier"],
            ledger_is_regional=values["ledger_availability"] == "REGIONAL",
            ledger_disk_gib=values["ledger_disk_gib"],
            noncurrent_days=values["noncurrent_days"],
            schedules=_schedules(infra.parent / "functions" / "schedules.yaml", values["profile"], interval, intervals),
            functions=_functions(_text(infra / "functions.tf")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{tfvars} and its defaults do not describe a deployment: {error!r}; see infra/variables.tf") from None


def assignments(text: str, name: str) -> dict[str, Any]:
    """The variables that a .tfvars file sets. Raises `UsageError` with the line that is no literal."""
    tokens = _Tokens(text, name)
    found: dict[str, Any] = {}
    while tokens.next is not None:
        key = tokens.take()
        tokens.expect("=")
        found[key] = tokens.value()
    return found


def defaults(text: str) -> dict[str, Any]:
    """The variables that a file declares, with their defaults; `None` where there is none."""
    found: dict[str, Any] = {}
    for name, body in _VARIABLE.findall(text):
        default = _DEFAULT.search(body)
        found[name] = _Tokens(body[default.end() :], f"variable {name}").value() if default else None
    return found


def _functions(text: str) -> dict[str, Function]:
    start = _FUNCTIONS.search(text)
    if start is None:
        raise UsageError("infra/functions.tf has no local `function = {…}`; it says how each function is deployed")
    table: dict[str, dict[str, Any]] = _Tokens(text[start.end() :], "functions.tf").value()
    return {
        name: Function(
            int(row["memory"][:-2]) * _UNITS_MIB[row["memory"][-2:]] / 1024, row["instances"], row["egress"] == "all"
        )
        for name, row in table.items()
    }


def _schedules(path: Path, profile: str, interval: Interval, intervals: tuple[Interval, ...]) -> int:
    """Jobs of this profile and these intervals, as `infra/scheduler.tf` chooses them."""
    count = 0
    for job in yaml.safe_load(_text(path)):
        kept = (interval,) if job["target"].startswith("bot:") else intervals
        wanted = job["body"].get("interval")
        count += profile in job["profiles"] and (wanted is None or wanted in kept)
    return count


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}; --tfvars names a file in infra/environments of the repository"
        ) from None


class _Tokens:
    """A text's tokens, one ahead."""

    def __init__(self, text: str, name: str) -> None:
        self._name, self._text = name, text
        self._line = 1
        self._tokens = self._scan()
        self.next: str | None = next(self._tokens, None)

    def take(self) -> str:
        """The next token, which is consumed."""
        token = self.next
        if token is None:
            raise self._unexpected()
        self.next = next(self._tokens, None)
        return token

    def expect(self, token: str) -> None:
        """Consume `token`."""
        if self.next != token:
            raise self._unexpected()
        self.take()

    def value(self) -> Any:
        """One literal."""
        word = self.take()
        if word == "{":
            return dict(self._items("}", self._pair))
        if word == "[":
            return list(self._items("]", self.value))
        if word.startswith('"') and "${" not in word:
            return json.loads(word)
        if word in _WORDS:
            return _WORDS[word]
        try:
            return int(word) if word.lstrip("-").isdecimal() else float(word)
        except ValueError:
            raise self._unexpected(word) from None

    def _pair(self) -> tuple[str, Any]:
        key = self.take().strip('"')
        if self.next not in ("=", ":"):
            raise self._unexpected()
        self.take()
        return key, self.value()

    def _items(self, end: str, item: Any) -> Iterator[Any]:
        while self.next != end:
            yield item()
            if self.next == ",":
                self.take()
        self.take()

    def _scan(self) -> Iterator[str]:
        place = 0
        while place < len(self._text):
            match = _TOKEN.match(self._text, place)
            if match is None:
                raise self._unexpected(self._text[place])
            self._line += match[0].count("\n")
            place = match.end()
            if match["token"]:
                yield match["token"]

    def _unexpected(self, token: str | None = None) -> UsageError:
        found = token or self.next
        where = f"{self._name}, line {self._line}"
        return UsageError(f"{where}: found {found or 'the end'}; expected a text, a number, true, false, null, a list or a map")
