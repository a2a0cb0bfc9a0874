"""`ost run` killed at seeded moments and started again, until it ends: nothing is lost, doubled or changed by it.

The moments: while it starts, between two decisions, when an order's intent is committed but not known to be sent, when the
exchange has just written an order down. The victims: the trading loop, the exchange, or both at once. What is left must be
equal, to the last digit, to an undisturbed run in another storage root, and to the account that the exchange's journal holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.journal import open_journal
from cloudrun.exchange.serve import load_market
from shared.backtest.params import CostParams
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import OrderKind, OrderState

KILLS = 21
DAYS = 6
WATCH_S = 60
PAUSE_S = 0.001
MOMENTS = ("starting", "decision", "decision", "intent", "sent", "sent")
VICTIMS = ("loop", "loop", "both", "exchange")


class Watched:
    """A running `ost run`, and what can be seen of it from outside: its child, its journal and its ledger."""

    def __init__(self, process: subprocess.Popen[str], root: Path) -> None:
        self.process = process
        self.root = root
        self._connection: sqlite3.Connection | None = None
        self.decisions = self._count("SELECT count(*) FROM decisions")
        self.written = self._journal_size()

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Whether the condition came true while the process ran."""
        deadline = time.monotonic() + WATCH_S
        while self.process.poll() is None and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(PAUSE_S)
        return False

    def decided(self, more: int) -> bool:
        return self._count("SELECT count(*) FROM decisions") >= self.decisions + more

    def has_intent(self) -> bool:
        return self._count("SELECT count(*) FROM orders WHERE state = 'intent'") > 0

    def sent(self) -> bool:
        """Whether the exchange has written down one more order since the last call."""
        path = self._journal()
        if path is None:
            return False
        with path.open("rb") as file:
            file.seek(self.written)
            new = file.read()
        self.written += len(new)
        return b'["order"' in new or b'["algo"' in new

    def exchange(self) -> int | None:
        """Process number of the paper exchange; `None` while there is none."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                        return int(entry.name)
        return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _journal(self) -> Path | None:
        return next(self.root.glob("runs/*/journal.jsonl"), None)

    def _journal_size(self) -> int:
        path = self._journal()
        return path.stat().st_size if path else 0

    def _count(self, query: str) -> int:
        path = self.root / "ledger.sqlite"
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)
            return int(self._connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # not there, not migrated yet, or locked at this instant
            return 0


def strike(watched: Watched, moment: str, victim: str, rng: random.Random) -> bool:
    """Wait for the moment and kill; False where the run had ended before."""
    exchange = None
    if moment == "starting":
        time.sleep(rng.uniform(0.2, 3.0))
        exchange = watched.exchange()
    else:
        condition = {"intent": watched.has_intent, "sent": watched.sent}.get(moment, lambda: True)
        if not watched.wait_for(lambda: watched.decided(1)):
            return False
        exchange = watched.exchange()
        more = rng.randint(2, 10)
        if not watched.wait_for(lambda: watched.decided(more)):
            return False
        watched.sent()  # what was sent so far does not count
        if not watched.wait_for(condition):
            return False
        time.sleep(rng.choice((0.0, 0.0, rng.uniform(0, 0.02))))
    if watched.process.poll() is not None:
        return False
    loop = [watched.process.pid]
    victims = loop if exchange is None else {"loop": loop, "both": [*loop, exchange], "exchange": [exchange]}[victim]
    for number in victims:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return True


def kept(ost: Any) -> dict[str, list[Any]]:
    """Everything of the one book that must not depend on how often the run was interrupted."""
    with closing(ost.ledger()) as ledger:
        (record,) = ledger.books()
        book = record.book
        decisions = [{**asdict(row), "code_version": ""} for row in ledger.decisions(book)]
        return {
            "book": [book, record.created_ms, record.settings, record.summary, record.finished_ms is not None],
            "decisions": sorted(decisions, key=lambda row: row["id"]),
            # Orders of one bar are sent side by side: which of them the exchange numbers first is chance.
            "orders": sorted(
                (replace(row, venue_id=None) for row in ledger.orders(book)), key=lambda row: row.intent.client_id
            ),
            "fills": sorted(
                (replace(row, trade_id="", venue_order_id="") for row in ledger.fills(book)),
                key=lambda row: (row.time_ms, row.client_id or ""),
            ),
            "positions": sorted(ledger.positions(book).items()),
            "trades": [replace(row, id="") for row in ledger.trades(book)],
            "equity": ledger.equity(book),
            "funding": ledger.funding(book),
            "regimes": [state for row in ledger.decisions(book, limit=2) for state in ledger.regimes(book, row.asset)],
            "halts": ledger.halts(book, 2**60),
        }


def replayed(ost: Any, scratch: Path) -> Engine:
    """The account that the exchange's journal tells of, executed anew from a copy."""
    (folder,) = (ost.root / "runs").iterdir()
    copy = Path(shutil.copy(folder / "journal.jsonl", scratch))
    header = json.loads(copy.read_bytes().splitlines()[0])["config"]
    config = EngineConfig(header["start_ms"], Decimal(header["capital"]), CostParams(**header["costs"]))
    engine = Engine(asyncio.run(load_market(folder / "market", (), Interval.H1)), config)
    open_journal(copy, engine).close()
    return engine


