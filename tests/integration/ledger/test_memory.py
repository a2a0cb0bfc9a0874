"""The ledger in memory is the real one, empty each time."""

from __future__ import annotations

from shared.adapters.sql.checks import find_problems
from shared.adapters.sql.memory import memory_ledger


def test_every_memory_ledger_begins_empty_and_current():
    ledger = memory_ledger()
    ledger.log("b", "test", "info", "a line", 1)
    lease = ledger.acquire_lease("b", "somebody", 1_000, 1)
    assert lease is not None
    again = memory_ledger()
    assert again.agent_log("b") == []
    assert again.acquire_lease("b", "somebody else", 1_000, 1) is not None
    assert find_problems(again.engine) == []
