"""No position without its stop: confirmed at the venue within a deadline from the fill, of the size that is held.

    filled -> stop of the filled size placed -> confirmed -> older stops cancelled
                     └─ not confirmed within the deadline, or its price is crossed already -> what is uncovered is closed

The new stop comes first and the old one is cancelled afterwards, so that no moment is unprotected; a stop is reduce-only, so
two of them cannot turn the position. A stop that the venue cancelled, refused or lost starts the deadline again; one that it
says it does not know counts for nothing from the first time on, and another one is placed. What is needed to go on after a kill
is in the ledger: the price in the decision, every leg's name and id, the time of the fill in its order.
Source: design/failures.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.errors import NotApproved, VenueError
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderState
from shared.domain.records import Halt
from shared.risk.approval import ApprovedOrder
from shared.trading.execution_params import ExecutionParams
from shared.trading.legs import EXIT, STOP, closing_stops, leg_order, next_leg, open_exits, stop_order
from shared.trading.origin import Origin, find_origin, newest_decision, uncovered_since_ms
from shared.trading.workbench import Workbench

LONGEST_PAUSE_S = 30.0
"""between two attempts to protect or to close once the deadline is over, and between two attempts to cancel"""


@dataclass(slots=True)
class _Bare:
    """A position that is not fully protected."""

    since_ms: int
    pause_s: float
    origin: Origin | None
    """where it came from, until that was asked whether more of it was filled than is booked"""
    next_ms: int = 0


class Guard:
    """Keeps every position of one book protected."""

    def __init__(self, bench: Workbench, params: ExecutionParams) -> None:
        self._bench = bench
        self._params = params
        self._bare: dict[str, _Bare] = {}
        self._dust: dict[str, Decimal] = {}
        self._cancel_ms: dict[str, int] = {}
        self._filling_ms: dict[str, int] = {}
        """by client id: when a stop that is being filled was looked at last"""

    @property
    def bare(self) -> tuple[str, ...]:
        """Symbols that were not fully protected when they were looked at last."""
        return tuple(self._bare)

    async def protect(self, symbol: str, planned: OrderIntent | None = None) -> bool:
        """One pass over a symbol: place, resize or replace its stop, or close what is not protected in time.

        `planned` is a stop that was committed just now and certainly not sent yet. Returns whether nothing is left to do: a
        stop of the position's size rests at the venue, or there is nothing to protect. Repeat until then (each second): a pass
        that has nothing to do asks nobody. Raises what ledger and lease raise.
        """
        held = self._bench.book.held(symbol)
        size = self._bench.rules()[symbol].quantity(held)
        if size == 0:
            await self._without_position(symbol, held)
            return await self._nothing_under_way(symbol, planned)
        if await self._covered(symbol, size):
            return True
        bare = self._bare.get(symbol) or self._begun(symbol, held, fresh=planned is not None)
        if bare.origin is not None and await self._booked_late(symbol, bare):
            return False  # something else is held: the next pass looks at it
        if self._bench.clock.now_ms() < bare.next_ms:
            return False
        hopeless = await self._place_stop(symbol, size, planned)
        self._bench.book.changed()
        if await self._covered(symbol, size):
            return True
        deadline_ms = bare.since_ms + round(self._params.stop_deadline_s * 1000)
        if hopeless or self._bench.clock.now_ms() >= deadline_ms:
            await self._close(symbol, size, hopeless)
            self._bench.book.changed()
        now_ms = self._bench.clock.now_ms()
        bare.next_ms = now_ms + round(bare.pause_s * 1000)
        if now_ms < deadline_ms:
            bare.next_ms = min(bare.next_ms, deadline_ms)
        bare.pause_s = min(2 * bare.pause_s, LONGEST_PAUSE_S)
        return self._bench.book.held(symbol) == 0

    def _begun(self, symbol: str, held: Decimal, *, fresh: bool) -> _Bare:
        """The deadline of a position that was just found bare: from its fill, or from the end of the stop that it had."""
        now_ms = self._bench.clock.now_ms()
        doubtful = any(not self._rests(stop) for stop in self._bench.book.open_stops(symbol))
        origin = None if fresh or doubtful else find_origin(self._bench.ledger, self._bench.name, symbol, held)
        since_ms = now_ms if origin is None else min(uncovered_since_ms(origin), now_ms)
        bare = self._bare[symbol] = _Bare(since_ms, self._params.query_backoff_s, origin)
        return bare

    async def _booked_late(self, symbol: str, bare: _Bare) -> bool:
        """Book what an order is known to have filled beyond its executions, a stop say: what it was bare of may be gone."""
        bench, origin, bare.origin = self._bench, bare.origin, None
        for leg in origin.legs if origin is not None else ():
            known = bench.ledger.fills(bench.name, client_id=leg.intent.client_id) if leg.filled > 0 else []
            if leg.filled > sum((fill.quantity for fill in known), Decimal(0)):
                booked = await bench.reconciler.book_fills(symbol)
                bench.book.changed()
                return bool(booked)
        return False

    async def _covered(self, symbol: str, size: Decimal) -> bool:
        """Whether a stop of the position's size rests at the venue; if so the other ones are cancelled.

        A stop that has begun to fill is on its way out of the position and is left alone, and so are the other ones, for its
        remainder may come to nothing; where its end does not come within the deadline it is asked for, for the message may be
        lost.
        """
        full = [
            stop
            for stop in closing_stops(self._bench.book.unfinished(), symbol, size)
            if self._rests(stop) and (_left(stop) == abs(size) or (stop.filled > 0 and _left(stop) >= abs(size)))
        ]
        if not full:
            return False
        self._bare.pop(symbol, None)
        if full[-1].filled > 0 and await self._has_ended(full[-1]):
            return await self._covered(symbol, size)
        if full[-1].filled == 0:
            await self._cancel(symbol, keep=full[-1])
        return True

    async def _has_ended(self, stop: OrderRecord) -> bool:
        """Whether a stop that is being filled has come to its end at the venue without our being told."""
        now_ms, deadline_ms = self._bench.clock.now_ms(), round(self._params.stop_deadline_s * 1000)
        client_id = stop.intent.client_id
        if now_ms - self._filling_ms.setdefault(client_id, now_ms) < deadline_ms:
            return False
        self._filling_ms[client_id] = now_ms
        settled = await self._bench.executor.settle(stop, None, patience_s=0.0)
        if settled.filled > stop.filled:
            await self._bench.reconciler.book_fills(stop.intent.symbol)
        self._bench.book.changed()
        if settled.state.is_final:
            del self._filling_ms[client_id]
        return settled.state.is_final

    async def _place_stop(self, symbol: str, size: Decimal, planned: OrderIntent | None) -> bool:
        """Bring a stop of `size` on its way; whether that is hopeless (its price is crossed, or no price is known)."""
        for record in closing_stops(self._bench.book.unfinished(), symbol, size):
            intent = record.intent
            if record.state is OrderState.OPEN:
                continue
            fits = intent.quantity == abs(size)
            if planned is not None and intent.client_id == planned.client_id:
                if fits:
                    return await self._send(intent)
                self._bench.executor.abandon(intent, f"another size is held: {size}")
                continue
            settled = await self._bench.executor.settle(record, self._bench.approve if fits else _unwanted, patience_s=0.0)
            if self._is_crossed(intent):
                return True
            if settled.state in (OrderState.INTENT, OrderState.UNKNOWN) or (fits and settled.state is OrderState.OPEN):
                return False  # its fate comes first: another one beside it would be one too many
        origin = find_origin(self._bench.ledger, self._bench.name, symbol, size)
        if origin is None or origin.stop_price is None:
            return True
        now_ms, leg = self._bench.clock.now_ms(), next_leg(STOP, origin.legs)
        price = self._bench.rules()[symbol].price(origin.stop_price)
        intent = stop_order(self._bench.name, origin.decision.id, leg, symbol, size, price, now_ms)
        self._bench.commit(intent)
        return await self._send(intent)

    async def _send(self, intent: OrderIntent) -> bool:
        """Send a stop that was not sent yet; whether its price is crossed already."""
        await self._bench.send(intent)
        return self._is_crossed(intent)

    def _is_crossed(self, intent: OrderIntent) -> bool:
        crossed = intent.client_id in self._bench.executor.crossed
        self._bench.executor.crossed.discard(intent.client_id)
        return crossed

    async def _close(self, symbol: str, size: Decimal, hopeless: bool) -> None:
        """Close what no stop covers, reduce-only, and take no new risk in the symbol for a while."""
        if await self._is_being_closed(symbol):
            return  # the next pass sees what is left
        origin = find_origin(self._bench.ledger, self._bench.name, symbol, size)
        stops = [leg for leg in origin.legs if leg.intent.kind is OrderKind.STOP] if origin is not None else []
        refused = hopeless or bool(stops and stops[-1].state is OrderState.REJECTED)
        uncovered = await self._uncovered(symbol, size, self._rests if refused else self._may_rest)
        decision = newest_decision(self._bench.ledger, self._bench.name, symbol) if origin is None else origin.decision
        if uncovered == 0 or decision is None:
            return
        why = "its stop price is crossed or not known" if hopeless else f"not within {self._params.stop_deadline_s:g} s"
        self._pause(symbol, f"no protective stop rests for {uncovered} {symbol} ({why}): it is closed")
        leg = next_leg(EXIT, self._bench.ledger.orders(self._bench.name, decision_id=decision.id))
        intent = leg_order(self._bench.name, decision.id, leg, symbol, -uncovered, self._bench.clock.now_ms(), reduce_only=True)
        self._bench.commit(intent)
        await self._bench.reconciler.book_fills_of(await self._bench.send(intent))

    async def _is_being_closed(self, symbol: str) -> bool:
        """Whether an exit is at work or was. One that nobody answers for, and that is too late by now, is not waited for.

        What it has done the executions tell. Another one only reduces: it cannot turn what the first has closed after all.
        """
        bench = self._bench
        exits = open_exits(bench.book.unfinished(), symbol)
        settled = [await bench.executor.settle(record, bench.approve, patience_s=0.0) for record in exits]
        for record in settled:
            await bench.reconciler.book_fills_of(record)
        if not settled or not all(map(bench.executor.is_too_late, settled)):
            return bool(settled)
        try:
            await bench.reconciler.book_fills(symbol)
        except VenueError as error:  # a position that may be bare does not wait for what only says how much is left of it
            bench.log("warning", f"{symbol}: another exit is sent without knowing what the last one has done: {error}")
        bench.book.changed()
        return False

    async def _uncovered(self, symbol: str, size: Decimal, covers: Callable[[OrderRecord], bool]) -> Decimal:
        """What no stop covers, signed base units; the venue is asked whether those that are known do rest there still."""
        bench = self._bench
        for stop in closing_stops(bench.book.unfinished(), symbol, size):
            if stop.state is OrderState.OPEN:
                settled = await bench.executor.settle(stop, None, patience_s=0.0)
                if settled.filled > stop.filled:
                    await bench.reconciler.book_fills(symbol)
                bench.book.changed()
        left = bench.rules()[symbol].quantity(bench.book.held(symbol))
        if left * size <= 0:
            return Decimal(0)  # another position than the one that was looked at: the next pass looks at it
        resting = [stop for stop in closing_stops(bench.book.unfinished(), symbol, left) if covers(stop)]
        covered = sum((_left(stop) for stop in resting), Decimal(0))
        return bench.rules()[symbol].quantity(max(abs(left) - covered, Decimal(0))).copy_sign(left)

    def _rests(self, stop: OrderRecord) -> bool:
        """Whether a stop is believed to rest at the venue."""
        return self._may_rest(stop) and not self._bench.executor.is_unproven(stop.intent.client_id)

    def _may_rest(self, stop: OrderRecord) -> bool:
        """Also of one of which the venue says nothing: what it covers is not closed, unless another stop was refused."""
        return stop.state is OrderState.OPEN and not self._bench.executor.is_doubted(stop.intent.client_id)

    def _pause(self, symbol: str, reason: str) -> None:
        """No new risk in the symbol for a while, and a person is told; once while such a pause is in force."""
        now_ms = self._bench.clock.now_ms()
        if any(
            halt.symbol == symbol and halt.until_ms is not None for halt in self._bench.ledger.halts(self._bench.name, now_ms)
        ):
            return
        until_ms = now_ms + round(self._params.unprotected_pause_s * 1000)
        if until_ms > now_ms:
            self._bench.ledger.set_halt(Halt(self._bench.name, reason, now_ms, until_ms, symbol))
        self._bench.log("warning", reason)

    async def _without_position(self, symbol: str, held: Decimal) -> None:
        """Nothing that a stop could protect: resting stops are cancelled; dust is noted once and not chased."""
        self._bare.pop(symbol, None)
        if held and self._dust.get(symbol) != held:
            message = f"{held} {symbol} is dust: below what the venue accepts as an order, neither protected nor closed"
            self._bench.log("info", message)
        self._dust[symbol] = held
        await self._cancel(symbol, keep=None)

    async def _nothing_under_way(self, symbol: str, planned: OrderIntent | None) -> bool:
        """Give up the stops of a position that is gone; whether none may still arrive. Whoever comes later begins to ask anew.

        While an order is at work they may be needed.
        """
        unfinished = [record for record in self._bench.book.unfinished() if record.intent.symbol == symbol]
        unproven = [record for record in unfinished if record.state in (OrderState.INTENT, OrderState.UNKNOWN)]
        if any(record.intent.kind is not OrderKind.STOP for record in unfinished) or not unproven:
            return True
        settled = []
        for stop in unproven:
            if planned is not None and stop.intent.client_id == planned.client_id:  # nobody has sent it yet
                settled.append(self._bench.executor.abandon(stop.intent, "there is nothing that it could protect"))
            else:
                settled.append(await self._bench.executor.settle(stop, _unwanted, patience_s=0.0))
        self._bench.book.changed()
        return all(stop.state.is_final for stop in settled)

    async def _cancel(self, symbol: str, keep: OrderRecord | None) -> None:
        """Cancel the resting stops of a symbol but for one; where the venue does not answer, again a while later."""
        others = [stop for stop in self._bench.book.open_stops(symbol) if keep is None or stop.intent != keep.intent]
        now_ms = self._bench.clock.now_ms()
        if not others or now_ms < self._cancel_ms.get(symbol, 0):
            return
        for stop in others:
            if not (await self._bench.executor.cancel(stop)).state.is_final:
                self._cancel_ms[symbol] = now_ms + round(LONGEST_PAUSE_S * 1000)
        self._bench.book.changed()


def _left(stop: OrderRecord) -> Decimal:
    return stop.intent.quantity - stop.filled


def _unwanted(intent: OrderIntent) -> ApprovedOrder:
    raise NotApproved("a stop of another size is needed by now")
