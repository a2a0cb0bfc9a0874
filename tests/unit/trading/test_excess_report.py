"""A position beyond its decision's target that was not trimmed is told, once, after it was seen twice."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from shared.domain.decision import Action
from shared.domain.records import EquityPoint
from shared.trading.excess_report import ExcessReport


def reversed_to(desk: Any, held: str, rules: Any) -> str:
    """A reversal that wanted 10 % of 10,000 at 100 (10 units), and holds `held`; the id of its decision."""
    decision = replace(desk.decision(), action=Action.REVERSE)
    intent = desk.intent(quantity=held)
    lease = desk.ledger.acquire_lease(desk.book, "test", 60_000, desk.clock.now_ms())
    assert desk.ledger.commit_decision(decision, [intent], lease)
    desk.ledger.record_equity(desk.book, EquityPoint(decision.bar_close_ms, Decimal(10_000), Decimal(10_000), Decimal(10_000)))
    desk.ledger.add_fills(desk.book, [desk.fill(1, held, intent.client_id)])
    return decision.id


def test_what_stands_beyond_the_target_is_told_once_after_two_looks(desk: Any, rules: Any) -> None:
    decision = reversed_to(desk, "15", rules)
    report = ExcessReport(desk.ledger, desk.clock, desk.book)
    known = {"BTCUSDT": rules()}
    assert [report.look(known) for _ in range(4)] == [[], [decision], [], []]
    [entry] = [row for row in desk.ledger.agent_log(desk.book) if row["level"] == "warning"]
    assert f"BTCUSDT: 5.0 is held beyond the target of {decision} and was not trimmed" in entry["message"]


def test_what_was_trimmed_in_between_is_not_told(desk: Any, rules: Any) -> None:
    reversed_to(desk, "15", rules)
    report = ExcessReport(desk.ledger, desk.clock, desk.book)
    known = {"BTCUSDT": rules()}
    assert report.look(known) == []
    desk.ledger.add_fills(desk.book, [desk.fill(2, "-5", desk.intent().client_id)])
    assert report.look(known) == []


def test_what_is_within_the_target_is_nothing(desk: Any, rules: Any) -> None:
    reversed_to(desk, "10", rules)
    report = ExcessReport(desk.ledger, desk.clock, desk.book)
    assert [report.look({"BTCUSDT": rules()}) for _ in range(2)] == [[], []]
