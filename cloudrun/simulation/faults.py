"""What goes wrong, and when: faults of single requests and messages, and windows in which a whole part fails.

Two sources speak of every request and message: rules that a scenario writes down, and rates from which a generator draws.
After `until_s` nothing goes wrong any more: the quiet period in which everything must come to rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np


class Effect(StrEnum):
    """What happens to one request."""

    NONE = "none"
    REFUSED = "refused"
    """no connection: it was not sent"""
    LOST = "request lost"
    """it never arrives; the client waits for nothing"""
    NO_ANSWER = "answer lost"
    """executed; the client waits for nothing"""
    CUT = "cut after sending"
    """executed; the connection ends without an answer"""
    LATE = "executed late"
    """the connection ends without an answer; executed seconds later, where it still may be (`recvWindow`)"""
    CUT_BEFORE = "cut before executing"
    """not executed; the connection ends without an answer"""
    UNKNOWN = "503 unknown"
    """executed; answered `503 Unknown error`"""
    TIMED_OUT = "-1007"
    """executed; answered that its status is unknown"""
    GATEWAY = "502"
    """not executed; answered by a gateway, in HTML"""
    DUPLICATE = "-4116"
    """executed; answered that the client id is taken, as after a repetition"""
    SLOW = "slow"
    """the answer takes seconds"""
    THROTTLED = "429"
    """not executed; to be asked again after some seconds"""
    BANNED = "418"
    """not executed; the address is banned for a while"""
    SKEWED = "-1021"
    """not executed: the timestamp is refused"""
    MAINTENANCE = "503 maintenance"
    """not executed; the venue is down"""
    MARGIN = "-2019"
    """not executed: margin is insufficient"""
    REDUCE_ONLY = "-2022"
    """not executed: reduce-only rejected"""
    UNREADABLE = "unreadable"
    """executed; answered with nothing of what was asked"""
    FILTER = "-1111"
    """not executed: a filter of the venue was violated"""
    LEVERAGE = "-4028"
    """not executed: the leverage is refused"""


class Part(StrEnum):
    """What a window takes away."""

    VENUE = "venue maintenance"
    NETWORK = "no network"
    LEDGER = "no ledger"
    """it says so at once"""
    LEDGER_HANGS = "ledger hangs"
    """it says nothing: the first question blocks its process until the time limit"""
    LEDGER_SLOW = "ledger slow"
    """it answers every question, and each answer takes a part of a second"""
    LEDGER_WRITES = "ledger refuses writes"
    """it answers every question and refuses every change: a full disk, a standby that was promoted"""
    MARKET_STREAM = "market stream silent"
    """the connections that are there; a new one brings messages"""
    BARS = "bars silent"
    """as the market stream, but only the connection that brings bars"""
    MARKS = "marks silent"
    """as the bars"""
    QUOTES = "quotes silent"
    """as the bars"""
    USER_STREAM = "user stream silent"
    """as the market stream"""
    STREAMS = "all streams silent"
    """new connections too"""
    SLOW_ORDERS = "orders come late"
    """every order and cancellation reaches the venue `SLOW_S` after it was sent; questions are answered as ever"""


SLOW_S = 2.5
"""beyond what may open a position, within what may only close it"""


LAST_FATED_STEP = 3_000
"""a process of a few bars takes about so many steps"""


@dataclass(frozen=True, slots=True)
class Window:
    """A part that fails from `start_s` to `end_s` of simulated time."""

    part: Part
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One endpoint that fails each time from `start_s` to `end_s` of simulated time, while all others work."""

    request: str
    """`METHOD path`"""
    effect: Effect
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Probabilities for each request, message or port call."""

    requests: tuple[tuple[Effect, float], ...] = ()
    """by effect"""
    kill: float = 0.0
    """of a port call, before or after its effect: the process dies"""
    fate: float = 0.0
    """that a process is to die at a certain step of its tasks, at whatever await that is"""
    stop: float = 0.0
    """of a port call: the process is frozen for a while"""
    ledger: float = 0.0
    """of a ledger call: it fails, before or after its effect"""
    drop: float = 0.0
    """of a stream message"""
    delay: float = 0.0
    """of a stream message; a delayed one is overtaken by later ones"""
    repeat: float = 0.0
    """of a stream message: it comes twice"""
    disconnect: float = 0.0
    """of a stream message: the connection ends instead"""
    malformed: float = 0.0
    """of a stream message: it cannot be read"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault that a scenario asks for: the requests that match it, from the `skip`-th on, `times` of them."""

    match: str
    """part of `METHOD path`, e.g. `POST /fapi/v1/order`"""
    effect: Effect = Effect.NONE
    skip: int = 0
    times: int = 1


