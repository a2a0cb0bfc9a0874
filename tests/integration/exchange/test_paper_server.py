"""The server's own promises: signatures, clocks, limits, streams, restarts, a kill in mid-traffic."""

from __future__ import annotations

import asyncio
import json
import random
import time

import aiohttp
import pytest

from cloudrun.exchange.__main__ import main

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002"}


async def test_keys_signatures_and_timestamps_are_checked(start):
    exchange = await start()
    path = "/fapi/v2/balance"
    assert (await exchange.call("GET", path))[0] == 200
    for changed, status, code in (
        ({"key": None}, 401, -2014),
        ({"key": "other"}, 401, -2015),
        ({"secret": "other"}, 400, -1022),
        ({"timestamp": 5}, 400, -1021),
        ({"timestamp": "soon"}, 400, -1102),
        ({"recvWindow": 60_001}, 400, -1131),
    ):
        answer = await exchange.call("GET", path, **changed)
        assert (answer[0], answer[1]["code"]) == (status, code)
    assert (await exchange.call("GET", path, timestamp=exchange.start_ms))[0] == 200
    assert (await exchange.call("POST", "/paper/v1/advance", secret="other", to_ms=exchange.start_ms + 1))[0] == 400
    assert (await exchange.state())["now_ms"] == exchange.start_ms


async def test_at_the_speed_of_real_time_a_wrong_clock_is_refused(start):
    exchange = await start("--speed", "1")
    for offset_ms, message in ((-6000, "outside of the recvWindow"), (5000, "ahead of the server's time")):
        async with aiohttp.ClientSession() as session, session.get(f"{exchange.url}/fapi/v1/time") as response:
            now_ms = (await response.json())["serverTime"]
        assert (await exchange.call("GET", "/fapi/v2/balance", timestamp=now_ms))[0] == 200
        status, body, _ = await exchange.call("GET", "/fapi/v2/balance", timestamp=now_ms + offset_ms)
        assert (status, body["code"]) == (400, -1021)
        assert message in body["msg"]


async def test_the_clock_runs_at_its_speed_and_ends_with_the_market(start):
    exchange = await start("--speed", "1000000")
    end_ms = (await exchange.state())["end_ms"]
    async with aiohttp.ClientSession(exchange.url) as session, session.ws_connect("/ws/btcusdt@markPrice") as prices:
        seen = []
        async with asyncio.timeout(20):
            while not seen or seen[-1] < end_ms:
                seen.append((await prices.receive_json())["E"])
    assert seen == sorted(seen)
    assert (await exchange.state())["now_ms"] == end_ms


async def test_beyond_the_weight_limit_the_answer_is_429_with_a_time_to_wait(start):
    exchange = await start("--weight-limit", "12")
    statuses = [await exchange.call("GET", "/fapi/v2/balance") for _ in range(4)]
    assert [status for status, _, _ in statuses][-1] == 429
    _, body, headers = statuses[-1]
    assert body["code"] == -1003
    assert 0 < int(headers["Retry-After"]) <= 61
    assert int(headers["X-MBX-USED-WEIGHT-1M"]) > 12


async def test_a_batch_answers_each_order_in_its_place(start):
    exchange = await start()
    batch = json.dumps([ORDER, {**ORDER, "quantity": "0.0001"}])
    status, body, _ = await exchange.call("POST", "/fapi/v1/batchOrders", batchOrders=batch)
    assert status == 200, body
    assert (body[0]["status"], body[1]["code"]) == ("FILLED", -1111)


async def test_an_unknown_path_is_a_404(start):
    assert (await (await start()).call("GET", "/fapi/v1/nothing"))[0] == 404


async def test_user_and_kline_streams_carry_what_happens(start):
    exchange = await start()
    _, body, _ = await exchange.call("POST", "/fapi/v1/listenKey")
    key = body["listenKey"]
    assert (await exchange.call("PUT", "/fapi/v1/listenKey"))[1]["listenKey"] == key
    async with aiohttp.ClientSession(exchange.url) as session, session.ws_connect(f"/private/ws?listenKey={key}") as user:
        async with session.ws_connect("/stream?streams=btcusdt@kline_1h/ethusdt@bookTicker") as streams:
            opened = [(await streams.receive_json(timeout=5)) for _ in range(2)]
            assert [message["stream"] for message in opened] == ["btcusdt@kline_1h", "ethusdt@bookTicker"]
            await exchange.call("POST", "/fapi/v1/order", **ORDER)
            kinds = [(await user.receive_json(timeout=5))["e"] for _ in range(4)]
            assert kinds == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
            await exchange.advance(2)
            bars = [m["data"]["k"] for m in [await streams.receive_json(timeout=5) for _ in range(4)] if "kline" in m["stream"]]
            assert [bar["x"] for bar in bars] == [True, True, False]
        async with session.ws_connect("/ws") as raw:
            await raw.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@markPrice"], "id": 7})
            assert await raw.receive_json(timeout=5) == {"result": None, "id": 7}
            assert (await raw.receive_json(timeout=5))["e"] == "markPriceUpdate"
            await raw.send_str("nonsense")
            assert "error" in await raw.receive_json(timeout=5)
    assert (await exchange.call("DELETE", "/fapi/v1/listenKey"))[0] == 200
    assert (await exchange.call("PUT", "/fapi/v1/listenKey"))[1]["code"] == -1125


