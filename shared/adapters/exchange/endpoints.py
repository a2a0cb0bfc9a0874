"""The venue's services that we use: ccxt's method name, the request weight, and what to call it in a message.

Weights are Binance's (USD-M futures REST documentation); paths and hosts are ccxt's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One service. `weight` may depend on the parameters."""

    method: str
    action: str
    weight: float | Callable[[Mapping[str, Any]], float] = 1

    @property
    def signed(self) -> bool:
        """Whether the request is signed, and so depends on the clock."""
        return self.method.startswith("fapiPrivate")

    def weight_of(self, parameters: Mapping[str, Any]) -> float:
        """Request weight of a call with `parameters`."""
        return self.weight(parameters) if callable(self.weight) else self.weight


def _kline_weight(parameters: Mapping[str, Any]) -> float:
    limit = int(parameters["limit"])
    return next(weight for most, weight in ((99, 1), (499, 2), (1000, 5), (1500, 10)) if limit <= most)


def _account_wide(weight_of_all: float) -> Callable[[Mapping[str, Any]], float]:
    return lambda parameters: 1 if "symbol" in parameters else weight_of_all


SERVER_TIME = Endpoint("fapiPublicGetTime", "server time")
EXCHANGE_INFO = Endpoint("fapiPublicGetExchangeInfo", "trading rules")
KLINES = Endpoint("fapiPublicGetKlines", "candles", _kline_weight)
# Funding history and open interest have limits of their own (500 and 1000 requests in 5 minutes); this keeps us far below.
FUNDING_RATES = Endpoint("fapiPublicGetFundingRate", "funding rates", 5)
OPEN_INTEREST = Endpoint("fapiDataGetOpenInterestHist", "open interest", 5)

ACCOUNT = Endpoint("fapiPrivateV3GetAccount", "account", 5)
ACCOUNT_CONFIG = Endpoint("fapiPrivateGetAccountConfig", "account settings", 5)
SYMBOL_CONFIG = Endpoint("fapiPrivateGetSymbolConfig", "symbol settings", 5)
FEE_BURN = Endpoint("fapiPrivateGetFeeBurn", "currency of fees", 30)
SET_POSITION_MODE = Endpoint("fapiPrivatePostPositionSideDual", "one-way mode")
SET_MARGIN_TYPE = Endpoint("fapiPrivatePostMarginType", "margin type")
SET_LEVERAGE = Endpoint("fapiPrivatePostLeverage", "leverage")

SEND_ORDER = Endpoint("fapiPrivatePostOrder", "send order")
SEND_STOP = Endpoint("fapiPrivatePostAlgoOrder", "send stop")
ORDER = Endpoint("fapiPrivateGetOrder", "find order")
STOP = Endpoint("fapiPrivateGetAlgoOrder", "find stop")
CANCEL_ORDER = Endpoint("fapiPrivateDeleteOrder", "cancel order")
CANCEL_STOP = Endpoint("fapiPrivateDeleteAlgoOrder", "cancel stop")
OPEN_ORDERS = Endpoint("fapiPrivateGetOpenOrders", "open orders", _account_wide(40))
OPEN_STOPS = Endpoint("fapiPrivateGetOpenAlgoOrders", "open stops", _account_wide(40))
ALL_ORDERS = Endpoint("fapiPrivateGetAllOrders", "order history", 5)
ALL_STOPS = Endpoint("fapiPrivateGetAllAlgoOrders", "stop history", 5)
TRADES = Endpoint("fapiPrivateGetUserTrades", "executions", 5)
INCOME = Endpoint("fapiPrivateGetIncome", "funding payments", 30)

# The key of the user stream belongs to the account: asking for one returns the one in force, if there is one, and prolongs it.
TAKE_LISTEN_KEY = Endpoint("fapiPrivatePostListenKey", "listen key")
KEEP_LISTEN_KEY = Endpoint("fapiPrivatePutListenKey", "renewal of the listen key")
