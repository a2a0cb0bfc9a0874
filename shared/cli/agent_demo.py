"""`ost agent demo`: the whole path of the RL agent on a small budget, as the commands that a person would type.

Generated bars are written into a folder; then `ost agent train`, `export`, `evaluate`, and `ost run` with the policy as the
seventh agent, each as a process of its own on that folder. The first command that fails ends the demo with its message.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from shared.adapters.local.bucket import FolderBucket
from shared.cli import output
from shared.data.generated import generate_market, write_market
from shared.domain.errors import JobError
from shared.domain.interval import HOUR_MS, Interval, format_ms, parse_date_ms

TRAIN_ID = "demo"
_SYMBOL = "BTCUSDT"
_END = "2025-01-01"
_BARS = 3_600
_SPLIT_DAYS = 40
"""days before the end that the training does not see"""
_SETTINGS = {
    # A small network on short windows, and quick regime fits: the path is shown, not a result.
    "agent.window_size": "16",
    "agent.layer_widths": "[32, 32]",
    "agent.batch_size": "64",
    "agent.learning_starts": "200",
    "agent.buffer_size": "5000",
    "agent.action_threshold": "0.05",
    # It shall be heard in two days: a loud seventh vote, and thresholds that are crossed often.
    "strategy.rl_agent.share": "3",
    "strategy.entry_threshold": "0.05",
    "strategy.exit_threshold": "0.02",
    "regime.train_bars": "1000",
    "regime.min_train_bars": "500",
    "regime.restarts": "1",
    "regime.burn_in_bars": "100",
}


def run_demo(folder: Path, steps: int) -> None:
    """Make the bars and run the commands. Raises `JobError` where one of them fails."""
    market, root = folder / "market", folder / "storage"
    end_ms = parse_date_ms(_END)
    made = generate_market(np.random.default_rng(7), (_SYMBOL,), Interval.H1, end_ms - _BARS * HOUR_MS, _BARS)
    write_market(made, FolderBucket(market))
    split = format_ms(end_ms - _SPLIT_DAYS * 24 * HOUR_MS)[:10]
    candles = ["--data", str(market)]
    common = [f"--set=storage.root={root}", *(f"--set={name}={value}" for name, value in _SETTINGS.items())]
    vote = [f"--set=strategy.rl_policies={TRAIN_ID}"]
    wanted = ["--train-id", TRAIN_ID, "--steps", str(steps), "--symbol", _SYMBOL, "--end", split, "--replace"]
    _ost([*common, "agent", "train", *candles, *wanted])
    _ost([*common, "agent", "export", TRAIN_ID])
    _ost([*common, "agent", "evaluate", TRAIN_ID, *candles])
    _ost([*common, *vote, "agent", "list"])
    _ost([*common, *vote, "run", *candles, "--symbols", _SYMBOL, "--days", "2", "--fresh"])
    _ost([*common, *vote, "decisions", "list", "--traded", "--limit", "3"])
    _ost([*common, *vote, "replay"])
    output.note(f"everything is in {folder}; the market is GENERATED and the training far too short to mean anything")


def _ost(arguments: list[str]) -> None:
    """One command, shown without its settings and run as a process of its own."""
    shown = [part for part in arguments if not part.startswith("--set=") or "rl_policies" in part]
    output.note(f"\n$ ost {shlex.join(shown)}")
    command = [sys.executable, "-m", "shared.cli.main", *arguments]
    ended = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)  # noqa: S603 # our own command
    if ended.returncode:
        raise JobError(f"`ost {shlex.join(shown)}` ended with {ended.returncode}; its message is above")
