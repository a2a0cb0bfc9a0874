"""A book that could trade does: once nothing has been failing for a while, every bar is decided, and nothing holds it back.

Asked for each bar a moment after its orders would be too old. A halt that is in force explains why nothing is opened; a halt
for a difference explains it only where there is one: where no stranger trades and nothing was liquidated, there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudrun.exchange.market import Market
from cloudrun.simulation.outages import RECOVERY_S, Outages
from cloudrun.simulation.story import Story
from shared.domain.asset import Asset
from shared.domain.interval import Interval
from shared.ports import Ledger
from shared.trading.deciding import READY

SEEN_BARS = 12
"""bars back to which a gap or a frozen stretch explains why an asset is not decided"""


@dataclass(frozen=True, slots=True)
class Liveness:
    """Watches whether one book decides its bars."""

    ledger: Ledger
    book: str
    story: Story
    outages: Outages
    interval: Interval
    assets: tuple[Asset, ...]
    market: Market
    start_ms: int

    def closed(self, bar_close_ms: int) -> None:
        """The bar that closed at `bar_close_ms` is too old to trade by now: was it decided?"""
        close_s = (bar_close_ms - self.start_ms) / 1000
        if self.outages.can_decide_since_s() > close_s - RECOVERY_S:
            return
        halted = {halt.symbol for halt in self.ledger.halts(self.book, bar_close_ms)}
        if None in halted:
            return
        decided = {
            d.asset: d for d in self.ledger.decisions(self.book, since_ms=bar_close_ms) if d.bar_close_ms == bar_close_ms
        }
        for asset in self.assets:
            if asset.symbol in halted or not self._traded(asset.symbol, bar_close_ms):
                continue
            decision = decided.get(asset)
            if decision is None:
                self.story.violate(f"{asset.symbol}: the bar at {close_s:.0f} s was not decided, and nothing explains it")
                continue
            back = next((rule.detail for rule in decision.approvals if rule.rule == READY and not rule.passed), "")
            if back:
                self.story.violate(f"{asset.symbol}: at {close_s:.0f} s no new risk was taken, and nothing explains it: {back}")

    def _traded(self, symbol: str, bar_close_ms: int) -> bool:
        """Whether the newest bars of a symbol are all there, and were traded."""
        market = self.market.symbols[symbol]
        last = market.row_at(bar_close_ms - self.interval.ms)
        if last < SEEN_BARS or market.open_ms[last] != bar_close_ms - self.interval.ms:
            return False
        rows = range(last - SEEN_BARS, last + 1)
        complete = market.open_ms[last] - market.open_ms[rows[0]] == SEEN_BARS * self.interval.ms
        return complete and all(market.bar(row).volume > 0 for row in rows)
