"""What every adapter of the ports `MarketStream` and `UserStream` must do, run over real sockets against the paper exchange.

Another adapter joins by adding a factory to `VENUES`: it yields a `StreamVenue`, an account on a market where BTCUSDT and
ETHUSDT open every hour near 50 000 and 3 000 and BTCUSDT falls through 45 000 after two days. Nothing here waits for time to
pass: a test goes on when a message tells it to, or fails after 20 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from cloudrun.exchange.desk import Desk
from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.market import Market
from cloudrun.exchange.server import Server, ServerConfig
from cloudrun.exchange.streams import Lives
from shared.adapters.exchange import (
    PAPER_CONNECTION,
    CcxtMarketStream,
    CcxtUserStream,
    ConnectionParams,
    StreamParams,
    connect,
)
from shared.adapters.local.clock import SystemClock
from shared.domain.candles import Candles
from shared.domain.errors import VenueRejected, VenueUnreachable
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import OrderState, Side
from shared.domain.stream import (
    AccountMessage,
    BarMessage,
    MarkMessage,
    OrderMessage,
    QuoteMessage,
    StreamNotice,
    StreamState,
)
from shared.ports import MarketStream, UserStream

START_MS = 1_735_689_600_000  # 2025-01-01 00:00
FALL = 48
"""hour in which BTCUSDT falls"""
KEY_HOURS, CONNECTION_HOURS = 100, 720
"""lives of a listen key and of a connection, simulated time"""
SYMBOLS = ("BTCUSDT", "ETHUSDT")
pytestmark = pytest.mark.timeout(20)
QUICK = StreamParams(heartbeat_s=5.0, backoff_s=0.01, backoff_limit_s=0.2, keep_alive_s=3_600)
CONNECTED, LOST, ROTATED, KEY_EXPIRED = (
    StreamState.CONNECTED,
    StreamState.LOST,
    StreamState.ROTATED,
    StreamState.KEY_EXPIRED,
)


@dataclass
class StreamVenue:
    """A venue with one account under test. Times are hours after the start."""

    market: Callable[[StreamParams], MarketStream]
    user: Callable[[StreamParams, str], UserStream]
    """given the API key"""
    advance: Callable[[int], None]
    """move simulated time to that hour"""
    order: Callable[..., str]
    """send a market order of `quantity` on BTCUSDT, with a stop price a protective stop; its client id"""
    cancel_stop: Callable[[str], None]
    fail: Callable[[str, str], None]
    """drop, stall, close, refuse, accept, expire_key; of `market`, `user` or `all`"""
    vanish: Callable[[], Awaitable[None]]
    """nobody listens any more"""
    return_: Callable[[], Awaitable[None]]
    renewals: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """requests about the listen key, by method"""


def _market() -> Market:
    opens = np.full(24 * 60, 50_000.0)
    opens[FALL + 1 :] *= 0.88
    closes = np.append(opens[1:], opens[-1])
    candles = {}
    for symbol, scale in (("BTCUSDT", 1.0), ("ETHUSDT", 0.06)):
        high, low = np.maximum(opens, closes) * 1.001, np.minimum(opens, closes) * 0.999
        bars = np.column_stack([opens, high, low, closes]) * scale
        candles[symbol] = Candles.from_rows(
            Interval.H1, [(START_MS + i * HOUR_MS, *bar, 1_000.0) for i, bar in enumerate(bars)]
        )
    return Market(candles)


class PaperServer:
    """The paper exchange in this process, on a loopback port that stays the same."""

    def __init__(self) -> None:
        self.desk = Desk(Engine(_market(), EngineConfig(START_MS, Decimal(1_000_000))), None)
        self.key_requests: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._orders = 0

    async def up(self) -> None:
        lives = Lives(key_s=KEY_HOURS * 3_600, connection_s=CONNECTION_HOURS * 3_600)
        config = ServerConfig(lives=lives, simulated_lives=True, tick_s=0.05)
        self.server = Server(self.desk, config)
        app = self.server.application()
        app.middlewares.append(self._watch)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        if self._runner is not None:
            self.server.streams.control("drop", "all")
            await self._runner.cleanup()
            self._runner = None

    def advance(self, hour: int) -> None:
        self.desk.execute("advance", {"to_ms": str(START_MS + hour * HOUR_MS)})

    def order(self, quantity: str, stop_price: str | None = None) -> str:
        self._orders += 1
        name, amount = f"order-{self._orders}", Decimal(quantity)
        common = {"symbol": "BTCUSDT", "side": "BUY" if amount > 0 else "SELL", "quantity": str(abs(amount))}
        if stop_price is None:
            self.desk.execute("order", {**common, "type": "MARKET", "newClientOrderId": name})
        else:
            stop = {"type": "STOP_MARKET", "algoType": "CONDITIONAL", "triggerPrice": stop_price, "reduceOnly": "true"}
            self.desk.execute("algo", {**common, **stop, "clientAlgoId": name})
        return name

    def cancel_stop(self, name: str) -> None:
        self.desk.execute("cancel_algo", {"symbol": "BTCUSDT", "clientAlgoId": name})

    def fail(self, action: str, which: str) -> None:
        self.server.streams.control(action, which)

    @web.middleware
    async def _watch(self, request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        if request.path.endswith("/listenKey"):
            self.key_requests.put_nowait(request.method)
        return response


@asynccontextmanager
async def paper_through_ccxt() -> AsyncIterator[StreamVenue]:
    """The ccxt streams on the paper exchange."""
    paper, clock = PaperServer(), SystemClock()
    await paper.up()
    base_url = f"http://127.0.0.1:{paper.port}"
    rest: ConnectionParams = replace(PAPER_CONNECTION, timeout_s=5, read_attempts=1, backoff_s=0.01)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(paper.down)

        def market(params: StreamParams) -> MarketStream:
            stream = CcxtMarketStream("binanceusdm", clock, np.random.default_rng(1), params, base_url=base_url)
            stack.push_async_callback(stream.close)
            return stream

        def user(params: StreamParams, key: str) -> UserStream:
            rng = np.random.default_rng(2)
            connection = connect("binanceusdm", clock, rng, rest, base_url=base_url, api_key=key, secret="paper")
            stream = CcxtUserStream(connection, clock, rng, params, base_url=base_url)
            stack.push_async_callback(connection.close)
            stack.push_async_callback(stream.close)
            return stream

        yield StreamVenue(
            market,
            user,
            paper.advance,
            paper.order,
            paper.cancel_stop,
            paper.fail,
            paper.down,
            paper.up,
            paper.key_requests,
        )


VENUES: dict[str, Callable[[], AbstractAsyncContextManager[StreamVenue]]] = {"ccxt on paper": paper_through_ccxt}


@pytest.fixture(params=sorted(VENUES))
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[StreamVenue]:
    async with VENUES[request.param]() as made:
        yield made


async def market_of(venue: StreamVenue, params: StreamParams = QUICK) -> MarketStream:
    """A market stream that is connected."""
    stream = venue.market(params)
    await stream.open(SYMBOLS, Interval.H1)
    await until(stream, notice(CONNECTED))
    return stream


async def user_of(venue: StreamVenue, params: StreamParams = QUICK) -> UserStream:
    """A user stream that is connected."""
    stream = venue.user(params, "paper")
    await stream.open()
    await until(stream, notice(CONNECTED))
    return stream


async def until(stream: MarketStream | UserStream, wanted: Callable[[Any], bool]) -> list[Any]:
    """The messages up to the first that is wanted."""
    seen: list[Any] = []
    while not (seen and wanted(seen[-1])):
        seen.append(await stream.next())
    return seen


def notice(*states: StreamState) -> Callable[[Any], bool]:
    return lambda message: isinstance(message, StreamNotice) and message.state in states


def states(messages: list[Any]) -> list[StreamState]:
    return [message.state for message in messages if isinstance(message, StreamNotice)]


def closed_bar(symbol: str, hour: int) -> Callable[[Any], bool]:
    """Whether a message is the closed bar of `symbol` that opens at `hour`."""
    opened = START_MS + hour * HOUR_MS
    return lambda m: isinstance(m, BarMessage) and m.closed and (m.symbol, m.open_ms) == (symbol, opened)


def ended(client_id: str, state: OrderState = OrderState.FILLED) -> Callable[[Any], bool]:
    return lambda m: isinstance(m, OrderMessage) and (m.report.client_id, m.report.state) == (client_id, state)


# --- market stream


async def test_bars_quotes_and_marks_of_every_symbol_come_on_one_stream(venue: StreamVenue) -> None:
    stream = venue.market(QUICK)
    await stream.open(SYMBOLS, Interval.H1)
    wanted = {(kind, symbol) for kind in (BarMessage, QuoteMessage, MarkMessage) for symbol in SYMBOLS}
    seen: set[tuple[type, str]] = set()
    while not wanted <= seen:
        message = await stream.next()
        if not isinstance(message, StreamNotice):
            seen.add((type(message), message.symbol))
            assert message.time_ms == START_MS
            assert not (isinstance(message, BarMessage) and message.closed)


async def test_a_bar_is_told_as_closed_once_its_time_is_over(venue: StreamVenue) -> None:
    stream = await market_of(venue)
    venue.advance(2)
    seen = await until(stream, closed_bar("ETHUSDT", 1))
    bars = [m for m in seen if isinstance(m, BarMessage) and m.symbol == "BTCUSDT" and m.closed]
    assert [bar.open_ms for bar in bars] == [START_MS, START_MS + HOUR_MS]
    assert (bars[0].interval, bars[0].open, bars[0].close, bars[0].volume) == (Interval.H1, 50_000.0, 50_000.0, 1_000.0)
    assert bars[0].high == pytest.approx(50_050)
    assert bars[0].low == pytest.approx(49_950)


async def test_a_slow_consumer_loses_no_closed_bar_and_finds_the_newest_of_the_rest(venue: StreamVenue) -> None:
    stream, witness = await market_of(venue), await market_of(venue)
    hours = 400
    for hour in range(1, hours + 1):
        venue.advance(hour)
        await asyncio.sleep(0)
    newest = {(BarMessage, symbol) for symbol in SYMBOLS} | {(QuoteMessage, symbol) for symbol in SYMBOLS}
    while newest:  # once the later stream has everything, so has the earlier one
        message = await witness.next()
        if message.time_ms == START_MS + hours * HOUR_MS and not isinstance(message, StreamNotice):
            newest.discard((type(message), message.symbol))
    seen = await until(stream, closed_bar("ETHUSDT", hours - 1))
    for symbol in SYMBOLS:
        closed = [m.open_ms for m in seen if isinstance(m, BarMessage) and m.closed and m.symbol == symbol]
        assert closed == [START_MS + hour * HOUR_MS for hour in range(hours)]
    open_bars = [m for m in seen if isinstance(m, BarMessage) and not m.closed]
    assert len(open_bars) < hours / 2
    quotes = [m for m in seen if isinstance(m, QuoteMessage)]
    assert [quote.time_ms for quote in quotes] == [START_MS + hours * HOUR_MS] * 2


@pytest.mark.parametrize("how", ["drop", "close", "stall"])
async def test_a_lost_market_connection_is_told_and_made_again(venue: StreamVenue, how: str) -> None:
    stream = await market_of(venue, replace(QUICK, heartbeat_s=0.3))
    venue.fail(how, "market")
    seen = await until(stream, notice(CONNECTED))
    assert states(seen) == [LOST, CONNECTED]
    venue.advance(1)
    await until(stream, closed_bar("BTCUSDT", 0))


async def test_the_consumer_can_ask_for_a_new_connection(venue: StreamVenue) -> None:
    stream = await market_of(venue, replace(QUICK, heartbeat_s=600))
    venue.fail("stall", "all")  # half-open: nothing comes, and nothing says so
    await stream.reconnect("no bar for 90 s")
    seen = await until(stream, notice(CONNECTED))
    assert states(seen) == [LOST, CONNECTED]
    assert "no bar for 90 s" in next(m.detail for m in seen if isinstance(m, StreamNotice))
    venue.advance(1)
    await until(stream, closed_bar("ETHUSDT", 0))


async def test_a_venue_that_refuses_for_a_while_is_asked_until_it_accepts(venue: StreamVenue) -> None:
    stream = await market_of(venue)
    venue.fail("refuse", "all")
    venue.fail("drop", "all")
    assert states(await until(stream, notice(LOST))) == [LOST]
    venue.fail("accept", "all")
    assert states(await until(stream, notice(CONNECTED))) == [CONNECTED]


async def test_a_venue_where_nobody_listens_is_asked_until_somebody_does(venue: StreamVenue) -> None:
    await venue.vanish()
    stream, user = venue.market(QUICK), venue.user(QUICK, "paper")
    await stream.open(SYMBOLS, Interval.H1)
    await user.open()
    assert states(await until(stream, notice(LOST))) == [LOST]
    assert states(await until(user, notice(LOST))) == [LOST]
    await venue.return_()
    assert states(await until(stream, notice(CONNECTED))) == [CONNECTED]
    assert states(await until(user, notice(CONNECTED))) == [CONNECTED]
    await venue.vanish()
    assert states(await until(user, notice(LOST))) == [LOST]
    await venue.return_()
    assert states(await until(user, notice(CONNECTED))) == [CONNECTED]


async def test_rotation_loses_no_closed_bar(venue: StreamVenue) -> None:
    stream = await market_of(venue, replace(QUICK, rotate_after_s=0.1, overlap_s=0.05))
    seen: list[Any] = []
    hour = 0
    while states(seen).count(ROTATED) < 4:
        hour += 1
        venue.advance(hour)
        seen += await until(stream, closed_bar("ETHUSDT", hour - 1))
    assert set(states(seen)) == {ROTATED}
    for symbol in SYMBOLS:
        hours = {m.open_ms for m in seen if isinstance(m, BarMessage) and m.closed and m.symbol == symbol}
        assert hours == {START_MS + h * HOUR_MS for h in range(hour)}


async def test_a_connection_that_the_venue_ends_at_its_age_is_replaced(venue: StreamVenue) -> None:
    stream = await market_of(venue)
    venue.advance(CONNECTION_HOURS + 1)
    seen = await until(stream, notice(CONNECTED))
    assert states(seen) == [LOST, CONNECTED]


async def test_a_closed_stream_says_so(venue: StreamVenue) -> None:
    stream, user = await market_of(venue), await user_of(venue)
    waiting = asyncio.create_task(until(user, notice(LOST)))
    for opened in (stream, user):
        await opened.close()
        await opened.close()
    with pytest.raises(VenueUnreachable, match="closed"):
        await waiting
    with pytest.raises(VenueUnreachable, match="closed"):
        await until(stream, notice(LOST))


# --- user stream


async def test_an_order_is_told_from_acceptance_to_its_fills(venue: StreamVenue) -> None:
    stream = await user_of(venue)
    client_id = venue.order("0.2")
    seen = await until(stream, ended(client_id))
    orders = [m for m in seen if isinstance(m, OrderMessage)]
    assert orders[0].report.state is OrderState.OPEN
    assert all(m.report.client_id == client_id and m.report.symbol == "BTCUSDT" for m in orders)
    assert all(m.report.venue_id == orders[0].report.venue_id for m in orders)
    (fill,) = [m.fill for m in orders if m.fill is not None]
    assert (fill.client_id, fill.side, fill.quantity) == (client_id, Side.BUY, Decimal("0.2"))
    assert fill.fee == pytest.approx(fill.quantity * fill.price * Decimal("0.0005"))
    report = orders[-1].report
    assert (report.filled, report.average_price, fill.venue_order_id) == (Decimal("0.2"), fill.price, report.venue_id)
    account = next(m for m in seen if isinstance(m, AccountMessage))
    assert (account.reason, account.wallet) == ("ORDER", 1_000_000 - fill.fee)
    assert account.positions == (("BTCUSDT", Decimal("0.2"), fill.price),)


async def test_a_stop_is_told_under_its_client_id_from_resting_to_its_fill(venue: StreamVenue) -> None:
    stream = await user_of(venue)
    venue.order("0.2")
    stop = venue.order("-0.2", stop_price="45000")
    seen = await until(stream, ended(stop, OrderState.OPEN))
    assert seen[-1].report.filled == 0
    venue.advance(FALL + 1)
    seen = await until(stream, ended(stop))
    (fill,) = [m.fill for m in seen if isinstance(m, OrderMessage) and m.fill is not None]
    assert (fill.client_id, fill.side, fill.quantity) == (stop, Side.SELL, Decimal("0.2"))
    assert fill.price < 45_000


async def test_a_cancelled_stop_is_told(venue: StreamVenue) -> None:
    stream = await user_of(venue)
    venue.order("0.2")
    stop = venue.order("-0.2", stop_price="40000")
    venue.cancel_stop(stop)
    seen = await until(stream, ended(stop, OrderState.CANCELLED))
    assert seen[-1].report.filled == 0


@pytest.mark.parametrize("how", ["drop", "close", "stall"])
async def test_a_lost_user_connection_is_told_and_made_again(venue: StreamVenue, how: str) -> None:
    stream = await user_of(venue, replace(QUICK, heartbeat_s=0.3))
    venue.fail(how, "user")
    seen = await until(stream, notice(CONNECTED))
    assert states(seen) == [LOST, CONNECTED]
    await until(stream, ended(venue.order("0.1")))


async def test_an_expired_key_is_told_and_replaced(venue: StreamVenue) -> None:
    stream = await user_of(venue)
    venue.fail("expire_key", "all")
    seen = await until(stream, notice(CONNECTED))
    assert states(seen) == [KEY_EXPIRED, LOST, CONNECTED]
    await until(stream, ended(venue.order("0.1")))


async def test_a_key_that_the_venue_has_forgotten_silently_is_found_out_by_the_renewal(venue: StreamVenue) -> None:
    stream = await user_of(venue, replace(QUICK, keep_alive_s=0.5))
    venue.fail("stall", "user")  # the word that the key has expired does not come through
    venue.fail("expire_key", "all")
    seen = await until(stream, notice(CONNECTED))
    assert states(seen) == [KEY_EXPIRED, LOST, CONNECTED]
    await until(stream, ended(venue.order("0.1")))


async def test_a_key_is_prolonged_before_it_expires(venue: StreamVenue) -> None:
    stream = await user_of(venue, replace(QUICK, keep_alive_s=0.05))
    while not venue.renewals.empty():
        venue.renewals.get_nowait()
    for step in range(1, 6):
        for _ in range(2):  # the first of two may have been under way when time was moved
            assert await venue.renewals.get() == "PUT"
        venue.advance(step * KEY_HOURS * 2 // 3)
    seen = await until(stream, ended(venue.order("0.1")))
    assert states(seen) == []


async def test_rotation_loses_no_order(venue: StreamVenue) -> None:
    stream = await user_of(venue, replace(QUICK, rotate_after_s=0.3, overlap_s=0.1))
    seen: list[Any] = []
    while states(seen).count(ROTATED) < 2:
        seen += await until(stream, ended(venue.order("0.01")))
    assert set(states(seen)) == {ROTATED}


async def test_a_slow_consumer_loses_no_order(venue: StreamVenue) -> None:
    stream = await user_of(venue)
    sent = [venue.order("0.01") for _ in range(300)]
    seen = await until(stream, ended(sent[-1]))
    assert [m.fill.client_id for m in seen if isinstance(m, OrderMessage) and m.fill is not None] == sent


async def test_two_processes_of_one_account_share_the_key_and_one_may_go(venue: StreamVenue) -> None:
    first, second = await user_of(venue), await user_of(venue)
    client_id = venue.order("0.1")
    await until(first, ended(client_id))
    await until(second, ended(client_id))
    await first.close()
    assert states(await until(second, ended(venue.order("0.1")))) == []


async def test_a_wrong_api_key_is_refused_at_once(venue: StreamVenue) -> None:
    stream = venue.user(QUICK, "somebody else's")
    with pytest.raises(VenueRejected, match="-2015"):
        await stream.open()
