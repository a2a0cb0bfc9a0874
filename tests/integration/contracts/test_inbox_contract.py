"""What every ledger does with the receipts of events: the effect once, in one transaction with its receipt."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from shared.adapters.sql import SqlLedger, SqlResearch, open_ledger
from shared.domain.asset import Asset
from shared.domain.events import regime_changed
from shared.domain.records import Handled, LogEntry, Receipt, RegimeState
from shared.domain.regime import Regime, RegimeProbabilities
from shared.domain.research import RecalibrationEvent
from shared.ports import Ledger

BTC = Asset("binanceusdm", "BTCUSDT")
STATE = RegimeState(BTC, 10, RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m", (0.1, 0.2, 0.7), 5, 2)
RECEIPT = Receipt("classify", "e-1", "binanceusdm:BTCUSDT/1h", 100)
OPENED = RecalibrationEvent("r-1", BTC, 5, "sharpe", {"z": -3.5}, {}, "open")
ENTRY = LogEntry("monitor", "warning", "BTCUSDT: due", {"z": -3.5})


def test_a_receipt_is_stored_once_for_each_consumer(ledger: Ledger) -> None:
    assert ledger.receipt("classify", "e-1") is None
    assert ledger.record_receipt(RECEIPT)
    assert not ledger.record_receipt(replace(RECEIPT, received_ms=200, outcome=Handled.STALE))
    assert ledger.receipt("classify", "e-1") == RECEIPT
    assert ledger.receipt("monitor", "e-1") is None
    assert ledger.record_receipt(replace(RECEIPT, consumer="monitor"))


def test_old_receipts_are_forgotten(ledger: Ledger) -> None:
    newer = replace(RECEIPT, event_id="e-2", received_ms=101)
    ledger.record_receipt(RECEIPT)
    ledger.record_receipt(newer)
    assert ledger.prune_receipts(101) == 1
    assert ledger.receipt("classify", "e-1") is None
    assert ledger.receipt("classify", "e-2") == newer


def test_a_regime_is_applied_once_and_told_once(ledger: Ledger) -> None:
    assert ledger.apply_regime(RECEIPT, "b", STATE) is Handled.APPLIED
    other = replace(STATE, bar_close_ms=11, regime=Regime.CALM)
    assert ledger.apply_regime(RECEIPT, "b", other) is Handled.DUPLICATE
    assert ledger.regimes("b", BTC) == [STATE]
    assert ledger.unpublished_events() == [regime_changed("b", None, STATE)]
    assert ledger.receipt("classify", "e-1") == RECEIPT


def test_an_older_regime_than_the_newest_one_is_noted_and_dropped(ledger: Ledger) -> None:
    ledger.record_regimes("b", [STATE])
    older = replace(STATE, bar_close_ms=9, regime=Regime.CALM)
    assert ledger.apply_regime(RECEIPT, "b", older) is Handled.STALE
    assert ledger.apply_regime(RECEIPT, "b", older) is Handled.DUPLICATE
    assert ledger.regimes("b", BTC) == [STATE]
    assert ledger.receipt("classify", "e-1") == replace(RECEIPT, outcome=Handled.STALE)


def test_another_event_about_the_same_bar_replaces_the_state(ledger: Ledger) -> None:
    ledger.apply_regime(RECEIPT, "b", STATE)
    changed = replace(STATE, stress_bars=3)
    assert ledger.apply_regime(replace(RECEIPT, event_id="e-2"), "b", changed) is Handled.APPLIED
    assert ledger.regimes("b", BTC) == [changed]


def test_a_look_is_written_whole_and_once(ledger: SqlLedger) -> None:
    research = SqlResearch(ledger.engine)
    receipt = Receipt("monitor", "1751378400000", "b", 100)
    assert ledger.apply_watch(receipt, "b", [ENTRY], [OPENED], 7) is Handled.APPLIED
    assert ledger.apply_watch(receipt, "b", [ENTRY, ENTRY], [replace(OPENED, id="r-2")], 8) is Handled.DUPLICATE
    assert research.recalibrations() == [OPENED]
    assert [(row["time_ms"], row["message"]) for row in ledger.agent_log("b")] == [(7, "BTCUSDT: due")]


def test_a_look_that_cannot_be_written_leaves_no_receipt(ledger: SqlLedger) -> None:
    receipt = Receipt("monitor", "1751378400000", "b", 100)
    unwritable = replace(OPENED, measured={"z": object()})
    with pytest.raises(TypeError):
        ledger.apply_watch(receipt, "b", [ENTRY], [unwritable], 7)
    assert ledger.receipt("monitor", "1751378400000") is None
    assert ledger.agent_log("b") == []
    assert ledger.apply_watch(receipt, "b", [ENTRY], [OPENED], 8) is Handled.APPLIED


def test_a_look_that_a_person_asks_for_needs_no_receipt(ledger: Ledger) -> None:
    assert ledger.apply_watch(None, "b", [ENTRY], [], 7) is Handled.APPLIED
    assert ledger.apply_watch(None, "b", [ENTRY], [], 7) is Handled.APPLIED
    assert len(ledger.agent_log("b")) == 2


def test_of_two_deliveries_at_once_one_has_the_effect(ledger_url: str) -> None:
    ledgers = [open_ledger(ledger_url) for _ in range(4)]
    together = threading.Barrier(len(ledgers))
    outcomes: list[Handled] = []

    def deliver(ledger: SqlLedger) -> None:
        together.wait()
        outcomes.append(ledger.apply_regime(RECEIPT, "b", STATE))

    threads = [threading.Thread(target=deliver, args=(one,)) for one in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [Handled.APPLIED, *[Handled.DUPLICATE] * 3]
    assert len(ledgers[0].regimes("b", BTC)) == 1
    for one in ledgers:
        one.close()
