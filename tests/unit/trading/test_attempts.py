"""Work under a name: what fails waits by itself, what the venue asks for binds all, and errands hold nothing back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.adapters.local.clock import VirtualClock
from shared.adapters.sql import SqlLedger
from shared.domain.errors import LeaseLost, LedgerUnavailable, RateLimited, StorageError, VenueRejected, VenueUnreachable
from shared.trading.attempts import LEDGER, VENUE, Attempts
from shared.trading.trader_params import TraderParams

PARAMS = TraderParams(backoff_s=1.0, backoff_max_s=30.0, operational_failures=2)


class Failing:
    """Work that fails with an error, and counts how often it was begun."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.begun = error, 0

    async def __call__(self) -> None:
        self.begun += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_000_000)


@pytest.fixture
def attempts(ledger: SqlLedger, clock: VirtualClock) -> Attempts:
    return Attempts(ledger, clock, "book", PARAMS)


def done(work: Awaitable[bool]) -> bool:
    async def main() -> bool:
        return await work

    return asyncio.run(main())


def after(clock: VirtualClock, seconds: float) -> None:
    asyncio.run(clock.advance(seconds))


def test_what_fails_under_one_name_keeps_no_other_waiting(attempts: Attempts) -> None:
    assert not done(attempts.when_due("protection of A", Failing(VenueUnreachable("gone"))))
    again = Failing(None)
    assert not done(attempts.when_due("protection of A", again))
    assert done(attempts.when_due("protection of B", Failing(None)))
    assert again.begun == 0
    assert attempts.due(VENUE)
    assert attempts.health.reason == "protection of A: gone"


def test_a_name_is_well_again_when_its_work_is_done(attempts: Attempts, clock: VirtualClock) -> None:
    done(attempts.attempt("protection of A", Failing(VenueUnreachable("gone"))))
    after(clock, 1.0)
    assert done(attempts.when_due("protection of A", Failing(None)))
    assert attempts.health.reason == ""


def test_the_venue_is_well_again_only_when_that_was_proved(attempts: Attempts) -> None:
    done(attempts.attempt(VENUE, Failing(VenueUnreachable("gone"))))
    assert done(attempts.attempt(VENUE, Failing(None)))
    assert attempts.health.ails(VENUE)


def test_the_longest_pause_of_what_is_urgent_is_short(attempts: Attempts, clock: VirtualClock) -> None:
    for _ in range(8):
        done(attempts.attempt("protection of A", Failing(VenueUnreachable("gone")), longest_s=5.0))
    assert not attempts.due("protection of A")
    after(clock, 5.0)
    assert attempts.due("protection of A")


def test_what_the_venue_asks_for_binds_everything_but_the_ledger(attempts: Attempts, clock: VirtualClock) -> None:
    done(attempts.attempt("protection of A", Failing(RateLimited("slow down", -1003, retry_after_s=20.0))))
    assert [attempts.due(name) for name in ("protection of B", VENUE, "rules", LEDGER)] == [False, False, False, True]
    after(clock, 20.0)
    assert attempts.due("protection of B")


def test_an_errand_holds_nothing_back_and_is_no_failure_of_the_trader(attempts: Attempts, clock: VirtualClock) -> None:
    for _ in range(5):
        assert not done(attempts.errand("rules", Failing(VenueRejected("no", -1))))
        after(clock, 60.0)
    assert (attempts.health.reason, attempts.too_many, attempts.in_doubt) == ("", "", False)
    assert attempts.errands.reason == "rules: no"


def test_a_ledger_that_is_away_is_the_ledgers_trouble_and_is_not_asked_again_at_once(
    ledger: SqlLedger, clock: VirtualClock, attempts: Attempts
) -> None:
    assert not done(attempts.attempt("protection of A", Failing(LedgerUnavailable("away"))))
    assert attempts.health.reason == "ledger: away"
    assert not attempts.due(LEDGER)
    attempts.say("info", "nobody hears this")
    after(clock, 1.0)
    attempts.say("info", "but this")
    assert [entry["message"] for entry in ledger.agent_log("book")] == ["but this"]


def test_failures_that_nobody_explains_are_counted(attempts: Attempts) -> None:
    done(attempts.attempt("protection of A", Failing(VenueRejected("no", -1))))
    assert attempts.too_many == ""
    done(attempts.attempt(VENUE, Failing(VenueRejected("never", -1))))
    assert attempts.too_many == "venue: never"


def test_one_thing_that_goes_on_failing_is_one_failure_until_it_was_well_again(attempts: Attempts) -> None:
    for _ in range(9):
        done(attempts.attempt("protection of A", Failing(VenueRejected("no", -1))))
    assert attempts.too_many == ""
    done(attempts.attempt("protection of A", Failing(None)))
    done(attempts.attempt("protection of A", Failing(VenueRejected("no", -1))))
    assert attempts.too_many == "protection of A: no"


def test_a_trouble_that_lasts_is_published_once_each_time_that_it_begins(
    ledger: SqlLedger, clock: VirtualClock, attempts: Attempts
) -> None:
    def errors() -> list[str]:
        return [str(entry["message"]) for entry in ledger.agent_log("book") if entry["level"] == "error"]

    for times in (1, 2):
        done(attempts.attempt("start", Failing(VenueUnreachable("key is revoked"))))
        for _ in range(4):
            after(clock, 70.0)
            attempts.tell_lasting()
        assert len(errors()) == times - 1
        for _ in range(3):
            after(clock, 70.0)
            attempts.tell_lasting()
        assert len(errors()) == times
        done(attempts.attempt("start", Failing(None)))
        attempts.tell_lasting()
        assert attempts.lasting == {}
    assert errors()[0] == "not well for more than 5 min: start: key is revoked"


def test_a_venue_that_goes_on_refusing_is_a_failure_each_time(attempts: Attempts) -> None:
    for _ in range(2):
        done(attempts.attempt(VENUE, Failing(VenueRejected("no", -1))))
    assert attempts.too_many == "venue: no"


def test_a_disk_that_refuses_holds_new_risk_back_and_is_no_reason_to_close_anything(attempts: Attempts) -> None:
    for _ in range(3):
        assert not done(attempts.attempt("exits", Failing(StorageError("input/output error"))))
    assert attempts.health.reason == "exits: input/output error"
    assert (attempts.too_many, attempts.in_doubt) == ("", False)


@pytest.mark.parametrize("error", [LeaseLost("gone"), RuntimeError("a bug")])
@pytest.mark.parametrize("way", [Attempts.attempt, Attempts.errand])
def test_the_loss_of_the_lease_and_bugs_pass_through(
    attempts: Attempts, error: Exception, way: Callable[..., Awaitable[bool]]
) -> None:
    with pytest.raises(type(error)):
        done(way(attempts, "protection of A", Failing(error)))
