import pytest

from shared.adapters.exchange import ConnectionParams
from shared.adapters.exchange.client import make_client
from shared.adapters.exchange.stream_addresses import StreamAddresses
from shared.domain.errors import ConfigError

FUTURES = {"fapiPublic", "fapiPublicV2", "fapiPublicV3", "fapiPrivate", "fapiPrivateV2", "fapiPrivateV3", "fapiData"}


def test_the_venues_own_hosts_come_from_ccxt():
    hosts = make_client("binanceusdm").urls["api"]
    assert set(hosts) == FUTURES
    assert all(host.startswith("https://fapi.") for host in hosts.values())


def test_a_base_url_moves_every_host():
    hosts = make_client("binanceusdm", base_url="http://127.0.0.1:8080/").urls["api"]
    assert hosts["fapiPrivateV3"] == "http://127.0.0.1:8080/fapi/v3"
    assert hosts["fapiData"] == "http://127.0.0.1:8080/futures/data"
    assert set(hosts) == FUTURES


def test_the_test_venue_has_other_hosts_than_the_venue():
    demo = make_client("binanceusdm", demo=True).urls["api"]
    live = make_client("binanceusdm").urls["api"]
    assert not set(demo.values()) & set(live.values())


def test_streams_move_with_the_base_url():
    client = make_client("binanceusdm", base_url="http://127.0.0.1:8080", streaming=True)
    assert set(client.urls["api"]["ws"]) == {"linear", "ws-api"}
    assert client.get_ws_url("linear", "market").startswith("ws://127.0.0.1:8080/")


def test_streams_are_where_the_venue_serves_them():
    addresses = StreamAddresses("binanceusdm", base_url="http://127.0.0.1:8080")
    assert addresses.market(["kline", "bookTicker", "markPrice"]) == {
        "ws://127.0.0.1:8080/market/ws": ["kline", "markPrice"],
        "ws://127.0.0.1:8080/public/ws": ["bookTicker"],
    }
    assert addresses.user("k") == "ws://127.0.0.1:8080/private/ws?listenKey=k"
    assert not addresses.trust_env
    live, demo = StreamAddresses("binanceusdm"), StreamAddresses("binanceusdm", demo=True)
    assert all(address.startswith("wss://fstream.") for address in (*live.market(["kline"]), live.user("k")))
    assert live.trust_env
    assert not set(live.market(["kline"])) & set(demo.market(["kline"]))


async def test_no_host_but_the_futures_venues_can_be_called():
    client = make_client("binanceusdm", base_url="http://127.0.0.1:9")
    with pytest.raises(Exception, match="sapi"):
        await client.sapiGetCapitalConfigGetall()
    await client.close()


def test_unknown_venues_and_contradictory_hosts_are_refused():
    with pytest.raises(ConfigError, match="supported: binanceusdm"):
        make_client("mtgox")
    with pytest.raises(ConfigError, match="not both"):
        make_client("binanceusdm", base_url="http://127.0.0.1:9", demo=True)


@pytest.mark.parametrize(
    "setting",
    [
        {"timeout_s": 0},
        {"weight_per_minute": 0},
        {"weight_share": 1.5},
        {"read_attempts": 0},
        {"receive_window_ms": 60_001},
        {"order_window_ms": 0},
        {"order_answer_s": 0},
        {"read_limit_s": 0},
        {"trader_read_s": 0},
        {"clock_skew_limit_ms": 0},
    ],
)
def test_impossible_connection_settings_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ConnectionParams(**setting)