@dataclass(slots=True)
class _Counter:
    rule: Rule
    seen: int = 0

    def strikes(self, name: str) -> bool:
        """Whether the rule applies to this request or port call; counts those that match."""
        if self.rule.match not in name:
            return False
        self.seen += 1
        return 0 <= self.seen - 1 - self.rule.skip < self.rule.times


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Everything that goes wrong in a run."""

    rates: Rates = field(default_factory=Rates)
    windows: tuple[Window, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    rules: tuple[Rule, ...] = ()
    kills: tuple[Rule, ...] = ()
    """port calls (`before POST /fapi/v1/order`, `after ledger.commit_decision`) at which the process dies"""
    stops: tuple[tuple[Rule, float], ...] = ()
    """port calls at which the process is frozen (SIGSTOP), and for how many seconds"""
    jumps: tuple[tuple[float, int], ...] = ()
    """clock jumps of the bot's machine: (at_s, by_ms)"""
    key_expiries: tuple[float, ...] = ()
    """instants at which the venue forgets the listen key"""
    terminations: tuple[float, ...] = ()
    """instants at which the process that trades is told to end (SIGTERM)"""
    cancelled_stops: tuple[float, ...] = ()
    """instants at which the venue cancels every stop"""
    foreign_fees: tuple[tuple[float, bool], ...] = ()
    """instants at which paying fees in another currency is switched on or off at the venue"""
    until_s: float = 0.0
    """nothing goes wrong by chance after it"""

    @property
    def loses_messages(self) -> bool:
        """Whether a message of the user stream may be lost, or come late."""
        silent = (Part.USER_STREAM, Part.STREAMS, Part.NETWORK, Part.VENUE)
        return bool(self.rates.drop or self.rates.disconnect or any(window.part in silent for window in self.windows))


class Faults:
    """A plan at work. Draws from one generator in the order of the questions, so that a seed repeats itself."""

    def __init__(self, plan: FaultPlan, rng: np.random.Generator) -> None:
        self.plan = plan
        self.struck = 0
        """faults that happened so far"""
        self._rng = rng
        self._windows: dict[Part, list[Window]] = {}
        for window in plan.windows:
            self._windows.setdefault(window.part, []).append(window)
        self._rules = [_Counter(rule) for rule in plan.rules]
        self._kills = [_Counter(rule) for rule in plan.kills]
        self._stops = [(_Counter(rule), for_s) for rule, for_s in plan.stops]
        self._effects = [effect for effect, _ in plan.rates.requests]
        self._steps = np.cumsum([rate for _, rate in plan.rates.requests]).tolist()

    def of_request(self, request: str, now_s: float) -> Effect:
        """What happens to `request` (`METHOD path`)."""
        effect = self._effect(request, now_s)
        self.struck += effect is not Effect.NONE
        return effect

    def _effect(self, request: str, now_s: float) -> Effect:
        for counter in self._rules:
            if counter.strikes(request):
                return counter.rule.effect
        if self.down(Part.NETWORK, now_s):
            return Effect.REFUSED
        if self.down(Part.VENUE, now_s):
            return Effect.MAINTENANCE
        for broken in self.plan.breakdowns:
            if broken.request == request and broken.start_s <= now_s < broken.end_s:
                return broken.effect
        if now_s >= self.plan.until_s or not self._effects:
            return Effect.NONE
        draw = self._rng.random()
        return next((effect for effect, step in zip(self._effects, self._steps, strict=True) if draw < step), Effect.NONE)

    def kills(self, port_call: str) -> bool:
        """Whether the process dies at `port_call`."""
        if not self._kills:
            return False
        dies = sum(counter.strikes(port_call) for counter in self._kills) > 0  # every rule counts
        self.struck += dies
        return dies

    def stops_for_s(self, port_call: str) -> float:
        """How long the process is frozen at `port_call`; 0 where it is not."""
        if not self._stops:
            return 0.0
        for_s = max((for_s for counter, for_s in self._stops if counter.strikes(port_call)), default=0.0)
        self.struck += for_s > 0
        return for_s

    def down(self, part: Part, now_s: float) -> bool:
        """Whether `part` fails now."""
        windows = self._windows.get(part)
        return windows is not None and any(window.start_s <= now_s < window.end_s for window in windows)

    def take_away(self, window: Window) -> None:
        """A part fails that the plan did not name: what happens in the world has decided when."""
        self.plan = replace(self.plan, windows=(*self.plan.windows, window))
        self._windows.setdefault(window.part, []).append(window)

    def fail(self, match: str, effect: Effect) -> Callable[[], None]:
        """Requests fail that the plan did not name (`Rule.match`), until what this returns is called."""
        counter = _Counter(Rule(match, effect, times=10**9))
        self._rules.append(counter)
        return lambda: self._rules.remove(counter)

    def happens(self, rate: float, now_s: float) -> bool:
        """Whether a fault of this rate strikes now."""
        strikes = rate > 0 and now_s < self.plan.until_s and self._rng.random() < rate
        self.struck += strikes
        return bool(strikes)

    def fated_step(self, now_s: float) -> int | None:
        """The step at which a process that starts now is to die."""
        if not self.happens(self.plan.rates.fate, now_s):
            return None
        return int(np.exp(self._rng.uniform(0.0, np.log(LAST_FATED_STEP))))

    def between(self, low: float, high: float) -> float:
        """A uniform draw."""
        return float(self._rng.uniform(low, high))

    def latency_s(self) -> float:
        """One way through the network, seconds: a few milliseconds, sometimes more."""
        return min(0.002 + float(self._rng.exponential(0.012)), 0.5)
