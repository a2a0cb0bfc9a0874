"""The unmodified ccxt and ccxt.pro `binanceusdm` clients work against the paper exchange."""

from __future__ import annotations

import asyncio

import ccxt
import pytest

BTC = "BTC/USDT:USDT"


async def test_a_ccxt_client_trades_a_whole_round(start, clients):
    exchange = await start()
    client = clients(exchange.url)
    await client.load_markets()
    assert sorted(client.markets) == [BTC, "ETH/USDT:USDT"]
    assert await client.fetch_time() == exchange.start_ms
    bars = await client.fetch_ohlcv(BTC, "1h", limit=3)
    assert [bar[0] for bar in bars] == [exchange.start_ms + i * exchange.hour_ms for i in (-2, -1, 0)]
    price = bars[-1][1]
    entry = await client.create_order(BTC, "market", "buy", 0.02, None, {"newClientOrderId": "entry"})
    assert (entry["status"], entry["filled"], entry["clientOrderId"]) == ("closed", 0.02, "entry")
    assert entry["average"] == pytest.approx(price, rel=1e-3)
    resting = await client.create_order(BTC, "limit", "buy", 0.02, round(price * 0.8, 1))
    assert [order["id"] for order in await client.fetch_open_orders(BTC)] == [resting["id"]]
    assert (await client.cancel_order(resting["id"], BTC))["status"] == "canceled"
    stop = await client.create_order(
        BTC, "market", "sell", 0.02, None, {"stopLossPrice": round(price * 0.5, 1), "reduceOnly": True, "clientAlgoId": "stop"}
    )
    assert (stop["status"], stop["clientOrderId"]) == ("open", "stop")
    assert [order["id"] for order in await client.fetch_open_orders(BTC, params={"stop": True})] == [stop["id"]]
    await exchange.advance(9)
    positions = await client.fetch_positions([BTC])
    assert (positions[0]["contracts"], positions[0]["side"], positions[0]["marginMode"]) == (0.02, "long", "cross")
    funding = await client.fetch_funding_history(BTC)
    assert [row["timestamp"] for row in funding] == [exchange.start_ms + 8 * exchange.hour_ms]
    assert funding[0]["amount"] < 0
    trades = await client.fetch_my_trades(BTC)
    assert (trades[0]["order"], trades[0]["amount"], trades[0]["fee"]["currency"]) == (entry["id"], 0.02, "USDT")
    assert trades[0]["fee"]["cost"] == pytest.approx(0.02 * trades[0]["price"] * 0.0005)
    balance = await client.fetch_balance()
    wallet = 10_000 - trades[0]["fee"]["cost"] + funding[0]["amount"]
    assert float(balance["info"]["totalWalletBalance"]) == pytest.approx(wallet, abs=1e-8)
    assert balance["USDT"]["total"] == pytest.approx(wallet + positions[0]["unrealizedPnl"])
    assert balance["USDT"]["used"] > 0
    await client.cancel_order(stop["id"], BTC, {"stop": True})
    assert await client.fetch_open_orders(BTC, params={"stop": True}) == []


async def test_a_triggered_stop_reports_the_order_that_it_placed(start, clients):
    exchange = await start()
    client = clients(exchange.url)
    await client.load_markets()
    entry = await client.create_order(BTC, "market", "sell", 0.02)
    trigger = client.price_to_precision(BTC, entry["average"] * 1.001)
    await client.create_order(
        BTC, "market", "buy", 0.02, None, {"stopLossPrice": trigger, "reduceOnly": True, "clientAlgoId": "s1"}
    )
    await exchange.advance(24)
    algo = await client.fapiPrivateGetAlgoOrder({"clientAlgoId": "s1"})
    assert algo["algoStatus"] == "FINISHED"
    placed = await client.fetch_order(algo["actualOrderId"], BTC)
    assert (placed["status"], placed["filled"], placed["clientOrderId"]) == ("closed", 0.02, "s1")
    assert placed["average"] >= float(trigger)


async def test_ccxt_tells_the_refusals_apart(start, clients):
    # ccxt picks some error classes by the venue's host name, so on loopback those are plain ExchangeErrors with the code.
    client = clients((await start()).url)
    await client.load_markets()
    with pytest.raises(ccxt.MarginModeAlreadySet):
        await client.set_margin_mode("cross", BTC)
    with pytest.raises(ccxt.OperationRejected, match="-4059"):
        await client.set_position_mode(False, BTC)
    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        await client.create_order(BTC, "market", "buy", 50)
    with pytest.raises(ccxt.ExchangeError, match="-2011"):
        await client.cancel_order("12345", BTC)
    with pytest.raises(ccxt.ExchangeError, match="-2013"):
        await client.fetch_order("12345", BTC)
    with pytest.raises(ccxt.BadSymbol):
        await client.fapiPublicGetKlines({"symbol": "NOPEUSDT", "interval": "1h"})
    client.secret = "wrong"
    with pytest.raises(ccxt.ExchangeError, match="-1022"):
        await client.fetch_balance()


async def test_ccxt_sets_and_reads_the_accounts_settings(start, clients):
    client = clients((await start()).url)
    await client.load_markets()
    assert (await client.set_leverage(3, BTC))["leverage"] == 3
    assert (await client.fetch_leverages([BTC]))[BTC]["longLeverage"] == 3
    assert (await client.fetch_position_mode())["hedged"] is False
    assert (await client.fetch_trading_fee(BTC))["taker"] == 0.0005
    assert (await client.fetch_leverage_tiers([BTC]))[BTC][0]["maintenanceMarginRate"] == 0.004
    rates = await client.fetch_funding_rate_history(BTC, limit=3)
    assert [rate["fundingRate"] for rate in rates] == [0.0001] * 3
    book = await client.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]


async def test_ccxt_pro_watches_candles_and_orders(start, clients):
    exchange = await start()
    client = clients(exchange.url, pro=True)
    await client.load_markets()
    first = await asyncio.wait_for(client.watch_ohlcv(BTC, "1h"), 10)
    assert first[-1][0] == exchange.start_ms
    orders = asyncio.create_task(client.watch_orders(BTC))
    async with asyncio.timeout(20):
        while not orders.done():  # an order that comes before the subscription is not told
            await client.create_order(BTC, "market", "buy", 0.002)
            await asyncio.wait([orders], timeout=0.2)
    order = orders.result()[-1]
    assert (order["symbol"], order["side"]) == (BTC, "buy")
    candles = asyncio.create_task(client.watch_ohlcv(BTC, "1h"))
    hours = 0
    async with asyncio.timeout(20):
        while not candles.done():
            hours += 1
            await exchange.advance(hours)
            await asyncio.wait([candles], timeout=0.2)
    assert exchange.start_ms <= candles.result()[-1][0] <= exchange.start_ms + hours * exchange.hour_ms
