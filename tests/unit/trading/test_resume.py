"""Who may lift which halt."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shared.adapters.sql import SqlLedger
from shared.domain.orders import Position
from shared.domain.records import EmergencyRecord, EquityPoint, Halt, HaltKind, next_peak
from shared.trading.emergency_log import emergency_id
from shared.trading.resume import ResumeRequest, carry_out, plan_resume

BOOK = "b"
NOW_MS = 1_751_328_000_000
FROZEN = Halt(BOOK, "foreign order", NOW_MS - 5, None, "BTCUSDT", HaltKind.FROZEN)
PAUSE = Halt(BOOK, "drawdown 6 %", NOW_MS - 4, NOW_MS + 3_600_000, kind=HaltKind.PAUSE)
MANUAL = Halt(BOOK, "by hand", NOW_MS - 3, None, kind=HaltKind.MANUAL)
OPERATIONAL = Halt(BOOK, "10 failures", NOW_MS - 2, None, kind=HaltKind.OPERATIONAL)
DRAWDOWN = Halt(BOOK, "max drawdown", NOW_MS - 1, None, kind=HaltKind.DRAWDOWN)
ALL = (FROZEN, PAUSE, MANUAL, OPERATIONAL, DRAWDOWN)


def ended(*halts: Halt) -> list[EmergencyRecord]:
    return [
        EmergencyRecord(emergency_id(halt), BOOK, halt.kind, halt.reason, halt.since_ms, NOW_MS, None, None, (), ())
        for halt in halts
    ]


DONE = ended(MANUAL, OPERATIONAL, DRAWDOWN)


@pytest.mark.parametrize(
    ("request_", "lifted"),
    [
        (ResumeRequest(), (FROZEN, MANUAL, OPERATIONAL)),
        (ResumeRequest(pauses=True), (FROZEN, PAUSE, MANUAL, OPERATIONAL)),
        (ResumeRequest(after_drawdown=True), (FROZEN, MANUAL, OPERATIONAL, DRAWDOWN)),
        (ResumeRequest(symbol="BTCUSDT"), (FROZEN,)),
        (ResumeRequest(symbol="ETHUSDT"), ()),
    ],
)
def test_what_a_request_lifts(request_: ResumeRequest, lifted: tuple[Halt, ...]) -> None:
    plan = plan_resume(ALL, DONE, [], request_)
    assert plan.lift == lifted
    assert [halt for halt, why in plan.stay if why] == [halt for halt in ALL if halt not in lifted]
    assert plan.rebases_peak == (DRAWDOWN in lifted)


def test_an_emergency_that_is_not_finished_cannot_be_lifted() -> None:
    for emergencies in ([], [replace(row, finished_ms=None) for row in DONE]):
        plan = plan_resume(ALL, emergencies, [], ResumeRequest(pauses=True, after_drawdown=True))
        assert plan.lift == (FROZEN, PAUSE)
        assert "its emergency is not finished" in plan.stay[0][1]


def test_nor_one_whose_book_is_not_flat() -> None:
    held = [Position("ETHUSDT", Decimal(2)), Position("BTCUSDT")]
    plan = plan_resume((MANUAL,), DONE, held, ResumeRequest())
    assert plan.lift == ()
    assert plan.stay[0][1] == "its emergency is not finished: the book still holds ETHUSDT"


def test_lifting_is_kept_and_the_peak_is_forgotten_after_a_drawdown(ledger: SqlLedger) -> None:
    for halt in ALL:
        ledger.set_halt(halt)
    point = EquityPoint(NOW_MS, Decimal(79), Decimal(79), Decimal(100))
    ledger.record_equity(BOOK, point)
    plan = plan_resume(ledger.halts(BOOK, NOW_MS), DONE, [], ResumeRequest(after_drawdown=True))
    assert carry_out(ledger, BOOK, plan, "ana", "looked at it", NOW_MS) == 4
    assert ledger.halts(BOOK, NOW_MS) == [PAUSE]
    assert next_peak(Decimal(79), ledger.last_equity(BOOK), ledger.peak_forgotten_ms(BOOK)) == 79
    assert ledger.agent_log(BOOK)[-1]["message"] == "halts lifted by ana (4): looked at it"


def test_what_was_halted_after_the_plan_was_shown_stays(ledger: SqlLedger) -> None:
    unseen = replace(FROZEN, reason="position differs by 0.5", since_ms=NOW_MS)
    timed = replace(FROZEN, reason="a stop was refused", until_ms=NOW_MS + 3_600_000)
    for halt in (FROZEN, timed):
        ledger.set_halt(halt)
    plan = plan_resume(ledger.halts(BOOK, NOW_MS), [], [], ResumeRequest())
    ledger.set_halt(unseen)
    assert carry_out(ledger, BOOK, plan, "ana", "looked at the order", NOW_MS + 1) == 1
    assert set(ledger.halts(BOOK, NOW_MS + 1)) == {timed, unseen}


def test_the_peak_stays_where_no_drawdown_is_lifted(ledger: SqlLedger) -> None:
    ledger.set_halt(FROZEN)
    ledger.record_equity(BOOK, EquityPoint(NOW_MS, Decimal(79), Decimal(79), Decimal(100)))
    carry_out(ledger, BOOK, plan_resume([FROZEN], [], [], ResumeRequest()), "ana", "mine", NOW_MS)
    assert ledger.peak_forgotten_ms(BOOK) is None
