"""Each scenario's behaviour removed: what the program would be without it. `test_checks_can_fail.py` runs them.

A mutation replaces the one function that the behaviour hangs on, by the least that leaves the program running.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest

from cloudrun.simulation import analyst
from cloudrun.simulation.scenarios import SCENARIOS
from cloudrun.simulation.spec import BOOK
from shared.adapters.exchange import CcxtExchange, connection, trading
from shared.adapters.exchange.budget import RequestBudget
from shared.adapters.sql.breaker import Slowness
from shared.domain.errors import LedgerUnavailable, NotApproved, NotEnoughData, OutcomeUnknown, VenueUnreachable
from shared.domain.interval import MINUTE_MS
from shared.domain.orders import OrderRecord
from shared.domain.stream import StreamState
from shared.risk import approval
from shared.risk.approval import ApprovedOrder
from shared.trading import bar_queue, deciding, live_desk, order_desk, own_position, reconciliation, schedule, trader
from shared.trading.analyst import SystemAnalyst
from shared.trading.attempts import LEDGER
from shared.trading.bar_queue import BarQueue
from shared.trading.bare_exits import BareExits
from shared.trading.board import MarketBoard
from shared.trading.book import BookState
from shared.trading.emergency_exits import EmergencyExits
from shared.trading.emergency_orders import Tries
from shared.trading.emergency_rounds import EmergencyRounds
from shared.trading.execution import Executor
from shared.trading.execution_params import ExecutionParams
from shared.trading.follow_up import FollowUp
from shared.trading.guardian import Guardian
from shared.trading.health import Trouble
from shared.trading.inquiry import Answer, Inquiries
from shared.trading.lease_holder import LeaseHolder
from shared.trading.order_desk import OrderDesk
from shared.trading.overshoot import Trimmer
from shared.trading.own_position import OwnPosition
from shared.trading.protection import Guard
from shared.trading.reconciliation import Reconciler
from shared.trading.safety import Safety
from shared.trading.session import Session, SessionSpec
from shared.trading.settlement import Settlement
from shared.trading.silence import Dead, MarketSilence
from shared.trading.stepper import Stepper
from shared.trading.trader import Trader
from shared.trading.watchdog import Verdict, Watchdog

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutation:
    """One behaviour removed."""

    removed: str
    apply: Callable[[Patch], None]
    seeds: Sequence[int] = (1, 2, 3, 4)
    """tried in this order until one of them violates something"""


def answering(owner: Any, name: str, answer: Any = None) -> Callable[[Patch], None]:
    """`owner.name` does nothing but answer the same, whatever it is asked."""

    def apply(patch: Patch) -> None:
        async def later(*_: Any, **__: Any) -> Any:
            return answer

        def at_once(*_: Any, **__: Any) -> Any:
            return answer

        patch.setattr(owner, name, later if inspect.iscoroutinefunction(getattr(owner, name)) else at_once)

    return apply


def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[Patch], None]:
    """`owner.name` becomes what `make` makes of it."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name)))


