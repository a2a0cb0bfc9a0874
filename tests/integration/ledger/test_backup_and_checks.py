"""A ledger travels between databases without losing a digit, and `find_problems` finds what was broken on purpose."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from shared.adapters.sql import SqlLedger, SqlResearch, open_ledger
from shared.adapters.sql.backup import backup, restore
from shared.adapters.sql.checks import find_problems
from shared.adapters.sql.engine import writing
from shared.adapters.sql.migrate import HEAD, METADATA
from shared.domain.asset import Asset
from shared.domain.errors import LedgerError, StorageError, UsageError
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import OrderReport, OrderState
from shared.domain.records import (
    Arrival,
    EmergencyRecord,
    EquityPoint,
    FundingPayment,
    Halt,
    HaltKind,
    Heartbeat,
    RegimeState,
)
from shared.domain.regime import Regime, RegimeProbabilities
from shared.domain.research import CampaignRecord, Champion, Pattern, RecalibrationEvent, TaskRecord, Trial

BTC = Asset("binanceusdm", "BTCUSDT")


def fill_up(ledger: SqlLedger, make: Any) -> None:
    """Something in every table that a session writes."""
    ledger.register_book("b", 1, {"capital": "1000", "symbols": ["BTCUSDT"]})
    lease = ledger.acquire_lease("b", "me", 1000, 0)
    assert lease is not None
    for bar in range(3):
        decision = make.decision(bar, features={"rsi": float("nan"), "x": 0.1 + 0.2})
        intents = [make.intent(decision, quantity=Decimal(3)), make.intent(decision, "stop")]
        ledger.commit_decision(decision, intents, lease)
        client_id = intents[0].client_id
        done = OrderReport(client_id, "BTCUSDT", OrderState.FILLED, Decimal(3), "1", Decimal("100.1"), 1)
        ledger.advance_order(done)
        ledger.advance_order(OrderReport(intents[1].client_id, "BTCUSDT", OrderState.OPEN, Decimal(0)))
        ledger.add_fills("b", [make.fill(bar + 1, "3" if bar % 2 else "-3", "100.1", client_id=client_id)])
        ledger.record_equity("b", EquityPoint(bar, Decimal("1000.000000000000000001"), Decimal(1), Decimal(1001)))
        ledger.log("b", "test", "info", f"bar {bar} ✓", bar, {"bar": bar})
    asset = Asset("binanceusdm", "BTCUSDT")
    state = RegimeState(asset, 1, RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m", (0.1, 0.2, 0.7), 5, 2)
    ledger.record_regimes("b", [state])
    ledger.add_funding("b", [FundingPayment("1", "BTCUSDT", Decimal("-0.5"), 5)])
    ledger.set_halt(Halt("b", "why", 1, None))
    ledger.note_pause("binanceusdm", 9)
    ledger.record_quality(asset, Interval.H1, {"gaps": []}, 1)
    ledger.mark_published([ledger.unpublished_events()[0].id], 9)
    ledger.record_arrival(Arrival(ledger.orders("b")[0].intent.client_id, "b", "BTCUSDT", Decimal("100.10"), None, 1, 2))
    ledger.record_emergency(EmergencyRecord("em", "b", HaltKind.MANUAL, "why", 1, None, Decimal("0.10"), None, (), ("x",)))
    ledger.beat(Heartbeat("b", "trader", "me", 1, {"bar": 1}))
    ledger.rebase_peak("b", 9)
    fill_up_research(SqlResearch(ledger.engine))


def fill_up_research(research: SqlResearch) -> None:
    """Something in every table that research writes: a recalibration whose campaign made the second champion."""
    research.register_campaign(CampaignRecord("k", BTC, Interval.H1, {"folds": 3}, {"held": "calm"}, 1))
    research.record_task(TaskRecord("x", "k", 0, {"sharpe": 0.1 + 0.2}, None, 2))
    trial = Trial("t", BTC, Interval.H1, "p", {}, "0.1.0", "c", 0, 9, 0.1 + 0.2, 400, {"note": "✓"}, "k", 3)
    research.record_trials([trial])
    research.finish_campaign("k", {"promote": True}, 4)
    research.record_recalibration(RecalibrationEvent("e", BTC, 1, "sharpe", {"z": -3.5}, {}, "open"))
    metrics = {"sharpe_daily": 0.1, "days": 400}
    first = Champion("ch-1", BTC, Interval.H1, {}, "p", metrics, {}, {}, {"predecessor": None}, "why", 1)
    research.promote(first, 2)
    lineage = {"predecessor": "ch-1", "recalibration": "e", "campaign": "k"}
    research.promote(Champion("ch-2", BTC, Interval.H1, {}, "p", metrics, {}, {}, lineage, "better", 4), 5)
    research.advance_recalibration("e", "champion", 6, {"champion": "ch-2"})
    research.record_patterns([Pattern("o", BTC, Interval.H1, "order_block_bullish", 0, 1, 0.5, {})])


@pytest.fixture
def filled(ledger: SqlLedger, make: Any) -> SqlLedger:
    fill_up(ledger, make)
    return ledger


def everything(ledger: SqlLedger) -> list[Any]:
    research = SqlResearch(ledger.engine)
    return [
        [repr(decision) for decision in ledger.decisions("b")],
        ledger.orders("b"),
        ledger.fills("b"),
        ledger.positions("b"),
        ledger.trades("b"),
        ledger.equity("b"),
        ledger.funding("b"),
        ledger.regimes("b", Asset("binanceusdm", "BTCUSDT")),
        ledger.halts("b", 5),
        ledger.books(),
        ledger.agent_log("b"),
        ledger.unpublished_events(),
        ledger.arrivals("b"),
        ledger.emergencies("b"),
        ledger.heartbeats("b"),
        ledger.peak_forgotten_ms("b"),
        research.trials(BTC),
        research.campaigns(),
        research.tasks("k"),
        research.champions(),
        research.recalibrations(),
        research.patterns(BTC),
    ]


def rows_of(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


class TestBackup:
    def test_a_restored_ledger_is_equal_and_goes_on(
        self, filled: SqlLedger, tmp_path: Path, new_ledger_url: Callable[[], str]
    ) -> None:
        rows = backup(filled.engine, tmp_path / "a.jsonl.gz", 0)
        other = open_ledger(new_ledger_url())
        assert restore(other.engine, tmp_path / "a.jsonl.gz", replace=False) == rows
        assert everything(other) == everything(filled)
        other.log("b", "test", "info", "the counter goes on", 9)
        assert other.agent_log("b")[-1]["message"] == "the counter goes on"
        assert find_problems(other.engine) == []
        other.close()

    def test_a_backup_moves_to_the_other_database_and_back(self, filled: SqlLedger, tmp_path: Path) -> None:
        backup(filled.engine, tmp_path / "a.jsonl.gz", 0)
        laptop = open_ledger(f"sqlite:///{tmp_path / 'laptop.db'}")
        restore(laptop.engine, tmp_path / "a.jsonl.gz", replace=False)
        backup(laptop.engine, tmp_path / "b.jsonl.gz", 0)
        restore(filled.engine, tmp_path / "b.jsonl.gz", replace=True)
        assert everything(laptop) == everything(filled)
        laptop.close()

    def test_every_table_but_the_inbox_is_in_it(self, filled: SqlLedger, tmp_path: Path) -> None:
        backup(filled.engine, tmp_path / "a", 0)
        kept = {json.loads(line)[0] for line in rows_of(tmp_path / "a")[1:-1]}
        assert kept == set(METADATA.tables) - {"inbox"}  # which no process writes yet

    def test_the_same_ledger_gives_the_same_bytes(self, filled: SqlLedger, tmp_path: Path) -> None:
        backup(filled.engine, tmp_path / "a", 0)
        backup(filled.engine, tmp_path / "b", 0)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_a_filled_ledger_is_only_replaced_when_asked(self, filled: SqlLedger, tmp_path: Path) -> None:
        backup(filled.engine, tmp_path / "a", 0)
        with pytest.raises(UsageError, match="not empty"):
            restore(filled.engine, tmp_path / "a", replace=False)
        filled.set_halt(Halt("b", "later", 2, None))
        restore(filled.engine, tmp_path / "a", replace=True)
        assert [halt.reason for halt in filled.halts("b", 5)] == ["why"]

    def test_a_damaged_file_leaves_the_ledger_as_it_was(self, filled: SqlLedger, tmp_path: Path) -> None:
        good, bad = tmp_path / "good", tmp_path / "bad"
        backup(filled.engine, good, 0)
        before, lines = everything(filled), rows_of(good)
        packed = good.read_bytes()
        note = next(line for line in lines if line.startswith(b'["agent_log"'))
        damages = {
            "no backup or is damaged": packed[: len(packed) // 2],
            "truncated": gzip.compress(b"\n".join(lines[:-1])),
            "announces": gzip.compress(b"\n".join(line for line in lines if line != note)),
            "no row of a ledger": gzip.compress(b"\n".join([lines[0], b'["nonsense",{}]', *lines[1:]])),
            "no backup of a ledger": gzip.compress(b'{"a":1}\n'),
            "schema 0999": gzip.compress(lines[0].replace(f'"{HEAD}"'.encode(), b'"0999"')),
        }
        for message, content in damages.items():
            bad.write_bytes(content)
            with pytest.raises(UsageError, match=message):
                restore(filled.engine, bad, replace=True)
            assert everything(filled) == before
        bad.write_bytes(b"plain text")
        with pytest.raises(UsageError, match="no backup"):
            restore(filled.engine, bad, replace=True)
        with pytest.raises(UsageError, match="cannot read"):
            restore(filled.engine, tmp_path / "absent", replace=True)

    def test_a_target_that_cannot_be_written_is_one_clear_error(self, filled: SqlLedger, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(StorageError, match="choose another --to"):
            backup(filled.engine, tmp_path / "file" / "backup", 0)

    def test_an_empty_database_has_nothing_to_back_up(self, empty_url: str, tmp_path: Path) -> None:
        ledger = open_ledger(empty_url, migrate=False)
        with pytest.raises(LedgerError, match="ost db migrate"):
            backup(ledger.engine, tmp_path / "a", 0)
        ledger.close()


class TestChecks:
    def test_a_sound_ledger_has_no_problems(self, filled: SqlLedger) -> None:
        assert find_problems(filled.engine) == []

    @pytest.mark.parametrize(
        ("check", "statement"),
        [
            ("positions", "UPDATE positions SET quantity = '1'"),
            ("positions", "DELETE FROM positions"),
            ("positions", "UPDATE fills SET price = '1' WHERE trade_id = '2'"),
            ("trades", "DELETE FROM trades WHERE closed_ms IS NULL"),
            ("trades", "UPDATE trades SET fees = '7'"),
            ("orders", "UPDATE orders SET filled = '4' WHERE state = 'filled'"),
            ("orders", "DELETE FROM orders WHERE state = 'open'"),
            ("decisions", "UPDATE decisions SET order_ids = '[\"lost\"]'"),
            ("arrivals", "UPDATE arrivals SET client_id = 'lost'"),
            ("champions", "UPDATE strategy_champions SET active = false"),
            ("champions", "DELETE FROM strategy_champions WHERE id = 'ch-1'"),
            ("recalibrations", "UPDATE recalibration_events SET finished_ms = NULL"),
            ("recalibrations", "UPDATE strategy_champions SET recalibration_id = NULL"),
            ("campaigns", "UPDATE campaigns SET outcome = NULL"),
        ],
    )
    def test_each_broken_invariant_is_found(self, filled: SqlLedger, check: str, statement: str) -> None:
        if filled.engine.dialect.name == "postgresql":
            statement = statement.replace("'1'", "1").replace("'4'", "4").replace("'7'", "7")
        with writing(filled.engine) as connection:
            connection.execute(text(statement))
        assert check in {problem.check for problem in find_problems(filled.engine)}

    def test_an_order_without_a_known_fate_is_found_by_the_books_own_clock(self, filled: SqlLedger, make: Any) -> None:
        lease = filled.acquire_lease("b", "me", 1000, 0)
        assert lease is not None
        old, new = make.decision(3), make.decision(5)
        filled.commit_decision(old, [make.intent(old)], lease)
        assert find_problems(filled.engine) == []
        filled.commit_decision(new, [], lease)
        (problem,) = find_problems(filled.engine)
        assert (problem.check, problem.book) == ("unsettled", "b")
        assert "120 minutes" in problem.detail
        assert find_problems(filled.engine, max_unsettled_ms=3 * HOUR_MS) == []

    def test_an_empty_database_lacks_its_schema(self, empty_url: str) -> None:
        ledger = open_ledger(empty_url, migrate=False)
        assert [problem.check for problem in find_problems(ledger.engine)] == ["schema"]
        ledger.close()

    def test_a_row_without_its_parent_is_found_on_sqlite(self, tmp_path: Path, make: Any) -> None:
        ledger = open_ledger(f"sqlite:///{tmp_path / 'x.db'}")
        fill_up(ledger, make)
        with ledger.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("DELETE FROM decisions")
        assert "references" in {problem.check for problem in find_problems(ledger.engine)}
        ledger.close()
