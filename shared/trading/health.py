"""How a trader is: its state, what troubles it, and when trouble becomes an emergency.

Troubles are named by their source and stand until their source is well again; while there is one, no new risk is taken. The
same trouble again makes the next attempt wait longer. Failures that nobody explains are counted in a sliding window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from shared.trading.trader_params import TraderParams

LASTING_S = 300.0
"""A trouble that lasts for longer is a person's business"""


class TraderState(StrEnum):
    """What a trader is doing."""

    STARTING = "starting"
    STANDBY = "standby"
    """another process trades the book; this one waits for its lease"""
    TRADING = "trading"
    DEGRADED = "degraded"
    """something is not trusted: no entries"""
    HALTED = "halted"
    """a halt that closes positions is in force"""
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One source that is not well."""

    reason: str
    since_ms: int
    attempts: int
    retry_ms: int
    """instant before which it is not tried again"""
    tried_ms: int
    """when it was tried last: a clock that shows less was set back, and its pause is over"""

    def pauses(self, now_ms: int) -> bool:
        """Whether it is not to be tried yet."""
        return self.tried_ms <= now_ms < self.retry_ms


class Health:
    """The troubles of one trader."""

    def __init__(self, params: TraderParams) -> None:
        self._params = params
        self._troubles: dict[str, Trouble] = {}
        self._failures: deque[int] = deque()
        self._since: dict[str, int] = {}
        """by source: since when it was not well, by the word of an earlier process"""

    @property
    def memory(self) -> dict[str, Any]:
        """What the next process has to know to go on counting: JSON."""
        since = {source: trouble.since_ms for source, trouble in self._troubles.items()}
        return {"troubles_since_ms": since, "failures_ms": list(self._failures)}

    def go_on(self, memory: Mapping[str, Any]) -> None:
        """Count on from where an earlier process has left (its `memory`): what is not well again, was not well meanwhile."""
        self._since = dict(memory.get("troubles_since_ms", {}))
        self._failures = deque(sorted([*memory.get("failures_ms", []), *self._failures]))
        for source, trouble in self._troubles.items():
            self._troubles[source] = replace(trouble, since_ms=self._since.pop(source, trouble.since_ms))

    def ail(
        self, source: str, reason: str, now_ms: int, retry_after_s: float | None = None, longest_s: float | None = None
    ) -> bool:
        """`source` is not well; whether that is news.

        The next attempt waits for a doubled pause (at most `longest_s`, default `backoff_max_s`), or for `retry_after_s`. Who
        meets the trouble before that does not put the attempt off: else one work could keep another from ever being tried.
        """
        known, asked_ms = self._troubles.get(source), now_ms + round(1000 * (retry_after_s or 0.0))
        if known is not None and known.pauses(now_ms):
            self._troubles[source] = replace(known, reason=reason, retry_ms=max(known.retry_ms, asked_ms))
            return False
        attempts = known.attempts + 1 if known else 1
        longest = self._params.backoff_max_s if longest_s is None else min(longest_s, self._params.backoff_max_s)
        pause = min(longest, self._params.backoff_s * 2.0 ** min(attempts - 1, 30))
        retry_ms = max(asked_ms, now_ms + round(1000 * pause))
        is_new = known is None and source not in self._since
        since_ms = known.since_ms if known else self._since.pop(source, now_ms)
        self._troubles[source] = Trouble(reason, since_ms, attempts, retry_ms, now_ms)
        return is_new

    def recover(self, source: str) -> bool:
        """`source` is well; whether that is news."""
        self._since.pop(source, None)
        return self._troubles.pop(source, None) is not None

    def ails(self, source: str) -> bool:
        """Whether `source` is not well."""
        return source in self._troubles

    def due(self, source: str, now_ms: int) -> bool:
        """Whether `source` may be tried: it is well, or its pause is over."""
        trouble = self._troubles.get(source)
        return trouble is None or not trouble.pauses(now_ms)

    def lasting_s(self, source: str, now_ms: int) -> float:
        """How long `source` has not been well; 0 where it is."""
        trouble = self._troubles.get(source)
        return 0.0 if trouble is None else (now_ms - trouble.since_ms) / 1000

    def proven_s(self, source: str) -> float:
        """How long `source` was not well by the last attempt that failed: a clock that jumps ahead proves nothing."""
        trouble = self._troubles.get(source)
        return 0.0 if trouble is None else (trouble.tried_ms - trouble.since_ms) / 1000

    def lasting(self, now_ms: int) -> dict[str, str]:
        """Troubles that a person has to know of, by source."""
        return {source: text for source, text in self.reasons.items() if self.lasting_s(source, now_ms) >= LASTING_S}

    @property
    def reason(self) -> str:
        """All troubles in one line; empty where there is none."""
        return "; ".join(self.reasons.values())

    @property
    def reasons(self) -> dict[str, str]:
        """What troubles each source, with its name in front."""
        return {source: f"{source}: {trouble.reason}" for source, trouble in self._troubles.items()}

    def failed(self, now_ms: int) -> bool:
        """Count a failure; whether there were too many within the window. Whoever acts on it calls `forget_failures`."""
        self._failures.append(now_ms)
        while self._failures and now_ms - self._failures[0] > self._params.operational_window_s * 1000:
            self._failures.popleft()
        return len(self._failures) >= self._params.operational_failures

    def forget_failures(self) -> None:
        """The count starts again."""
        self._failures.clear()

    @property
    def failures(self) -> int:
        """Failures that are being counted."""
        return len(self._failures)
