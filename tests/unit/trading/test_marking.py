"""Equity points, breakers at and between bars, and what a resume forgets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.domain.errors import UsageError
from shared.domain.interval import DAY_MS, HOUR_MS
from shared.domain.orders import Account
from shared.domain.records import Halt, HaltKind
from shared.risk.params import RiskParams
from shared.trading.marking import UNHALTED_MS, Marks

D = Decimal


def account(equity: float) -> Account:
    return Account(D(str(equity)), D(str(equity)), D(str(equity)), ())


@pytest.fixture
def marks(desk: Any) -> Marks:
    return Marks(desk.ledger, desk.clock, desk.book, RiskParams())


def test_a_point_stands_from_its_first_time(desk: Any, marks: Marks) -> None:
    first, _ = marks.at_close(desk.start_ms, account(1000))
    again, _ = marks.at_close(desk.start_ms, account(900))
    assert first == again == marks.unstored
    marks.store()
    marks.store()
    assert marks.unstored is None
    assert desk.ledger.equity(desk.book) == [first]
    later, _ = Marks(desk.ledger, desk.clock, desk.book, RiskParams()).at_close(desk.start_ms, account(800))
    assert later == first


def test_a_point_that_no_decision_took_along_is_stored_before_the_next_one(desk: Any, marks: Marks) -> None:
    first, _ = marks.at_close(desk.start_ms, account(1000))
    assert desk.ledger.equity(desk.book) == []
    marks.at_close(desk.start_ms + HOUR_MS, account(1000))
    assert desk.ledger.equity(desk.book) == [first]


def test_a_bar_that_is_past_is_refused(desk: Any, marks: Marks) -> None:
    marks.at_close(desk.start_ms, account(1000))
    with pytest.raises(UsageError, match="is past"):
        marks.at_close(desk.start_ms - HOUR_MS, account(1000))


def test_a_breaker_that_trips_is_stored_and_told_at_once(desk: Any, marks: Marks) -> None:
    marks.at_close(desk.start_ms, account(1000))
    point, in_force = marks.at_close(desk.start_ms + HOUR_MS, account(700))
    assert point.drawdown == pytest.approx(0.3)
    assert HaltKind.DRAWDOWN in [halt.kind for halt in in_force]
    assert HaltKind.DRAWDOWN in [halt.kind for halt in desk.ledger.halts(desk.book, desk.start_ms + HOUR_MS)]


def test_between_bars_a_level_trips_once_and_nothing_is_stored(desk: Any, marks: Marks) -> None:
    assert marks.between_bars(desk.start_ms, account(100), []) == []  # nothing to compare with yet
    marks.at_close(desk.start_ms, account(1000))
    marks.store()
    tripped = marks.between_bars(desk.start_ms + 1000, account(890), [])
    assert tripped
    assert all(halt.kind is HaltKind.PAUSE for halt in tripped)
    assert marks.between_bars(desk.start_ms + 2000, account(880), tripped) == []
    assert desk.ledger.halts(desk.book, desk.start_ms + 2000) == []
    assert len(desk.ledger.equity(desk.book)) == 1


def test_the_loss_of_the_day_pauses_at_and_between_bars_until_midnight(desk: Any, marks: Marks) -> None:
    midnight_ms = desk.start_ms + DAY_MS
    assert desk.start_ms % DAY_MS == 0
    for hour, equity in ((0, 1000), (20, 1100), (23, 1080)):  # the peak is higher than the start of the day
        _, in_force = marks.at_close(desk.start_ms + hour * HOUR_MS, account(equity))
        assert in_force == []
    tripped = marks.between_bars(midnight_ms - 1800_000, account(949), [])
    assert [halt.until_ms for halt in tripped if "loss of the day 5.1%" in halt.reason] == [midnight_ms]
    marks.at_close(midnight_ms, account(1070))  # a new day begins with this
    assert marks.between_bars(midnight_ms + 1000, account(1050), []) == []
    _, in_force = marks.at_close(midnight_ms + HOUR_MS, account(1016))
    assert [halt.until_ms for halt in in_force if "loss of the day" in halt.reason] == [midnight_ms + DAY_MS]


def test_after_a_resume_drawdown_is_measured_from_there(desk: Any, marks: Marks) -> None:
    marks.at_close(desk.start_ms, account(1000))
    marks.at_close(desk.start_ms + HOUR_MS, account(700))
    marks.store()
    desk.ledger.rebase_peak(desk.book, desk.start_ms + HOUR_MS + 1)
    lifted_ms = desk.start_ms + HOUR_MS + 1
    desk.ledger.lift_halts(desk.ledger.halts(desk.book, lifted_ms), "a person", "looked at it", lifted_ms)
    point, in_force = marks.at_close(desk.start_ms + 2 * HOUR_MS, account(690))
    assert (point.peak, point.drawdown) == (D(690), 0.0)
    assert in_force == []


def test_a_bar_asks_for_halts_unless_a_look_just_before_it_found_none(
    desk: Any, marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    halts = desk.ledger.halts

    def asking(book: str, now_ms: int) -> Any:
        asked.append(now_ms)
        return halts(book, now_ms)

    monkeypatch.setattr(desk.ledger, "halts", asking)
    halt = Halt(desk.book, "by hand", desk.start_ms, None)

    def in_force(hour: int) -> tuple[list[Halt], int]:
        asked.clear()
        return marks.at_close(desk.start_ms + hour * HOUR_MS, account(1000))[1], len(asked)

    marks.saw([], desk.clock.now_ms())
    desk.clock.set(desk.clock.now_ms() + UNHALTED_MS)
    assert in_force(0) == ([], 0)
    desk.ledger.set_halt(halt)
    desk.clock.set(desk.clock.now_ms() + 1)
    assert in_force(1) == ([halt], 1)
    assert in_force(2) == ([halt], 1)
    desk.ledger.lift_halts([halt], "a person", "looked at it", desk.clock.now_ms())
    assert in_force(3) == ([], 1)


def test_a_peak_is_forgotten_where_halt_and_resume_come_between_two_bars(desk: Any, marks: Marks) -> None:
    marks.at_close(desk.start_ms, account(1000))
    marks.store()
    halt = Halt(desk.book, "drawdown", desk.start_ms + 1, None, kind=HaltKind.DRAWDOWN)
    desk.ledger.set_halt(halt)
    marks.saw([halt], desk.start_ms + 1)
    desk.ledger.rebase_peak(desk.book, desk.start_ms + 2)
    desk.ledger.lift_halts([halt], "a person", "looked at it", desk.start_ms + 2)
    marks.saw([], desk.start_ms + 3)
    point, _ = marks.at_close(desk.start_ms + HOUR_MS, account(970))
    assert point.drawdown == 0.0


def test_the_exposure_is_known_after_the_trades(desk: Any, marks: Marks) -> None:
    from dataclasses import replace

    point, _ = marks.at_close(desk.start_ms, account(1000))
    marks.store()
    marks.exposed(replace(point, exposure=D(500)))
    assert desk.ledger.last_equity(desk.book).exposure == D(500)
    assert marks.last is not None
    assert marks.last.exposure == D(500)
