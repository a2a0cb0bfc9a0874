"""`ost live`: trade one book live, on the paper exchange unless told otherwise, until Ctrl-C.

Exit codes: 0 it was told to end (or its recorded market was over), 1 it was refused or ended by an error, 2 usage or settings.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from shared.cli.live_run import Live, LiveBook
    from shared.config.settings import Settings


def live(
    mode: Annotated[
        str | None, typer.Option(help="paper, testnet (the venue's demo) or live: real money (default: paper).")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Comma-separated symbols (default: the configured universe).")] = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="Bars that are traded on.")] = None,
    book: Annotated[str | None, typer.Option(help="Name of the book (default: from the mode and what is traded).")] = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait for the book of another process and take over when it ends.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Do one whole step for the newest closed bar, and end.")] = False,
    speed: Annotated[
        float | None, typer.Option(help="Paper: simulated seconds per real second (360: a 1h bar in 10 s).", min=0.0)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Paper: folder with candle files (default: the venue's, else a generated market).")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Paper: days of recorded market to trade.", min=1)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Paper: start a new book instead of continuing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON at the end.")] = False,
) -> None:
    """Trade live: closed bars from the venue's stream, orders with their protective stops, until Ctrl-C.

    Without --mode it trades on a paper exchange that it starts itself. The same command continues the same book. Mode live
    needs `mode: live` and `confirm_live` in the settings as well as the flag.

    Example: ost live --mode paper --symbols BTCUSDT,ETHUSDT --speed 720
    """
    from shared.cli import output, wiring

    settings = _settings(mode, symbols, interval, {"bot.book": book, "bot.speed": speed, "run.days": days})
    own = settings.mode == "paper" and settings.venue.base_url is None
    of_own = data is not None or fresh or days is not None or speed is not None
    _check_flags(own, of_own=of_own, named=book is not None, standby=standby, once=once)
    from shared.cli.live_book import own_book, traded_book

    wiring.account_keys(settings)
    say = output.note
    traded = own_book(settings, data, _named(symbols), fresh=fresh, say=say) if own else traded_book(settings, say)
    try:
        summary = asyncio.run(_live(traded, standby=standby, once=once))
    except KeyboardInterrupt:
        output.note(f"interrupted; positions and their stops stay. {_how_to_go_on(traded)}")
        raise typer.Exit(130) from None
    if not once:
        output.note(f"{summary['ended']}; positions and their stops stay. {_how_to_go_on(traded)}")
    if as_json or once:
        output.emit(summary, as_json, view=_once_view(summary) if once else None)


def _check_flags(own: bool, *, of_own: bool, named: bool, standby: bool, once: bool) -> None:
    """Raise `UsageError` for flags that cannot be meant; `own`: on a paper exchange that this command starts itself."""
    if not own and of_own:
        raise UsageError("--data, --days, --speed and --fresh are for the paper exchange that this command starts itself")
    if own and named:
        raise UsageError(
            "--book names a book at a venue that runs already; on a paper exchange of its own the name follows from market, "
            "symbols and parameters (another one: --fresh)"
        )
    if own and standby:
        raise UsageError(
            "a standby trades at the same venue as the other process: start a paper exchange with `ost exchange serve` and "
            "name it to both with --set venue.base_url=http://127.0.0.1:8900"
        )
    if once and standby:
        raise UsageError("--once does one step and ends, --standby waits: give one of them")


def _settings(mode: str | None, symbols: str | None, interval: str | None, more: dict[str, Any]) -> Settings:
    """The settings with the flags on top. Raises `ConfigError`, `UsageError`."""
    from shared.cli import wiring

    wanted = _named(symbols)
    if symbols is not None and not wanted:
        raise UsageError("--symbols names no symbol; write e.g. --symbols BTCUSDT,ETHUSDT, or leave it out")
    configured = wiring.settings(more | {"interval": interval, "universe.symbols": wanted or None})
    if mode == "live" and configured.mode != "live":
        raise ConfigError("--mode live trades real money and needs `mode: live` and `confirm_live` in the settings as well")
    if mode is None and configured.mode == "live":
        raise UsageError("the settings say mode live, which trades real money: say so on the command line too (--mode live)")
    if mode is None or mode == configured.mode:
        return configured
    return wiring.settings(more | {"interval": interval, "universe.symbols": wanted or None, "mode": mode})


def _named(symbols: str | None) -> list[str]:
    return [name.strip().upper() for name in (symbols or "").split(",") if name.strip()]


async def _live(book: LiveBook, *, standby: bool, once: bool) -> dict[str, Any]:
    """Trade to the end; a summary for people and machines."""
    from shared.cli import output
    from shared.cli.live_run import get_ready, opened, step_once

    with output.working("getting ready (on a new machine half a minute, once)"):
        get_ready(book)
    async with opened(book, lockstep=once) as session:
        if once:
            report = await step_once(session)
            return {
                "book": book.name,
                "bar_close_ms": report.bar_close_ms,
                "equity": report.equity,
                "decisions": [_decision(decision) for decision in report.decisions],
                "fills": len(report.fills),
                "problems": report.problems,
            }
        output.note(_headline(session))
        return await _watched(session, standby=standby)


async def _watched(session: Live, *, standby: bool) -> dict[str, Any]:
    from shared.cli.live_run import trade
    from shared.cli.live_view import LiveView

    with LiveView(session) as view:
        showing = asyncio.create_task(view.refresh())
        try:
            ended = await trade(session, standby=standby, on_start=view.follow, on_step=view.on_step)
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
    return {"book": session.book.name, "ended": ended, "bars": view.bars, "fills": view.fills, "equity": view.equity}


def _headline(session: Live) -> str:
    book, settings = session.book, session.book.settings
    names = " ".join(asset.symbol for asset in book.universe)
    where = f"{settings.universe.venue}, mode {settings.mode.value}"
    if book.own is not None:
        where = f"paper exchange, {session.venue.speed:g} times real time, {book.own.plan.market_label}"
    elif settings.mode == "paper":
        where = f"paper exchange at {session.venue.base_url}, {session.venue.speed:g} times real time"
    return f"{names} {settings.interval}, {where}; book {book.name}"


def _decision(decision: Any) -> dict[str, Any]:
    fields = ("id", "action", "regime", "score", "approved_fraction")
    return {"symbol": decision.asset.symbol, **{name: getattr(decision, name) for name in fields}}


def _once_view(summary: dict[str, Any]) -> Any:
    from rich.console import Group

    from shared.cli import output
    from shared.domain.interval import format_ms

    line = f"{format_ms(summary['bar_close_ms'])}  equity {summary['equity']:,.2f}  {summary['fills']} fills"
    rows = [
        (d["symbol"], d["regime"].value, f"{d['score']:+.2f}", d["action"].value, f"{d['approved_fraction']:+.1%}", d["id"])
        for d in summary["decisions"]
    ]
    table = output.table(("symbol", "regime", "score", "decision", "target", "id"), rows, right=("score", "target"))
    return Group(f"{line}; book {summary['book']}", table, *summary["problems"])


def _how_to_go_on(book: LiveBook) -> str:
    return f"Go on with the same command; look with: ost status --book {book.name}"
