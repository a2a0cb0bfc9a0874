"""An event's id is its content; its envelope is a CloudEvent; its data is plain JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

from shared.domain.asset import Asset
from shared.domain.events import Event, EventKind, event, failed, halted, regime_changed, trade_executed
from shared.domain.orders import Fill, Side
from shared.domain.records import EquityPoint, Halt, HaltKind, RegimeState, next_peak
from shared.domain.regime import Regime, RegimeProbabilities

BTC = Asset("binanceusdm", "BTCUSDT")
TIME_MS = 1_751_378_400_123
FILL = Fill("BTCUSDT", "17", "oabc-exit-1", "9", Side.SELL, Decimal("0.0100"), Decimal("106000.1"), Decimal("0.42"), TIME_MS)
STATE = RegimeState(BTC, TIME_MS, RegimeProbabilities(0.1, 0.2, 0.7), Regime.STRESS, "m-1", (0.1, 0.2, 0.7), 5, 2)
HALT = Halt("b", "max drawdown: 21 %", TIME_MS, None, kind=HaltKind.DRAWDOWN)


def every_kind() -> list[Event]:
    return [
        trade_executed("b", FILL),
        regime_changed("b", replace(STATE, regime=Regime.CALM), STATE),
        regime_changed("b", None, STATE),
        halted(EventKind.DRAWDOWN_THRESHOLD, HALT),
        failed("b", "trader", "the stream is silent", TIME_MS, {"seconds": 31.5}),
    ]


def test_the_same_content_has_the_same_id_and_every_difference_another_one() -> None:
    assert [made.id for made in every_kind()] == [made.id for made in every_kind()]
    others = [
        trade_executed("c", FILL),
        trade_executed("b", replace(FILL, trade_id="18")),
        trade_executed("b", replace(FILL, quantity=Decimal("0.01"))),
        halted(EventKind.ERROR, HALT),
        halted(EventKind.DRAWDOWN_THRESHOLD, replace(HALT, since_ms=1)),
        failed("b", "trader", "the stream is silent", TIME_MS + 1, {"seconds": 31.5}),
    ]
    ids = [made.id for made in (*every_kind(), *others)]
    assert len(set(ids)) == len(ids)


def test_the_id_of_an_event_does_not_change_with_the_code() -> None:
    # Golden: a consumer's inbox holds these for years.
    assert event(EventKind.ERROR, "b", "s", 1, {"a": 1}).id == "e-j43vqytfowargruwpo53"


def test_the_envelope_is_a_cloud_event() -> None:
    assert trade_executed("b", FILL).as_cloud_event() == {
        "specversion": "1.0",
        "id": trade_executed("b", FILL).id,
        "source": "/one-smart-trade/books/b",
        "type": "one-smart-trade.trade.executed.v1",
        "subject": "BTCUSDT",
        "time": "2025-07-01T14:00:00.123Z",
        "datacontenttype": "application/json",
        "data": {
            "symbol": "BTCUSDT",
            "trade_id": "17",
            "client_id": "oabc-exit-1",
            "side": "sell",
            "quantity": "0.0100",
            "price": "106000.1",
            "fee": "0.42",
        },
    }


def test_every_event_is_json_and_comes_back_equal() -> None:
    for made in every_kind():
        assert json.loads(json.dumps(made.as_cloud_event(), allow_nan=False)) == made.as_cloud_event()


def test_a_halt_is_about_its_symbol_or_else_its_book() -> None:
    assert halted(EventKind.ERROR, HALT).subject == "b"
    assert halted(EventKind.ERROR, replace(HALT, symbol="BTCUSDT")).subject == "BTCUSDT"


class TestPeak:
    LAST = EquityPoint(100, Decimal(80), Decimal(80), Decimal(100))

    def test_it_is_the_highest_equity_so_far(self) -> None:
        assert next_peak(Decimal(90), None, None) == 90
        assert next_peak(Decimal(90), self.LAST, None) == 100
        assert next_peak(Decimal(101), self.LAST, None) == 101

    def test_the_first_mark_after_a_resume_is_its_own_peak_and_only_that_one(self) -> None:
        assert next_peak(Decimal(79), self.LAST, 100) == 79
        after = EquityPoint(200, Decimal(79), Decimal(79), Decimal(79))
        assert next_peak(Decimal(78), after, 100) == 79
