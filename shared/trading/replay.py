"""Does what a book decided follow from what it stored? Every decision of a period is made again and compared.

Inputs are only what the day left behind: the candles and models of the book, and of the ledger the equity rows, fills, orders,
halts and regime states *before* each decision. The functions are the session's own (`analyse`, `decide`). Texts, ids and
orders must be equal, numbers equal to 1e-9 (in practice to the bit, which is counted). The position before a decision is the
sum of the fills of earlier decisions and of what the venue filled by itself up to the bar's close. Every stored decision is
counted: one that nothing in the book leads to (no equity row, no bar, a foreign asset, a second one of a bar) is a difference.
So is a hole: the bars run unbroken from the book's first step to its last, each with an equity row that follows from fills and
funding (`accounting`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from shared.domain.asset import Asset, Universe
from shared.domain.decision import Decision
from shared.domain.errors import DataError, ModelError
from shared.domain.interval import Interval
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderRecord, OrderState
from shared.domain.records import BookRecord, EquityPoint, RegimeState
from shared.ports import Bucket, Ledger, MarketData
from shared.regime.schedule import last_instant
from shared.regime.store import model_valid_at
from shared.risk.kelly import recorded_cap
from shared.strategy.ml_model import Trained
from shared.strategy.ml_store import load_ml_models
from shared.strategy.rl_policy import RlPolicy
from shared.trading.accounting import AccountBook, Marks, account_book, account_faults
from shared.trading.analysis import analyse, remembered
from shared.trading.comparison import Again, Difference, compared, unplaced
from shared.trading.deciding import NO_DATA, NOT_ANALYSED, READY, BookView, decide, exit_only
from shared.trading.legs import MARKET
from shared.trading.ml_models import wants_ml
from shared.trading.params import SystemParams
from shared.trading.rl_models import policies_of
from shared.trading.track_record import moments
from shared.trading.twap import SLICE
from shared.trading.window import MarketWindow, refreshed


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """What a book left behind."""

    book: str
    universe: Universe
    interval: Interval
    ledger: Ledger
    market: MarketData
    """the candles that it was traded on"""
    models: Bucket
    """its regime and ML models"""
    rules: Mapping[str, SymbolRules]
    params: SystemParams
    code_version: str
    """of the code that replays"""
    record: BookRecord
    paper: bool
    """whether `market` is what a paper exchange traded, so that its marks are known"""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found."""

    book: str
    start_ms: int
    end_ms: int
    decisions: int
    exact: int
    """decisions that are equal to the last bit"""
    within_tolerance: int
    """decisions whose numbers differ by rounding only"""
    bars: int
    """instants of the period at which the book must have an equity row"""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """circumstances that differ and changed nothing"""

    @property
    def identical(self) -> bool:
        """Whether every decision and every equity row came out again."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class _Book:
    """The ledger's rows of one book, read once."""

    decisions: Mapping[tuple[int, str], Decision]
    """by bar close and symbol"""
    all_decisions: Sequence[Decision]
    """as stored"""
    bar_of: Mapping[str, int]
    """bar close by decision id"""
    orders: Mapping[str, OrderRecord]
    fills: Sequence[Fill]
    equity: Sequence[EquityPoint]
    states: Mapping[Asset, Sequence[RegimeState]]


