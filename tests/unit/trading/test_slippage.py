"""Slippage by day and symbol: hand-computed figures, and what holds for any fills."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.interval import DAY_MS, parse_date_ms
from shared.domain.orders import Fill, Side
from shared.domain.records import Arrival
from shared.trading.slippage import daily_slippage, slippage_rows

DAY = parse_date_ms("2025-07-01")


def fill(client_id: str | None, side: Side, quantity: str, price: str, time_ms: int = DAY, symbol: str = "BTCUSDT") -> Fill:
    trade = f"{client_id}-{time_ms}-{price}-{quantity}"
    return Fill(symbol, trade, client_id, "1", side, Decimal(quantity), Decimal(price), Decimal("0.05"), time_ms)


def arrival(client_id: str, decision: str, mid: str | None, wait_ms: int | None = 20) -> Arrival:
    answered = None if wait_ms is None else DAY + wait_ms
    return Arrival(client_id, "b", "BTCUSDT", Decimal(decision), None if mid is None else Decimal(mid), DAY, answered)


def test_a_purchase_above_its_references_costs_their_difference() -> None:
    fills = [fill("a", Side.BUY, "1", "101"), fill("a", Side.BUY, "1", "103")]
    [row] = slippage_rows(fills, [arrival("a", "100", "101.5")])
    assert (row.orders, row.notional, row.fees, row.unmeasured) == (1, Decimal(204), Decimal("0.10"), 0)
    assert row.against_decision == Decimal(4)
    assert row.decision_bps == pytest.approx(200.0)
    assert row.against_arrival == Decimal(1)
    assert row.arrival_bps == pytest.approx(1 / 203 * 10_000)
    assert row.fee_bps == pytest.approx(0.10 / 204 * 10_000)
    assert row.answer_ms == 20.0


def test_a_sale_above_its_reference_is_a_gain() -> None:
    [row] = slippage_rows([fill("a", Side.SELL, "2", "101")], [arrival("a", "100", None)])
    assert row.against_decision == Decimal(-2)
    assert (row.against_arrival, row.arrival_bps) == (None, None)


def test_orders_without_an_arrival_are_counted_and_not_measured() -> None:
    fills = [fill("a", Side.BUY, "1", "101"), fill("lost", Side.BUY, "1", "200")]
    [row] = slippage_rows(fills, [arrival("a", "100", "100", None)])
    assert (row.orders, row.unmeasured, row.against_decision, row.answer_ms) == (2, 1, Decimal(1), None)


def test_days_and_symbols_are_kept_apart() -> None:
    fills = [
        fill("b", Side.BUY, "1", "100", DAY + DAY_MS),
        fill("a", Side.BUY, "1", "100", DAY + DAY_MS - 1),
        fill("c", Side.BUY, "1", "100", DAY, "ETHUSDT"),
    ]
    assert [(row.day_ms, row.symbol) for row in slippage_rows(fills, [])] == [
        (DAY, "BTCUSDT"),
        (DAY, "ETHUSDT"),
        (DAY + DAY_MS, "BTCUSDT"),
    ]


SIZES = st.lists(st.tuples(st.booleans(), st.integers(1, 500), st.integers(900, 1100)), min_size=1, max_size=20)


@given(SIZES)
def test_fills_at_the_reference_cost_nothing_and_turning_every_side_turns_the_sign(rows: list[tuple[bool, int, int]]) -> None:
    def cost(turned: bool, shift: int) -> Decimal | None:
        fills = [
            fill(f"o{n}", Side.BUY if buys != turned else Side.SELL, str(size), str(price + shift), DAY + n)
            for n, (buys, size, price) in enumerate(rows)
        ]
        arrivals = [arrival(f"o{n}", str(price), None) for n, (_, _, price) in enumerate(rows)]
        [row] = slippage_rows(fills, arrivals)
        return row.against_decision

    assert cost(turned=False, shift=0) == 0
    assert cost(turned=False, shift=3) == -(cost(turned=True, shift=3) or Decimal(0))


async def test_an_order_is_measured_from_the_ledger(desk: Any) -> None:
    intent = desk.intent()
    desk.committed(intent)
    desk.exchange.on_send.append(desk.report(intent))
    await desk.executor.place(desk.approved(intent))
    desk.ledger.add_fills(desk.book, [desk.fill(1, "1", intent.client_id, price=Decimal("100.5"))])
    [row] = daily_slippage(desk.ledger, desk.book)
    assert (row.against_decision, row.unmeasured) == (Decimal("0.5"), 0)
    assert daily_slippage(desk.ledger, desk.book, desk.start_ms + DAY_MS) == []
