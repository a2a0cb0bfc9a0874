"""A client that we did not write trades on the paper exchange: python-binance, over REST and its user-data socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

binance = pytest.importorskip("binance", reason="python-binance is absent: make test installs it")


@pytest.fixture
async def venue(start: Any) -> Any:
    return await start()


@pytest.fixture
async def client(venue: Any) -> AsyncIterator[Any]:
    made = binance.AsyncClient("paper", "paper")
    made.FUTURES_URL = f"{venue.url}/fapi"
    yield made
    await made.close_connection()


async def test_it_reads_the_market(client: Any, venue: Any) -> None:
    info = await client.futures_exchange_info()
    assert {entry["symbol"] for entry in info["symbols"]} == {"BTCUSDT", "ETHUSDT"}
    bars = await client.futures_klines(symbol="BTCUSDT", interval="1h", limit=5)
    assert [bar[0] for bar in bars] == sorted(bar[0] for bar in bars)
    assert len(bars) == 5
    price = await client.futures_symbol_ticker(symbol="BTCUSDT")
    mark = await client.futures_mark_price(symbol="BTCUSDT")
    assert Decimal(price["price"]) == Decimal(mark["markPrice"])


async def test_it_opens_protects_and_closes_a_position(client: Any, venue: Any) -> None:
    await client.futures_change_leverage(symbol="BTCUSDT", leverage=3)
    bought = await client.futures_create_order(
        symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010", newClientOrderId="third-1", newOrderRespType="RESULT"
    )
    assert (bought["status"], bought["clientOrderId"]) == ("FILLED", "third-1")
    assert Decimal(bought["executedQty"]) == Decimal("0.010")
    entry = Decimal(bought["avgPrice"])

    stop = await client.futures_create_order(
        symbol="BTCUSDT", side="SELL", type="STOP_MARKET", stopPrice=str(round(entry * Decimal("0.9"), 1)), quantity="0.010"
    )
    assert stop["algoStatus"] == "NEW"
    (position,) = [row for row in await client.futures_position_information(symbol="BTCUSDT") if Decimal(row["positionAmt"])]
    assert (Decimal(position["positionAmt"]), Decimal(position["entryPrice"])) == (Decimal("0.010"), entry)

    await client.futures_create_order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.010", reduceOnly="true")
    await client.futures_cancel_algo_order(clientAlgoId=stop["clientAlgoId"])
    trades = await client.futures_account_trades(symbol="BTCUSDT")
    assert [(trade["side"], Decimal(trade["qty"])) for trade in trades] == [(side, Decimal("0.01")) for side in ("BUY", "SELL")]
    assert not [row for row in await client.futures_position_information(symbol="BTCUSDT") if Decimal(row["positionAmt"])]
    account = await client.futures_account()
    paid = sum((Decimal(row["income"]) for row in await client.futures_income_history()), Decimal(0))
    assert Decimal(account["totalWalletBalance"]) == 10_000 + paid


async def test_a_limit_order_rests_is_found_and_is_cancelled(client: Any, venue: Any) -> None:
    placed = await client.futures_create_order(
        symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.100", price="1000.00"
    )
    assert [order["orderId"] for order in await client.futures_get_open_orders()] == [placed["orderId"]]
    cancelled = await client.futures_cancel_order(symbol="ETHUSDT", orderId=placed["orderId"])
    assert cancelled["status"] == "CANCELED"
    found = await client.futures_get_order(symbol="ETHUSDT", orderId=placed["orderId"])
    assert found["status"] == "CANCELED"
    assert await client.futures_get_open_orders() == []


async def test_it_is_refused_as_by_the_venue(client: Any, venue: Any) -> None:
    with pytest.raises(binance.exceptions.BinanceAPIException) as refused:
        await client.futures_create_order(symbol="NOPEUSDT", side="BUY", type="MARKET", quantity="1")
    assert refused.value.code == -1121
    with pytest.raises(binance.exceptions.BinanceAPIException) as poor:
        await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="100")
    assert poor.value.code == -2019


async def test_its_user_socket_tells_of_its_orders(client: Any, venue: Any) -> None:
    sockets = binance.BinanceSocketManager(client)
    sockets.FSTREAM_URL = venue.url.replace("http", "ws") + "/"
    async with sockets.futures_user_socket() as stream:
        await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.002")
        kinds, filled = [], None
        async with asyncio.timeout(10):
            while filled is None:
                event = await stream.recv()
                kinds.append(event["e"])
                if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["X"] == "FILLED":
                    filled = event["o"]
    assert (filled["s"], filled["z"]) == ("BTCUSDT", "0.002")
    assert "ACCOUNT_UPDATE" in kinds


async def test_fees_can_be_paid_in_another_currency_and_leave_the_wallet_alone(client: Any, venue: Any) -> None:
    assert await client.futures_v1_get_fee_burn() == {"feeBurn": False}
    assert (await client.futures_v1_post_fee_burn(feeBurn="true"))["code"] == 200
    assert await client.futures_v1_get_fee_burn() == {"feeBurn": True}
    await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
    [trade] = await client.futures_account_trades(symbol="BTCUSDT")
    assert (trade["commissionAsset"], Decimal(trade["commission"]) > 0) == ("BNB", True)
    assert Decimal((await client.futures_account())["totalWalletBalance"]) == 10_000
    assert await client.futures_income_history() == []
    with pytest.raises(binance.exceptions.BinanceAPIException) as refused:
        await client.futures_v1_post_fee_burn()
    assert refused.value.code == -1102
