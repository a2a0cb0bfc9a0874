"""The market of one asset as a backtest sees it: candles, the venue's rules, and the funding that was paid."""

from __future__ import annotations

from dataclasses import dataclass

from shared.backtest.venue_rules import SymbolSpec
from shared.data.curation import Series
from shared.domain.asset import Asset
from shared.domain.candles import Candles


@dataclass(frozen=True, eq=False, slots=True)
class AssetMarket:
    """Everything about one asset that is not a decision."""

    asset: Asset
    candles: Candles
    spec: SymbolSpec
    """grid, minimum notional, maintenance tiers"""
    funding: Series | None = None
    """stamps (ms) and rates (per stamp, a fraction); the position held at a stamp pays or receives"""
    open_interest: Series | None = None
