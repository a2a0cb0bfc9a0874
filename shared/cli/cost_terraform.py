"""What a deployment consists of, read from its Terraform files: the chosen variables over their defaults, functions, schedules.

Nothing of Terraform is needed to read them. Invariant: a value that costs something and that Terraform refuses has no bill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.cli.cost_literals import Tokens, assignments, file_text
from shared.cli.cost_variables import declared, value_of
from shared.domain.errors import UsageError
from shared.domain.interval import Interval

_INFRA = Path(__file__).parents[2] / "infra"
_FUNCTIONS = re.compile(r"^  function = (?=\{)", re.MULTILINE)
PAPER_MOST_ASSETS = 35
"""infra/cloudrun.tf: what the paper exchange holds"""
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
    region: str
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


def read_deployment(tfvars: Path, assets: int | None = None, profile: str | None = None, mode: str | None = None) -> Deployment:
    """The deployment of `tfvars`, wherever that file lies; `assets`, `profile` and `mode` replace what it says.

    Raises `UsageError` for files that are missing or cannot be read, for variables that do not exist, and for
    values that Terraform would refuse.
    """
    infra = _infra_of(tfvars)
    chosen, variables = assignments(file_text(tfvars), tfvars.name), declared(file_text(infra / "variables.tf"))
    if unknown := sorted(chosen.keys() - variables.keys()):
        raise UsageError(f"{tfvars} sets {', '.join(unknown)}, which {infra / 'variables.tf'} does not declare")
    chosen |= {name: text for name, text in (("profile", profile), ("mode", mode)) if text is not None}

    def value(name: str) -> Any:
        return value_of(variables, name, chosen)

    try:
        intervals = tuple(_interval("intervals", text) for text in _each_once("intervals", value("intervals")))
        interval = _interval("interval", value("interval"))
        if interval not in intervals:
            raise UsageError(f"interval is {interval}, which is not among intervals ({', '.join(intervals)})")
        symbols = _each_once("symbols", value("symbols"))
        count = len(symbols) if assets is None else assets
        if value("mode") == "paper" and count > PAPER_MOST_ASSETS:
            raise UsageError(
                f"mode is paper, whose exchange holds the bars of {PAPER_MOST_ASSETS} assets at most; "
                f"for {count} take mode testnet or live (--mode)"
            )
        return Deployment(
            environment=value("environment"),
            region=value("region"),
            profile=value("profile"),
            mode=value("mode"),
            assets=count,
            interval=interval,
            intervals=intervals,
            bot_cpu=value("bot_cpu"),
            bot_memory_gib=value("bot_memory_mib") / 1024,
            campaign_tasks=value("campaign_tasks"),
            campaign_cpu=value("campaign_cpu"),
            campaign_memory_gib=value("campaign_memory_mib") / 1024,
            ledger_tier=value("ledger_tier"),
            ledger_is_regional=value("ledger_availability") == "REGIONAL",
            ledger_disk_gib=value("ledger_disk_gib"),
            noncurrent_days=value("noncurrent_days"),
            schedules=_schedules(infra.parent / "functions" / "schedules.yaml", value("profile"), interval, intervals),
            functions=_functions(file_text(infra / "functions.tf")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{tfvars} and its defaults do not describe a deployment: {error!r}; see infra/variables.tf") from None


def _infra_of(tfvars: Path) -> Path:
    """The Terraform files that `tfvars` is for: those above it, as in `infra/environments`, else those of this repository."""
    above = tfvars.resolve().parent.parent
    return above if (above / "variables.tf").exists() else _INFRA


def _interval(name: str, text: str) -> Interval:
    try:
        return Interval(text)
    except ValueError:
        raise UsageError(f"{name} is or holds {text!r}; expected one of {', '.join(Interval)}") from None


def _each_once(name: str, values: list[str]) -> list[str]:
    if not values or len(set(values)) < len(values):
        raise UsageError(f"{name} is [{', '.join(values)}]; expected at least one, and each only once")
    return values


def _functions(text: str) -> dict[str, Function]:
    start = _FUNCTIONS.search(text)
    if start is None:
        raise UsageError("infra/functions.tf has no local `function = {…}`; it says how each function is deployed")
    table: dict[str, dict[str, Any]] = Tokens(text[start.end() :], "functions.tf").value()
    return {
        name: Function(
            int(row["memory"][:-2]) * _UNITS_MIB[row["memory"][-2:]] / 1024, row["instances"], row["egress"] == "all"
        )
        for name, row in table.items()
    }


def _schedules(path: Path, profile: str, interval: Interval, intervals: tuple[Interval, ...]) -> int:
    """Jobs of this profile and these intervals, as `infra/scheduler.tf` chooses them."""
    count = 0
    for job in yaml.safe_load(file_text(path)):
        kept = (interval,) if job["target"].startswith("bot:") else intervals
        wanted = job["body"].get("interval")
        count += profile in job["profiles"] and (wanted is None or wanted in kept)
    return count