async def test_at_a_speed_closed_bars_are_told_as_they_close(start):
    exchange = await start("--speed", "7200")  # a bar in half a second
    async with aiohttp.ClientSession(exchange.url) as session, session.ws_connect("/market/ws/btcusdt@kline_1h") as bars:
        told = []
        async with asyncio.timeout(20):
            while len(told) < 4:
                bar = await bars.receive_json()
                if bar["k"]["x"]:
                    told.append((bar["k"]["t"], bar["E"] - bar["k"]["T"]))
    first = told[0][0]
    assert [opened for opened, _ in told] == [first + i * exchange.hour_ms for i in range(4)]
    assert sorted(late for _, late in told)[0] < exchange.hour_ms / 4  # the clock is moved when a bar closes, not only by ticks


async def test_streams_can_be_made_to_fail(start):
    exchange = await start()

    async def control(action, which="all"):
        status, body, _ = await exchange.call("POST", "/paper/v1/streams", action=action, which=which)
        return body["connections"] if status == 200 else body["code"]

    key = (await exchange.call("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
    async with aiohttp.ClientSession(exchange.url) as session:

        def user():
            return session.ws_connect(f"/private/ws?listenKey={key}")

        async with user() as private, session.ws_connect("/public/ws/btcusdt@bookTicker") as public:
            await public.receive_json(timeout=5)
            assert [await control("drop", which) for which in ("nobody", "market")] == [-1130, 1]
            assert (await public.receive(timeout=5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            assert await control("expire_key", "user") == 1
            assert (await private.receive_json(timeout=5)) == {
                "e": "listenKeyExpired",
                "E": exchange.start_ms,
                "listenKey": key,
            }
            assert await control("close") == 1
            assert (await private.receive(timeout=5)).data == 1001
        assert await control("refuse") == 0
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await user()
        await control("accept")
        async with session.ws_connect("/ws", autoping=False) as silent:
            await silent.ping(b"there?")
            assert (await silent.receive(timeout=5)).type is aiohttp.WSMsgType.PONG
            assert await control("stall", "market") == 1
            await silent.ping(b"there?")
            await silent.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1})
            await exchange.advance(1)
            with pytest.raises(TimeoutError):
                await silent.receive(timeout=0.3)
    assert await control("explode") == -1130


async def test_keys_and_connections_end_at_their_age(start):
    exchange = await start("--key-minutes", "30", "--connection-hours", "2", "--simulated-lives")
    key = (await exchange.call("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
    async with aiohttp.ClientSession(exchange.url) as session, session.ws_connect(f"/private/ws?listenKey={key}") as user:
        await exchange.advance(0.4)
        assert (await exchange.call("PUT", "/fapi/v1/listenKey"))[1]["listenKey"] == key
        await exchange.advance(0.8)
        assert (await exchange.call("PUT", "/fapi/v1/listenKey"))[0] == 200
        await exchange.advance(1.5)
        assert (await user.receive_json(timeout=5))["e"] == "listenKeyExpired"
        assert (await exchange.call("PUT", "/fapi/v1/listenKey"))[1]["code"] == -1125
        assert (await exchange.call("POST", "/fapi/v1/listenKey"))[1]["listenKey"] != key
        await exchange.advance(2)
        assert (await user.receive(timeout=5)).data == 1001


async def test_a_kill_in_mid_traffic_loses_nothing_that_was_answered(start, tmp_path):
    journal = str(tmp_path / "paper.journal")
    rng = random.Random(20)
    answered: dict[str, dict] = {}
    number = 0
    for round_number in range(3):
        exchange = await start("--journal", journal)
        state = await exchange.state()
        assert state["trades"] >= len(answered)
        for client_id, reply in answered.items():
            status, found, _ = await exchange.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId=client_id)
            assert (status, found) == (200, reply)
        killing = asyncio.create_task(_kill_after(exchange, rng.uniform(0.05, 0.3)))
        try:
            while True:
                number += 1
                client_id = f"o{number}"
                status, reply, _ = await exchange.call("POST", "/fapi/v1/order", **ORDER, newClientOrderId=client_id)
                assert status == 200, reply
                answered[client_id] = reply
                await exchange.advance(round_number * 100 + (number % 100) / 100)
        except aiohttp.ClientError:
            await killing
    assert len(answered) > 3


async def _kill_after(exchange, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await exchange.kill()


async def test_it_ends_when_its_parent_does_and_on_sigterm(start):
    first, second = await start(), await start()
    first.process.stdin.close()
    second.process.terminate()
    assert await asyncio.wait_for(first.process.wait(), 10) == 0
    assert await asyncio.wait_for(second.process.wait(), 10) == 0


async def test_a_market_other_than_the_journals_is_refused_in_one_line(start, tmp_path):
    journal = str(tmp_path / "paper.journal")
    await (await start("--journal", journal)).kill()
    with pytest.raises(AssertionError, match=r"error: the journal .* belongs to another account"):
        await start("--journal", journal, "--symbols", "BTCUSDT")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "2020-01-01"], "lies outside the candles"),
        (["--interval", "7m"], "unknown interval"),
        (["--symbols", "NOPEUSDT"], "NOPEUSDT"),
        (["--capital", "much"], "cannot read the amount"),
        (["--speed", "-1"], "the speed is -1"),
        (["--taker-fee-bps", "-1"], "taker_fee_bps"),
        (["--key-minutes", "0"], "must be positive"),
    ],
)
def test_a_bad_argument_is_one_clear_line(market_directory, capsys, arguments, message):
    assert main(["--market", str(market_directory), "--port", "0", *arguments]) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


async def test_a_simple_request_takes_about_a_millisecond(start):
    exchange = await start()
    async with aiohttp.ClientSession() as session:
        began = time.perf_counter()
        for _ in range(300):
            async with session.get(f"{exchange.url}/fapi/v1/premiumIndex", params={"symbol": "BTCUSDT"}) as response:
                assert response.status == 200
                await response.read()
        assert (time.perf_counter() - began) / 300 < 0.02  # generous: a busy machine, and the client's own time
