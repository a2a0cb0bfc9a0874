"""`ost exchange`: the paper exchange as a server of its own, for any Binance USD-M client on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from shared.domain.interval import Interval, parse_date_ms

app = typer.Typer(no_args_is_help=True, help="The paper exchange: recorded candles behind a Binance USD-M interface.")


@app.callback()
def exchange() -> None:
    """The paper exchange: recorded candles behind a Binance USD-M interface."""


@app.command()
def serve(
    market: Annotated[Path, typer.Option(help="Folder with candle files (Parquet or the exchange's public CSV archive).")],
    symbols: Annotated[list[str] | None, typer.Option(help="Symbol to list; repeat for more (default: all).")] = None,
    interval: Annotated[str, typer.Option(help="Base interval; klines of coarser ones are aggregated from it.")] = "1h",
    start: Annotated[
        str | None, typer.Option(help="Simulated time at the start, e.g. 2025-07-01 (default: first bar).")
    ] = None,
    capital: Annotated[str, typer.Option(help="Starting wallet in USDT.")] = "10000",
    journal: Annotated[Path | None, typer.Option(help="File that brings the account back after a restart.")] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8900,
    speed: Annotated[float, typer.Option(help="Simulated seconds per real second; 0: lockstep, moved by its client.")] = 60.0,
    weight_limit: Annotated[int, typer.Option(help="Request weight per minute before HTTP 429.")] = 1_000_000,
    key_minutes: Annotated[float, typer.Option(help="Life of a listen key that is not prolonged.")] = 60.0,
    connection_hours: Annotated[float, typer.Option(help="Life of a WebSocket connection.")] = 24.0,
    simulated_lives: Annotated[
        bool, typer.Option("--simulated-lives", help="Measure both in simulated time instead of real time.")
    ] = False,
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", help="End when standard input closes.")] = False,
) -> None:
    """Serve recorded candles as an exchange until Ctrl-C.

    The key and the secret are `paper` and `paper`, or OST_PAPER_KEY and OST_PAPER_SECRET.

    Example: ost exchange serve --market data/binance_usdm --symbols BTCUSDT --start 2025-07-01 --speed 60
    """
    # Imported here: the server's libraries cost every other command its start-up time.
    from cloudrun.exchange.__main__ import amount, server_config
    from cloudrun.exchange.serve import ServeOptions
    from cloudrun.exchange.serve import serve as run
    from cloudrun.exchange.streams import Lives

    options = ServeOptions(
        market,
        tuple(symbols or ()),
        Interval.parse(interval),
        journal,
        port=port,
        exit_with_parent=exit_with_parent,
        start_ms=parse_date_ms(start) if start else None,
        capital=amount(capital),
    )
    lives = Lives(key_minutes * 60, connection_hours * 3600)
    asyncio.run(run(options, server_config(speed or None, weight_limit, lives, simulated_lives=simulated_lives)))
