"""How much of everything a deployment uses in a month: instance seconds, messages, objects, bytes.

Fixed things follow from the deployment alone. What depends on the work is assets × rounds: every closed bar of every kept
interval rewrites the file of its series twice (raw and curated). `Assumptions` are measured where that is possible here and
named; nothing is hidden in the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from shared.cli.cost_terraform import Deployment

DAYS = 365.25 / 12
HOURS = DAYS * 24
_GIB = 2**30
_KIB = 1000


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the Terraform files do not say."""

    history_days: float = 730
    """candles that the lake keeps of each series"""
    raw_bar_bytes: float = 28
    """measured: Parquet of 50,000 1h bars"""
    curated_bar_bytes: float = 213
    """measured likewise"""
    shard_assets: int = 50
    """assets in one request for candles; the events that follow are of one asset each"""
    start_s: float = 1.2
    """a cold start, measured: 0.6 to 1.6 s, the mean of six functions; every round is assumed to start its instances anew"""
    call_s: float = 0.03
    """what every request costs beside its work"""
    fetch_s: float = 0.05
    """asking the venue for one asset's newest bars, several at once"""
    curate_s: float = 0.25
    """one asset"""
    classify_s: float = 0.1
    """one asset, with the model that is in force"""
    refit_s: float = 4.0
    """one asset's weekly model"""
    look_s: float = 0.05
    """one asset in the hourly sweep and look, each"""
    maintain_s: float = 120
    step_s: float = 3.0
    """a step of the bot in schedule mode, and the fixed part of a look between bars"""
    step_asset_s: float = 0.05
    tend_s: float = 1.5
    request_bytes: float = 6000
    """one question to the venue and its answer, TLS included"""
    stream_bytes_s: float = 3300
    """quotes, marks and the open candle of one symbol on the venue's stream, on average"""
    message_bytes: float = 2000
    """an event with its attributes; less than 1 kB is charged as 1 kB"""
    invocation_log_bytes: float = 3000
    bot_log_bytes_s: float = 100
    campaigns: float = 4
    campaign_h: float = 1.0
    """of each of its instances"""
    backups_gib: float = 10
    builds: float = 20
    build_min: float = 25
    images_gib: float = 10
    secret_versions: float = 6
    alert_conditions: int = 18
    """infra/monitoring.tf"""


@dataclass(frozen=True, slots=True)
class Usage:
    """So much of one thing, by one component, in a month."""

    component: str
    sku: str
    quantity: float


def monthly_usage(deployment: Deployment, assumptions: Assumptions) -> tuple[Usage, ...]:
    """Everything that is used in a month of 30.4 days."""
    parts = (_bot, _exchange, _functions, _lake, _ledger, _network, _events, _operations)
    return tuple(usage for part in parts for usage in part(deployment, assumptions) if usage.quantity > 0)


def rounds_a_day(deployment: Deployment) -> float:
    """Closed bars of all kept intervals in a day, for one asset."""
    return sum(interval.bars_per_day for interval in deployment.intervals)


def shards(deployment: Deployment, assumptions: Assumptions) -> int:
    """Messages into which one round is cut."""
    return math.ceil(deployment.assets / assumptions.shard_assets)


def venue_requests(deployment: Deployment) -> float:
    """Questions to the venue in a month: one for each asset and round."""
    return deployment.assets * rounds_a_day(deployment) * DAYS


def exchange_memory_mib(assets: int) -> int:
    """What `infra/cloudrun.tf` gives the paper exchange, which holds the bars of all assets."""
    return max(1024, 512 + 100 * assets)


def _bot(d: Deployment, a: Assumptions) -> Iterator[Usage]:
    if d.profile == "stream":
        yield Usage("bot", "run_cpu_always", d.bot_cpu * HOURS * 3600)
        yield Usage("bot", "run_memory_always", d.bot_memory_gib * HOURS * 3600)
    else:
        steps = d.interval.bars_per_day * (a.step_s + a.step_asset_s * d.assets)
        events = d.interval.bars_per_day * d.assets  # one for each classified asset
        seconds = DAYS * (steps + 1440 * a.tend_s + events * a.call_s)
        yield Usage("bot", "run_cpu", d.bot_cpu * seconds)
        yield Usage("bot", "run_memory", d.bot_memory_gib * seconds)
        yield Usage("bot", "run_requests", DAYS * (d.interval.bars_per_day + 1440 + events))
    yield Usage("bot", "logging", a.bot_log_bytes_s * HOURS * 3600 / _GIB)


def _exchange(d: Deployment, _: Assumptions) -> Iterator[Usage]:
    if d.mode == "paper":
        yield Usage("paper exchange", "run_cpu_always", HOURS * 3600)
        yield Usage("paper exchange", "run_memory_always", exchange_memory_mib(d.assets) / 1024 * HOURS * 3600)


