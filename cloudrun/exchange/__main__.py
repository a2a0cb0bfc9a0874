"""`python -m cloudrun.exchange`: the paper exchange as a process of its own. Same options as `ost exchange serve`.

The key and the secret come from OST_PAPER_KEY and OST_PAPER_SECRET (both `paper` unless set), never from the command line,
where every user of the machine could read them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from cloudrun.exchange.auth import Credentials
from cloudrun.exchange.serve import ServeOptions, serve
from cloudrun.exchange.server import ServerConfig
from cloudrun.exchange.streams import Lives
from shared.backtest.params import CostParams
from shared.domain.errors import ConfigError, OstError, UsageError
from shared.domain.interval import Interval, parse_date_ms

EXIT_PROBLEM, EXIT_USAGE = 1, 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m cloudrun.exchange",
        description="Serve recorded candles as a Binance USD-M compatible exchange on this machine.",
        epilog="example: python -m cloudrun.exchange --market data/binance_usdm --start 2025-07-01 --port 8900 --speed 60",
    )
    made.add_argument("--market", type=Path, required=True, help="folder with candle files")
    made.add_argument("--symbols", nargs="*", default=[], help="symbols, e.g. BTCUSDT ETHUSDT (default: all in the folder)")
    made.add_argument("--interval", default="1h", help="base interval (default 1h)")
    made.add_argument("--start", help="simulated time at the start, YYYY-MM-DD or ISO (default: the first bar)")
    made.add_argument("--capital", default="10000", help="starting wallet in USDT (default 10000)")
    made.add_argument("--journal", type=Path, help="file that brings the account back after a restart")
    made.add_argument(
        "--real-time", action="store_true", help="lay the candles around the present and follow this clock, endlessly"
    )
    made.add_argument("--account", help="gs://BUCKET/NAME or path that brings the account back anywhere (with --real-time)")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    made.add_argument("--port", type=int, default=8900, help="port, 0 for a free one (default 8900)")
    made.add_argument("--speed", type=float, help="simulated seconds per real second (default: lockstep, moved by its client)")
    made.add_argument("--weight-limit", type=int, default=1_000_000, help="request weight per minute before HTTP 429")
    made.add_argument("--key-minutes", type=float, default=60, help="life of a listen key that is not prolonged (default 60)")
    made.add_argument("--connection-hours", type=float, default=24, help="life of a WebSocket connection (default 24)")
    made.add_argument("--simulated-lives", action="store_true", help="measure both in simulated time instead of real time")
    made.add_argument("--exit-with-parent", action="store_true", help="end when standard input closes")
    for field in fields(CostParams):
        name = field.name.replace("_", "-")
        made.add_argument(f"--{name}", type=float, help=f"cost model, basis points (default {field.default})")
    return made


def credentials_from_environment() -> Credentials:
    """OST_PAPER_KEY and OST_PAPER_SECRET, or the well-known paper ones."""
    return Credentials(os.environ.get("OST_PAPER_KEY", "paper"), os.environ.get("OST_PAPER_SECRET", "paper"))


def amount(text: str) -> Decimal:
    """A decimal amount. Raises `UsageError`."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise UsageError(f"cannot read the amount {text!r}; write a number, e.g. 10000") from None


def server_config(
    speed: float | None,
    weight_limit: int,
    lives: Lives | None = None,
    *,
    simulated_lives: bool = False,
    real_time: bool = False,
) -> ServerConfig:
    """The checked serving configuration. Raises `UsageError`."""
    lives = lives or Lives()
    if speed is not None and not 0 < speed <= 1_000_000:
        raise UsageError(f"the speed is {speed}; expected simulated seconds per real second, e.g. 60")
    if not (lives.key_s > 0 and lives.connection_s > 0):
        raise UsageError(f"listen keys live {lives.key_s:g} s, connections {lives.connection_s:g} s; both must be positive")
    if real_time and speed is not None:
        raise UsageError("--real-time goes as fast as the clock: use it without --speed")
    speed = 1.0 if real_time else speed
    return ServerConfig(
        credentials_from_environment(), weight_limit, speed, lives=lives, simulated_lives=simulated_lives, real_time=real_time
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to end; the exit code."""
    given = parser().parse_args(arguments)
    try:
        costs = {name.name: getattr(given, name.name) for name in fields(CostParams)}
        options = ServeOptions(
            given.market,
            tuple(given.symbols),
            Interval.parse(given.interval),
            given.journal,
            given.host,
            given.port,
            given.exit_with_parent,
            parse_date_ms(given.start) if given.start else None,
            amount(given.capital),
            replace(CostParams(), **{name: value for name, value in costs.items() if value is not None}),
            given.real_time,
            given.account,
        )
        lives = Lives(given.key_minutes * 60, given.connection_hours * 3600)
        about_time = {"simulated_lives": given.simulated_lives, "real_time": given.real_time}
        config = server_config(given.speed, given.weight_limit, lives, **about_time)
        asyncio.run(serve(options, config))
    except OstError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError | ConfigError) else EXIT_PROBLEM
    return 0


if __name__ == "__main__":
    sys.exit(main())
