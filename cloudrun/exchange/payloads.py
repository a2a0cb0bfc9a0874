"""Shapes of the REST answers about the account: orders, trades, income, positions, balances.

Keys and types follow the recorded payloads; amounts are strings, as Binance sends them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cloudrun.exchange.core import Core
from cloudrun.exchange.numerals import decimal_text, money_text
from cloudrun.exchange.state import AlgoOrder, IncomeRow, Order, PositionState, TradeRow
from shared.domain.money import ZERO

Json = dict[str, Any]


def side_name(sign: int) -> str:
    """BUY or SELL."""
    return "BUY" if sign > 0 else "SELL"


def order(row: Order) -> Json:
    """A regular order."""
    average = row.quote / row.executed if row.executed else ZERO
    return {
        "orderId": row.id,
        "symbol": row.symbol,
        "status": row.status,
        "clientOrderId": row.client_id,
        "price": decimal_text(row.price),
        "avgPrice": decimal_text(average),
        "origQty": decimal_text(row.quantity),
        "executedQty": decimal_text(row.executed),
        "cumQty": decimal_text(row.executed),
        "cumQuote": decimal_text(row.quote),
        "timeInForce": row.time_in_force,
        "type": row.kind,
        "reduceOnly": row.reduce_only,
        "closePosition": row.close_position,
        "side": side_name(row.sign),
        "positionSide": "BOTH",
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": row.kind,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "time": row.created_ms,
        "updateTime": row.updated_ms,
    }


def algo_order(core: Core, row: AlgoOrder) -> Json:
    """A conditional order, with the order that it placed once it triggered."""
    actual = core.account.orders.get(row.order_id) if row.order_id is not None else None
    average = actual.quote / actual.executed if actual and actual.executed else ZERO
    return {
        "algoId": row.id,
        "clientAlgoId": row.client_id,
        "algoType": "CONDITIONAL",
        "orderType": row.kind,
        "symbol": row.symbol,
        "side": side_name(row.sign),
        "positionSide": "BOTH",
        "timeInForce": "GTC",
        "quantity": decimal_text(row.quantity),
        "algoStatus": row.status,
        "actualOrderId": str(row.order_id or ""),
        "actualPrice": decimal_text(average),
        "actualQty": decimal_text(actual.executed if actual else ZERO),
        "actualType": "MARKET" if actual else "",
        "triggerPrice": decimal_text(row.trigger),
        "price": "0.00",
        "icebergQuantity": None,
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": row.working_type,
        "priceMatch": "NONE",
        "closePosition": row.close_position,
        "priceProtect": False,
        "reduceOnly": row.reduce_only,
        "createTime": row.created_ms,
        "updateTime": row.updated_ms,
        "triggerTime": row.trigger_ms,
        "goodTillDate": 0,
    }


def trade(row: TradeRow) -> Json:
    """A row of userTrades."""
    return {
        "buyer": row.sign > 0,
        "commission": money_text(row.commission),
        "commissionAsset": row.commission_asset,
        "id": row.id,
        "maker": row.maker,
        "orderId": row.order_id,
        "price": decimal_text(row.price),
        "qty": decimal_text(row.quantity),
        "quoteQty": decimal_text(row.price * row.quantity),
        "realizedPnl": money_text(row.realised),
        "side": side_name(row.sign),
        "positionSide": "BOTH",
        "symbol": row.symbol,
        "time": row.time_ms,
    }


def income(row: IncomeRow) -> Json:
    """A row of income."""
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": money_text(row.amount),
        "asset": "USDT",
        "info": row.kind,
        "time": row.time_ms,
        "tranId": row.id,
        "tradeId": "" if row.trade_id is None else str(row.trade_id),
    }


def position_risk(core: Core, position: PositionState) -> Json:
    """A row of positionRisk (v2 and v3)."""
    mark = core.price(position.symbol)
    notional = position.quantity * mark
    margin = core.position_margin(position)
    return {
        "symbol": position.symbol,
        "positionSide": "BOTH",
        "positionAmt": decimal_text(position.quantity),
        "entryPrice": decimal_text(position.entry_price),
        "breakEvenPrice": decimal_text(position.entry_price),
        "markPrice": decimal_text(mark),
        "unRealizedProfit": money_text(position.unrealised(mark)),
        "liquidationPrice": decimal_text(liquidation_price(core, position, mark)),
        "leverage": str(position.leverage),
        "marginType": "cross",
        "maxNotionalValue": decimal_text(core.spec(position.symbol).max_notional(position.leverage)),
        "isolatedMargin": "0.00000000",
        "isAutoAddMargin": "false",
        "notional": money_text(notional),
        "isolatedWallet": "0",
        "marginAsset": "USDT",
        "initialMargin": money_text(margin),
        "maintMargin": money_text(core.spec(position.symbol).maintenance(abs(notional))),
        "positionInitialMargin": money_text(margin),
        "openOrderInitialMargin": "0",
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
    }


def liquidation_price(core: Core, position: PositionState, mark: Decimal) -> Decimal:
    """Price of this symbol at which the account would be liquidated, all others unchanged; 0 where there is none."""
    if not position.quantity:
        return ZERO
    size, sign = abs(position.quantity), 1 if position.quantity > 0 else -1
    tier = core.spec(position.symbol).bracket(size * mark)
    cushion = core.account.wallet + core.unrealised() - core.maintenance_margin()
    slope = size * (sign - tier.ratio)
    return max(mark - cushion / slope, ZERO) if slope else ZERO


def account(core: Core, *, everything: bool) -> Json:
    """`account` (v2 with `everything`: all symbols; v3 only what is held or has orders)."""
    wallet, profit = core.account.wallet, core.unrealised()
    initial, held = core.initial_margin(), sum((core.position_margin(p) for p in core.held()), ZERO)
    margins: Json = {
        "initialMargin": money_text(initial),
        "maintMargin": money_text(core.maintenance_margin()),
        "positionInitialMargin": money_text(held),
        "openOrderInitialMargin": money_text(initial - held),
    }
    available = money_text(max(wallet + profit - initial, ZERO))
    balances = {
        "walletBalance": money_text(wallet),
        "unrealizedProfit": money_text(profit),
        "marginBalance": money_text(wallet + profit),
        **margins,
        "crossWalletBalance": money_text(wallet),
        "crossUnPnl": money_text(profit),
        "availableBalance": available,
        "maxWithdrawAmount": available,
    }
    totals = {f"total{name[0].upper()}{name[1:]}": value for name, value in balances.items()}
    for name in ("AvailableBalance", "MaxWithdrawAmount"):
        totals[f"{name[0].lower()}{name[1:]}"] = totals.pop(f"total{name}")
    ordered = {row.symbol for row in core.account.open_orders.values()}
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        **totals,
        "assets": [{"asset": "USDT", **balances, "marginAvailable": True, "updateTime": core.now_ms}],
        "positions": [
            _account_position(core, position)
            for position in core.account.positions.values()
            if everything or position.quantity or position.symbol in ordered
        ],
    }


def _account_position(core: Core, position: PositionState) -> Json:
    risk = position_risk(core, position)
    return {
        "symbol": position.symbol,
        "initialMargin": risk["initialMargin"],
        "maintMargin": risk["maintMargin"],
        "unrealizedProfit": risk["unRealizedProfit"],
        "positionInitialMargin": risk["positionInitialMargin"],
        "openOrderInitialMargin": "0",
        "leverage": risk["leverage"],
        "isolated": False,
        "isolatedMargin": "0.00000000",
        "isolatedWallet": "0",
        "entryPrice": risk["entryPrice"],
        "maxNotional": risk["maxNotionalValue"],
        "bidNotional": "0",
        "askNotional": "0",
        "notional": risk["notional"],
        "positionSide": "BOTH",
        "positionAmt": risk["positionAmt"],
        "updateTime": position.updated_ms,
    }


def balance(core: Core) -> list[Json]:
    """`balance` (v2 and v3)."""
    asset = account(core, everything=False)["assets"][0]
    return [
        {
            "accountAlias": "paper",
            "asset": "USDT",
            "balance": asset["walletBalance"],
            "crossWalletBalance": asset["crossWalletBalance"],
            "crossUnPnl": asset["crossUnPnl"],
            "availableBalance": asset["availableBalance"],
            "maxWithdrawAmount": asset["maxWithdrawAmount"],
            "marginAvailable": True,
            "updateTime": core.now_ms,
        }
    ]
