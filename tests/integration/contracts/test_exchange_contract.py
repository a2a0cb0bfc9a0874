"""What every adapter of the `Exchange` port must do, run against the real paper exchange process over loopback.

Another adapter joins by adding a factory to `VENUES`: it yields a `Venue`, an account that holds 100 000 and nothing else on a
market where BTCUSDT opens every hour at 50 000 until it falls through 45 000 after four days, with funding of 0.01 % each 8 h.
Tests share one account (`venue`), each with a connection and client ids of its own, and leave it flat; those that move time or
need a new account start one (`new_venue`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from aiohttp import web

from shared.adapters.exchange import PAPER_CONNECTION, CcxtExchange, CcxtMarketData, Connection, connect
from shared.adapters.local.paper_process import LockstepClock, PaperExchangeProcess
from shared.domain.errors import OutcomeUnknown, RateLimited, UsageError, VenueRejected, VenueUnreachable
from shared.domain.interval import DAY_MS, HOUR_MS, Interval
from shared.domain.orders import OrderIntent, OrderKind, OrderState, Side
from shared.ports import Exchange, MarketData
from shared.risk.approval import ApprovedOrder, OrderContext, approve

START_MS = 1_735_689_600_000  # 2025-01-01 00:00
FALL_MS = START_MS + 6 * DAY_MS
OPEN_MS = START_MS + 2 * DAY_MS
"""when the account opens; bars before it are history"""
SYMBOL = "BTCUSDT"
PRICE = Decimal(50_000)


class FaultyWire:
    """A reverse proxy in front of the venue that can lose, refuse and answer in the venue's place."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.mode = "pass"
        self.forwarded: list[str] = []
        self.base_url = ""
        self._port = 0
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{self._port}"

    async def close(self) -> None:
        """Nobody listens any more: connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.mode == "503":
            return web.Response(status=503, text="Service Unavailable")
        if self.mode == "429":
            body = {"code": -1003, "msg": "Too many requests."}
            return web.json_response(body, status=429, headers={"Retry-After": "1"})
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            headers = {
                name: value for name, value in request.headers.items() if name.lower() not in ("host", "accept-encoding")
            }
            async with session.request(
                request.method, self.target + request.raw_path, data=await request.read(), headers=headers
            ) as answer:
                body_bytes = await answer.read()
                self.forwarded.append(f"{request.method} {request.path}")
        if self.mode == "lose answer":
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=answer.status, body=body_bytes, content_type="application/json")


@dataclass
class Venue:
    """An account under test."""

    exchange: Exchange
    restarted: Callable[[], Exchange]
    """another instance on the same account that remembers nothing"""
    advance: Callable[[int], Awaitable[None]]
    wire: FaultyWire
    market: MarketData
    tag: str = "new"
    """keeps the client ids of one test apart from those of the others"""

    def intent(
        self, name: str, quantity: str, kind: OrderKind = OrderKind.MARKET, side: Side = Side.BUY, **fields: Any
    ) -> OrderIntent:
        """An order of this test."""
        return OrderIntent(
            client_id=f"otest12-{self.tag}-{name}",
            book="contract",
            decision_id="d-1",
            leg="entry",
            symbol=SYMBOL,
            side=side,
            kind=kind,
            quantity=Decimal(quantity),
            created_ms=OPEN_MS,
            **fields,
        )

    def stop(self, name: str, quantity: str) -> OrderIntent:
        """A protective stop at 45 000."""
        return self.intent(name, quantity, OrderKind.STOP, Side.SELL, stop_price=Decimal(45_000), reduce_only=True)

    async def flatten(self) -> None:
        """Cancel and close whatever a test has left."""
        for report, kind in await self.exchange.open_orders():
            price = {OrderKind.LIMIT: {"price": PRICE}, OrderKind.STOP: {"stop_price": PRICE}}[kind]
            order = replace(self.intent("any", "1", kind, **price), client_id=report.client_id)
            await self.exchange.cancel(order)
        held = (await self.exchange.account()).position(SYMBOL)
        if held:
            await self.exchange.send(await approved(self, self.intent("flat", str(abs(held)), side=Side.of(-held))))


def write_market(directory: Path) -> None:
    """BTCUSDT and ETHUSDT: flat, then a fall of BTC through 45 000 inside one bar."""
    times = np.arange(START_MS, START_MS + 12 * DAY_MS, HOUR_MS)
    for symbol, price in ((SYMBOL, 50_000.0), ("ETHUSDT", 3_000.0)):
        opens = np.full(len(times), price)
        opens[times > FALL_MS] = price * 0.88
        closes = opens.copy()
        closes[times == FALL_MS] = price * 0.88
        table = pa.table(
            {
                "open_time": times,
                "open": opens,
                "high": opens * 1.001,
                "low": np.minimum(opens, closes) * 0.999,
                "close": closes,
                "volume": np.full(len(times), 1_000.0),
            }
        )
        (directory / symbol).mkdir(parents=True)
        pq.write_table(table, directory / symbol / "1h.parquet")
        stamps = np.arange(START_MS, START_MS + 12 * DAY_MS, 8 * HOUR_MS)
        funding = pa.table({"funding_time": stamps, "funding_rate": np.full(len(stamps), 0.0001)})
        pq.write_table(funding, directory / symbol / "funding.parquet")


@asynccontextmanager
async def paper_through_ccxt(folder: Path) -> AsyncIterator[Venue]:
    """`CcxtExchange` on a paper exchange process, with a faulty wire between them."""
    write_market(folder / "market")
    arguments = ["--market", str(folder / "market"), "--port", "0", "--journal", str(folder / "journal.jsonl")]
    arguments += ["--start", "2025-01-03T00:00:00+00:00", "--capital", "100000"]
    process = await PaperExchangeProcess.start(arguments, key="paper", secret="paper", log=folder / "exchange.log")
    clock = LockstepClock(OPEN_MS)
    wire = FaultyWire(process.base_url)
    await wire.open()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.close)
        stack.push_async_callback(wire.close)

        def connected() -> Connection:
            params = replace(PAPER_CONNECTION, timeout_s=5, read_attempts=2, backoff_s=0.01)
            made = connect(
                "binanceusdm",
                clock,
                np.random.default_rng(1),
                params,
                base_url=wire.base_url,
                api_key="paper",
                secret="paper",
            )
            stack.push_async_callback(made.close)
            return made

        async def advance(to_ms: int) -> None:
            await process.advance(to_ms)
            clock.time_ms = to_ms

        yield Venue(CcxtExchange(connected()), lambda: CcxtExchange(connected()), advance, wire, CcxtMarketData(connected()))


VENUES: dict[str, Callable[[Path], AbstractAsyncContextManager[Venue]]] = {"ccxt on paper": paper_through_ccxt}


pytestmark = pytest.mark.asyncio(loop_scope="module")
_tags = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(VENUES))
async def shared_account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with VENUES[request.param](tmp_path_factory.mktemp("venue")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def venue(shared_account: Venue) -> AsyncIterator[Venue]:
    made = replace(shared_account, exchange=shared_account.restarted(), tag=str(next(_tags)))
    yield made
    await replace(made, exchange=made.restarted()).flatten()


@pytest_asyncio.fixture(loop_scope="module", params=sorted(VENUES))
async def new_venue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Venue]:
    async with VENUES[request.param](tmp_path) as made:
        yield made


async def approved(venue: Venue, order: OrderIntent) -> ApprovedOrder:
    rules = (await venue.exchange.rules([SYMBOL]))[SYMBOL]
    # A stop is approved for the position that it protects.
    held = -order.quantity * order.side.sign if order.kind is OrderKind.STOP else Decimal(0)
    return approve(order, OrderContext(rules, held, PRICE, Decimal(10**9), Decimal(10)))


async def test_the_venue_has_a_clock_and_rules(venue: Venue) -> None:
    assert await venue.exchange.server_time_ms() == OPEN_MS
    rules = await venue.exchange.rules([SYMBOL, "ETHUSDT"])
    assert set(rules) == {SYMBOL, "ETHUSDT"}
    assert rules[SYMBOL].trading
    assert rules[SYMBOL].quantity(0.1234567) == Decimal("0.123")
    with pytest.raises(UsageError, match="NOSUCHUSDT"):
        await venue.exchange.rules(["NOSUCHUSDT"])


async def test_prepare_can_be_repeated(venue: Venue) -> None:
    await venue.exchange.prepare([SYMBOL, "ETHUSDT"], 3)
    await venue.restarted().prepare([SYMBOL, "ETHUSDT"], 3)
    await venue.exchange.prepare([SYMBOL], 5)


async def test_a_new_account_holds_its_capital_and_nothing_else(new_venue: Venue) -> None:
    account = await new_venue.exchange.account()
    assert (account.wallet, account.equity, account.available) == (100_000, 100_000, 100_000)
    assert account.positions == ()
    assert list(await new_venue.exchange.open_orders()) == []
    assert await new_venue.exchange.fills(SYMBOL, 0) == []
    assert await new_venue.exchange.funding_paid(0) == []


async def test_a_market_order_becomes_fills_and_a_position(venue: Venue) -> None:
    order = venue.intent("m", "0.2")
    wallet = (await venue.exchange.account()).wallet
    report = await venue.exchange.send(await approved(venue, order))
    assert (report.client_id, report.state, report.filled) == (order.client_id, OrderState.FILLED, Decimal("0.2"))
    assert report.average_price == pytest.approx(PRICE, rel=Decimal("0.01"))
    fills = [fill for fill in await venue.exchange.fills(SYMBOL, OPEN_MS) if fill.client_id == order.client_id]
    assert {fill.venue_order_id for fill in fills} == {report.venue_id}
    assert sum(fill.signed_quantity for fill in fills) == Decimal("0.2")
    assert all(fill.fee > 0 for fill in fills)
    account = await venue.exchange.account()
    assert account.position(SYMBOL) == Decimal("0.2")
    assert account.wallet == wallet - sum(fill.fee for fill in fills)
    (position,) = account.positions
    assert position.entry_price == pytest.approx(report.average_price)
    assert account.equity == account.wallet + position.unrealised


async def test_the_same_order_sent_twice_exists_once(venue: Venue) -> None:
    order = await approved(venue, venue.intent("twice", "0.1"))
    first = await venue.exchange.send(order)
    second = await venue.exchange.send(order)
    assert second == first
    assert (await venue.exchange.account()).position(SYMBOL) == Decimal("0.1")


async def test_the_same_stop_sent_twice_exists_once(venue: Venue) -> None:
    await venue.exchange.send(await approved(venue, venue.intent("m", "0.1")))
    stop = await approved(venue, venue.stop("s", "0.1"))
    first = await venue.exchange.send(stop)
    second = await venue.exchange.send(stop)
    assert (first.state, second.state, first.venue_id) == (OrderState.OPEN, OrderState.OPEN, second.venue_id)
    assert len(await venue.exchange.open_orders()) == 1


async def test_an_order_that_was_never_sent_is_not_found(venue: Venue) -> None:
    for order in (venue.intent("none", "0.1"), venue.stop("none-s", "0.1")):
        assert await venue.exchange.find(order) is None
        assert await venue.exchange.cancel(order) is None


async def test_a_limit_order_rests_and_can_be_cancelled(venue: Venue) -> None:
    order = venue.intent("l", "0.1", OrderKind.LIMIT, price=Decimal("40000.1"))
    report = await venue.exchange.send(await approved(venue, order))
    assert (report.state, report.filled) == (OrderState.OPEN, 0)
    ((resting, kind),) = await venue.exchange.open_orders()
    assert (resting.client_id, kind) == (order.client_id, OrderKind.LIMIT)
    cancelled = await venue.exchange.cancel(order)
    assert cancelled is not None
    assert cancelled.state is OrderState.CANCELLED
    assert list(await venue.exchange.open_orders()) == []
    found = await venue.exchange.find(order)
    assert found is not None
    assert found.state is OrderState.CANCELLED


async def test_cancelling_a_filled_order_reports_that_it_is_filled(venue: Venue) -> None:
    order = venue.intent("m", "0.1")
    await venue.exchange.send(await approved(venue, order))
    report = await venue.exchange.cancel(order)
    assert report is not None
    assert report.state is OrderState.FILLED


async def test_a_stop_rests_and_can_be_cancelled(venue: Venue) -> None:
    await venue.exchange.send(await approved(venue, venue.intent("m", "0.1")))
    stop = venue.stop("s", "0.1")
    sent = await venue.exchange.send(await approved(venue, stop))
    assert sent.state is OrderState.OPEN
    ((resting, kind),) = await venue.exchange.open_orders()
    assert (resting.client_id, kind, resting.symbol) == (stop.client_id, OrderKind.STOP, SYMBOL)
    cancelled = await venue.exchange.cancel(stop)
    assert cancelled is not None
    assert (cancelled.state, cancelled.filled) == (OrderState.CANCELLED, 0)
    found = await venue.exchange.find(stop)
    assert found is not None
    assert found.state is OrderState.CANCELLED


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "after a restart"])
async def test_a_triggered_stop_is_filled_and_its_fills_carry_its_id(new_venue: Venue, restart: bool) -> None:
    entry, stop = new_venue.intent("m", "0.1"), new_venue.stop("s", "0.1")
    await new_venue.exchange.send(await approved(new_venue, entry))
    await new_venue.exchange.send(await approved(new_venue, stop))
    await new_venue.advance(FALL_MS + 2 * HOUR_MS)
    exchange = new_venue.restarted() if restart else new_venue.exchange
    fills = await exchange.fills(SYMBOL, OPEN_MS)
    assert [fill.client_id for fill in fills] == [entry.client_id, stop.client_id]
    report = await exchange.find(stop)
    assert report is not None
    assert (report.client_id, report.state, report.filled) == (stop.client_id, OrderState.FILLED, Decimal("0.1"))
    assert report.average_price == fills[1].price
    assert (await exchange.account()).position(SYMBOL) == 0
    assert list(await exchange.open_orders()) == []


async def test_funding_is_booked_at_its_stamps(new_venue: Venue) -> None:
    await new_venue.exchange.send(await approved(new_venue, new_venue.intent("m", "0.1")))
    await new_venue.advance(OPEN_MS + DAY_MS + HOUR_MS)
    payments = await new_venue.exchange.funding_paid(OPEN_MS + 1)
    assert [payment.time_ms for payment in payments] == [OPEN_MS + hours * HOUR_MS for hours in (8, 16, 24)]
    assert {payment.symbol for payment in payments} == {SYMBOL}
    assert all(payment.amount == pytest.approx(Decimal("-0.5"), rel=Decimal("0.01")) for payment in payments)
    assert len({payment.id for payment in payments}) == 3


async def test_a_definitive_no_leaves_nothing_behind(venue: Venue) -> None:
    order = venue.intent("big", "90")
    with pytest.raises(VenueRejected) as caught:
        await venue.exchange.send(await approved(venue, order))
    assert caught.value.code == -2019
    assert await venue.exchange.find(order) is None
    assert (await venue.exchange.account()).positions == ()


async def test_an_answer_that_is_lost_leaves_the_outcome_unknown_and_the_order_findable(venue: Venue) -> None:
    order = await approved(venue, venue.intent("lost", "0.1"))
    venue.wire.forwarded.clear()
    venue.wire.mode = "lose answer"
    with pytest.raises(OutcomeUnknown):
        await venue.exchange.send(order)
    assert venue.wire.forwarded == ["POST /fapi/v1/order"]
    venue.wire.mode = "pass"
    report = await venue.exchange.find(order.intent)
    assert report is not None
    assert report.state is OrderState.FILLED
    assert (await venue.exchange.send(order)).venue_id == report.venue_id
    assert (await venue.exchange.account()).position(SYMBOL) == Decimal("0.1")


async def test_a_stop_whose_answer_is_lost_is_findable(venue: Venue) -> None:
    await venue.exchange.send(await approved(venue, venue.intent("m", "0.1")))
    stop = await approved(venue, venue.stop("lost", "0.1"))
    venue.wire.mode = "lose answer"
    with pytest.raises(OutcomeUnknown):
        await venue.exchange.send(stop)
    venue.wire.mode = "pass"
    report = await venue.exchange.find(stop.intent)
    assert report is not None
    assert report.state is OrderState.OPEN


async def test_a_venue_in_maintenance_leaves_the_outcome_unknown_and_nothing_there(venue: Venue) -> None:
    order = await approved(venue, venue.intent("lost", "0.1"))
    venue.wire.mode = "503"
    with pytest.raises(OutcomeUnknown, match="503"):
        await venue.exchange.send(order)
    with pytest.raises(VenueUnreachable, match="503"):
        await venue.exchange.account()
    venue.wire.mode = "pass"
    assert await venue.exchange.find(order.intent) is None


async def test_a_refused_connection_means_that_nothing_is_there(venue: Venue) -> None:
    order = await approved(venue, venue.intent("refused", "0.1"))
    exchange = venue.restarted()  # no idle connection whose end would leave room for doubt
    await venue.wire.close()
    with pytest.raises(VenueUnreachable):
        await exchange.send(order)
    with pytest.raises(VenueUnreachable):
        await exchange.find(order.intent)
    await venue.wire.open()
    assert await exchange.find(order.intent) is None
    assert (await exchange.send(order)).state is OrderState.FILLED


async def test_a_rate_limit_is_not_retried_by_a_send_and_waited_for_by_a_read(venue: Venue) -> None:
    order = await approved(venue, venue.intent("busy", "0.1"))
    venue.wire.mode = "429"
    with pytest.raises(RateLimited) as caught:
        await venue.exchange.send(order)
    assert caught.value.retry_after_s == 1
    venue.wire.mode = "pass"
    started = asyncio.get_running_loop().time()
    assert await venue.exchange.find(order.intent) is None
    assert asyncio.get_running_loop().time() - started >= 0.9


async def test_market_data_of_the_same_venue_ends_with_the_last_closed_bar(venue: Venue) -> None:
    candles = await venue.market.candles(SYMBOL, Interval.H1, START_MS, START_MS + 30 * DAY_MS)
    assert candles.open_time.tolist() == list(range(START_MS, OPEN_MS, HOUR_MS))
    assert candles.open[0] == 50_000.0
    times, rates = await venue.market.funding_rates(SYMBOL, START_MS, START_MS + 30 * DAY_MS)
    assert times.tolist() == list(range(START_MS, OPEN_MS + 1, 8 * HOUR_MS))
    assert set(rates) == {0.0001}
    assert len((await venue.market.open_interest(SYMBOL, START_MS, OPEN_MS))[0]) == 0