def assert_ledger_is_the_account(ost: Any, scratch: Path) -> None:
    account = replayed(ost, scratch).core.account
    with closing(ost.ledger()) as ledger:
        book = ledger.books()[0].book
        fills, funding, positions = ledger.fills(book), ledger.funding(book), ledger.positions(book)
        orders = {record.intent.client_id: record for record in ledger.orders(book)}

    made = [
        (t.symbol, str(t.id), str(t.order_id), t.sign, t.quantity, t.price, t.commission, t.time_ms) for t in account.trades
    ]
    held = [(f.symbol, f.trade_id, f.venue_order_id, f.side.sign, f.quantity, f.price, f.fee, f.time_ms) for f in fills]
    assert sorted(held) == sorted(made)
    assert {name: p.quantity for name, p in positions.items()} == {
        name: p.quantity for name, p in account.positions.items() if name in positions
    }
    assert all(p.quantity == 0 for name, p in account.positions.items() if name not in positions)

    paid = [row for row in account.income if row.kind == "FUNDING_FEE"]
    assert sorted((p.id, p.symbol, p.amount) for p in funding) == sorted(
        (f"{r.symbol}-{r.id}", r.symbol, r.amount) for r in paid
    )
    received = sum((payment.amount for payment in funding), Decimal(0))
    fees = sum((fill.fee for fill in fills), Decimal(0))
    known = {fill.trade_id for fill in fills}
    realised = sum((trade.realised for trade in account.trades if str(trade.id) in known), Decimal(0))
    assert account.wallet == account.capital + realised - fees + received
    # The same without the exchange's own word for the profit: what was bought and sold, and what is still held at its cost.
    spent = sum((fill.signed_quantity * fill.price for fill in fills), Decimal(0))
    cost = sum((position.cost for position in account.positions.values()), Decimal(0))
    assert account.wallet == account.capital - (spent - cost) - fees + received

    placed = [order.client_id for order in account.orders.values()]
    stops = [algo.client_id for algo in account.algos.values()]
    assert len(placed) == len(set(placed))
    assert len(stops) == len(set(stops))
    triggered = {algo.order_id for algo in account.algos.values() if algo.order_id is not None}
    own = {order.client_id for order in account.orders.values() if order.id not in triggered}
    assert own | set(stops) == {name for name, record in orders.items() if record.state is not OrderState.ABANDONED}
    resting = {algo.client_id for algo in account.open_algos.values()}
    assert resting == {name for name, record in orders.items() if not record.state.is_final}


def assert_every_order_has_a_fate(ost: Any) -> None:
    with closing(ost.ledger()) as ledger:
        for record in ledger.orders(ledger.books()[0].book):
            rests = record.state is OrderState.OPEN and record.intent.kind is OrderKind.STOP
            assert record.state.is_final or rests, record
            if record.state is OrderState.FILLED:
                assert record.filled == record.intent.quantity, record


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_21_times_ends_as_if_nothing_had_happened(
    new_ost: Callable[[str], Any], market_folder: Path, tmp_path: Path
) -> None:
    command = ("run", "--data", market_folder, "--days", str(DAYS), "--symbols", "BTCUSDT,ETHUSDT")
    undisturbed = new_ost("undisturbed")
    beside = undisturbed.start(*command)

    killed = new_ost("killed")
    rng = random.Random(4)
    strikes: list[tuple[str, str]] = []
    complaints = []
    while len(strikes) < KILLS:
        moment, victim = rng.choice(MOMENTS), rng.choice(VICTIMS)
        with closing(Watched(killed.start(*command), killed.root)) as watched:
            hit = strike(watched, moment, victim, rng)
        ended = killed.end(watched.process)
        assert "Traceback" not in ended.err, ended
        if not hit:
            assert ended.code == 0, ended
            break
        strikes.append((moment, victim))
        if ended.code != -signal.SIGKILL:
            complaints.append(ended)
    assert len(strikes) == KILLS, f"the run ended after {len(strikes)} kills: make it longer"
    for ended in complaints:  # the exchange alone was killed: the loop says so in one line
        ended.failed_with("exchange", code=1)

    for ended in (killed(*command), undisturbed.end(beside)):
        assert ended.code == 0, ended
    expected, found = kept(undisturbed), kept(killed)
    assert len(expected["fills"]) > 30
    assert len(expected["equity"]) == DAYS * 24 + 1
    assert expected["equity"][-1].time_ms - expected["equity"][0].time_ms == DAYS * 24 * HOUR_MS
    for name, rows in expected.items():
        assert found[name] == rows, name
    for ost in (undisturbed, killed):
        assert_every_order_has_a_fate(ost)
        assert_ledger_is_the_account(ost, tmp_path)
        sound = ost("db", "check")
        assert sound.code == 0, sound