def _functions(d: Deployment, a: Assumptions) -> Iterator[Usage]:
    rounds, cut = rounds_a_day(d), shards(d, a)
    looks = 24 * d.assets * a.look_s
    work = {  # rounds a day, calls a round, seconds of work a day
        "ingest": (rounds, 1 + cut, rounds * d.assets * a.fetch_s),
        "curate": (rounds, d.assets, rounds * d.assets * a.curate_s),
        # It hears of every interval and classifies the traded one.
        "classify": (rounds, d.assets, d.assets * (d.interval.bars_per_day * a.classify_s + a.refit_s / 7) + looks),
        "monitor": (24.0, 1, looks),
        "signal": (1.0, 1, d.assets * a.classify_s),
        "recalibrate": (a.campaigns / DAYS, 1, 0.0),
        "maintain": (1.0, 1, a.maintain_s),
    }
    for name, (times, each, seconds) in work.items():
        calls, starts = times * each, times * min(each, d.functions[name].instances)
        busy = DAYS * (seconds + calls * a.call_s + starts * a.start_s)
        yield Usage(f"function {name}", "run_cpu", busy)
        yield Usage(f"function {name}", "run_memory", busy * d.functions[name].memory_gib)
        yield Usage(f"function {name}", "run_requests", DAYS * calls)
        yield Usage(f"function {name}", "logging", DAYS * calls * a.invocation_log_bytes / _GIB)


def _lake(d: Deployment, a: Assumptions) -> Iterator[Usage]:
    rounds = rounds_a_day(d)
    bars = d.assets * a.history_days * rounds
    yield Usage("lake", "storage", bars * (a.raw_bar_bytes + a.curated_bar_bytes) / _GIB)
    # Each round rewrites whole files; the old versions stay until the daily clean-up after their time.
    rewritten = d.assets * a.history_days * sum(interval.bars_per_day**2 for interval in d.intervals)
    raw_days, curated_days = d.noncurrent_days + 0.5, 1.5
    overwritten = rewritten * (a.raw_bar_bytes * raw_days + a.curated_bar_bytes * curated_days)
    yield Usage("lake: overwritten files", "storage", overwritten / _GIB)
    yield Usage("lake", "storage_writes", DAYS * rounds * d.assets * 3)  # raw, its quality report, curated
    yield Usage("lake", "storage_reads", DAYS * rounds * d.assets * 4)
    yield Usage("lake", "storage", a.backups_gib)


def _ledger(d: Deployment, a: Assumptions) -> Iterator[Usage]:
    machines = 2 if d.ledger_is_regional else 1
    if d.ledger_tier == "db-f1-micro":
        yield Usage("ledger", "sql_f1_micro", machines * HOURS)
    elif d.ledger_tier == "db-g1-small":
        yield Usage("ledger", "sql_g1_small", machines * HOURS)
    else:
        cpu, memory_mib = map(int, d.ledger_tier.removeprefix("db-custom-").split("-"))
        yield Usage("ledger", "sql_cpu", machines * cpu * HOURS)
        yield Usage("ledger", "sql_memory", machines * memory_mib / 1024 * HOURS)
    yield Usage("ledger", "sql_disk", machines * d.ledger_disk_gib)
    yield Usage("ledger", "sql_backup", a.backups_gib)


def _network(d: Deployment, a: Assumptions) -> Iterator[Usage]:
    ingesting = min(d.functions["ingest"].instances, shards(d, a)) if d.functions["ingest"].asks_venue else 0
    yield Usage("network", "nat_instance", min(32, 1 + ingesting) * HOURS)
    yield Usage("network", "address", HOURS)
    asked = venue_requests(d) * a.request_bytes
    streamed = d.assets * a.stream_bytes_s * HOURS * 3600 if d.profile == "stream" and d.mode != "paper" else 0.0
    yield Usage("network", "nat_data", (asked + streamed) / _GIB)
    yield Usage("network", "internet_out", 0.1 * asked / _GIB)


def _events(d: Deployment, a: Assumptions) -> Iterator[Usage]:
    # Published and delivered: of a shard requested; of an asset ingested, curated and, for the traded interval, classified.
    moved = rounds_a_day(d) * (2 * shards(d, a) + 4 * d.assets) + 2 * d.interval.bars_per_day * d.assets
    yield Usage("events", "pubsub", DAYS * moved * max(a.message_bytes, _KIB) / _GIB)
    yield Usage("schedules", "scheduler", d.schedules)


def _operations(d: Deployment, a: Assumptions) -> Iterator[Usage]:
    seconds = a.campaigns * d.campaign_tasks * a.campaign_h * 3600
    yield Usage("campaigns", "run_cpu_always", seconds * d.campaign_cpu)
    yield Usage("campaigns", "run_memory_always", seconds * d.campaign_memory_gib)
    yield Usage("secrets", "secret_versions", a.secret_versions)
    yield Usage("secrets", "secret_reads", DAYS * 1440 * (2 if d.profile == "schedule" else 0.1))
    yield Usage("alerts", "alert_conditions", a.alert_conditions)
    yield Usage("alerts", "alert_series", a.alert_conditions * 2 * 60 * HOURS)  # each evaluated every 30 s, one series
    yield Usage("images", "registry", a.images_gib)
    if d.environment == "staging":
        yield Usage("builds", "build", a.builds * a.build_min)
