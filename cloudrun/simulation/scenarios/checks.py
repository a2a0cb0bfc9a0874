"""What a scenario asks of its world: what was sent, asked, decided, told and halted, and when.

Everything is read past all faults: from the real ledger, the venue's account and the network's record of requests. Instants
are simulated seconds since the start of the world.
"""

from __future__ import annotations

from collections.abc import Iterator

from cloudrun.simulation.acts import RESTING_BARS
from cloudrun.simulation.faults import Effect
from cloudrun.simulation.network import Sent
from cloudrun.simulation.spec import BOOK
from cloudrun.simulation.world import World
from shared.domain.decision import Action
from shared.domain.orders import OrderKind, OrderRecord
from shared.domain.records import Halt, HaltKind

OPENING = (Action.OPEN, Action.INCREASE, Action.REVERSE)
LOST_ANSWER_S = 4.0
"""time-out of a request about an order"""
ORDER, STOP = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
RESTING_ORDERS, ACCOUNT, RULES = "GET /fapi/v1/openOrders", "GET /fapi/v3/account", "GET /fapi/v1/exchangeInfo"
EVER = float("inf")


def struck(world: World) -> Iterator[str]:
    """Complains where the fault did not happen: then the run proves nothing."""
    if not world.faults.struck:
        yield "the fault never struck"


def order(world: World, client_id: str) -> OrderRecord:
    """The ledger's record."""
    record = world.ledger.order(client_id)
    if record is None:
        raise LookupError(f"{client_id} is not in the ledger")
    return record


def hit(world: World) -> list[Sent]:
    """Orders and stops that met a fault."""
    return [sent for sent in world.network.sent if sent.method == "POST" and sent.effect is not Effect.NONE]


def asked(world: World, name: str, since_s: float = 0.0, until_s: float = EVER, client_id: str = "") -> list[Sent]:
    """Requests whose `METHOD path` begins with `name`; of one order where `client_id` is given."""
    return [
        sent
        for sent in world.network.asked
        if sent.name.startswith(name) and since_s < sent.at_s <= until_s and client_id in ("", sent.client_id)
    ]


def opened(world: World, since_s: float, until_s: float = EVER, by: str = "") -> list[Sent]:
    """Orders that were put on the wire and may open or increase a position; of the process `by` where it is given."""
    found = []
    for sent in asked(world, ORDER, since_s, until_s):
        record = world.ledger.order(sent.client_id)
        entry = record is not None and record.intent.kind is OrderKind.MARKET and not record.intent.reduce_only
        if entry and by in ("", sent.sender):
            found.append(sent)
    return found


def told(world: World, *words: str) -> bool:
    """Whether a person finds all of `words` in one warning or error of the book's log."""
    return told_at_s(world, *words) is not None


def told_at_s(world: World, *words: str) -> float | None:
    """When the first such entry was written."""
    for entry in world.ledger.agent_log(BOOK, 10_000):
        if entry["level"] in ("warning", "error") and all(word in str(entry["message"]) for word in words):
            return float(entry["time_ms"] - world.spec.start_ms - world.clock.error_ms) / 1000
    return None


def untold(world: World, *words: str) -> Iterator[str]:
    """Complains where no person was told."""
    if not told(world, *words):
        yield f"nobody was told: no warning with {' ... '.join(repr(word) for word in words)}"


def halts(world: World, kind: HaltKind | None = None) -> list[Halt]:
    """Halts in force at the end."""
    found = world.ledger.halts(BOOK, world.venue.now_ms)
    return [halt for halt in found if kind in (None, halt.kind)]


def is_flat(world: World) -> bool:
    """Whether the venue holds no position."""
    return not any(True for _ in world.venue.desk.engine.core.held())


def undecided(world: World, *, since_s: float = 0.0) -> Iterator[str]:
    """Complains of bars of the venue that were neither decided in time nor recorded afterwards."""
    spec, found = world.spec, {(d.asset.symbol, d.bar_close_ms) for d in world.ledger.decisions(BOOK)}
    for bar in range(1, spec.bars + spec.quiet_bars - RESTING_BARS + 1):
        close_ms = spec.start_ms + bar * spec.interval.ms
        missing = [symbol for symbol in spec.symbols if (symbol, close_ms) not in found and _exists(world, symbol, close_ms)]
        if missing and (close_ms - spec.start_ms) / 1000 > since_s:
            yield f"the bar {bar} of {' '.join(missing)} was never decided"


def _exists(world: World, symbol: str, close_ms: int) -> bool:
    """Whether the venue has the bar: there may be gaps."""
    market, interval = world.venue.desk.market.symbols[symbol], world.spec.interval
    return world.venue.desk.klines.bar(market, interval, close_ms - interval.ms, close_ms) is not None


def idle(world: World, since_s: float) -> Iterator[str]:
    """Complains where the book does not trade any more after `since_s` although it wanted to."""
    since_ms = world.spec.start_ms + round(1000 * since_s)
    later = [decision for decision in world.ledger.decisions(BOOK) if decision.bar_close_ms > since_ms]
    wishes = [row for row in later if row.action in OPENING or not all(approval.passed for approval in row.approvals)]
    if wishes and not opened(world, since_s):
        yield f"nothing was traded any more after {since_s:.0f} s"


def bare(world: World, longest_s: float | None = None) -> Iterator[str]:
    """Complains of a position that was without its stop for longer than the deadline allows, whatever failed.

    The deadline is the setting, one lost answer, a look of the trader, and one of the simulation at the market; or `longest_s`.
    """
    spec = world.spec
    looks_s = LOST_ANSWER_S + spec.trader.tick_s + spec.tick_s
    if world.watch.longest_bare_s > (spec.execution.stop_deadline_s + looks_s if longest_s is None else longest_s):
        yield f"a position was without its stop for {world.watch.longest_bare_s:.0f} s"


def unbooked(world: World) -> Iterator[str]:
    """Complains of executions of our orders that the ledger lacks."""
    account, booked = world.venue.desk.engine.core.account, {fill.trade_id for fill in world.ledger.fills(BOOK)}
    unknown = [trade for trade in account.trades if str(trade.id) not in booked]
    missing = [trade.id for trade in unknown if world.ledger.order(account.orders[trade.order_id].client_id) is not None]
    if missing:
        yield f"executions {missing} are not booked"


def last_opinion_s(world: World) -> float:
    """Close of the last bar on which orders may be placed."""
    spec = world.spec
    return (spec.bars + spec.quiet_bars - RESTING_BARS) * spec.interval.ms / 1000
