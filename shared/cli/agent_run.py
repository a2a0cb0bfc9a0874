"""What the commands of `ost agent` do: markets in, trainings and policies out. The texts for people are in `agent_views.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.cli import output, wiring
from shared.domain.errors import ModelError, NotEnoughData, UsageError
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from shared.calibration.rl_evaluate import Evaluation
    from shared.cli.research_market import ResearchMarkets
    from shared.config.settings import Settings
    from shared.ports import Bucket
    from shared.strategy.rl_card import PolicyCard


def runs_bucket(settings: Settings) -> Bucket:
    """Where the run folders of trainings are."""
    from shared.adapters.local.bucket import FolderBucket

    return FolderBucket(settings.storage.root / "runs" / "agents")


def train(
    settings: Settings,
    data: Path | None,
    symbol: str | None,
    start: str | None,
    end: str | None,
    train_id: str | None,
    *,
    replace: bool,
) -> dict[str, Any]:
    """Train, write the run folder and put the policy into the lake; what was made, for people and machines."""
    from shared.calibration.rl_folder import RunFolder, train_ids
    from shared.calibration.rl_train import TrainingPlan, default_train_id
    from shared.calibration.rl_train import train as train_policy
    from shared.strategy.rl_store import check_train_id, save_rl_policy

    bucket, params = runs_bucket(settings), settings.agent
    if train_id is not None and check_train_id(train_id) in train_ids(bucket) and not replace:
        raise UsageError(f"there is a training {train_id} already; choose another --train-id, or give --replace")
    found = _market(settings, data, symbol or settings.universe.symbols[0], start, end)
    market = found.markets[0]
    name = train_id or default_train_id(market.asset.symbol, found.start_ms, found.end_ms, params, wiring.clock().now_ms())
    plan = TrainingPlan(
        train_id=name,
        params=params,
        curation=settings.curation,
        account=settings.account,
        risk=settings.risk,
        seed=settings.run.seed,
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        data_hash=found.data_hash[market.asset.symbol],
    )
    with progress(f"{name}: training", "steps") as told:
        done = train_policy(market, plan, told)
    folder = RunFolder(bucket, name)
    folder.write(done.policy, done.configuration, done.zip)
    card = save_rl_policy(wiring.bucket(settings), done.policy)
    return {
        **about(settings, done.policy.card, card),
        "episodes": done.episodes,
        "torch_onnx_difference": done.disagreement,
        "market": found.label,
        "generated": found.generated,
    }


def export(settings: Settings, train_id: str) -> dict[str, Any]:
    """Make the ONNX policy of a run folder again and put it into the lake."""
    from shared.calibration.rl_convert import exported
    from shared.calibration.rl_folder import ZIP, RunFolder
    from shared.strategy.rl_store import save_rl_policy

    folder = RunFolder(runs_bucket(settings), train_id)
    card, configuration = folder.card(), folder.configuration()
    policy, apart = exported(card, folder.read(ZIP), str(configuration.get("activation", "relu")))
    folder.write(policy, configuration, None)
    return {**about(settings, policy.card, save_rl_policy(wiring.bucket(settings), policy)), "torch_onnx_difference": apart}


def evaluate(
    settings: Settings, train_id: str, data: Path | None, start: str | None, end: str | None
) -> tuple[ResearchMarkets, Evaluation]:
    """The policy of the lake on bars after its training."""
    import numpy as np

    from shared.calibration.rl_evaluate import evaluate as judge
    from shared.domain.interval import DAY_MS
    from shared.strategy.rl_store import load_rl_policy

    policy = load_rl_policy(wiring.bucket(settings), train_id)
    card = policy.card
    venue, symbol = card.asset.split(":", 1)
    # The first day that lies wholly after the training.
    first_day_ms = -(-card.train_end_ms // DAY_MS) * DAY_MS
    first = format_ms(first_day_ms)[:10]
    if start is not None and start < first:
        raise UsageError(f"{train_id} was trained up to {format_ms(card.train_end_ms)}; --start {start} is not out of sample")
    found = _market(settings, data, symbol, start, end, extra_bars=card.lookback_bars)
    market = found.markets[0]
    if market.asset.venue != venue:
        raise ModelError(f"policy {train_id} was trained on {card.asset}, these are candles of {market.asset}; name its market")
    rng = np.random.default_rng(settings.run.seed)
    with progress(f"{train_id}: acting", "bars") as told:
        return found, judge(
            market, policy, settings.curation, settings.account, settings.risk, rng, found.start_ms, on_progress=told
        )


def trainings(settings: Settings) -> list[dict[str, Any]]:
    """Every finished training, one that cannot be read with its problem."""
    from shared.calibration.rl_folder import RunFolder, train_ids
    from shared.strategy.rl_store import rl_policy_ids

    bucket, lake = runs_bucket(settings), rl_policy_ids(wiring.bucket(settings))
    rows = []
    for name in sorted({*train_ids(bucket), *lake}):
        row: dict[str, Any] = {"train_id": name, "in_lake": name in lake, "followed": name in settings.strategy.rl_policies}
        try:
            card = RunFolder(bucket, name).card() if name in train_ids(bucket) else _lake_card(settings, name)
        except ModelError as error:
            rows.append(row | {"problem": str(error)})
            continue
        rows.append(row | _facts(card))
    return rows


def plain(result: Evaluation) -> dict[str, Any]:
    """An evaluation for machines."""
    return asdict(result) | {"start": format_ms(result.start_ms), "end": format_ms(result.end_ms)}


@contextmanager
def progress(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error."""
    with output.progress(unit=unit, transient=True) as bars:
        task = bars.add_task(what, total=None, detail="")
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _lake_card(settings: Settings, train_id: str) -> PolicyCard:
    from shared.strategy.rl_store import load_rl_policy

    return load_rl_policy(wiring.bucket(settings), train_id).card


def about(settings: Settings, card: PolicyCard, name: str) -> dict[str, Any]:
    """A policy, where it is, and how it is used; `name` is that of its card in the lake."""
    kept = settings.strategy.rl_history_bars
    longer = "" if card.lookback_bars <= kept else f"--set strategy.rl_history_bars={card.lookback_bars} "
    return {
        **_facts(card),
        "folder": str(settings.storage.root / "runs" / "agents" / card.train_id),
        "lake": name,
        "use": f"ost {longer}--set strategy.rl_policies={card.train_id} run --symbols {card.asset.split(':', 1)[1]}",
    }


def _facts(card: PolicyCard) -> dict[str, Any]:
    return {
        "train_id": card.train_id,
        "asset": card.asset,
        "interval": card.interval.value,
        "start": format_ms(card.train_start_ms),
        "end": format_ms(card.train_end_ms),
        "steps": card.steps,
        "window_size": card.observation.window_size,
        "features": list(card.observation.features),
        "action_threshold": card.action_threshold,
        "checksum": card.checksum,
    }


def _market(
    settings: Settings, data: Path | None, symbol: str, start: str | None, end: str | None, extra_bars: int = 0
) -> ResearchMarkets:
    """The candles of one asset, with the history that its features need."""
    from shared.cli.research_market import load_markets, parse_symbols

    wanted = parse_symbols(symbol)
    if len(wanted) != 1:
        raise UsageError(f"--symbol names {len(wanted)} assets; a policy learns one")
    warmup = settings.curation.lookback_bars + extra_bars
    found = load_markets(settings, data=data, symbols=wanted, start=start, end=end, warmup_bars=warmup)
    if not found.markets:
        raise NotEnoughData("\n".join(found.problems))
    return found
