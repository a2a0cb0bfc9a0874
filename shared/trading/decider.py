"""One bar decided: every asset in its order, each decision committed with its orders before the first of them is sent.

An asset is decided with what the others hold or have on their way; its orders go out while the next one is analysed. An asset
that cannot be analysed may still leave its position. A decision that is already there stands, and its orders with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal

from shared.domain.asset import Asset
from shared.domain.decision import Decision
from shared.domain.errors import DataError, ModelError, StorageError
from shared.domain.money import to_decimal
from shared.domain.orders import Fill, OrderKind
from shared.domain.records import EquityPoint, Halt, Lease
from shared.ports import Clock, Ledger
from shared.trading.analysis import Analysis
from shared.trading.analyst import Analyst
from shared.trading.board import MarketBoard
from shared.trading.book import AccountState, BookState
from shared.trading.deciding import BookView, decide, exit_only
from shared.trading.marking import Marks
from shared.trading.order_desk import Move, OrderDesk
from shared.trading.session_types import SessionSpec
from shared.trading.side_by_side import failures_of, gravest


class Decider:
    """Decides the bars of one session."""

    def __init__(
        self,
        *,
        spec: SessionSpec,
        ledger: Ledger,
        clock: Clock,
        lease: Callable[[], Lease],
        analyst: Analyst,
        board: MarketBoard,
        book: BookState,
        account: AccountState,
        marks: Marks,
        desk: OrderDesk,
        price: Callable[[str], Decimal],
    ) -> None:
        """`price` is the last known one of a symbol, 0 where there is none."""
        self._spec = spec
        self._ledger = ledger
        self._clock = clock
        self._lease = lease
        self._analyst = analyst
        self._board = board
        self._book = book
        self._account = account
        self._marks = marks
        self._desk = desk
        self._price = price
        self._symbols = [asset.symbol for asset in spec.universe]

    async def decide(
        self, point: EquityPoint, halts: list[Halt], problems: dict[str, str], only: Collection[str] | None = None
    ) -> tuple[list[Decision], list[Fill]]:
        """Decide the assets in their order, each with what the others hold or have on the way; then wait for the orders.

        `problems` says what is wrong with an asset by symbol, and is told more; `only` names the symbols to decide. Raises what
        ledger and lease raise, after every order that was begun has come to its end: of several errors the gravest one,
        with the others as notes.
        """
        all_decided = asyncio.Event()
        decisions: list[Decision] = []
        sent: list[asyncio.Task[list[Fill]]] = []
        try:
            for asset in self._spec.universe:
                if only is not None and asset.symbol not in only:
                    continue
                decision, move = self._decided(asset, point, halts, problems)
                if decision is not None:
                    decisions.append(decision)
                if move is not None and move.intents:
                    self._desk.expect(move)
                    sent.append(asyncio.create_task(self._desk.carry_out(move, all_decided)))
                await asyncio.sleep(0)  # the order goes out, and the lease is renewed, while the next asset is analysed
            self._marks.store()
        except BaseException as error:
            self._book.changed()  # a decision may stand although its commit has failed
            worst = gravest([error, *failures_of(await _ended(sent, all_decided))])
            if worst is error:
                raise
            raise worst from error
        ended = await _ended(sent, all_decided)
        if failures := failures_of(ended):
            raise gravest(failures)
        return decisions, [fill for outcome in ended if isinstance(outcome, list) for fill in outcome]

    def _decided(
        self, asset: Asset, point: EquityPoint, halts: list[Halt], problems: dict[str, str]
    ) -> tuple[Decision | None, Move | None]:
        """The decision of one asset, committed with its orders; what is wrong with the asset goes to `problems`."""
        symbol, bar_close_ms = asset.symbol, point.time_ms
        view = self._view(symbol, point, halts)
        analysis = self._analysed(asset, bar_close_ms, problems)
        if analysis is not None:
            made = decide(analysis, view, self._spec.params)
        else:
            bar, price = (asset, self._spec.interval, bar_close_ms), float(self._price(symbol))
            leaving = exit_only(*bar, price, view, self._spec.params, problems[symbol])
            if leaving is None:
                return None, None
            made = leaving
        decision, intents = made
        asked_ms = self._clock.now_ms()
        committed = self._ledger.commit_decision(decision, intents, self._lease(), self._marks.unstored)
        self._marks.unstored = None
        if not committed.is_new:
            # A step that was cut off is done again: its decision stands, and its orders were settled before this line.
            return self._ledger.decision(decision.id) or decision, None
        return decision, Move(
            symbol, intents, point.equity, to_decimal(decision.price), bar_close_ms, committed.halts, asked_ms
        )

    def _analysed(self, asset: Asset, bar_close_ms: int, problems: dict[str, str]) -> Analysis | None:
        if asset.symbol in problems:
            return None
        try:
            return self._analyst.analyse(self._board.window(asset), bar_close_ms)
        except (DataError, ModelError, StorageError) as error:
            problems[asset.symbol] = str(error)
            return None

    def _view(self, symbol: str, point: EquityPoint, halts: list[Halt]) -> BookView:
        """The book around one asset."""
        closes = self._board.closes()
        others = [
            float(self._book.expected(other)) * float(closes[other])
            for other in self._symbols
            if other != symbol and other in closes
        ]
        equity = float(point.equity)
        return BookView(
            book=self._spec.book,
            equity=point.equity,
            held=self._book.held(symbol),
            protected=bool(self._book.open_stops(symbol)),
            others_gross=sum(map(abs, others)) / equity if equity > 0 else float("inf"),
            others_net=sum(others) / equity if equity > 0 else 0.0,
            kelly_cap=self._marks.kelly_cap(),
            halts=halts,
            rules=self._desk.rules[symbol],
            now_ms=self._clock.now_ms(),
            code_version=self._spec.code_version,
            held_back=self._held_back(symbol),
        )

    def _held_back(self, symbol: str) -> str:
        """Why no new risk is taken in a symbol: data or account are not trusted, or the fate of an order of it is open."""
        moving = (record for record in self._book.open_questions() if record.intent.symbol == symbol)
        question = next((record for record in moving if record.intent.kind is not OrderKind.STOP), None)
        return self._desk.held_back or ("" if question is None else f"{question.intent.client_id} is {question.state} still")


async def _ended(sent: Sequence[asyncio.Task[list[Fill]]], all_decided: asyncio.Event) -> list[list[Fill] | BaseException]:
    """How each order that was begun has come to its end."""
    all_decided.set()
    return await asyncio.gather(*sent, return_exceptions=True)
