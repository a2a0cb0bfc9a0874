from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import ConfigError
from shared.domain.interval import DAY_MS, HOUR_MS
from shared.domain.records import EquityPoint, Halt, HaltKind
from shared.risk.breakers import check_breakers, day_start_equity
from shared.risk.params import RiskParams

PARAMS = RiskParams()


def run(equities: list[str]) -> list[list[Halt]]:
    """Halts that each hourly equity trips. Halts in force are remembered as the ledger does."""
    tripped, active, peak, previous = [], [], Decimal(0), None
    for hour, equity in enumerate(map(Decimal, equities)):
        peak = max(peak, equity)
        point = EquityPoint(hour * HOUR_MS, equity, equity, peak)
        active = [halt for halt in active if halt.until_ms is None or halt.until_ms > point.time_ms]
        tripped.append(check_breakers("book", point, previous, active, PARAMS))
        active += tripped[-1]
        previous = point
    return tripped


def hours(halts: list[Halt]) -> list[float | None]:
    return [None if halt.until_ms is None else (halt.until_ms - halt.since_ms) / HOUR_MS for halt in halts]


@pytest.mark.parametrize(
    ("equity", "expected"),
    [("95", []), ("94.9", [1.0]), ("90", [1.0]), ("89.9", [4.0]), ("84.9", [24.0]), ("80", [24.0]), ("79.9", [None])],
)
def test_the_strongest_level_beyond_which_equity_fell(equity: str, expected: list[float | None]) -> None:
    assert hours(run(["100", equity])[1]) == expected


def test_a_level_fires_once_per_crossing() -> None:
    assert [hours(halts) for halts in run(["100", "94", "93", "92", "94", "96", "94"])] == [[], [1.0], [], [], [], [], [1.0]]


def test_a_deeper_level_fires_after_a_shallower_one() -> None:
    assert [hours(halts) for halts in run(["100", "94", "89", "84", "79"])] == [[], [1.0], [4.0], [24.0], [None]]


def test_recovery_from_a_deep_level_does_not_fire_the_shallow_one_again() -> None:
    assert [hours(halts) for halts in run(["100", "88", "92", "93"])] == [[], [4.0], [], []]


def test_a_new_peak_arms_the_levels_again() -> None:
    assert [hours(halts) for halts in run(["100", "94", "120", "113"])] == [[], [1.0], [], [1.0]]


@pytest.mark.parametrize("kind", list(HaltKind))
def test_a_latch_that_closes_nothing_does_not_silence_the_maximum_drawdown(kind: HaltKind) -> None:
    latch = Halt("book", "the wallet differs by 5", 0, None, kind=kind)
    before, after = (
        EquityPoint(hour * HOUR_MS, equity, equity, Decimal(100)) for hour, equity in enumerate((Decimal(90), Decimal(79)))
    )
    tripped = check_breakers("book", after, before, [latch], PARAMS)
    assert [halt.kind for halt in tripped] == ([] if kind.flattens else [HaltKind.DRAWDOWN])


def test_the_latch_has_no_end_and_silences_the_rest() -> None:
    tripped = run(["100", "79", "85", "70", "79"])
    assert [hours(halts) for halts in tripped] == [[], [None], [], [], []]
    assert "max drawdown" in tripped[1][0].reason


@given(st.lists(st.integers(40, 200), min_size=1, max_size=60))
def test_at_most_one_halt_a_bar_and_none_within_the_first_level(equities: list[int]) -> None:
    tripped, peak = run([str(equity) for equity in equities]), 0
    for equity, halts in zip(equities, tripped, strict=True):
        peak = max(peak, equity)
        assert len(halts) <= 1
        assert not halts or equity < 0.95 * peak


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pause_drawdowns", (0.1, 0.05, 0.15)),
        ("pause_hours", (1.0, 2.0)),
        ("max_drawdown", 0.1),
        ("max_drawdown", 1.0),
        ("kelly_fraction", 0.0),
        ("stress_multiplier", 1.5),
        ("stress_ramp", 0.0),
        ("max_leverage", float("nan")),
    ],
)
def test_contradictory_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"risk\."):
        RiskParams(**{field: value})


DAY = 24


def equity_at_day_start(points: list[EquityPoint]) -> Decimal:
    """From all points, oldest first: the newest up to midnight, the first one where there is none."""
    start_ms = points[-1].time_ms // DAY_MS * DAY_MS
    return next((point for point in reversed(points) if point.time_ms <= start_ms), points[0]).equity


def by_day(equities: dict[int, str], params: RiskParams = PARAMS) -> list[tuple[int, int]]:
    """Hours at which the loss of a day halts, and until when; equities by hour since midnight."""
    free = replace(params, pause_drawdowns=(), pause_hours=())
    points: list[EquityPoint] = []
    day, peak, found = None, Decimal(0), []
    for hour, text in sorted(equities.items()):
        equity = Decimal(text)
        peak = max(peak, equity)
        point = EquityPoint(hour * HOUR_MS, equity, equity, peak)
        last = points[-1] if points else None
        day = equity if last is None or day is None else day_start_equity(point.time_ms, equity, last.time_ms, last.equity, day)
        assert day == equity_at_day_start([*points, point])
        for halt in check_breakers("book", point, last, [], free, day):
            assert halt.kind is HaltKind.PAUSE
            assert halt.until_ms is not None
            found.append((halt.since_ms // HOUR_MS, halt.until_ms // HOUR_MS))
        points.append(point)
    return found


def test_the_loss_of_a_day_pauses_until_the_next_one() -> None:
    assert by_day({0: "100", 1: "95", 2: "94.9", 3: "94", 23: "93"}) == [(2, DAY)]


def test_the_day_starts_with_the_mark_at_midnight_or_the_one_before() -> None:
    assert by_day({0: "100", 23: "97", DAY: "94.5", DAY + 1: "90"}) == []
    assert by_day({0: "100", 23: "97", DAY: "94.5", DAY + 1: "89.7"}) == [(DAY + 1, 2 * DAY)]
    assert by_day({0: "100", 23: "97", DAY + 1: "92.1"}) == [(DAY + 1, 2 * DAY)]
    assert by_day({5: "100", 6: "94"}) == [(6, DAY)]


def test_the_loss_of_a_day_fires_again_after_a_recovery() -> None:
    assert by_day({0: "100", 1: "94", 2: "96", 3: "94"}) == [(1, DAY), (3, DAY)]


def test_a_limit_of_one_never_fires() -> None:
    assert by_day({0: "100", 1: "85"}, replace(PARAMS, max_daily_loss=1.0)) == []
