"""What one process was told to wait binds the others of the same address, through the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.exchange import Connection, ConnectionParams, SharedPauses, connect
from shared.adapters.exchange.params import in_trader
from shared.adapters.exchange.pauses import HEED_MS
from shared.adapters.sql.ledger import SqlLedger, open_ledger
from shared.domain.errors import LedgerUnavailable, RateLimited

BANNED = (418, {"code": -1003, "msg": "Way too many requests."}, {"Retry-After": "60"})


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    return open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


@pytest.fixture
async def process(venue: Any, clock: Any, ledger: SqlLedger) -> AsyncIterator[Callable[[], Connection]]:
    made: list[Connection] = []

    def start() -> Connection:
        pauses = SharedPauses(ledger, "the venue")
        params = in_trader(ConnectionParams())
        made.append(connect("binanceusdm", clock, np.random.default_rng(1), params, base_url=venue.base_url, pauses=pauses))
        return made[-1]

    yield start
    for connection in made:
        await connection.close()


async def test_a_ban_of_one_process_is_heeded_by_one_that_starts_until_it_is_over(
    venue: Any, clock: Any, process: Callable[[], Connection]
) -> None:
    venue.replies["GET /fapi/v1/time"] = BANNED
    with pytest.raises(RateLimited):
        await process().now_ms()
    starting = process()
    with pytest.raises(RateLimited) as refused:
        await starting.now_ms()
    assert 50 < refused.value.retry_after_s <= 60
    assert len(venue.asked) == 1
    clock.skipped_ms += 61_000
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": clock.now_ms()})
    assert await starting.now_ms()


async def test_a_process_at_work_hears_of_it_a_little_later(venue: Any, clock: Any, process: Callable[[], Connection]) -> None:
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": clock.now_ms()})
    working = process()
    await working.now_ms()
    venue.replies["GET /fapi/v1/time"] = BANNED
    with pytest.raises(RateLimited):
        await process().now_ms()
    clock.skipped_ms += HEED_MS
    asked = len(venue.asked)
    with pytest.raises(RateLimited):
        await working.now_ms()
    assert len(venue.asked) == asked


async def test_without_the_ledger_the_venue_is_asked_and_a_ban_binds_who_has_heard_it(
    venue: Any, clock: Any, process: Callable[[], Connection], ledger: SqlLedger, tmp_path: Path
) -> None:
    ledger.close()
    (tmp_path / "ledger.sqlite").unlink()
    (tmp_path / "ledger.sqlite").mkdir()  # whoever opens it is refused
    with pytest.raises(LedgerUnavailable):
        ledger.pause_until_ms("the venue")
    venue.replies["GET /fapi/v1/time"] = BANNED
    connection = process()
    for _ in range(2):
        with pytest.raises(RateLimited):
            await connection.now_ms()
    assert len(venue.asked) == 1
