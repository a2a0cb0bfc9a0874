"""A look at a book in a real ledger: what it opens, what it logs, and that the same look again changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.sql import SqlLedger, SqlResearch, open_ledger
from shared.domain.asset import Asset
from shared.domain.decision import Action, Decision
from shared.domain.interval import DAY_MS, HOUR_MS, Interval
from shared.domain.orders import Fill, Side
from shared.domain.records import EquityPoint, Receipt, RegimeState
from shared.domain.regime import Regime, RegimeProbabilities
from shared.domain.research import Champion
from shared.monitor.params import MonitorParams
from shared.monitor.performance import Baseline
from shared.monitor.watch import champion_days, look_at_book

BTC = Asset("binanceusdm", "BTCUSDT")
START = 1_751_328_000_000
PARAMS = MonitorParams()
GOOD = Baseline(0.1, 0.01, 730, clustering=4.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def research(ledger: SqlLedger) -> SqlResearch:
    return SqlResearch(ledger.engine)


def trade(ledger: SqlLedger, returns: np.ndarray) -> int:
    """A book that holds bitcoins worth its equity and so earns `returns` day by day; gives the instant of its end."""
    prices = 100.0 * np.cumprod([1.0, *(1.0 + returns)])
    lease = ledger.acquire_lease("b", "me", 1000, 0)
    assert lease is not None
    ledger.add_fills("b", [Fill("BTCUSDT", "1", None, "1", Side.BUY, Decimal(10), Decimal(100), Decimal(0), START - 1)])
    for day, price in enumerate(prices.tolist()):
        now_ms = START + day * DAY_MS
        ledger.commit_decision(_decision(now_ms, price), [], lease)
        value = Decimal(str(10 * price))
        ledger.record_equity("b", EquityPoint(now_ms, value, value, value))
    return START + len(returns) * DAY_MS


def _decision(now_ms: int, price: float) -> Decision:
    probabilities = RegimeProbabilities(0.7, 0.2, 0.1)
    lineage = ("p", "0.1.0", "c", now_ms, "m")
    return Decision(
        f"d-{now_ms}", "b", BTC, Interval.D1, now_ms, *lineage, probabilities, Regime.CALM, {}, (), 0.0, price, 1.0, 1.0,
        Action.HOLD, None, {}, (), (),
    )  # fmt: skip


def returns(sharpe: float, days: int = 35, deviation: float = 0.01) -> np.ndarray:
    """The last 30 days have exactly this Sharpe ratio."""
    rng = np.random.default_rng(4)
    shape = rng.standard_normal(30)
    shape = (shape - shape.mean()) / shape.std(ddof=1)
    return np.concatenate([0.01 * rng.standard_normal(days - 30), deviation * (shape + sharpe)])


def champion(**metrics: float) -> Champion:
    measured = {"sharpe_daily": 0.1, "volatility_daily": 0.01, "days": 300, "clustering": 4.0, **metrics}
    return Champion("champion-1", BTC, Interval.D1, {}, "p", measured, {}, {}, {"predecessor": None}, "why", 1)


def test_a_collapse_opens_a_recalibration_with_the_regime_of_that_moment(ledger: SqlLedger, research: SqlResearch) -> None:
    at_ms = trade(ledger, returns(-0.7))
    research.promote(champion(), 2)
    state = RegimeState(BTC, at_ms, RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m-1", (0.1, 0.2, 0.7), 9, 4)
    ledger.record_regimes("b", [state])
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS)
    assert look.event is not None
    assert look.champion == "champion-1"
    assert research.recalibrations(BTC) == [look.event]
    assert (look.event.trigger, look.event.status, look.event.created_ms) == ("sharpe", "open", at_ms)
    assert look.event.regime["regime"] == "stress"
    assert look.event.regime["probabilities"] == {"calm": 0.1, "balanced": 0.2, "stress": 0.7}
    assert look.event.measured["baseline"]["sharpe_daily"] == 0.1
    assert look.event.measured["findings"][0]["current"] == pytest.approx(-0.7)
    (entry,) = ledger.agent_log("b")
    assert (entry["source"], entry["level"], entry["time_ms"]) == ("monitor", "warning", at_ms)
    assert "is due: Sharpe -13.37 against +1.91" in entry["message"]


def test_the_same_look_again_opens_nothing_more(ledger: SqlLedger, research: SqlResearch) -> None:
    trade(ledger, returns(-0.7))
    for _ in range(2):
        looks = look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD)
    assert looks[0].event is None
    assert "cooling down" in looks[0].reason
    assert looks[0].waiting == research.recalibrations()[0].id
    assert len(research.recalibrations()) == 1


def test_looks_within_a_day_see_the_same_window(ledger: SqlLedger, research: SqlResearch) -> None:
    at_ms = trade(ledger, returns(-0.7))
    seen = []
    for hour in (0, 7, 23):
        value = Decimal(1000 - hour)
        ledger.record_equity("b", EquityPoint(at_ms + hour * HOUR_MS, value, value, value))
        looks = look_at_book(ledger, research, "b", [BTC], replace(PARAMS, cool_down_days=0), baseline=GOOD)
        seen.append(replace(looks[0].check, reason=""))
    assert seen[0] == seen[1] == seen[2]
    (event,) = research.recalibrations()
    assert event.created_ms == at_ms


def test_an_event_that_still_waits_is_named_instead_of_doubled(ledger: SqlLedger, research: SqlResearch) -> None:
    trade(ledger, returns(-0.7))
    look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD)
    (event,) = research.recalibrations()
    (look,) = look_at_book(ledger, research, "b", [BTC], replace(PARAMS, cool_down_days=0), baseline=GOOD)
    assert look.event is None
    assert look.reason.startswith(f"recalibration {event.id} is open already")
    research.advance_recalibration(event.id, "no_improvement", 1, {})
    (look,) = look_at_book(ledger, research, "b", [BTC], replace(PARAMS, cool_down_days=0), baseline=GOOD)
    assert look.event is None
    assert look.reason.startswith(f"recalibration {event.id} is no_improvement already")
    assert look.waiting is None


def test_what_is_as_promised_is_logged_and_opens_nothing(ledger: SqlLedger, research: SqlResearch) -> None:
    trade(ledger, returns(0.1))
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD)
    assert not look.check.fired
    assert research.recalibrations() == []
    assert [entry["level"] for entry in ledger.agent_log("b")] == ["info"]


def test_a_dry_look_writes_nothing(ledger: SqlLedger, research: SqlResearch) -> None:
    trade(ledger, returns(-0.7))
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD, open_events=False)
    assert look.event is not None
    assert research.recalibrations() == []
    assert ledger.agent_log("b") == []


def test_without_a_champion_there_is_nothing_to_compare_with(ledger: SqlLedger, research: SqlResearch) -> None:
    trade(ledger, returns(-0.7))
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS)
    assert look.reason.startswith("no recalibration: no baseline")
    research.promote(champion(volatility_daily=math.nan), 2)
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS)
    assert look.reason.startswith("no recalibration: no baseline")


@pytest.mark.parametrize(
    "other", [{"params_version": "q"}, {"interval": Interval.H4}, {"params_version": "q", "interval": Interval.H4}]
)
def test_a_book_that_does_not_trade_the_champion_is_not_compared_with_it(
    ledger: SqlLedger, research: SqlResearch, other: dict[str, Any]
) -> None:
    trade(ledger, returns(-0.7))
    research.promote(replace(champion(), **other), 2)
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS)
    assert look.event is None
    assert look.check.findings == ()
    assert look.reason.startswith("no recalibration: the book does not trade champion champion-1 (it trades params p on 1d")
    (given,) = look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD)
    assert given.event is not None


@pytest.mark.parametrize(
    ("active_days", "said"), [(24, "on 24 whole days of the window, needed 25"), (25, "is due"), (0, "on 0 ")]
)
def test_only_days_since_the_activation_count(ledger: SqlLedger, research: SqlResearch, active_days: int, said: str) -> None:
    at_ms = trade(ledger, returns(-0.7))
    research.promote(champion(), at_ms - active_days * DAY_MS)
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS)
    assert said in look.reason
    assert (look.event is not None) == (active_days >= PARAMS.minimum_days)


def test_a_day_with_a_decision_of_other_parameters_does_not_count() -> None:
    at_ms = START + 6 * DAY_MS
    made = [_decision(START + day * DAY_MS, 1.0) for day in range(6)]
    made[2] = replace(made[2], params_version="q")
    one = replace(champion(), activated_ms=START + 1)
    # The first of these days has no decision, the next begins before the activation; then two, one of another, two more.
    assert champion_days(made, one, at_ms, 7).tolist() == [False, False, True, False, True, True, True]
    assert not champion_days([], one, at_ms, 3).any()


def test_the_books_own_history_can_be_the_baseline(ledger: SqlLedger, research: SqlResearch) -> None:
    made = returns(-0.7, days=200)
    trade(ledger, made)
    (look,) = look_at_book(ledger, research, "b", [BTC], PARAMS, own_history=True)
    assert look.baseline is not None
    assert look.baseline.days == 170
    assert look.baseline.volatility_daily == pytest.approx(made[:170].std(ddof=1))
    assert look.event is not None


def test_a_book_without_equity_gives_no_looks(ledger: SqlLedger, research: SqlResearch) -> None:
    assert look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD) == []


def test_a_look_with_the_same_receipt_is_written_once(ledger: SqlLedger, research: SqlResearch) -> None:
    trade(ledger, np.full(40, 0.001))
    receipt = Receipt("monitor", "1751378400000/b", "b", 5)
    first = look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD, receipt=receipt)
    written = ledger.agent_log("b")
    assert len(written) == 1
    assert look_at_book(ledger, research, "b", [BTC], PARAMS, baseline=GOOD, receipt=receipt) == first
    assert ledger.agent_log("b") == written
