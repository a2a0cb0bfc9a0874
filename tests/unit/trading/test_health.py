"""What troubles a trader, how long it waits, and when trouble becomes an emergency."""

from __future__ import annotations

from dataclasses import fields

import pytest

from shared.domain.errors import ConfigError
from shared.trading.health import Health
from shared.trading.trader_params import TraderParams

PARAMS = TraderParams(backoff_s=1.0, backoff_max_s=8.0, operational_failures=3, operational_window_s=60.0)


def test_the_same_trouble_again_is_no_news_and_waits_longer() -> None:
    health, now_ms, pauses = Health(PARAMS), 0, []
    for attempt in range(6):
        assert health.ail("venue", "503", now_ms) is (attempt == 0)
        before = now_ms
        while not health.due("venue", now_ms):
            now_ms += 500
        pauses.append((now_ms - before) / 1000)
    assert pauses == [1, 2, 4, 8, 8, 8]
    assert health.lasting_s("venue", now_ms) == sum(pauses)


def test_a_wait_that_the_venue_asks_for_is_honoured() -> None:
    health = Health(PARAMS)
    health.ail("venue", "429", 0, retry_after_s=30.0)
    assert not health.due("venue", 29_000)
    assert health.due("venue", 30_000)


def test_who_meets_a_trouble_before_it_is_due_does_not_put_the_next_attempt_off() -> None:
    health = Health(PARAMS)
    health.ail("ledger", "away", 0)
    for now_ms in range(0, 1_000, 100):
        assert not health.ail("ledger", "disk full", now_ms)
    assert health.due("ledger", 1_000)
    assert health.reason == "ledger: disk full"
    health.ail("ledger", "disk full", 1_000)
    assert not health.due("ledger", 2_900)
    assert health.due("ledger", 3_000)


def test_recovery_is_news_once_and_forgets_the_pauses() -> None:
    health = Health(PARAMS)
    health.ail("ledger", "down", 0)
    assert health.reason == "ledger: down"
    assert (health.recover("ledger"), health.recover("ledger")) == (True, False)
    assert health.reason == ""
    assert health.due("ledger", 0)
    assert health.lasting_s("ledger", 10_000) == 0


def test_failures_count_within_their_window_only() -> None:
    health = Health(PARAMS)
    assert [health.failed(at) for at in (0, 30_000, 61_000, 62_000)] == [False, False, False, True]
    health.forget_failures()
    assert health.failures == 0


def test_what_is_not_well_in_the_next_process_either_has_lasted_since_the_first_one() -> None:
    first, second, third = Health(PARAMS), Health(PARAMS), Health(PARAMS)
    first.ail("venue", "away", 1_000)
    first.ail("prices", "away", 1_000)
    first.failed(1_000)
    second.go_on(first.memory)
    assert not second.ail("venue", "away", 61_000)  # no news
    assert second.lasting_s("venue", 61_000) == 60.0
    assert [second.failed(60_000), second.failed(60_500)] == [False, True]
    third.go_on(second.memory)
    assert third.ail("prices", "away", 90_000)  # was well meanwhile
    assert third.lasting_s("prices", 91_000) == 1.0


def test_only_attempts_that_failed_prove_that_a_trouble_goes_on() -> None:
    health = Health(PARAMS)
    health.ail("venue", "away", 1_000)
    assert health.lasting_s("venue", 3_601_000) == 3_600.0  # the clock was set ahead by an hour, or nobody has tried
    assert health.proven_s("venue") == 0.0
    health.ail("venue", "away", 3_601_000)
    assert health.proven_s("venue") == 3_600.0
    assert health.proven_s("ledger") == 0.0


@pytest.mark.parametrize("name", [field.name for field in fields(TraderParams)])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_settings_that_are_no_waits_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"trader.{name}"):
        TraderParams(**{name: value})


def test_the_longest_pause_is_not_below_the_first_one() -> None:
    with pytest.raises(ConfigError, match="backoff_max_s"):
        TraderParams(backoff_s=10, backoff_max_s=5)
