"""The breaker opens at the first failure, asks beside its callers, and never stays open for longer than the ledger is away."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from shared.adapters.sql.breaker import Breaker
from shared.domain.errors import LedgerError, LedgerUnavailable

WAIT_S = 10.0


class Ledger:
    """Answers a probe when it is told to."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer = answer
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.breaker = Breaker(self.probe, is_away=lambda error: "away" in str(error))

    def probe(self) -> None:
        self.asked.set()
        assert self.may_answer.wait(WAIT_S)
        if self.answer is not None:
            raise self.answer

    def call(self, error: Exception | None = None) -> None:
        with self.breaker.passing():
            if error is not None:
                raise error


def waits_for(condition: Callable[[], bool]) -> bool:
    tick, tries = threading.Event(), 0
    while not condition() and tries < 1000:
        tick.wait(WAIT_S / 1000)
        tries += 1
    return condition()


def passes(ledger: Ledger) -> bool:
    try:
        ledger.call()
    except LedgerUnavailable:
        return False
    return True


def test_after_one_failure_nobody_waits_until_the_probe_is_answered() -> None:
    ledger = Ledger()
    with pytest.raises(LedgerUnavailable, match=r"^away$"):
        ledger.call(LedgerUnavailable("away"))
    assert ledger.asked.wait(WAIT_S)
    with pytest.raises(LedgerUnavailable, match=r"away .*asked again"):
        ledger.call()
    ledger.may_answer.set()
    assert waits_for(lambda: passes(ledger))


@pytest.mark.parametrize("error", [LedgerUnavailable("its schema is old"), LedgerError("a broken rule"), ValueError("ours")])
def test_what_is_no_absence_opens_nothing(error: Exception) -> None:
    ledger = Ledger()
    with pytest.raises(type(error)):
        ledger.call(error)
    assert passes(ledger)
    assert not ledger.asked.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "answer", [LedgerUnavailable("its schema is old"), LedgerError("no"), ValueError("nobody expects this")]
)
def test_a_probe_that_is_refused_was_answered(answer: Exception) -> None:
    ledger = Ledger(answer)
    with pytest.raises(LedgerUnavailable):
        ledger.call(LedgerUnavailable("away"))
    ledger.may_answer.set()
    assert waits_for(lambda: passes(ledger))


class Slow:
    """A ledger whose every answer takes `takes_s`, on a clock of its own."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s, self.now_s, self.probes = takes_s, 0.0, 0
        self.breaker = Breaker(self.probe, lambda _: True, lambda: self.now_s, rest_s=0.001)

    def probe(self) -> None:
        self.probes += 1
        self.now_s += self.takes_s

    def calls(self, most: int, apart_s: float = 0.0) -> int:
        """How many of `most` calls are let through before one is not."""
        for number in range(most):
            try:
                with self.breaker.passing():
                    self.now_s += self.takes_s
            except LedgerUnavailable:
                return number
            self.now_s += apart_s
        return most


def test_a_ledger_whose_answers_take_most_of_the_time_is_away_until_it_is_quick_again() -> None:
    ledger = Slow(1.5)
    assert ledger.calls(100) == 2
    assert waits_for(lambda: ledger.probes > 1)
    assert ledger.calls(1) == 0
    ledger.takes_s = 0.01
    assert waits_for(lambda: ledger.calls(1) == 1)
    ledger.breaker.close()


@pytest.mark.parametrize(("takes_s", "apart_s"), [(0.05, 0.0), (0.5, 1.0), (1.9, 5.0)])
def test_many_quick_answers_and_a_slow_one_now_and_then_are_no_absence(takes_s: float, apart_s: float) -> None:
    assert Slow(takes_s).calls(500, apart_s) == 500


def test_a_slow_ledger_is_left_alone_for_a_while_before_it_is_asked() -> None:
    ledger = Slow(1.5)
    ledger.breaker = Breaker(ledger.probe, lambda _: True, lambda: ledger.now_s, rest_s=WAIT_S)
    ledger.calls(3)
    assert ledger.calls(1) == 0
    assert ledger.probes == 0
    ledger.breaker.close()


def test_a_closed_breaker_asks_no_more() -> None:
    ledger = Ledger()
    ledger.breaker.close()
    with pytest.raises(LedgerUnavailable):
        ledger.call(LedgerUnavailable("away"))
    assert not ledger.asked.is_set()
