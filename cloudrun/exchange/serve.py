"""The paper exchange as a process: candle files in, a listening server out.

Prints `ready http://127.0.0.1:PORT` on standard output when requests are answered. Ends on Ctrl-C, SIGTERM or, with
`exit_with_parent`, when standard input closes, so that it never outlives the session that started it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from aiohttp import web

from cloudrun.exchange.account_store import AccountStore
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.journal import open_journal
from cloudrun.exchange.market import FundingHistory, Market
from cloudrun.exchange.present import around_present
from cloudrun.exchange.server import Server, ServerConfig
from shared.adapters.local.market_files import FileMarket
from shared.backtest.params import CostParams
from shared.domain.candles import Candles
from shared.domain.errors import StorageError, UsageError
from shared.domain.interval import Interval

FAR_MS = 2**62
STORE_PATIENCE_S = 5.0
"""How long a command waits for the bucket; nobody else is answered meanwhile"""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the process gets its candles from and where it listens."""

    market: Path
    """folder with candle files"""
    symbols: tuple[str, ...] = ()
    """which symbols; empty: all that have the interval"""
    interval: Interval = Interval.H1
    """the base interval"""
    journal: Path | None = None
    """where commands are written down; `None`: the account is forgotten at the end"""
    host: str = "127.0.0.1"
    port: int = 8900
    """0 takes a free one"""
    exit_with_parent: bool = False
    """end when standard input closes"""
    start_ms: int | None = None
    """simulated time at the start; `None`: the first bar"""
    capital: Decimal = Decimal(10_000)
    """starting wallet, quote currency"""
    costs: CostParams = field(default_factory=CostParams)
    """the cost model"""
    real_time: bool = False
    """lay the recording around the present and begin now"""
    account: str | None = None
    """`gs://BUCKET/NAME` or a path: where the account is kept, for a restart anywhere; only with `real_time`"""

    def __post_init__(self) -> None:
        if self.account is not None and not self.real_time:
            raise UsageError("--account keeps an account that lives in real time; add --real-time, or use --journal")
        if self.real_time and (self.journal is not None or self.start_ms is not None):
            raise UsageError("--real-time begins now and its market goes on for ever: use it without --start and --journal")


async def load_market(directory: Path, symbols: Sequence[str], interval: Interval, around_ms: int | None = None) -> Market:
    """The market of a folder, or what `present.py` makes of it around an instant.

    Raises `UsageError` or a `DataError` naming what is missing.
    """
    files = FileMarket(directory)
    chosen = tuple(symbols) or tuple(name for name in files.symbols() if interval in files.intervals(name))
    if not chosen:
        raise UsageError(f"{directory} has no symbol with {interval} candles; name another folder or --interval")
    candles: dict[str, Candles] = {}
    funding: dict[str, FundingHistory] = {}
    for symbol in chosen:
        candles[symbol] = await files.candles(symbol, interval, 0, FAR_MS)
        funding[symbol] = await files.funding_rates(symbol, 0, FAR_MS)
        if around_ms is not None:
            candles[symbol], funding[symbol] = around_present(candles[symbol], funding[symbol], around_ms)
    await files.close()
    return Market(candles, funding)


def open_account(place: str, engine: Engine) -> AccountStore:
    """The account that is kept at `place`, taken over by `engine`. Raises `StorageError`, `MalformedData` or `ConfigError`."""
    folder, _, name = place.rpartition("/")
    if not place.startswith("gs://"):
        from shared.adapters.local.bucket import FolderBucket

        return AccountStore(FolderBucket(Path(folder or ".")), name, engine)
    from shared.adapters.gcp.bucket import GcsBucket

    return AccountStore(GcsBucket.at(folder, patience_s=STORE_PATIENCE_S), name, engine)


async def serve(options: ServeOptions, server_config: ServerConfig) -> None:
    """Run until told to end.

    Raises the `OstError` tree where the market, the journal or the port cannot be used.
    """
    told, watching = await _wish_to_end(exit_with_parent=options.exit_with_parent)
    now_ms = int(time.time() * 1000) if options.real_time else None
    market = await load_market(options.market, options.symbols, options.interval, now_ms)
    start_ms = next((begin for begin in (now_ms, options.start_ms) if begin is not None), market.start_ms)
    engine = Engine(market, EngineConfig(start_ms, options.capital, options.costs))
    journal = open_journal(options.journal, engine) if options.journal is not None else None
    if journal is not None and (journal.note or journal.replayed):
        _say(journal.note or f"replayed {journal.replayed} commands from {options.journal}")
    desk = Desk(engine, journal, None if options.account is None else open_account(options.account, engine))
    if now_ms is not None:
        desk.advance(int(time.time() * 1000))  # an account that was kept has missed some time, a new one the loading
    runner = web.AppRunner(Server(desk, server_config).application(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port)
        try:
            await site.start()
        except OSError as error:
            raise StorageError(_cannot_listen(options, error)) from error
        host, port = runner.addresses[0][:2]
        print(f"ready http://{host}:{port}", flush=True)
        await told.wait()
    finally:
        if watching is not None:
            watching.cancel()
        await runner.cleanup()
        desk.close()


async def _wish_to_end(*, exit_with_parent: bool) -> tuple[asyncio.Event, asyncio.Task[None] | None]:
    """An event that is set when the process is told to end, and the task that watches standard input for it."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if not exit_with_parent:
        return told, None
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return told, asyncio.create_task(_drain(reader, told))


async def _drain(reader: asyncio.StreamReader, told: asyncio.Event) -> None:
    while await reader.read(4096):
        pass
    told.set()


def _cannot_listen(options: ServeOptions, error: OSError) -> str:
    return f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another --port"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
