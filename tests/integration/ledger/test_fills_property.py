"""The stored position is the fold of the stored fills, whatever arrives, in whatever order, however often."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.sql import SqlLedger
from shared.adapters.sql.checks import find_problems
from shared.adapters.sql.round_trips import Holding, fill_key, fold
from shared.domain.orders import Position

_BOOKS = count()
_FILLS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(-4, 4).filter(bool), st.decimals("0.1", "200", places=3)),
    min_size=1,
    max_size=20,
    unique_by=lambda values: values[0],
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=_FILLS, data=st.data())
def test_any_arrival_gives_the_fold_of_the_fills(ledger: SqlLedger, make: Any, values: list[Any], data: st.DataObject) -> None:
    book = f"book-{next(_BOOKS)}"
    fills = [make.fill(n, str(Decimal(size) / 10), str(price)) for n, size, price in values]
    arrivals = data.draw(st.permutations(fills)) + data.draw(st.lists(st.sampled_from(fills), max_size=5))
    while arrivals:
        some = data.draw(st.integers(1, len(arrivals)))
        ledger.add_fills(book, arrivals[:some])
        arrivals = arrivals[some:]
    expected, closed = fold(book, Holding(Position("BTCUSDT")), sorted(fills, key=fill_key))
    assert ledger.positions(book) == {"BTCUSDT": expected.position}
    assert [trade.id for trade in ledger.trades(book)] == [trip.id for trip in closed]
    assert [trade.profit for trade in ledger.trades(book)] == [trip.profit for trip in closed]


def test_the_check_agrees_with_everything_that_arrived(ledger: SqlLedger, make: Any) -> None:
    for n in (5, 3, 9, 1, 7):
        ledger.add_fills("b", [make.fill(n, "1" if n % 4 == 1 else "-2", str(90 + n))])
    assert find_problems(ledger.engine) == []
