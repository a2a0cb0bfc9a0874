"""The command `ost`: its global options, its commands, and what becomes of errors.

An `OstError` is one red line on standard error and an exit code: 2 for what the user wrote (`UsageError`, `ConfigError`),
1 for everything else. Ctrl-C ends with 130. Any other exception is a bug and keeps its traceback. The modules of the commands
are light to import: what is heavy is imported inside the commands, so that `ost --help` answers at once.
"""

from __future__ import annotations

from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shared.cli import output, wiring
from shared.domain.errors import ConfigError, OstError, UsageError

EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandGroup(TyperGroup):
    """Turns deliberate errors into one line and an exit code, for the program and for tests alike."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except OstError as error:
            output.print_error(str(error))
            code = EXIT_USAGE if isinstance(error, UsageError | ConfigError) else EXIT_PROBLEM
            raise typer.Exit(code) from None
        except KeyboardInterrupt:
            output.note("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("one-smart-trade"))
        raise typer.Exit


@app.callback()
def ost(
    config: Annotated[Path | None, typer.Option("--config", help="Settings file (default: OST_CONFIG or ./ost.yaml).")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. --set risk.max_leverage=1.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """One Smart Trade: candles in, regime, decision, order, ledger out.

    Example: ost run --days 30
    """
    wiring.choose(config, assignments or [])


COMMANDS = (
    ("run", "shared.cli.run", "run"),
    ("live", "shared.cli.live", "live"),
    ("status", "shared.cli.status", "status"),
    ("backfill", "shared.cli.data", "backfill"),
    ("check-gaps", "shared.cli.data", "check_gaps"),
    ("curate", "shared.cli.data", "curate"),
    ("classify", "shared.cli.signal", "classify"),
    ("regenerate-signal", "shared.cli.signal", "regenerate_signal"),
    ("recommend", "shared.cli.signal", "recommend"),
    ("recalibrate", "shared.cli.recalibrate", "recalibrate"),
    ("replay", "shared.cli.replay", "replay"),
    ("backtest", "shared.cli.backtest", "backtest"),
    ("risk", "shared.cli.risk", "risk"),
    ("emergency", "shared.cli.emergency", "emergency"),
    ("resume", "shared.cli.resume", "resume"),
    ("export", "shared.cli.export", "export"),
    ("simulate", "shared.cli.simulate", "simulate"),
    ("slippage", "shared.cli.slippage", "slippage"),
    ("cost", "shared.cli.cost", "cost"),
)
GROUPS = (
    ("agent", "shared.cli.agent"),
    ("audit", "shared.cli.audit"),
    ("alphas", "shared.cli.alphas"),
    ("campaign", "shared.cli.campaign"),
    ("champions", "shared.cli.champions"),
    ("decisions", "shared.cli.decisions"),
    ("dataset", "shared.cli.dataset"),
    ("db", "shared.cli.db"),
    ("events", "shared.cli.events"),
    ("exchange", "shared.cli.exchange"),
    ("config", "shared.cli.config"),
    ("monitor", "shared.cli.monitor"),
    ("regimes", "shared.cli.regimes"),
    ("significance", "shared.cli.significance"),
)

for _name, _module, _function in COMMANDS:
    app.command(_name)(getattr(import_module(_module), _function))
for _name, _module in GROUPS:
    app.add_typer(import_module(_module).app, name=_name)


def main() -> None:
    """Entry point of `ost`."""
    app(prog_name="ost")


if __name__ == "__main__":
    main()
