"""The REST surface: which path needs what, weighs what, and who answers it.

Paths and weights follow the USD-M futures documentation. `/paper/v1/…` is ours: the control of simulated time and of
streams that are to fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cloudrun.exchange import account_data, orders, payloads, public_data
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.engine import DONE
from cloudrun.exchange.filters import flag, integer
from cloudrun.exchange.market import SymbolMarket
from cloudrun.exchange.refusal import Refusal, malformed, missing, refusal
from cloudrun.exchange.streams import Streams

Parameters = dict[str, str]
Answer = Callable[[Parameters], Any]


class Security(Enum):
    """What a request must carry."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `weight` may depend on the parameters."""

    security: Security
    answer: Answer
    weight: Callable[[Parameters], int]


Table = dict[tuple[str, str], Route]


def routes(desk: Desk, streams: Streams, weight_limit: int, state: Callable[[], Any] | None = None) -> Table:
    """All endpoints by (method, path); `state` is what the control endpoint says (default: the engine's summary)."""
    table: Table = {}

    def add(security: Security, method: str, path: str, answer: Answer, weight: int = 1) -> None:
        table[method, path] = Route(security, answer, lambda _: weight)

    _public(desk, weight_limit, add)
    _account(desk, add)
    _settings(desk, add)
    _orders(desk, add)
    _control(desk, streams, add, state or desk.engine.state)
    kline_route = table["GET", "/fapi/v1/klines"]
    table["GET", "/fapi/v1/klines"] = Route(Security.NONE, kline_route.answer, _kline_weight)
    return table


def _kline_weight(params: Parameters) -> int:
    limit = params.get("limit", "500")
    count = int(limit) if limit.isdigit() else 500
    return next((weight for bound, weight in ((100, 1), (500, 2), (1001, 5)) if count < bound), 10)


def _public(desk: Desk, weight_limit: int, add: Callable[..., None]) -> None:
    core = desk.engine.core

    def one_or_all(answer: Callable[[SymbolMarket], Any]) -> Answer:
        def reply(params: Parameters) -> Any:
            if params.get("symbol"):
                return answer(core.symbol(params))
            return [answer(market) for market in core.market.symbols.values()]

        return reply

    def get(path: str, answer: Answer, weight: int = 1) -> None:
        add(Security.NONE, "GET", path, answer, weight)

    get("/fapi/v1/ping", lambda _: {})
    get("/fapi/v1/time", lambda _: {"serverTime": desk.now_ms})
    get("/fapi/v1/exchangeInfo", lambda _: public_data.exchange_info(core, weight_limit))
    get("/fapi/v1/klines", lambda params: desk.klines.rows(core.symbol(params), params, desk.now_ms))
    get("/fapi/v1/depth", lambda params: public_data.depth(core, core.symbol(params), params), 2)
    get("/fapi/v1/ticker/bookTicker", one_or_all(lambda market: public_data.book_ticker(core, market)), 2)
    for version in ("v1", "v2"):
        get(f"/fapi/{version}/ticker/price", one_or_all(lambda market: public_data.price_ticker(core, market)))
    get("/fapi/v1/premiumIndex", one_or_all(lambda market: public_data.premium_index(core, market)))
    get("/fapi/v1/fundingRate", lambda params: public_data.funding_rates(core, core.symbol(params), params))
    get("/fapi/v1/fundingInfo", lambda _: public_data.funding_info(core))
    get("/fapi/v1/openInterest", lambda params: _open_interest(desk, params))
    get("/futures/data/openInterestHist", lambda params: _no_history(desk, params))


def _no_history(desk: Desk, params: Parameters) -> list[Any]:
    """Candle files hold no open interest: the venue lists none for a symbol that exists."""
    desk.engine.core.symbol(params)
    return []


def _open_interest(desk: Desk, params: Parameters) -> dict[str, Any]:
    return {"openInterest": "0.000", "symbol": desk.engine.core.symbol(params).symbol, "time": desk.now_ms}


def _account(desk: Desk, add: Callable[..., None]) -> None:
    core = desk.engine.core

    def get(path: str, answer: Answer, weight: int = 5) -> None:
        add(Security.SIGNED, "GET", path, answer, weight)

    get("/fapi/v2/account", lambda _: payloads.account(core, everything=True))
    get("/fapi/v3/account", lambda _: payloads.account(core, everything=False))
    for version in ("v2", "v3"):
        get(f"/fapi/{version}/balance", lambda _: payloads.balance(core))
    get("/fapi/v2/positionRisk", lambda params: account_data.positions(core, params, everything=True))
    get("/fapi/v3/positionRisk", lambda params: account_data.positions(core, params, everything=False))
    get("/fapi/v1/accountConfig", lambda _: _account_config())
    get("/fapi/v1/symbolConfig", lambda params: account_data.symbol_config(core, params))
    get("/fapi/v1/leverageBracket", lambda params: account_data.leverage_brackets(core, params), 1)
    get("/fapi/v1/commissionRate", lambda params: account_data.commission_rate(core, params), 20)
    get("/fapi/v1/userTrades", lambda params: account_data.user_trades(core, params))
    get("/fapi/v1/income", lambda params: account_data.income(core, params), 30)


