from dataclasses import replace

import pytest

from shared.domain.asset import Universe
from shared.domain.errors import NotEnoughData, UsageError
from shared.domain.interval import DAY_MS, HOUR_MS, Interval
from shared.domain.records import BookRecord
from shared.trading.run_plan import RunPlan, choose_book, choose_range, outside

PLAN = RunPlan(
    universe=Universe.of("binanceusdm", ("BTCUSDT",)),
    interval=Interval.H1,
    start_ms=0,
    end_ms=DAY_MS,
    capital="10000",
    params_version="p-1",
    account_version="a-1",
    market_label="files",
    market_hash="h-1",
    generated=False,
)


def record(book: str, *, finished: bool) -> BookRecord:
    return BookRecord(book, 0, PLAN.as_dict(), 1 if finished else None, {} if finished else None)


def test_the_same_command_continues_an_interrupted_run() -> None:
    assert choose_book(PLAN, [record(PLAN.book(1), finished=False)], fresh=False) == (PLAN.book(1), True)


def test_a_finished_run_is_never_written_again() -> None:
    assert choose_book(PLAN, [record(PLAN.book(1), finished=True)], fresh=False) == (PLAN.book(2), False)


def test_fresh_leaves_the_interrupted_run_alone() -> None:
    assert choose_book(PLAN, [record(PLAN.book(1), finished=False)], fresh=True) == (PLAN.book(2), False)


@pytest.mark.parametrize(
    "change",
    [
        {"capital": "1"},
        {"end_ms": 2 * DAY_MS},
        {"params_version": "p-2"},
        {"account_version": "a-2"},
        {"market_hash": "h-2"},
        {"generated": True},
    ],
)
def test_whatever_changes_the_outcome_changes_the_book(change: dict[str, object]) -> None:
    assert replace(PLAN, **change).book(1) != PLAN.book(1)  # type: ignore[arg-type]


def test_another_folder_with_the_same_candles_is_the_same_run() -> None:
    assert replace(PLAN, market_label="elsewhere").book(1) == PLAN.book(1)


SPANS = {"BTCUSDT": (0, 100 * DAY_MS), "SOLUSDT": (10 * DAY_MS, 90 * DAY_MS)}


def chosen(start_ms: int | None = None, end_ms: int | None = None, days: int = 5, warmup_bars: int = 240) -> tuple[int, int]:
    return choose_range(SPANS, Interval.H1, start_ms=start_ms, end_ms=end_ms, days=days, warmup_bars=warmup_bars)


def test_the_range_ends_where_the_first_asset_ends() -> None:
    assert chosen() == (85 * DAY_MS, 90 * DAY_MS)


def test_the_default_range_gives_way_to_the_warm_up() -> None:
    assert chosen(days=1000) == (20 * DAY_MS, 90 * DAY_MS)


def test_dates_are_rounded_to_whole_bars_inside_them() -> None:
    assert chosen(start_ms=50 * DAY_MS + 1, end_ms=60 * DAY_MS - 1) == (50 * DAY_MS + HOUR_MS, 60 * DAY_MS - HOUR_MS)


@pytest.mark.parametrize(("start", "end"), [(DAY_MS, None), (None, 95 * DAY_MS)])
def test_dates_outside_the_data_name_what_there_is(start: int | None, end: int | None) -> None:
    with pytest.raises(UsageError, match="1970-01-11 00:00 to 1970-04-01 00:00"):
        chosen(start, end)


def test_a_start_inside_the_warm_up_says_when_trading_can_start() -> None:
    with pytest.raises(NotEnoughData, match="can start at 1970-01-21 00:00"):
        chosen(start_ms=15 * DAY_MS)


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(UsageError, match="before it starts"):
        chosen(start_ms=50 * DAY_MS, end_ms=40 * DAY_MS)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="nothing is left"):
        chosen(start_ms=90 * DAY_MS)


def left_out(**dates: int) -> dict[str, str]:
    given = {"start_ms": dates.get("start_ms"), "end_ms": dates.get("end_ms")}
    return outside({**SPANS, "LUNAUSDT": (0, 30 * DAY_MS)}, Interval.H1, **given, warmup_bars=240)


def test_an_asset_whose_candles_ended_does_not_hold_the_others_back() -> None:
    assert set(left_out()) == {"SOLUSDT", "LUNAUSDT"}
    assert set(left_out(end_ms=80 * DAY_MS)) == {"LUNAUSDT"}
    assert "end at 1970-01-31 00:00" in left_out()["LUNAUSDT"]


def test_an_asset_that_is_too_young_is_left_out_by_name() -> None:
    assert "begin at 1970-01-11 00:00" in left_out(start_ms=15 * DAY_MS, end_ms=25 * DAY_MS)["SOLUSDT"]


def test_where_no_asset_reaches_over_the_run_none_is_blamed() -> None:
    assert left_out(end_ms=200 * DAY_MS) == {}
