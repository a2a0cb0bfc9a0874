"""`ost agent convert`: the files of an old training in, a run folder and a policy in the lake out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.cli import output, wiring
from shared.domain.errors import DataNotFound, ModelError, StorageError, UsageError

if TYPE_CHECKING:
    from shared.config.settings import Settings

MODEL, SCALER, CONFIGURATION = "modelo.zip", "scaler_train.pkl", "config_metadata.yaml"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    folder: Path
    symbol: str
    train_id: str | None
    start: str | None
    end: str | None
    features: tuple[str, ...]
    window_size: int | None
    threshold: float | None
    trusted: bool


def convert(settings: Settings, asked: Asked) -> dict[str, Any]:
    """Convert and store; what was made. Raises `DataNotFound`, `ModelError`, `UsageError`."""
    import yaml

    from shared.adapters.local.legacy_scaler import read_scaler
    from shared.calibration.rl_convert import LegacyTraining
    from shared.calibration.rl_convert import convert as convert_training
    from shared.calibration.rl_export import actor_of
    from shared.calibration.rl_folder import RunFolder
    from shared.cli.agent_run import about, runs_bucket
    from shared.domain.asset import Asset
    from shared.domain.interval import DAY_MS, parse_date_ms
    from shared.strategy.rl_shadow import ShadowRules
    from shared.strategy.rl_store import check_train_id, save_rl_policy

    train_id = check_train_id(asked.train_id or asked.folder.resolve().name)
    output.note(f"reading a pickle from {asked.folder}: convert only files that you or your team made")
    start, end = _days(asked, train_id)
    try:
        configuration = yaml.safe_load(_read(asked.folder, CONFIGURATION))
    except yaml.YAMLError as error:
        raise ModelError(f"{asked.folder / CONFIGURATION} is no YAML ({error})") from error
    content = _read(asked.folder, MODEL)
    legacy = LegacyTraining(
        train_id=train_id,
        zip=content,
        scaler=read_scaler(_read(asked.folder, SCALER), trusted=asked.trusted),
        configuration=configuration if isinstance(configuration, dict) else {},
        asset=Asset(settings.universe.venue, asked.symbol.upper()),
        interval=settings.interval,
        train_start_ms=parse_date_ms(start),
        train_end_ms=parse_date_ms(end) + DAY_MS,
        features=asked.features,
        window_size=asked.window_size,
        action_threshold=asked.threshold,
    )
    agent, costs = settings.agent, settings.costs
    rules = ShadowRules(agent.episode_bars, agent.max_exposure, costs.taker_fee_bps + costs.half_spread_bps)
    policy, apart = convert_training(legacy, settings.curation, rules)
    network = actor_of(content)
    kept = {"train_id": train_id, "converted_from": str(asked.folder), "activation": network.actor.activation}
    RunFolder(runs_bucket(settings), train_id).write(policy, kept | {"original": legacy.configuration}, content)
    card = save_rl_policy(wiring.bucket(settings), policy)
    return {**about(settings, policy.card, card), "torch_onnx_difference": apart}


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise DataNotFound(f"{folder} has no {name}; expected {MODEL}, {SCALER} and {CONFIGURATION} there") from None
    except OSError as error:
        raise StorageError(f"cannot read {folder / name}: {error.strerror}") from error


def _days(asked: Asked, train_id: str) -> tuple[str, str]:
    """First and last day of the training: the bars that the policy must not be judged on."""
    from shared.calibration.rl_legacy import training_days

    named = training_days(train_id) or training_days(asked.folder.resolve().name + "_") or (None, None)
    start, end = asked.start or named[0], asked.end or named[1]
    if start is None or end is None:
        raise UsageError(f"the name {train_id} does not say which days it was trained on; give --start and --end")
    return start, end
