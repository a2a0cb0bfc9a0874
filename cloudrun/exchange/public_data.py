"""Answers about the market: exchange info, prices, book, funding. Synthetic where candles say nothing (the book's sizes)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cloudrun.exchange.core import Core
from cloudrun.exchange.filters import Params, integer
from cloudrun.exchange.market import SymbolMarket
from cloudrun.exchange.numerals import decimal_text, float_text
from shared.backtest.costs import venue_price
from shared.backtest.venue_rules import SymbolSpec
from shared.domain.interval import HOUR_MS

Json = dict[str, Any]
FUNDING_HOURS = 8
_ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]


def exchange_info(core: Core, weight_limit: int) -> Json:
    """GET exchangeInfo."""
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit},
    ]
    return {
        "timezone": "UTC",
        "serverTime": core.now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
        "symbols": [_symbol_info(market.spec, market.open_ms[0]) for market in core.market.symbols.values()],
    }


def _places(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(-int(exponent), 0)


def _symbol_info(spec: SymbolSpec, onboard_ms: int) -> Json:
    lot = {"minQty": str(spec.step), "maxQty": str(spec.max_quantity), "stepSize": str(spec.step)}
    return {
        "symbol": spec.symbol,
        "pair": spec.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": onboard_ms,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": spec.base,
        "quoteAsset": spec.quote,
        "marginAsset": spec.quote,
        "pricePrecision": _places(spec.tick),
        "quantityPrecision": _places(spec.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.30",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": f"{spec.tick:f}", "maxPrice": "10000000", "tickSize": f"{spec.tick:f}"},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 10000},
            {"filterType": "MIN_NOTIONAL", "notional": str(spec.min_notional)},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
        ],
        "orderTypes": _ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        "permissionSets": [],
    }


def touch(core: Core, market: SymbolMarket) -> tuple[str, str]:
    """Best bid and ask around the last price."""
    price, half = core.price(market.symbol), core.costs.half_spread_bps
    return tuple(decimal_text(venue_price(price, sign, half, market.spec.tick)) for sign in (-1, 1))  # type: ignore[return-value]


def book_ticker(core: Core, market: SymbolMarket) -> Json:
    """GET ticker/bookTicker of one symbol."""
    bid, ask = touch(core, market)
    size = decimal_text(market.spec.max_quantity)
    return {
        "lastUpdateId": core.now_ms,
        "symbol": market.symbol,
        "bidPrice": bid,
        "bidQty": size,
        "askPrice": ask,
        "askQty": size,
        "time": core.now_ms,
    }


def depth(core: Core, market: SymbolMarket, params: Params) -> Json:
    """GET depth: levels one tick apart, beginning at the half-spread."""
    levels = min(max(integer(params, "limit", 20), 1), 1000)
    bid, ask = (Decimal(price) for price in touch(core, market))
    size, tick = decimal_text(market.spec.step * 1000), market.spec.tick
    return {
        "lastUpdateId": core.now_ms,
        "E": core.now_ms,
        "T": core.now_ms,
        "bids": [[decimal_text(bid - tick * level), size] for level in range(levels) if bid > tick * level],
        "asks": [[decimal_text(ask + tick * level), size] for level in range(levels)],
    }


def price_ticker(core: Core, market: SymbolMarket) -> Json:
    """GET ticker/price of one symbol."""
    return {"symbol": market.symbol, "price": decimal_text(core.price(market.symbol)), "time": core.now_ms}


def premium_index(core: Core, market: SymbolMarket) -> Json:
    """GET premiumIndex of one symbol: mark = index = last price; the rate is the last settled one."""
    price = decimal_text(core.price(market.symbol))
    last = market.last_funding(core.now_ms)
    length = FUNDING_HOURS * HOUR_MS
    return {
        "symbol": market.symbol,
        "markPrice": price,
        "indexPrice": price,
        "estimatedSettlePrice": price,
        "lastFundingRate": float_text(last[1] if last else 0.0),
        "interestRate": "0.00010000",
        "nextFundingTime": (core.now_ms // length + 1) * length,
        "time": core.now_ms,
    }


def funding_rates(core: Core, market: SymbolMarket, params: Params) -> list[Json]:
    """GET fundingRate: settled rates, oldest first; without startTime the newest `limit`."""
    limit = min(max(integer(params, "limit", 100), 1), 1000)
    start_ms = integer(params, "startTime", 0)
    end_ms = min(integer(params, "endTime", core.now_ms), core.now_ms)
    rows = market.fundings(start_ms - 1, end_ms)
    chosen = rows[:limit] if params.get("startTime") else rows[-limit:]
    return [
        {
            "symbol": market.symbol,
            "fundingTime": stamp,
            "fundingRate": float_text(rate),
            "markPrice": float_text(market.price(stamp)),
        }
        for stamp, rate in chosen
    ]


def funding_info(core: Core) -> list[Json]:
    """GET fundingInfo."""
    return [
        {
            "symbol": symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": FUNDING_HOURS,
            "disclaimer": False,
        }
        for symbol in core.market.symbols
    ]


def brackets(market: SymbolMarket) -> Json:
    """A row of leverageBracket."""
    tiers = [
        {
            "bracket": number,
            "initialLeverage": tier.leverage,
            "notionalCap": float(tier.cap),
            "notionalFloor": float(tier.floor),
            "maintMarginRatio": float(tier.ratio),
            "cum": float(tier.cum),
        }
        for number, tier in enumerate(market.spec.brackets, start=1)
    ]
    return {"symbol": market.symbol, "notionalCoef": 1.0, "brackets": tiers}
