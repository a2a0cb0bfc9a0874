"""Equity rows follow from fills and funding, one at each bar; worked by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from shared.domain.interval import HOUR_MS
from shared.domain.orders import Fill, Side
from shared.domain.records import BookRecord, EquityPoint, FundingPayment
from shared.trading.accounting import AccountBook, account_book, account_faults

SETTINGS = {"market": "files", "start_ms": 0, "end_ms": 5 * HOUR_MS, "interval": "1h", "capital": "1000"}
# Bought 2 at 100 for a fee of 1 inside the second bar, sold at 110 for a fee of 1 inside the fourth; 0.5 of funding at 3:00.
FILLS = [
    Fill("BTCUSDT", "1", None, "1", Side.BUY, Decimal(2), Decimal(100), Decimal(1), HOUR_MS + 1),
    Fill("BTCUSDT", "2", None, "2", Side.SELL, Decimal(2), Decimal(110), Decimal(1), 3 * HOUR_MS + 1),
]
FUNDING = [FundingPayment("f", "BTCUSDT", Decimal("0.5"), 3 * HOUR_MS)]
MARKS = {hour * HOUR_MS: {"BTCUSDT": mark} for hour, mark in enumerate([100.0, 100.0, 105.0, 90.0, 110.0, 110.0])}
# wallet and equity at each hour: 1000 | 1000 | 999 + 2 x 5 | 999.5 - 2 x 10 | 1018.5 | 1018.5
WALLETS = ["1000", "1000", "999", "999.5", "1018.5", "1018.5"]
EQUITY = ["1000", "1000", "1009", "979.5", "1018.5", "1018.5"]
PEAKS = ["1000", "1000", "1009", "1009", "1018.5", "1018.5"]
ROWS = [
    EquityPoint(hour * HOUR_MS, Decimal(equity), Decimal(wallet), Decimal(peak))
    for hour, (wallet, equity, peak) in enumerate(zip(WALLETS, EQUITY, PEAKS, strict=True))
]


def book(
    rows: list[EquityPoint] = ROWS, fills: list[Fill] = FILLS, *, finished: bool = True, **settings: object
) -> AccountBook:
    record = BookRecord("mine", 0, {**SETTINGS, **settings}, 9 if finished else None, {})
    made = account_book(record, rows, fills, FUNDING, {}, {}, [])
    assert made is not None
    return made


def found(made: AccountBook) -> list[tuple[int, str]]:
    return [(fault.time_ms // HOUR_MS, fault.what) for fault in account_faults(made, MARKS)]


def test_a_book_whose_rows_follow_has_no_fault() -> None:
    assert found(book()) == []
    assert account_faults(book()) == []


def test_every_altered_number_is_named_at_its_row() -> None:
    for hour in range(6):
        for name in ("equity", "peak"):
            rows = [*ROWS]
            rows[hour] = replace(rows[hour], **{name: getattr(rows[hour], name) + 1})
            assert found(book(rows)) == [(hour, name)]


def test_without_marks_equity_is_checked_while_nothing_is_held() -> None:
    rows = [replace(row, equity=row.equity + 1, peak=row.peak + 1) for row in ROWS]
    assert [(fault.time_ms // HOUR_MS, fault.what) for fault in account_faults(book(rows)) if fault.what == "equity"] == [
        (hour, "equity") for hour in (0, 1, 4, 5)
    ]


def test_holes_and_rows_off_the_grid_are_named() -> None:
    assert found(book([*ROWS[:2], *ROWS[3:]]))[0] == (2, "row")
    assert found(book(ROWS[1:]))[0] == (0, "row")
    late = replace(ROWS[-1], time_ms=ROWS[-1].time_ms + HOUR_MS // 2)
    assert found(book([*ROWS, late])) == [(5, "row")]


def test_a_finished_book_lasts_to_its_planned_end_and_another_one_to_what_is_known() -> None:
    assert found(book(ROWS[:4])) == [(4, "row"), (5, "row")]
    assert found(book(ROWS[:4], finished=False)) == []
    # The step that booked the fill of its bar was cut off before it wrote its row.
    assert len(book(ROWS[:4], finished=False).instants) == 4


def test_a_liquidation_may_cost_a_fine_that_has_no_row() -> None:
    fined = [replace(row, wallet=row.wallet - 7, equity=row.equity - 7) for row in ROWS[4:]]
    rows = [*ROWS[:4], *(replace(row, peak=Decimal("1011.5")) for row in fined)]
    assert found(book(rows)) == []  # no order asked for the fill of that bar
    assert found(book([*ROWS[:5], fined[1]]))[0] == (5, "wallet")


def test_a_book_that_is_no_run_over_history_is_left_alone() -> None:
    assert account_book(BookRecord("live", 0, {"capital": "1000"}, None, None), ROWS, FILLS, FUNDING, {}, {}, []) is None
