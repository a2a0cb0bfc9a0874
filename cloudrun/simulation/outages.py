"""What has been failing, and until when that excuses what did not happen: each deadline knows its own excuses.

An order can be placed while the venue answers what placing needs (order, fills, account) and a process trades; neither a silent
stream nor a ledger that is away keeps a position from being protected. A bar is decided where nothing that matters has failed
for a while; what serves only the books (funding) matters to neither.
"""

from __future__ import annotations

from cloudrun.simulation.faults import Faults, Part

RECOVERY_S = 45.0
"""how long after a failure deadlines do not count yet: the longest pause between two attempts, and the attempt"""
STARTING_S = 60.0
"""how long a process may take to start, take the lease over and reconcile: then every question matters"""
ORDERING = frozenset(
    f"{method} /fapi/{path}"
    for method, path in (
        ("POST", "v1/order"),
        ("POST", "v1/algoOrder"),
        ("DELETE", "v1/order"),
        ("DELETE", "v1/algoOrder"),
        ("GET", "v1/order"),
        ("GET", "v1/algoOrder"),
        ("GET", "v1/openOrders"),
        ("GET", "v1/openAlgoOrders"),
        ("GET", "v1/allOrders"),
        ("GET", "v1/allAlgoOrders"),
        ("GET", "v1/userTrades"),
        ("GET", "v1/time"),
        ("GET", "v3/account"),
    )
)
"""requests without which no order can be placed, found again, or known to be needed"""
PROTECTING = frozenset({"POST /fapi/v1/order", "POST /fapi/v1/algoOrder", "GET /fapi/v3/account"})
"""requests without which nobody can protect or close what is held, whatever else fails, and however long"""
FOR_THE_BOOKS = frozenset({"GET /fapi/v1/income"})
"""requests that may fail for ever without any consequence for orders"""


class Outages:
    """The last failure of each kind, simulated seconds."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._ordering_s = self._deciding_s = self._process_s = self._hearing_s = self._protecting_s = 0.0

    def request_failed(self, name: str, now_s: float) -> None:
        """A fault has struck the request `METHOD path`."""
        if name in PROTECTING:
            self._protecting_s = now_s
        if name in FOR_THE_BOOKS:
            return
        self._deciding_s = now_s
        if name in ORDERING or now_s - self._process_s < STARTING_S:
            self._ordering_s = now_s

    def process_changed(self, now_s: float) -> None:
        """A process came, went, stopped, or has taken the lease over."""
        self._ordering_s = self._deciding_s = self._process_s = now_s

    def interfered(self, now_s: float) -> None:
        """A process was killed, stopped or told to end, or its clock was moved: not by itself."""
        self.process_changed(now_s)
        self._protecting_s = now_s

    def unheard(self, now_s: float, *, user: bool) -> None:
        """A stream's message was lost, or its connection."""
        self._deciding_s = now_s
        if user:
            self._hearing_s = now_s

    def ledger_failed(self, now_s: float) -> None:
        """The ledger did not answer."""
        self._deciding_s = self._protecting_s = now_s

    def excuse_ordering(self, until_s: float) -> None:
        """Nobody could know before `until_s` that an order is needed."""
        self._ordering_s = max(self._ordering_s, until_s - RECOVERY_S)
        self._protecting_s = max(self._protecting_s, until_s - RECOVERY_S)

    def look(self, now_s: float, *, trading: bool, banned: bool) -> None:
        """What fails at this moment: whole parts, all processes (nobody is `trading`), or a ban that has to be waited out."""
        if not trading:
            self.process_changed(now_s)
        down = {window.part for window in self._faults.plan.windows if window.start_s <= now_s < window.end_s}
        if down:
            self._deciding_s = now_s
        if banned or down & {Part.VENUE, Part.NETWORK}:
            self._ordering_s = self._deciding_s = self._protecting_s = now_s
        if down & {Part.USER_STREAM, Part.STREAMS}:
            self._hearing_s = now_s

    def can_order(self, now_s: float) -> bool:
        """Whether orders could be placed for a while, so that deadlines count."""
        return now_s - self._ordering_s > RECOVERY_S

    def can_protect(self, now_s: float) -> bool:
        """Whether what is held could be protected or closed for a while by any process, whether there is one or not."""
        return now_s - self._protecting_s > RECOVERY_S

    def hears(self, now_s: float) -> bool:
        """Whether the user stream has lost nothing for a while."""
        return now_s - self._hearing_s > RECOVERY_S

    def can_decide_since_s(self) -> float:
        """Since when nothing that matters has failed."""
        return self._deciding_s