def _account_config() -> dict[str, Any]:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def _settings(desk: Desk, add: Callable[..., None]) -> None:
    core = desk.engine.core

    def margin_type(params: Parameters) -> Any:
        core.symbol(params)
        wanted = params.get("marginType")
        if wanted == "CROSSED":
            raise refusal(-4046)
        raise malformed("marginType") if wanted else missing("marginType")

    def position_mode(params: Parameters) -> Any:
        if not params.get("dualSidePosition"):
            raise missing("dualSidePosition")
        if flag(params, "dualSidePosition"):
            raise Refusal(-4067, "Position side cannot be changed: the paper exchange is one-way only.")
        raise refusal(-4059)

    def multi_assets(params: Parameters) -> Any:
        if flag(params, "multiAssetsMargin"):
            raise refusal(-4171)
        return DONE

    add(Security.SIGNED, "POST", "/fapi/v1/leverage", lambda params: desk.execute("leverage", params))
    add(Security.SIGNED, "POST", "/fapi/v1/marginType", margin_type)
    add(Security.SIGNED, "GET", "/fapi/v1/positionSide/dual", lambda _: {"dualSidePosition": False}, 30)
    add(Security.SIGNED, "POST", "/fapi/v1/positionSide/dual", position_mode)
    add(Security.SIGNED, "GET", "/fapi/v1/multiAssetsMargin", lambda _: {"multiAssetsMargin": False}, 30)
    add(Security.SIGNED, "POST", "/fapi/v1/multiAssetsMargin", multi_assets)
    add(Security.SIGNED, "GET", "/fapi/v1/feeBurn", lambda _: {"feeBurn": core.account.fee_burn}, 30)
    add(Security.SIGNED, "POST", "/fapi/v1/feeBurn", lambda params: desk.execute("fee_burn", params))


def _orders(desk: Desk, add: Callable[..., None]) -> None:
    core = desk.engine.core

    def signed(method: str, path: str, answer: Answer, weight: int = 1) -> None:
        add(Security.SIGNED, method, f"/fapi/v1/{path}", answer, weight)

    def command(method: str, path: str, name: str) -> None:
        signed(method, path, lambda params: desk.execute(name, params))

    command("POST", "order", "order")
    command("DELETE", "order", "cancel")
    command("DELETE", "allOpenOrders", "cancel_all")
    command("POST", "algoOrder", "algo")
    command("DELETE", "algoOrder", "cancel_algo")
    command("DELETE", "algoOpenOrders", "cancel_all_algos")
    signed("POST", "batchOrders", lambda params: account_data.batch_orders(desk, params), 5)
    signed("GET", "order", lambda params: payloads.order(orders.find(core, params, -2013)))
    signed("GET", "openOrder", lambda params: account_data.open_order(core, params))
    signed("GET", "openOrders", lambda params: account_data.open_orders(core, params))
    signed("GET", "allOrders", lambda params: account_data.all_orders(core, params), 5)
    signed("GET", "algoOrder", lambda params: payloads.algo_order(core, orders.find_algo(core, params, -2013)))
    signed("GET", "openAlgoOrders", lambda params: account_data.open_algo_orders(core, params))
    signed("GET", "allAlgoOrders", lambda params: account_data.all_algo_orders(core, params), 5)


def _control(desk: Desk, streams: Streams, add: Callable[..., None], state: Callable[[], Any]) -> None:
    def listen_key(params: Parameters) -> dict[str, Any]:
        return {"listenKey": streams.open_key()}

    def advance(params: Parameters) -> Any:
        return desk.execute("advance", {"to_ms": str(integer(params, "to_ms"))})

    def control(params: Parameters) -> dict[str, Any]:
        return streams.control(params.get("action", ""), params.get("which", "all"))

    add(Security.KEY, "POST", "/fapi/v1/listenKey", listen_key)
    add(Security.KEY, "PUT", "/fapi/v1/listenKey", lambda _: {"listenKey": streams.keep_key()})
    add(Security.KEY, "DELETE", "/fapi/v1/listenKey", lambda _: streams.close_key())
    add(Security.SIGNED, "POST", "/paper/v1/advance", advance, 0)
    add(Security.SIGNED, "GET", "/paper/v1/state", lambda _: state(), 0)
    add(Security.SIGNED, "POST", "/paper/v1/streams", control, 0)
