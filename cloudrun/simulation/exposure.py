"""Positions as the venue has them: never without their stop for long, never beyond what was decided for long.

Measured at the venue at every tick, past everything that the trader believes. Time counts only while orders could be placed
(`outages.py`). What was decided bounds a position until the next decision that orders something: between nothing, what was
held, and what the orders lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from cloudrun.exchange.state import Account
from cloudrun.simulation.story import Story
from shared.domain.money import ZERO
from shared.domain.orders import OrderIntent, OrderKind

LONGEST_EXCESS_S = 20.0
"""beyond what was decided: the message's way, a look, and the correction's way"""


LONGEST_LEFT_S = 90.0
"""without a stop, whoever lives: the next request of a schedule, the life of a lease, a start, and the deadline"""


def covered(account: Account, symbol: str) -> Decimal:
    """What the stops that rest at the venue close of the position, base units."""
    held = account.positions[symbol].quantity
    sign = 1 if held > 0 else -1
    stops = (stop for stop in account.open_algos.values() if stop.symbol == symbol and stop.sign == -sign)
    return sum((abs(held) if stop.close_position else stop.quantity for stop in stops), ZERO)


@dataclass(slots=True)
class _Clock:
    """Time that something wrong has lasted."""

    since_s: float
    counted_s: float = 0.0


@dataclass(slots=True)
class Exposure:
    """Watches the positions of one account. `known` is what our ledger holds, by symbol; `strange` whether others trade too."""

    account: Account
    story: Story
    known: Callable[[str], Decimal]
    strange: Callable[[], bool]
    deadline_s: float
    """from a fill to a confirmed stop"""
    longest_bare_s: float = 0.0
    """longest time that any position was without a full stop, whatever failed"""
    _bare: dict[str, _Clock] = field(default_factory=dict)
    _left: dict[str, _Clock] = field(default_factory=dict)
    _beyond: dict[str, _Clock] = field(default_factory=dict)
    _bounds: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    _ticked_s: float = 0.0

    def decided(self, symbol: str, intents: Sequence[OrderIntent]) -> None:
        """A decision was committed with these orders: what they lead to bounds the position from now on."""
        legs = [intent for intent in intents if intent.kind is not OrderKind.STOP]
        if legs:
            held = self.known(symbol)
            after = held + sum((leg.quantity * leg.side.sign for leg in legs), ZERO)
            self._bounds[symbol] = (min(held, after, ZERO), max(held, after, ZERO))

    def ticked(self, now_s: float, *, counts: bool, reachable: bool = False) -> None:
        """Some time has passed in which a process could place orders (`counts`), or any process that there might be could have
        protected what is held (`reachable`)."""
        elapsed_s, self._ticked_s = now_s - self._ticked_s, now_s
        passed_s, left_s = elapsed_s if counts else 0.0, elapsed_s if reachable else 0.0
        for symbol, position in self.account.positions.items():
            held = position.quantity
            bare_s = self._time(self._bare, symbol, self.is_bare(symbol), now_s, passed_s)
            self.longest_bare_s = max(self.longest_bare_s, self._lasting_s(symbol, now_s))
            if bare_s > self.deadline_s:
                self.story.violate(f"{symbol}: {held} unprotected beyond the deadline")
            if self._time(self._left, symbol, self.is_bare(symbol), now_s, left_s) > LONGEST_LEFT_S:
                self.story.violate(f"{symbol}: {held} is left without its stop, and nobody starts who looks after it")
            low, high = self._bounds.get(symbol, (held, held))
            beyond = not low <= held <= high and not self.strange()
            if self._time(self._beyond, symbol, beyond, now_s, passed_s) > LONGEST_EXCESS_S:
                self.story.violate(f"{symbol}: {held} is held for long, and only {low} to {high} was decided")

    def is_bare(self, symbol: str) -> bool:
        """Whether a position has no stop of its size: of everything that is held, but for what a stranger has bought."""
        held = abs(self.account.positions[symbol].quantity)
        ours = min(held, abs(self.known(symbol))) if held and self.strange() else held
        return held > 0 and covered(self.account, symbol) < ours

    def _lasting_s(self, symbol: str, now_s: float) -> float:
        clock = self._bare.get(symbol)
        return 0.0 if clock is None else now_s - clock.since_s

    @staticmethod
    def _time(clocks: dict[str, _Clock], symbol: str, wrong: bool, now_s: float, passed_s: float) -> float:
        """How long `wrong` has lasted while it counted, seconds."""
        if not wrong:
            clocks.pop(symbol, None)
            return 0.0
        clock = clocks.get(symbol)
        if clock is None:
            clocks[symbol] = _Clock(now_s)
            return 0.0
        clock.counted_s += passed_s
        return clock.counted_s
