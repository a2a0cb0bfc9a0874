"""Several writers at once, and writers that are killed: one wins, nothing is doubled, nothing is half there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from shared.adapters.sql import SqlLedger, open_ledger
from shared.adapters.sql.checks import find_problems
from shared.domain.errors import LeaseLost, OstError
from shared.domain.orders import OrderReport, OrderState
from shared.domain.records import Lease

_ROOT = Path(__file__).parents[3]
_KILLS = 12


def at_once(tasks: list[Callable[[], Any]]) -> list[Any]:
    """Run the tasks in threads that start together; their results, or what they raised."""
    results: list[Any] = [None] * len(tasks)
    start = threading.Barrier(len(tasks))

    def run(n: int) -> None:
        start.wait()
        try:
            results[n] = tasks[n]()
        except OstError as error:
            results[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_a_race_for_a_new_lease_has_one_winner(ledger_url: str) -> None:
    ledgers = [open_ledger(ledger_url, migrate=False) for _ in range(8)]
    for book in ("x", "y", "z"):
        leases = at_once([lambda x=x, n=n, b=book: x.acquire_lease(b, f"h{n}", 1000, 0) for n, x in enumerate(ledgers)])
        assert [lease.token for lease in leases if lease is not None] == [1]
    for opened in ledgers:
        opened.close()


def test_a_race_for_an_expired_lease_has_one_winner_with_the_next_token(ledger_url: str) -> None:
    ledgers = [open_ledger(ledger_url, migrate=False) for _ in range(8)]
    for round_ in range(1, 4):
        tasks = [lambda x=x, n=n, r=round_: x.acquire_lease("x", f"{r}-{n}", 60_000, 0) for n, x in enumerate(ledgers)]
        (winner,) = (lease for lease in at_once(tasks) if lease is not None)
        assert winner.token == round_
        ledgers[0].acquire_lease("x", winner.holder, 0, 0)  # runs out at once
    for opened in ledgers:
        opened.close()


def test_the_same_decision_from_many_threads_is_stored_once(ledger: SqlLedger, make: Any) -> None:
    lease = ledger.acquire_lease("b", "me", 1000, 0)
    assert lease is not None
    decision = make.decision()
    results = at_once([lambda: ledger.commit_decision(decision, [make.intent(decision)], lease)] * 6)
    assert sorted(committed.is_new for committed in results) == [False] * 5 + [True]
    assert len(ledger.orders("b")) == 1


def test_a_takeover_between_commits_fences_the_old_writer_off(ledger: SqlLedger, make: Any) -> None:
    """However commits and takeovers interleave, every stored decision was written under the newest token of its moment."""
    first = ledger.acquire_lease("b", "old", 0, 0)
    assert first is not None
    done = threading.Event()

    def write_until_fenced() -> int:
        for bar in range(10_000):
            try:
                ledger.commit_decision(make.decision(bar), [], first)
            except LeaseLost:
                return bar
            if bar == 20:
                done.set()
        raise AssertionError("never fenced off")

    def take_over() -> Lease | None:
        done.wait(30)
        return ledger.acquire_lease("b", "new", 1000, 5000)

    stored, lease = at_once([write_until_fenced, take_over])
    assert lease == Lease("b", "new", 2, 6000)
    assert len(ledger.decisions("b")) == stored


def test_fills_from_many_threads_add_up(ledger: SqlLedger, make: Any) -> None:
    fills = [make.fill(n, "1" if n % 3 else "-2", str(100 + n), symbol=s) for n in range(1, 25) for s in ("BTCUSDT", "ETHUSDT")]
    groups = [fills[n::4] + fills[: 4 * n] for n in range(4)]
    results = at_once([lambda group=group: ledger.add_fills("b", group) for group in groups])
    assert sum(len(new) for new in results) == len(fills)
    assert find_problems(ledger.engine) == []
    assert len(ledger.fills("b")) == len(fills)


def test_reports_from_many_threads_only_move_an_order_forward(ledger: SqlLedger, make: Any) -> None:
    lease = ledger.acquire_lease("b", "me", 1000, 0)
    assert lease is not None
    decision = make.decision()
    intent = make.intent(decision)
    ledger.commit_decision(decision, [intent], lease)
    reports = [
        OrderReport(intent.client_id, "BTCUSDT", state, Decimal(n) / 1000, updated_ms=n)
        for n, state in enumerate([OrderState.UNKNOWN, OrderState.OPEN, OrderState.OPEN, OrderState.FILLED, OrderState.OPEN])
    ]
    at_once([lambda report=report: ledger.advance_order(report) for report in reports])
    record = ledger.order(intent.client_id)
    assert record is not None
    assert (record.state, record.filled, record.updated_ms) == (OrderState.FILLED, Decimal("0.004"), 4)


_WRITERS = """
import os, sys
sys.path.insert(0, {folder!r})
from conftest import LedgerFactory
from shared.adapters.sql import open_ledger

def write():
    make, ledger = LedgerFactory(), open_ledger({url!r}, migrate=False)
    lease = ledger.acquire_lease("b", "writer", 1000, 0)
    bar = len(ledger.decisions("b"))
    while True:
        decision = make.decision(bar)
        intents = [make.intent(decision, leg) for leg in ("market", "stop")]
        ids = tuple(intent.client_id for intent in intents)
        ledger.commit_decision(make.decision(bar, order_ids=ids), intents, lease)
        print(bar, flush=True)
        bar += 1
        ledger.add_fills("b", [make.fill(bar, "0.010" if bar % 3 else "-0.01", client_id=ids[0])])

for _ in sys.stdin:
    writer = os.fork()
    if writer == 0:
        write()
    print("writer", writer, flush=True)
    os.waitpid(writer, 0)
    print("dead", flush=True)
"""


def test_a_killed_writer_leaves_whole_transactions(ledger_url: str) -> None:
    script = _WRITERS.format(folder=str(_ROOT / "tests" / "integration"), url=ledger_url)
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-c", script]
    ledger = open_ledger(ledger_url, migrate=False)
    acknowledged = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for n in range(_KILLS):
            print("go", file=writers.stdin, flush=True)
            acknowledged = _kill_after(writers.stdout, n + 2, acknowledged)
            decisions, orders = ledger.decisions("b"), ledger.orders("b")
            # What was said to be committed is there; at most one commit had no time to say so.
            assert acknowledged <= len(decisions) <= acknowledged + 1
            assert len(orders) == 2 * len(decisions)
            acknowledged = len(decisions)
        writers.stdin.close()
    assert find_problems(ledger.engine, max_unsettled_ms=10**12) == []
    assert acknowledged > _KILLS
    ledger.close()


def _kill_after(lines: IO[str], count: int, acknowledged: int) -> int:
    """Kill the writer once it has said `count` times that a decision is committed; how many there are by its words."""
    writer, said = 0, 0
    for line in lines:
        match line.split():
            case ["writer", pid]:
                writer = int(pid)
            case ["dead"]:
                break
            case [bar]:
                acknowledged = int(bar) + 1
                said += 1
        if said >= count and writer:
            os.kill(writer, signal.SIGKILL)
            writer = 0
    return acknowledged
