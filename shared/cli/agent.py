"""`ost agent`: train the RL agent, export it to ONNX, judge it out of sample, convert trainings of the old system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.domain.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Train, export and judge the RL agent, the seventh vote of the consensus.")

DataOption = Annotated[
    Path | None, typer.Option(help="Folder with candle files (default: the venue, else a generated market).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON for machines.")]
TrainId = Annotated[str, typer.Argument(help="Name of the training run, as `ost agent list` shows it.")]


@app.command()
def train(
    data: DataOption = None,
    symbol: Annotated[str | None, typer.Option(help="The asset to learn (default: the first of the universe).")] = None,
    start: Annotated[str | None, typer.Option(help="First day to learn from, YYYY-MM-DD (default: all that there is).")] = None,
    end: Annotated[str | None, typer.Option(help="Learn up to this day, YYYY-MM-DD; keep newer days to judge it on.")] = None,
    train_id: Annotated[str | None, typer.Option("--train-id", help="Name of the run (default: says what is trained).")] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps (default: agent.steps).", min=1)] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a training of the same name.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a policy (SAC) on the backtest kernel and store the run: configuration, scaler, policy, ONNX, card.

    The agent sees a window of normalised bars and its own account, and acts in [-1, 1]: below agent.action_threshold it holds,
    above it opens, increases or closes. The reward is the kernel's log return after all costs. Needs the agent extra
    (`make agent`). What it learned is worth nothing until `ost agent evaluate` says so on days that it has not seen.

    Example: ost agent train --data ../shared/data/ohlcv/binance_usdm --symbol BTCUSDT --start 2023-01-01 --end 2025-01-01

    Example: ost --set agent.window_size=48 agent train --steps 100000 --train-id btc_48
    """
    from shared.calibration.rl_train import check_extra
    from shared.cli import agent_run, output, wiring
    from shared.cli.agent_views import trained

    check_extra()
    settings = wiring.settings({"agent.steps": steps})
    done = agent_run.train(settings, data, symbol, start, end, train_id, replace=replace)
    output.emit(done, as_json, view=None if as_json else trained(done))


@app.command()
def export(train_id: TrainId, as_json: JsonOption = False) -> None:
    """Make the ONNX policy of a training again, compare it with torch on 1,000 observations, and put it into the lake.

    Tensors are read in torch's weights-only mode: nothing in the zip can run. Needs the agent extra (`make agent`).

    Example: ost agent export btc_48
    """
    from shared.calibration.rl_train import check_extra
    from shared.cli import agent_run, output, wiring
    from shared.cli.agent_views import exported

    check_extra()
    done = agent_run.export(wiring.settings(), train_id)
    output.emit(done, as_json, view=None if as_json else exported(done))


@app.command()
def evaluate(
    train_id: TrainId,
    data: DataOption = None,
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD (default: the end of the training).")] = None,
    end: Annotated[str | None, typer.Option(help="Up to this day, YYYY-MM-DD (default: the newest bar).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the policy alone would have earned after its training, beside buying and holding, and whether that is luck.

    Only bars that close after the training are traded; the kernel counts fees, spread, impact and funding.

    Example: ost agent evaluate btc_48 --data ../shared/data/ohlcv/binance_usdm
    """
    from shared.cli import agent_run, output, wiring
    from shared.cli.agent_views import evaluated

    found, result = agent_run.evaluate(wiring.settings(), train_id, data, start, end)
    shown = {"train_id": train_id, "market": found.label, "generated": found.generated, **agent_run.plain(result)}
    output.emit(shown, as_json, view=None if as_json else evaluated(train_id, found, result))


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="Folder with modelo.zip, scaler_train.pkl and config_metadata.yaml.")],
    symbol: Annotated[str, typer.Option(help="The asset that it was trained on.")],
    train_id: Annotated[str | None, typer.Option("--train-id", help="Name of the run (default: that of the folder).")] = None,
    start: Annotated[str | None, typer.Option(help="First day of its training (default: as the name says).")] = None,
    end: Annotated[str | None, typer.Option(help="Last day of its training (default: as the name says).")] = None,
    features: Annotated[str | None, typer.Option(help="Our columns, in the order of its scaler, a,b,c.")] = None,
    window_size: Annotated[int | None, typer.Option(help="Bars of its window.", min=1)] = None,
    threshold: Annotated[float | None, typer.Option(help="|action| below which it holds.", min=0, max=1)] = None,
    trust: Annotated[
        bool, typer.Option("--i-trust-this-pickle", help="Open the scaler's pickle in full: it can run any code as you.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a training of the old system to ONNX and JSON, offline, once. Needs the agent extra (`make agent`).

    A pickle is a program. It is opened here with numpy arrays and scalers only, and refused if it asks for more.

    Example: ost agent convert entrenamientos/train_BTCUSDT_20230101_20250101_lr3e-4_bs256_ws30_20251004 --symbol BTCUSDT
    """
    from shared.calibration.rl_train import check_extra
    from shared.cli import agent_convert, output, wiring
    from shared.cli.agent_views import exported

    check_extra()
    names = tuple(name.strip() for name in (features or "").split(",") if name.strip())
    if features is not None and not names:
        raise UsageError("--features names no column; write e.g. --features close,rsi,macd, or leave the option out")
    asked = agent_convert.Asked(folder, symbol, train_id, start, end, names, window_size, threshold, trust)
    done = agent_convert.convert(wiring.settings(), asked)
    output.emit(done, as_json, view=None if as_json else exported(done))


@app.command("list")
def list_trainings(as_json: JsonOption = False) -> None:
    """Show the trainings, which of them are in the lake, and which the strategy follows.

    Example: ost agent list
    """
    from shared.cli import agent_run, output, wiring
    from shared.cli.agent_views import listed

    rows = agent_run.trainings(wiring.settings())
    output.emit(rows, as_json, view=None if as_json else listed(rows))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("var/agent-demo"),
    steps: Annotated[int, typer.Option(help="Environment steps of the training.", min=300)] = 1500,
) -> None:
    """Go the whole way on a small budget: generated bars, train, export, evaluate, trade as the seventh agent.

    It shows that the path works, not that money can be made: the market is generated and the training is far too short.

    Example: ost agent demo
    """
    from shared.calibration.rl_train import check_extra
    from shared.cli.agent_demo import run_demo

    check_extra()
    run_demo(folder, steps)
