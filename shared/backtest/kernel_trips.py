"""From fills to round trips: flat to flat, or to the other side, folded as the ledger does it (`adapters/sql/round_trips.py`).

A fill that turns a position ends one trip and opens the next, and its fee is shared by size. What lasts at the end is no trip.
"""

from __future__ import annotations

import numpy as np

from shared.backtest.kernel_types import ASSET, CHANGED, FEE, FILL_PRICE, REASON
from shared.compiled import compiled
from shared.domain.candles import FloatArray, IntArray

TRIP_COLUMNS = ("asset", "side", "quantity", "entry_price", "exit_price", "opened", "closed", "profit", "fees", "exit_reason")

_HELD, _LARGEST, _ENTERED, _PAID, _LEFT, _RECEIVED, _FEES, _OPENED = range(8)


@compiled
def fold_trips(log: FloatArray, quantity: FloatArray, time_ms: IntArray, assets: int) -> FloatArray:
    """Closed trips (t, 10) in the order of their end, columns as in `TRIP_COLUMNS`, from k fills.

    `quantity` (k,) are signed base units and `time_ms` (k,) their instants. Sizes are compared in whole steps.
    """
    fills = len(quantity)
    trips = np.empty((fills, 10))
    count = 0
    state = np.zeros((assets, 8))
    for k in range(fills):
        a = int(log[k, ASSET])
        trip = state[a]
        held, change = trip[_HELD], log[k, CHANGED]
        size, notional, fee = abs(quantity[k]), abs(quantity[k]) * log[k, FILL_PRICE], log[k, FEE]
        if held * change < 0.0:
            closing = min(abs(change), abs(held)) / abs(change)
            trip[_LEFT] += size * closing
            trip[_RECEIVED] += notional * closing
            trip[_FEES] += fee * closing
            if abs(change) >= abs(held):
                side = 1.0 if held > 0.0 else -1.0
                row = trips[count]
                row[0], row[1], row[2] = a, side, trip[_LARGEST]
                row[3], row[4] = trip[_PAID] / trip[_ENTERED], trip[_RECEIVED] / trip[_LEFT]
                row[5], row[6] = trip[_OPENED], time_ms[k]
                row[7] = side * (trip[_RECEIVED] - trip[_PAID]) - trip[_FEES]
                row[8], row[9] = trip[_FEES], log[k, REASON]
                count += 1
                rest = 1.0 - closing
                trip[:] = 0.0
                if abs(change) > abs(held):
                    trip[_LARGEST] = trip[_ENTERED] = size * rest
                    trip[_PAID], trip[_FEES], trip[_OPENED] = notional * rest, fee * rest, time_ms[k]
            trip[_HELD] = held + change
            continue
        if held == 0.0:
            trip[:] = 0.0
            trip[_OPENED] = time_ms[k]
        trip[_HELD] = held + change
        trip[_ENTERED] += size
        trip[_PAID] += notional
        trip[_FEES] += fee
        trip[_LARGEST] = max(trip[_LARGEST], size * (abs(held + change) / abs(change)))
    return trips[:count]
