"""Shapes of the user-data stream and of the market streams, as recorded from the venue."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cloudrun.exchange.market import Bar
from cloudrun.exchange.numerals import decimal_text, float_text, money_text
from cloudrun.exchange.state import AlgoOrder, Order, TradeRow

if TYPE_CHECKING:
    from cloudrun.exchange.core import Core


def _side(sign: int) -> str:
    return "BUY" if sign > 0 else "SELL"


def order_update(order: Order, execution: str, trade: TradeRow | None = None) -> dict[str, Any]:
    """ORDER_TRADE_UPDATE; `execution` is NEW, TRADE, CANCELED or EXPIRED."""
    average = order.quote / order.executed if order.executed else Decimal(0)
    time_ms = order.updated_ms
    return {
        "e": "ORDER_TRADE_UPDATE",
        "T": time_ms,
        "E": time_ms,
        "o": {
            "s": order.symbol,
            "c": order.client_id,
            "S": _side(order.sign),
            "o": order.kind,
            "f": order.time_in_force,
            "q": decimal_text(order.quantity),
            "p": decimal_text(order.price),
            "ap": decimal_text(average),
            "sp": "0",
            "x": execution,
            "X": order.status,
            "i": order.id,
            "l": decimal_text(trade.quantity) if trade else "0",
            "z": decimal_text(order.executed),
            "L": decimal_text(trade.price) if trade else "0",
            "n": money_text(trade.commission) if trade else "0",
            "N": trade.commission_asset if trade else "USDT",
            "T": time_ms,
            "t": trade.id if trade else 0,
            "b": "0",
            "a": "0",
            "m": trade.maker if trade else False,
            "R": order.reduce_only,
            "wt": "CONTRACT_PRICE",
            "ot": order.kind,
            "ps": "BOTH",
            "cp": order.close_position,
            "rp": money_text(trade.realised) if trade else "0",
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": "EXPIRE_MAKER",
            "pm": "NONE",
            "gtd": 0,
            "er": "0",
        },
    }


def trade_lite(order: Order, trade: TradeRow) -> dict[str, Any]:
    """TRADE_LITE: the early, short notice of a fill."""
    return {
        "e": "TRADE_LITE",
        "E": trade.time_ms,
        "T": trade.time_ms,
        "s": order.symbol,
        "q": decimal_text(order.quantity),
        "p": decimal_text(order.price),
        "m": trade.maker,
        "c": order.client_id,
        "S": _side(order.sign),
        "L": decimal_text(trade.price),
        "l": decimal_text(trade.quantity),
        "t": trade.id,
        "i": order.id,
    }


def account_update(core: Core, reason: str, symbols: tuple[str, ...], change: Decimal, time_ms: int) -> dict[str, Any]:
    """ACCOUNT_UPDATE with the wallet and the positions of `symbols`; `change` is what is not profit or fee."""
    wallet = money_text(core.account.wallet)
    rows = []
    for symbol in symbols:
        position = core.account.positions[symbol]
        realised = sum((trade.realised for trade in core.account.trades[-1:] if trade.symbol == symbol), Decimal(0))
        rows.append(
            {
                "s": symbol,
                "pa": decimal_text(position.quantity),
                "ep": decimal_text(position.entry_price),
                "cr": money_text(realised),
                "up": money_text(position.unrealised(core.price(symbol))),
                "mt": "cross",
                "iw": "0",
                "ps": "BOTH",
                "ma": "USDT",
                "bep": decimal_text(position.entry_price),
            }
        )
    balance = {"a": "USDT", "wb": wallet, "cw": wallet, "bc": money_text(change)}
    return {"e": "ACCOUNT_UPDATE", "T": time_ms, "E": time_ms, "a": {"B": [balance], "P": rows, "m": reason}}


def algo_update(core: Core, algo: AlgoOrder) -> dict[str, Any]:
    """ALGO_UPDATE of a conditional order."""
    actual = core.account.orders.get(algo.order_id) if algo.order_id is not None else None
    average = actual.quote / actual.executed if actual and actual.executed else Decimal(0)
    return {
        "e": "ALGO_UPDATE",
        "T": algo.updated_ms,
        "E": algo.updated_ms,
        "o": {
            "caid": algo.client_id,
            "aid": algo.id,
            "at": "CONDITIONAL",
            "o": algo.kind,
            "s": algo.symbol,
            "S": _side(algo.sign),
            "ps": "BOTH",
            "f": "GTC",
            "q": decimal_text(algo.quantity),
            "X": algo.status,
            "ai": str(algo.order_id or ""),
            "ap": decimal_text(average),
            "aq": decimal_text(actual.executed if actual else Decimal(0)),
            "act": "MARKET" if actual else "0",
            "tp": decimal_text(algo.trigger),
            "p": "0",
            "V": "EXPIRE_MAKER",
            "wt": algo.working_type,
            "pm": "NONE",
            "cp": algo.close_position,
            "pP": False,
            "R": algo.reduce_only,
            "tt": algo.trigger_ms,
            "gtd": 0,
        },
    }


def listen_key_expired(listen_key: str, time_ms: int) -> dict[str, Any]:
    """listenKeyExpired: nothing more comes on this key."""
    return {"e": "listenKeyExpired", "E": time_ms, "listenKey": listen_key}


def kline(symbol: str, interval: str, bar: Bar, length_ms: int, *, closed: bool, time_ms: int) -> dict[str, Any]:
    """A kline event of a bar that is `closed` or still open."""
    quote = bar.volume * (bar.open + bar.close) / 2
    return {
        "e": "kline",
        "E": time_ms,
        "s": symbol,
        "k": {
            "t": bar.open_ms,
            "T": bar.open_ms + length_ms - 1,
            "s": symbol,
            "i": interval,
            "f": -1,
            "L": -1,
            "o": float_text(bar.open),
            "c": float_text(bar.close),
            "h": float_text(bar.high),
            "l": float_text(bar.low),
            "v": float_text(bar.volume),
            "n": 0,
            "x": closed,
            "q": float_text(quote),
            "V": "0",
            "Q": "0",
            "B": "0",
        },
    }
