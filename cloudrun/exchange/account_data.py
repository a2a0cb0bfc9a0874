"""Answers about the account: queries over orders, trades and income, with Binance's filters and limits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from cloudrun.exchange import orders, payloads, public_data
from cloudrun.exchange.core import Core
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.filters import Params, integer
from cloudrun.exchange.refusal import Refusal, malformed, missing, refusal
from cloudrun.exchange.state import AlgoOrder, IncomeRow, Order, TradeRow
from shared.domain.interval import DAY_MS
from shared.domain.money import to_decimal

Json = dict[str, Any]
Timed = TypeVar("Timed", TradeRow, IncomeRow, Order, AlgoOrder)
_WEEK_MS = 7 * DAY_MS
MAX_BATCH = 5


def open_orders(core: Core, params: Params) -> list[Json]:
    """GET openOrders: of one symbol or of all."""
    wanted = core.symbol(params).symbol if params.get("symbol") else None
    return [payloads.order(row) for row in core.account.open_orders.values() if wanted in (None, row.symbol)]


def open_algo_orders(core: Core, params: Params) -> list[Json]:
    """GET openAlgoOrders: of one symbol or of all."""
    wanted = core.symbol(params).symbol if params.get("symbol") else None
    return [payloads.algo_order(core, row) for row in core.account.open_algos.values() if wanted in (None, row.symbol)]


def all_orders(core: Core, params: Params) -> list[Json]:
    """GET allOrders: from `orderId`, else by time of creation."""
    symbol = core.symbol(params).symbol
    first = integer(params, "orderId", 0)
    rows = (row for row in core.account.orders.values() if row.symbol == symbol and row.id >= first)
    return [payloads.order(row) for row in _page(rows, params, "fromOrderId", lambda row: row.created_ms, core.now_ms)]


def all_algo_orders(core: Core, params: Params) -> list[Json]:
    """GET allAlgoOrders: from `algoId`, else by time of creation."""
    symbol = core.symbol(params).symbol
    rows = (row for row in core.account.algos.values() if row.symbol == symbol)
    return [payloads.algo_order(core, row) for row in _page(rows, params, "algoId", lambda row: row.created_ms, core.now_ms)]


def user_trades(core: Core, params: Params) -> list[Json]:
    """GET userTrades: of an order, from `fromId`, else by time (a week where only one bound is given)."""
    symbol = core.symbol(params).symbol
    rows: Iterable[TradeRow] = (row for row in core.account.trades if row.symbol == symbol)
    if params.get("orderId"):
        order_id = integer(params, "orderId")
        rows = (row for row in core.account.trades if row.symbol == symbol and row.order_id == order_id)
    return [payloads.trade(row) for row in _page(rows, params, "fromId", lambda row: row.time_ms, core.now_ms)]


def income(core: Core, params: Params) -> list[Json]:
    """GET income: by symbol, type and time; with startTime from there, else the newest."""
    limit = min(max(integer(params, "limit", 100), 1), 1000)
    start_ms, end_ms = integer(params, "startTime", 0), integer(params, "endTime", core.now_ms)
    kind, symbol = params.get("incomeType"), params.get("symbol")
    rows = [
        row
        for row in core.account.income
        if start_ms <= row.time_ms <= end_ms and kind in (None, "", row.kind) and symbol in (None, "", row.symbol)
    ]
    page = max(integer(params, "page", 1), 1)
    chosen = rows[(page - 1) * limit : page * limit] if params.get("startTime") or page > 1 else rows[-limit:]
    return [payloads.income(row) for row in chosen]


def positions(core: Core, params: Params, *, everything: bool) -> list[Json]:
    """GET positionRisk: v2 with `everything`, v3 only what is held or has orders."""
    if params.get("symbol"):
        return [payloads.position_risk(core, core.account.positions[core.symbol(params).symbol])]
    busy = {row.symbol for row in core.account.open_orders.values()}
    return [
        payloads.position_risk(core, row)
        for row in core.account.positions.values()
        if everything or row.quantity or row.symbol in busy
    ]


def symbol_config(core: Core, params: Params) -> list[Json]:
    """GET symbolConfig."""
    wanted = core.symbol(params).symbol if params.get("symbol") else None
    return [
        {
            "symbol": row.symbol,
            "marginType": "CROSSED",
            "isAutoAddMargin": "false",
            "leverage": row.leverage,
            "maxNotionalValue": str(core.spec(row.symbol).max_notional(row.leverage)),
        }
        for row in core.account.positions.values()
        if wanted in (None, row.symbol)
    ]


def leverage_brackets(core: Core, params: Params) -> list[Json]:
    """GET leverageBracket."""
    wanted = [core.symbol(params)] if params.get("symbol") else list(core.market.symbols.values())
    return [public_data.brackets(market) for market in wanted]


def commission_rate(core: Core, params: Params) -> Json:
    """GET commissionRate."""
    return {
        "symbol": core.symbol(params).symbol,
        "makerCommissionRate": f"{to_decimal(core.costs.maker_fee_bps) / 10_000:f}",
        "takerCommissionRate": f"{to_decimal(core.costs.taker_fee_bps) / 10_000:f}",
    }


def open_order(core: Core, params: Params) -> Json:
    """GET openOrder. Raises -2013 where the order is not open."""
    order = orders.find(core, params, -2013)
    if not order.is_open:
        raise refusal(-2013)
    return payloads.order(order)


def batch_orders(desk: Desk, params: Params) -> list[Json]:
    """POST batchOrders: each order by itself; a refused one leaves its error in its place."""
    try:
        batch = json.loads(params.get("batchOrders") or "")
    except ValueError:
        raise missing("batchOrders") from None
    if not isinstance(batch, list) or not 0 < len(batch) <= MAX_BATCH or not all(isinstance(row, dict) for row in batch):
        raise malformed("batchOrders")
    replies: list[Json] = []
    for row in batch:
        order = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in row.items()}
        try:
            replies.append(desk.execute("order", order))
        except Refusal as error:
            replies.append({"code": error.answer.code, "msg": error.answer.message})
    return replies


def _page(rows: Iterable[Timed], params: Params, from_id: str, time_of: Any, now_ms: int) -> list[Timed]:
    """At most `limit` rows: from an id upwards, or in a time range, or the newest."""
    limit = min(max(integer(params, "limit", 500), 1), 1000)
    if params.get(from_id):
        first = integer(params, from_id)
        return [row for row in rows if row.id >= first][:limit]
    if not (params.get("startTime") or params.get("endTime")):
        return list(rows)[-limit:]
    end_ms = integer(params, "endTime", -1)
    start_ms = integer(params, "startTime", end_ms - _WEEK_MS)
    if end_ms < 0:
        end_ms = min(start_ms + _WEEK_MS, now_ms)
    if end_ms - start_ms > _WEEK_MS:
        raise Refusal(-4166, "Search window is restricted to recent 7 days only.")
    return [row for row in rows if start_ms <= time_of(row) <= end_ms][:limit]
