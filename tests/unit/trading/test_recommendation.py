"""What a decision tells a person to do, and until when."""

from __future__ import annotations

from dataclasses import replace

from shared.domain.asset import Asset
from shared.domain.decision import Action, Approval, Decision, Vote
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.regime import Regime, RegimeProbabilities
from shared.trading.recommendation import recommend

ASSET = Asset("binanceusdm", "BTCUSDT")
CLOSE_MS = 1_751_328_000_000
SHARES = RegimeProbabilities(0.7, 0.2, 0.1)
DECISION = Decision(
    id="d-1",
    book="b",
    asset=ASSET,
    interval=Interval.H1,
    bar_close_ms=CLOSE_MS,
    params_version="p-1",
    code_version="1.0",
    data_hash="c-abc",
    window_start_ms=CLOSE_MS - 500 * HOUR_MS,
    regime_model_id="m-1",
    probabilities=SHARES,
    regime=Regime.CALM,
    alphas={"momentum": 0.3},
    votes=(Vote("trend_hunter", 0.9, True, 1.0, "ADX 31"), Vote("surfer", -0.5, False, 0.0, "stress only")),
    score=-0.6,
    price=100.0,
    target_fraction=-0.4,
    approved_fraction=-0.3,
    action=Action.OPEN,
    stop_price=103.0,
    features={"rsi": 30.0},
    reasons=("the trend is down",),
    approvals=(Approval("total exposure", False, "cut to -0.3"),),
    order_ids=("o-m", "o-s"),
)


def test_a_recommendation_says_what_why_and_until_when() -> None:
    made = recommend(DECISION)
    assert (made.side, made.confidence, made.regime_probability) == ("short", 0.6, 0.7)
    text = made.text()
    assert "open a position → short 30% of equity at about 100" in text
    assert "protective stop at 103 (+3.0% from the price)" in text
    assert "the trend is down" in text
    assert "void after 2025-07-01 01:00 UTC" in text
    assert made.as_dict()["action"] == "open"


def test_a_recommendation_is_void_after_the_next_close() -> None:
    made = recommend(DECISION)
    assert made.is_valid(CLOSE_MS + HOUR_MS)
    assert not made.is_valid(CLOSE_MS + HOUR_MS + 1)
    assert made.text(CLOSE_MS + HOUR_MS).startswith("binanceusdm")
    assert made.text(CLOSE_MS + 2 * HOUR_MS).startswith("OUTDATED")


def test_a_flat_recommendation_has_no_size_and_no_stop() -> None:
    made = recommend(replace(DECISION, action=Action.CLOSE, approved_fraction=0.0, stop_price=None))
    assert "close the position → flat at about 100" in made.text()
    assert "stop" not in made.text()