async def replay(
    source: ReplaySource, start_ms: int, end_ms: int, on_progress: Callable[[int, int], None] | None = None
) -> Replay:
    """Every decision on bars that closed in [start_ms, end_ms), made again. Raises the `DataError` tree."""
    book = _read(source)
    points = [point for point in book.equity if start_ms <= point.time_ms < end_ms]
    stored_then = [decision for decision in book.all_decisions if start_ms <= decision.bar_close_ms < end_ms]
    marked = {point.time_ms for point in points}
    differences = unplaced(stored_then, source.universe, source.interval, marked)
    total = len(differences)
    account = _account(source, book)
    bars = 0 if account is None else len([one for one in account.instants if start_ms <= one < end_ms])
    if account is not None:
        marks = await _marks(source, account) if source.paper else None
        faults = [fault for fault in account_faults(account, marks) if start_ms <= fault.time_ms < end_ms]
        differences += [Difference("", "", one.time_ms, one.what, one.stored, one.expected, one.cause) for one in faults]
    windows = {
        asset: MarketWindow.empty(asset, source.interval, source.params.window_bars(source.interval))
        for asset in source.universe
    }
    ml = _ml_models(source)
    rl, _ = policies_of(source.models, source.universe, source.interval, source.params)
    exact = close = 0
    for done, point in enumerate(points, start=1):
        for asset in windows:
            windows[asset] = await refreshed(windows[asset], source.market, point.time_ms)
        for asset in source.universe:
            stored = book.decisions.get((point.time_ms, asset.symbol))
            again = _decided(source, book, windows, asset, point, stored, ml.get(asset), rl.get(asset))
            if stored is None and isinstance(again, str):
                continue  # nothing could be decided then, nothing can be now
            total += 1
            found = compared(asset.symbol, point.time_ms, stored, _orders_of(book, stored), again, source.code_version)
            differences += found.differences
            exact += found.exact
            close += not found.exact and not found.differences
        if on_progress is not None:
            on_progress(done, len(points))
    notes = _notes(source, book, points)
    return Replay(source.book, start_ms, end_ms, total, exact, close, bars, tuple(differences), notes)


def _read(source: ReplaySource) -> _Book:
    ledger, name = source.ledger, source.book
    decisions = ledger.decisions(name)
    return _Book(
        decisions={(decision.bar_close_ms, decision.asset.symbol): decision for decision in decisions},
        all_decisions=decisions,
        bar_of={decision.id: decision.bar_close_ms for decision in decisions},
        orders={record.intent.client_id: record for record in ledger.orders(name)},
        fills=ledger.fills(name),
        equity=ledger.equity(name),
        states={asset: ledger.regimes(name, asset) for asset in source.universe},
    )


def _account(source: ReplaySource, book: _Book) -> AccountBook | None:
    known = [state.bar_close_ms for states in book.states.values() for state in states]
    known += [decision.bar_close_ms for decision in book.all_decisions]
    funding = source.ledger.funding(source.book)
    return account_book(source.record, book.equity, book.fills, funding, book.orders, book.bar_of, known)


async def _marks(source: ReplaySource, account: AccountBook) -> Marks:
    """What positions are marked at: the newest close at every bar close."""
    bar_ms, instants = source.interval.ms, account.instants
    marks: dict[int, dict[str, float]] = {instant: {} for instant in instants}
    for asset in source.universe:
        candles = await source.market.candles(asset.symbol, source.interval, instants.start - bar_ms, instants.stop + bar_ms)
        rows = np.searchsorted(candles.close_time, np.asarray(instants, dtype=np.int64), side="right") - 1
        for instant, row in zip(instants, rows.tolist(), strict=True):
            if row >= 0:
                marks[instant][asset.symbol] = float(candles.close[row])
    return marks


def _orders_of(book: _Book, decision: Decision | None) -> list[OrderIntent]:
    """The orders that a decision was made with; what followed from their fate (stops of another size, exits) is not decided."""
    return [book.orders[name].intent for name in decision.order_ids if name in book.orders] if decision else []


def _ml_models(source: ReplaySource) -> dict[Asset, tuple[Trained, ...]]:
    if not any(wants_ml(strategy) for strategy in source.params.strategies.values()):
        return {}
    return {asset: load_ml_models(source.models, asset, source.interval).trained for asset in source.universe}


def _decided(
    source: ReplaySource,
    book: _Book,
    windows: Mapping[Asset, MarketWindow],
    asset: Asset,
    point: EquityPoint,
    stored: Decision | None,
    ml: tuple[Trained, ...] | None,
    rl: RlPolicy | None,
) -> Again:
    """The decision made again, or why it cannot be made."""
    params, bar_ms = source.params, point.time_ms
    if stored is not None and stored.data_hash == NO_DATA:
        problem = next((text.partition(": ")[2] for text in stored.reasons if text.startswith(NOT_ANALYSED)), "")
        view = _view(source, book, windows, asset, point, stored)
        again = exit_only(asset, source.interval, bar_ms, stored.price, view, params, problem)
        return again or "nothing says that the position has to be closed"
    instant = last_instant(bar_ms, params.regime)
    before = [state for state in book.states[asset] if state.bar_close_ms < bar_ms]
    try:
        model = model_valid_at(source.models, asset, source.interval, instant, params.regime.fit_version)
        memory = remembered(before[-1] if before else None)
        analysis = analyse(windows[asset], bar_ms, model, memory, params, ml, rl)
    except (DataError, ModelError) as error:
        return str(error)
    return decide(analysis, _view(source, book, windows, asset, point, stored), params)


