"""Stream mode, schedule mode and the backtest reach the same decisions on the same 2,000 bars: equal, not close.

The same paper exchange three times in simulated time, with the real analyst: fed by streams to the trader, asked by one request
for each bar, and as arrays by the backtest. Bars open away from the close before them, so that no price can stand for another.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudrun.exchange.desk import Desk
from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.market import Market
from cloudrun.exchange.refusal import Refusal
from cloudrun.exchange.routes import routes
from cloudrun.exchange.streams import Streams
from cloudrun.simulation.loop import VirtualLoop, run_virtual
from shared.adapters.exchange import CcxtExchange
from shared.adapters.exchange.endpoints import Endpoint
from shared.adapters.exchange.stream_payloads import UserReader, read_market
from shared.adapters.local.bucket import FolderBucket
from shared.adapters.sql import SqlLedger, open_ledger
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams, CostParams
from shared.backtest.result import BacktestResult
from shared.backtest.system import backtest_system, prepare
from shared.backtest.venue_rules import symbol_spec
from shared.data.generated import GeneratedMarket, generate_market
from shared.domain.asset import Universe
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.decision import Decision
from shared.domain.errors import VenueRejected
from shared.domain.interval import Interval, parse_date_ms
from shared.domain.orders import Fill
from shared.domain.records import EquityPoint
from shared.domain.stream import StreamNotice, StreamState
from shared.regime.params import RegimeParams
from shared.regime.store import list_models, load_model
from shared.risk.params import RiskParams
from shared.strategy.params import StrategyParams
from shared.trading.health import TraderState
from shared.trading.params import SystemParams
from shared.trading.schedule import run_once
from shared.trading.session import LivePorts, SessionSpec
from shared.trading.trader import Trader
from shared.trading.trader_params import TraderParams

BARS = 2_000
BOOK, CAPITAL, LEVERAGE = "modes", Decimal(10_000), 3
H1 = Interval.H1
START_MS = parse_date_ms("2025-03-01")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
UNIVERSE = Universe.of("binanceusdm", SYMBOLS)
PARAMS = SystemParams(
    regime=RegimeParams(train_bars=600, min_train_bars=500, burn_in_bars=100, restarts=1),
    strategy=StrategyParams(entry_threshold=0.1, exit_threshold=0.05, rebalance_band=0.05, stop_atr=1.5, minimum_stop=0.004),
    risk=RiskParams(kelly_minimum_bars=60, pause_drawdowns=(0.02, 0.04, 0.06), max_drawdown=0.5),
)
SELDOM = TraderParams(
    tick_s=1200.0,
    silence_s=1e9,
    reconcile_s=1e9,
    stops_s=1e9,
    rules_refresh_s=1e9,
    heartbeat_s=1e6,
    quote_fresh_s=1e9,
    bar_patience_s=60.0,
)


def gapped_market() -> GeneratedMarket:
    """A generated market whose bars open up to a thousandth away from the close before them."""
    warmup = PARAMS.window_bars(H1) + 10
    rng = np.random.default_rng(11)
    made = generate_market(rng, SYMBOLS, H1, START_MS - warmup * H1.ms, warmup + BARS)
    history = {}
    for symbol, candles in made.history.items():
        tick = 10.0 ** (np.floor(np.log10(candles.open[0])) - 5)
        opens = np.round(np.round(candles.open * (1 + rng.uniform(-1e-3, 1e-3, len(candles))) / tick) * tick, 10)
        high, low = np.maximum(candles.high, opens), np.minimum(candles.low, opens)
        history[symbol] = Candles(H1, candles.open_time, opens, high, low, candles.close, candles.volume)
    return replace(made, history=history)


class Clock:
    """The loop's simulated time."""

    def now_ms(self) -> int:
        return START_MS + round(asyncio.get_running_loop().time() * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class Direct:
    """`Connection` without a network: the endpoint's answer at once."""

    def __init__(self, desk: Desk, streams: Streams) -> None:
        self._desk, self._table = desk, routes(desk, streams, 10**9)

    async def read(self, endpoint: Endpoint, parameters: Mapping[str, Any] | None = None) -> Any:
        _, _, version, verb, name = re.split(r"(Public|Private)(V\d)?(Get|Post|Put|Delete)", endpoint.method)
        path = f"/fapi/{(version or 'V1').lower()}/{name[0].lower()}{name[1:]}".replace("SideDual", "Side/dual")
        try:
            return self._table[verb.upper(), path].answer({key: str(value) for key, value in (parameters or {}).items()})
        except Refusal as refusal:
            raise VenueRejected(str(refusal), refusal.code) from None

    async def change(self, endpoint: Endpoint, parameters: Mapping[str, Any], *, may_be_late: bool = False) -> Any:
        return await self.read(endpoint, parameters)

    async def now_ms(self) -> int:
        return self._desk.now_ms

    def estimated_now_ms(self) -> int:
        return self._desk.now_ms

    def venue_ms(self, own_ms: int) -> int:
        return own_ms


class Past:
    """Market data up to the present."""

    def __init__(self, market: GeneratedMarket, clock: Clock) -> None:
        self._market, self._clock = market, clock

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        return await self._market.candles(symbol, interval, start_ms, min(end_ms, interval.floor(self._clock.now_ms())))

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        return await self._market.funding_rates(symbol, start_ms, min(end_ms, self._clock.now_ms() + 1))

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        return await self._market.open_interest(symbol, start_ms, end_ms)

    async def close(self) -> None:
        return None


@dataclass
class Told:
    """A stream that is fed from the desk."""

    queue: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def open(self, *_: Any) -> None:
        self.queue.put_nowait(StreamNotice(StreamState.CONNECTED, "", 0))

    async def next(self) -> Any:
        return await self.queue.get()

    async def reconnect(self, _: str) -> None:
        return None

    async def close(self) -> None:
        return None


class Events(Streams):
    """The venue's streams, read by the product's parsers into two queues."""

    def __init__(self, desk: Desk, market: Told, user: Told) -> None:
        super().__init__(desk, lambda: 0.0)
        self._told_market, self._told_user, self._reader = market, user, UserReader("USDT")

    def _publish(self, events: list[dict[str, Any]], before_ms: int, now_ms: int) -> None:
        for event in events:
            message = self._reader.read(event)
            if message is not None:
                self._told_user.queue.put_nowait(message)
        if now_ms > before_ms:
            self.tell_bars(before_ms, now_ms)

    def tell_bars(self, before_ms: int, now_ms: int) -> None:
        for symbol in SYMBOLS:
            for event in self._market_events(f"{symbol.lower()}@kline_{H1.value}", before_ms, now_ms):
                self._told_market.queue.put_nowait(read_market(event))


class Silent:
    """A bus and an exit journal that nothing is asked of here."""

    async def publish(self, _: Any) -> None:
        return None

    def pending(self) -> list[Any]:
        return []

    def append(self, _: Any) -> None:
        return None

    def clear(self) -> None:
        return None


@dataclass(frozen=True, eq=False)
class Lived:
    """What a mode has left in its ledger."""

    decisions: list[Decision]
    fills: list[Fill]
    equity: list[EquityPoint]
    funding: list[tuple[str, Decimal, int]]


class Mode:
    """One account on the market, and one way to run it."""

    def __init__(self, market: GeneratedMarket, folder: Path) -> None:
        self.clock = Clock()
        self.models = FolderBucket(folder / "models")
        self.ledger: SqlLedger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
        self.ledger.register_book(BOOK, START_MS, {})
        self.desk = Desk(Engine(Market(market.history, market.funding), EngineConfig(START_MS, CAPITAL)), None)
        self.market, self.user = Told(), Told()
        self.events = Events(self.desk, self.market, self.user)
        direct: Any = Direct(self.desk, self.events)
        silent: Any = Silent()
        self.ports = LivePorts(
            CcxtExchange(direct),
            Past(market, self.clock),
            self.ledger,
            self.models,
            self.clock,
            self.clock,
            self.market,
            self.user,
            silent,
            silent,
        )
        self.spec = SessionSpec(BOOK, "test", UNIVERSE, H1, PARAMS, LEVERAGE, "0", lease_ttl_ms=10**12)

    async def by_request(self) -> None:
        """Schedule mode: the market moves to a bar's close, and one request follows."""
        for _ in self.closes():
            await run_once(self.ports, self.spec, SELDOM)
            await asyncio.sleep(H1.ms / 1000)

    async def by_stream(self) -> None:
        """Stream mode: the market moves to a bar's close, and says so."""
        trader = Trader(self.ports, self.spec, SELDOM)
        running = asyncio.create_task(trader.run())
        for _ in range(200):  # until it is connected, at the same instant
            await asyncio.sleep(0)
        assert trader.state is TraderState.TRADING
        self.events.tell_bars(START_MS - H1.ms, START_MS)  # the bar that closes as the trader starts
        for _ in self.closes():
            await asyncio.sleep(H1.ms / 1000)
        trader.stop("the end")
        await running

    def closes(self) -> Iterator[int]:
        """Every bar close, with the market moved to it."""
        for bar in range(BARS):
            close_ms = START_MS + bar * H1.ms
            self.desk.advance(close_ms)
            yield close_ms

    def left(self) -> Lived:
        paid = [(payment.symbol, payment.amount, payment.time_ms) for payment in self.ledger.funding(BOOK)]
        lived = Lived(self.ledger.decisions(BOOK), self.ledger.fills(BOOK), self.ledger.equity(BOOK), paid)
        self.ledger.close()
        return lived


@dataclass(frozen=True, eq=False)
class Three:
    """The same bars three times."""

    stream: Lived
    schedule: Lived
    backtest: BacktestResult


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Three:
    market, lived = gapped_market(), {}
    for name in ("stream", "schedule"):
        folder = tmp_path_factory.mktemp(name)
        mode = Mode(market, folder)
        run_virtual(mode.by_stream() if name == "stream" else mode.by_request(), VirtualLoop())
        lived[name] = mode.left()
    prepared = [
        prepare(
            AssetMarket(asset, market.history[asset.symbol], _spec(market, asset.symbol), market.funding[asset.symbol]),
            PARAMS,
            models=_models(mode.models, asset),
            held_from_ms=START_MS,
        )
        for asset in UNIVERSE
    ]
    account = BacktestParams(float(CAPITAL), LEVERAGE, CostParams())
    end_ms = START_MS + (BARS - 1) * H1.ms
    return Three(
        lived["stream"],
        lived["schedule"],
        backtest_system(prepared, PARAMS, account, start_ms=START_MS, end_ms=end_ms),
    )


def _spec(market: GeneratedMarket, symbol: str) -> Any:
    return symbol_spec(symbol, float(market.history[symbol].open[0]))


def _models(bucket: FolderBucket, asset: Any) -> Sequence[Any]:
    return [load_model(bucket, asset, H1, reference.model_id) for reference in list_models(bucket, asset, H1)]


@pytest.mark.slow
def test_stream_and_schedule_mode_make_the_same_decisions(three: Three) -> None:
    assert len(three.stream.decisions) == len(SYMBOLS) * BARS
    assert three.stream.decisions == three.schedule.decisions


@pytest.mark.slow
def test_stream_and_schedule_mode_have_the_same_account(three: Three) -> None:
    assert three.stream.equity == three.schedule.equity
    assert three.stream.fills == three.schedule.fills
    assert len(three.stream.fills) > 100


@pytest.mark.slow
def test_the_backtest_holds_the_same_positions(three: Three) -> None:
    held = {symbol: Decimal(0) for symbol in SYMBOLS}
    fills, path = iter(sorted(three.stream.fills, key=lambda fill: fill.time_ms)), []
    waiting = next(fills, None)
    for close_ms in three.backtest.time_ms.tolist():
        while waiting is not None and waiting.time_ms <= close_ms:
            held[waiting.symbol] += waiting.signed_quantity
            waiting = next(fills, None)
        path.append([float(held[symbol]) for symbol in SYMBOLS])
    np.testing.assert_array_equal(np.asarray(path), three.backtest.position)


@pytest.mark.slow
def test_the_backtest_fills_at_the_same_prices(three: Three) -> None:
    tested = three.backtest.fills
    place = {asset.symbol: a for a, asset in enumerate(three.backtest.assets)}
    lived = sorted((f.time_ms, place[f.symbol], float(f.signed_quantity), float(f.price)) for f in three.stream.fills)
    rows = zip(tested.time_ms.tolist(), tested.asset.tolist(), tested.quantity.tolist(), tested.price.tolist(), strict=True)
    last_ms = three.backtest.time_ms[-1]  # no bar follows it in the backtest: its trades fill at the close there
    assert [row for row in sorted(rows) if row[0] < last_ms] == [row for row in lived if row[0] < last_ms]
    np.testing.assert_allclose(three.backtest.equity, [float(point.equity) for point in three.stream.equity], rtol=1e-9)