def all_of(*parts: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Several changes at once."""

    def apply(patch: Patch) -> None:
        for part in parts:
            part(patch)

    return apply


def trader_with(scenario: str, **settings: Any) -> Callable[[Patch], None]:
    """The trader of the scenario's worlds has other settings."""

    def apply(patch: Patch) -> None:
        make = SCENARIOS[scenario].make

        def altered(seed: int, rng: Any) -> Any:
            spec = make(seed, rng)
            return replace(spec, trader=replace(spec.trader, **settings))

        patch.setitem(SCENARIOS, scenario, replace(SCENARIOS[scenario], make=altered))

    return apply


# --- what some of them become ----------------------------------------------------------------------------------------------


def _unsettled(_: Any) -> Any:
    async def settle(self: Executor, record: OrderRecord, *_: Any, **__: Any) -> OrderRecord:
        return record

    return settle


def _first_part_only(booked: Any) -> Any:
    """Of each order only one execution is ever booked."""

    def first(self: Reconciler, symbol: str, fills: Any) -> Any:
        known = {fill.client_id for fill in self._ledger.fills(BOOK)}
        kept = {fill.client_id: fill for fill in reversed(fills) if fill.client_id not in known}
        return booked(self, symbol, list(kept.values()))

    return first


def _paused_by_any_clock() -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        patch.setattr(bar_queue, "_is_pause", lambda until_ms, now_ms: now_ms < until_ms)
        patch.setattr(Trouble, "pauses", lambda self, now_ms: now_ms < self.retry_ms)
        patch.setattr(trader, "SET_BACK_S", math.inf)

    return apply


def _planned_only(protect: Any) -> Any:
    """Stops are placed with their entry and never looked at again."""

    async def once(self: Guard, symbol: str, planned: Any = None) -> bool:
        return bool(await protect(self, symbol, planned)) if planned is not None else True

    return once


def _raising(error: Exception) -> Callable[[Any], Any]:
    def make(function: Any) -> Any:
        async def later(*_: Any, **__: Any) -> Any:
            raise error

        def at_once(*_: Any, **__: Any) -> Any:
            raise error

        return later if inspect.iscoroutinefunction(function) else at_once

    return make


def _together(_: Any) -> Any:
    """One part of a reconciliation that fails takes everything with it."""

    async def settle_parts(self: Settlement, parts: Sequence[str], _: str = "") -> None:
        work = {"funding": self._reconciler.book_funding, "foreign orders": self._reconciler.find_foreign_orders}
        for part in parts:
            await work.get(part, self._balance.settle)()

    return settle_parts


def _each_time(booked: Any) -> Any:
    """An execution that is told again is another execution."""
    told = count()

    def again(self: Reconciler, symbol: str, fills: Any) -> Any:
        return booked(self, symbol, [replace(fill, trade_id=f"{fill.trade_id}-{next(told)}") for fill in fills])

    return again


def _rotation_is_loss(on_notice: Any) -> Any:
    def lost(self: Watchdog, source: Any, notice: Any, heard_ms: int) -> None:
        on_notice(
            self, source, replace(notice, state=StreamState.LOST) if notice.state is StreamState.ROTATED else notice, heard_ms
        )

    return lost


def _readable(on_notice: Any) -> Any:
    def ignored(self: Watchdog, source: Any, notice: Any, heard_ms: int) -> None:
        if notice.state is not StreamState.UNREADABLE:
            on_notice(self, source, notice, heard_ms)

    return ignored


def _last_word(receive: Any) -> Any:
    def overwritten(self: MarketBoard, bar: Any) -> str:
        desk = self._desks.get(bar.symbol)
        if desk is not None and bar.closed:
            desk.ahead[bar.open_ms] = (float(bar.open_ms), bar.open, bar.high, bar.low, bar.close, bar.volume)
        return ""

    return overwritten


def _skipping(postpone: Any) -> Any:
    """A bar whose step has failed is not tried again."""

    def skip(self: BarQueue, now_ms: int) -> None:
        self.done_ms += MINUTE_MS
        postpone(self, now_ms)

    return skip


def _forgetful(take: Any) -> Any:
    """A new process begins without the halts and the peak of the one before."""

    def fresh(ports: Any, spec: Any, *arguments: Any, **named: Any) -> Any:
        now_ms = ports.clock.now_ms()
        ports.ledger.lift_halts(ports.ledger.halts(BOOK, now_ms), "nobody", "a restart", now_ms)
        ports.ledger.rebase_peak(BOOK, ports.clock.now_ms())
        return take(ports, spec, *arguments, **named)

    return staticmethod(fresh)


def _stops_first(once: Any) -> Any:
    async def cancelled_first(self: EmergencyRounds) -> bool:
        await self._orders.cancel_stops()
        return bool(await once(self))

    return cancelled_first


def _repeated(place: Any) -> Any:
    """An order that the venue has refused for its time is sent again at once, and nobody approves it anew."""

    async def unasked(self: Executor, order: Any, price: Any = None, again: Any = None) -> OrderRecord:
        return await place(self, order, price, again and (lambda _: order))  # type: ignore[no-any-return]

    return unasked


def _without_fee(booked: Any) -> Any:
    return lambda self, symbol, fills: booked(self, symbol, [replace(fill, foreign_fee="") for fill in fills])


def _believing(_: Any) -> Any:
    """A ledger that answers a question counts as back."""

    async def look(self: Safety) -> None:
        self.guardian.look()
        self._attempts.in_doubt |= self._attempts.health.recover(LEDGER)

    return look


def _forgetting(begin: Any) -> Any:
    """Nobody remembers since when the ledger has kept a symbol from being protected."""

    class Forgetful(dict[str, int]):
        def __setitem__(self, _key: str, _value: int) -> None:
            return

    def begun(self: Safety, *arguments: Any) -> None:
        begin(self, *arguments)
        self._unwritten_ms = Forgetful()

    return begun


def _blindly(send: Any) -> Any:
    """What has no answer is sent once more."""

    async def twice(self: CcxtExchange, order: Any) -> Any:
        try:
            return await send(self, order)
        except OutcomeUnknown:
            return await send(self, order)

    return twice


def _undated(send: Any) -> Any:
    """An order carries the time at which it is signed, however long ago it was approved."""

    async def fresh(self: CcxtExchange, order: Any) -> Any:
        return await send(self, ApprovedOrder(order.intent, approval._SEAL))

    return fresh


def _first_denial(_: Any) -> Any:
    """One "does not exist" is enough."""

    async def once(self: Inquiries, intent: Any, inquiry: Any) -> Any:
        try:
            return await self._exchange.find(intent) or Answer.MISSING
        except VenueUnreachable:
            return Answer.PENDING

    return once


async def _unguarded(_: Reconciler, __: str, work: Any) -> None:
    await work()


def _unnoticed() -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        patch.setattr(Reconciler, "alone", _unguarded)
        patch.setattr(Reconciler, "untold", {})

    return apply


def _leaving(stopping: Any) -> Any:
    def at_once(self: live_desk.LiveDesk, reason: str) -> None:
        stopping(self, reason)
        self.may_end = True

    return at_once


def _as_late(*, may_be_late: bool) -> Callable[[Any], Any]:
    """Every change may be late, or none."""

    def make(change: Any) -> Any:
        async def changed(self: connection.Connection, endpoint: Any, parameters: Any, **_: Any) -> Any:
            return await change(self, endpoint, parameters, may_be_late=may_be_late)

        return changed

    return make


def _no_grace(ask: Any) -> Any:
    """Two denials may follow at once upon each other."""

    async def at_once(self: Inquiries, intent: Any, inquiry: Any) -> Any:
        answer = await ask(self, intent, inquiry)
        if inquiry.denials:
            inquiry.next_ms = 0
        return answer

    return at_once


def _in_25_s(owner: Any) -> Callable[[Patch], None]:
    """`owner` lets a position be without its stop for 25 s instead of 10."""

    def patient(begin: Any) -> Any:
        def begun(self: Any, *arguments: Any) -> None:
            def slower(given: Any) -> Any:
                if isinstance(given, ExecutionParams):
                    return replace(given, stop_deadline_s=25.0)
                if isinstance(given, SessionSpec):
                    return replace(given, params=replace(given.params, execution=slower(given.params.execution)))
                return given

            begin(self, *map(slower, arguments))

        return begun

    return replaced(owner, "__init__", patient)


def _all_wanted(_: Any) -> Any:
    async def wanted(self: FollowUp, symbol: str) -> list[OrderRecord]:
        return self._waiting(symbol)

    return wanted


def _all_of_it(_: Any) -> Any:
    async def everything(self: BareExits, symbol: str, account: Any, _: Any) -> Any:
        return account.position(symbol)

    return everything


_NO_VENUE = all_of(answering(reconciliation, "is_venue_made", False), answering(own_position, "is_venue_made", False))
_NO_LEASE = all_of(answering(LeaseHolder, "check"), answering(LeaseHolder, "renew"))
_DEAD = Dead(frozenset(), "silent")

_ONE: dict[str, Mutation] = {
    "outcome-unknown": Mutation("the questions by client id", answering(Inquiries, "_ask", Answer.MISSING)),
    "late-execution": Mutation("the wait until the venue can take it no longer", answering(Inquiries, "_ask", Answer.MISSING)),
    "never-sent": Mutation("the second try", replaced(OrderDesk, "again", _raising(NotApproved("no")))),
    "duplicate-id": Mutation("that a duplicate exists", answering(trading, "_is_duplicate", False)),
    "throttled-order": Mutation("Retry-After", answering(RequestBudget, "block")),
    "unanswerable": Mutation("the freeze", answering(Executor, "_freeze")),
    "margin-insufficient": Mutation("doubts about the account", answering(Executor, "_doubt")),
    "filter-violated": Mutation("doubts about the rules", answering(Executor, "_doubt")),
    "reduce-only-rejected": Mutation(
        "doubts about the position", all_of(answering(Executor, "_doubt"), answering(live_desk.LiveDesk, "_check_step"))
    ),
    "partial-fills": Mutation("the remainder", answering(order_desk, "remainder", (None, ""))),
    "partial-fills-lost-answers": Mutation("all executions but the first", replaced(Reconciler, "booked", _first_part_only)),
    "stop-outcome-unknown": Mutation("the guard after the entry", replaced(Guard, "protect", _planned_only), range(1, 9)),
    "stop-refused": Mutation("the exit at the deadline", answering(Guard, "_close")),
    "stop-cancelled-by-venue": Mutation("the guard after the entry", replaced(Guard, "protect", _planned_only)),
    "stop-gone-unheard": Mutation("the doubt", answering(Executor, "is_doubted", False)),
    "exit-unanswered": Mutation("the exit after the first", answering(Executor, "is_too_late", False)),
    "income-down": Mutation("parts that fail by themselves", replaced(Settlement, "_settle_parts", _together)),
    "requests-far-apart": Mutation("the end at rest", answering(schedule._Request, "rested")),
    "killed-between-slices": Mutation("the slices that wait", answering(BookState, "waiting_slices", [])),
    "newer-bar-while-slicing": Mutation("the end of older slices", answering(FollowUp, "supersede")),
    "stop-filled-while-slicing": Mutation(
        "the end of slices that are not wanted", replaced(FollowUp, "_wanted_still", _all_wanted)
    ),
    "reverse-meets-stop": Mutation("the correction", answering(Trimmer, "trim")),
    "disorderly-messages": Mutation("the key of an execution", replaced(Reconciler, "booked", _each_time)),
    "lost-messages": Mutation("the reconciliation after a break", answering(Watchdog, "resync")),
    "stale-market-stream": Mutation("the watchdog of the market stream", answering(MarketSilence, "look")),
    "stale-channel": Mutation("the watchdog of the market stream", answering(MarketSilence, "look")),
    "stale-quotes": Mutation("the question whether anything is traded", answering(MarketSilence, "_last_traded", -1)),
    "stale-user-stream": Mutation("the watchdog of the streams", answering(Watchdog, "look", Verdict())),
    "malformed-messages": Mutation("what follows from an unreadable message", replaced(Watchdog, "on_notice", _readable)),
    "quiet-market": Mutation("the question whether anything is traded", answering(MarketSilence, "look", _DEAD)),
    "rotated-connection": Mutation("that a rotation is no loss", replaced(Watchdog, "on_notice", _rotation_is_loss)),
    "listen-key-expired": Mutation("the snapshot afterwards", answering(Watchdog, "resync")),
    "revised-candle": Mutation("that the first word stands", replaced(MarketBoard, "receive", _last_word)),
    "late-candle": Mutation("the end of patience", answering(Stepper, "on_tick", False)),
    "frozen-bars": Mutation("that frozen bars are no data", answering(analyst, "is_frozen", False)),
    "one-stale-mark": Mutation("marks by REST", answering(Guardian, "refresh_marks")),
    "clock-skew": Mutation("the venue's time", answering(connection.Connection, "_resynchronise")),
    "clock-far-off": Mutation("the limit", answering(connection.Connection, "_skew_excess", False)),
    "clock-wrong-for-seconds": Mutation(
        "the end of a pause that a wrong clock began", _paused_by_any_clock(), (1, 2, 3, 4, 5, 6)
    ),
    "maintenance": Mutation("the watchdog's reconciliation", answering(Watchdog, "resync")),
    "long-maintenance": Mutation("the pause", answering(Safety, "pause_after_outage")),
    "no-network": Mutation("the watchdog's reconciliation", answering(Watchdog, "resync")),
    "banned": Mutation("Retry-After", answering(RequestBudget, "block")),
    "slow-venue": Mutation(
        "the time that stops and exits have", replaced(connection.Connection, "change", _as_late(may_be_late=False))
    ),
    "wrong-settings": Mutation("the account's settings", answering(trading, "prepare_account")),
    "delisting": Mutation("the date", answering(deciding, "_ends_soon", False)),
    "killed-before-sending": Mutation("the settlement of open orders", replaced(Executor, "settle", _unsettled)),
    "killed-after-sending": Mutation("the settlement of open orders", replaced(Executor, "settle", _unsettled)),
    "killed-anywhere": Mutation("the settlement of open orders", replaced(Executor, "settle", _unsettled)),
    "two-instances": Mutation("the looks at the lease", _NO_LEASE),
    "frozen-before-send": Mutation("the second approval", all_of(replaced(Executor, "place", _repeated), _NO_LEASE)),
    "standby-takes-over": Mutation("the looks at the lease", trader_with("standby-takes-over", standby_poll_s=600.0)),
    "terminated": Mutation(
        "that a stop holds entries back",
        all_of(answering(Session, "end"), answering(live_desk.LiveDesk, "stopping")),
        range(1, 13),
    ),
    "start-fails-while-held": Mutation(
        "that what is held is looked after", lambda patch: patch.setattr(Session, "is_idle", True), range(1, 7)
    ),
    "one-unreadable-symbol": Mutation(
        "that every symbol fails by itself, and for a time that is known", _unnoticed(), range(1, 7)
    ),
    "terminated-while-bare": Mutation(
        "the look at what is left behind", replaced(live_desk.LiveDesk, "stopping", _leaving), (10, 17, 19)
    ),
    "ledger-down": Mutation("exits without the ledger", answering(BareExits, "close", []), range(1, 9)),
    "ledger-hangs": Mutation("exits without the ledger", answering(BareExits, "close", []), range(1, 9)),
    "ledger-slow": Mutation("the count of slow answers", answering(Slowness, "is_too_much", False), range(1, 9)),
    "ledger-refuses-writes": Mutation(
        "that only a change proves its return",
        all_of(replaced(Safety, "_look_at_halts", _believing), replaced(Safety, "__init__", _forgetting)),
        range(1, 9),
    ),
    "ledger-down-whose-position": Mutation("whose an execution is", answering(OwnPosition, "_is_own", True), (2, 4)),
    "emergency-without-ledger": Mutation(
        "the exit journal", replaced(EmergencyExits, "_close_without_ledger", _raising(LedgerUnavailable("away")))
    ),
    "ledger-flaky": Mutation("that a step is done again", replaced(BarQueue, "postpone", _skipping), (0, 1, 2)),
    "funding": Mutation("the funding entries", answering(Reconciler, "book_funding", 0)),
    "fees-in-another-currency": Mutation("the fee's currency", replaced(Reconciler, "booked", _without_fee)),
    "foreign-order": Mutation("the questions for foreign orders", answering(Reconciler, "find_foreign_orders", []), (3, 2)),
    "foreign-position": Mutation("the comparison of positions", answering(Reconciler, "settle_positions", []), (3, 6)),
    "liquidation": Mutation("the venue's client ids", _NO_VENUE),
    "deleveraging": Mutation("the venue's client ids", _NO_VENUE),
    "max-drawdown": Mutation("the latch in the ledger", replaced(Session, "take", _forgetful)),
    "emergency-while-failing": Mutation("that stops go last", replaced(EmergencyRounds, "once", _stops_first), range(1, 7)),
    "emergency-by-hand": Mutation("the emergency", answering(Guardian, "run_emergency")),
    "operational-failure": Mutation("the count of failures", trader_with("operational-failure", operational_failures=10**6)),
    "bus-down": Mutation("the relay", answering(live_desk, "relay", 0)),
    "real-models": Mutation("the models", replaced(SystemAnalyst, "analyse", _raising(NotEnoughData("no model")))),
}

_MORE: tuple[tuple[str, Mutation], ...] = (
    ("ledger-down", Mutation("that only what is bare is closed", replaced(BareExits, "_bare", _all_of_it), range(1, 9))),
    ("ledger-down-whose-position", Mutation("the note of what is held", answering(OwnPosition, "note"), range(1, 12, 2))),
    ("partial-fills", Mutation("all executions but the first", replaced(Reconciler, "booked", _first_part_only))),
    ("foreign-order", Mutation("what the stream tells of foreign orders", answering(Reconciler, "found_foreign"), (1, 4))),
    (
        "emergency-without-ledger",
        Mutation(
            "that journalled exits are taken over",
            all_of(answering(EmergencyRounds, "_take_over_journal"), answering(Guardian, "take_over_exits")),
        ),
    ),
    (
        "emergency-without-ledger",
        Mutation(
            "that it goes on where the ledger takes nothing",
            replaced(Tries, "without_ledger", _raising(LedgerUnavailable("full"))),
            (1, 3),
        ),
    ),
    (
        "emergency-by-hand",
        Mutation("that it goes on without the account", answering(EmergencyRounds, "_unseen_for_long", False), (1, 3)),
    ),
    ("terminated", Mutation("the end", answering(Trader, "stop"))),
    (
        "slow-venue",
        Mutation("that what opens comes in time", replaced(connection.Connection, "change", _as_late(may_be_late=True))),
    ),
    ("outcome-unknown", Mutation("the question before an order is sent again", replaced(CcxtExchange, "send", _blindly))),
    ("outcome-unknown", Mutation("the second denial", replaced(Inquiries, "_ask", _first_denial), range(1, 13))),
    ("late-execution", Mutation("the second denial", replaced(Inquiries, "_ask", _first_denial), range(1, 9))),
    ("outcome-unknown", Mutation("the time between two denials", replaced(Inquiries, "_ask", _no_grace))),
    ("late-execution", Mutation("the time between two denials", replaced(Inquiries, "_ask", _no_grace), range(1, 9))),
    ("stop-refused", Mutation("the deadline as it is set", _in_25_s(Guard))),
    ("ledger-refuses-writes", Mutation("exits without the ledger", answering(BareExits, "close", []), range(1, 9))),
    ("ledger-down", Mutation("the deadline as it is set", _in_25_s(Safety), range(1, 9))),
    ("stale-market-stream", Mutation("that new risk waits for trust", answering(Session, "hold_back"), range(1, 13))),
    ("frozen-before-send", Mutation("the time of the approval", replaced(CcxtExchange, "send", _undated), range(1, 9))),
    ("lost-messages", Mutation("that new risk waits for trust", answering(Session, "hold_back"), range(1, 13))),
)
MUTATIONS: tuple[tuple[str, Mutation], ...] = (*_ONE.items(), *_MORE)
"""(scenario, what it has to find out)"""