def _view(
    source: ReplaySource,
    book: _Book,
    windows: Mapping[Asset, MarketWindow],
    asset: Asset,
    point: EquityPoint,
    stored: Decision | None,
) -> BookView:
    """The book around the asset as it was when the bar was decided."""
    symbols = [asset.symbol for asset in source.universe]
    symbol, bar_ms = asset.symbol, point.time_ms
    held = {name: _held(book, name, bar_ms, symbols.index(name) < symbols.index(symbol)) for name in symbols}
    others = [
        float(held[other.symbol]) * float(window.candles.close[-1])
        for other, window in windows.items()
        if other != asset and len(window.candles)
    ]
    equity = float(point.equity)
    sent = [intent.created_ms for intent in _orders_of(book, stored)]
    decided_ms = (stored.decided_ms if stored else 0) or min(sent, default=bar_ms)
    record = moments(row for row in book.equity if row.time_ms <= bar_ms)
    return BookView(
        book=source.book,
        equity=point.equity,
        held=held[symbol],
        protected=_protected(book, symbol, bar_ms),
        others_gross=sum(abs(notional) for notional in others) / equity if equity > 0 else math.inf,
        others_net=sum(others) / equity if equity > 0 else 0.0,
        kelly_cap=recorded_cap(record, source.params.risk),
        halts=[halt for halt in source.ledger.halts(source.book, bar_ms) if halt.since_ms <= max(bar_ms, decided_ms)],
        rules=source.rules[symbol],
        now_ms=decided_ms,
        code_version=stored.code_version if stored else source.code_version,
        held_back=_held_back(stored),
    )


def _held_back(stored: Decision | None) -> str:
    """Why no new risk was taken then: nothing in the ledger but the decision itself knows how the streams were."""
    refused = [approval.detail for approval in stored.approvals if approval.rule == READY] if stored else []
    return next(iter(refused), "")


def _held(book: _Book, symbol: str, bar_ms: int, decided_before: bool) -> Decimal:
    """Signed quantity of `symbol` before a decision at `bar_ms`; `decided_before`: its own order of this bar was sent."""
    total = ZERO
    for fill in book.fills:
        if fill.symbol != symbol:
            continue
        order = book.orders.get(fill.client_id or "")
        if order is not None and order.intent.leg.startswith((MARKET, SLICE)):
            decided_ms = book.bar_of.get(order.intent.decision_id, order.intent.created_ms)
            counts = decided_ms < bar_ms or (decided_ms == bar_ms and decided_before)
        else:  # a stop, what followed from an order's fate, or the venue itself
            counts = fill.time_ms <= bar_ms
        total += fill.signed_quantity if counts else ZERO
    return total


def _protected(book: _Book, symbol: str, bar_ms: int) -> bool:
    """Whether a stop of an earlier decision reached the venue; the newest one replaces those before it."""
    stops = [
        record
        for record in book.orders.values()
        if record.intent.symbol == symbol
        and record.intent.kind is OrderKind.STOP
        and book.bar_of.get(record.intent.decision_id, bar_ms) < bar_ms
        and record.state not in (OrderState.INTENT, OrderState.ABANDONED, OrderState.REJECTED)
    ]
    return bool(stops)


def _notes(source: ReplaySource, book: _Book, points: Sequence[EquityPoint]) -> tuple[str, ...]:
    instants = {point.time_ms for point in points}
    versions = sorted({d.code_version for d in book.decisions.values() if d.bar_close_ms in instants} - {source.code_version})
    return tuple(f"decided by the code {version}, replayed by {source.code_version}" for version in versions)
