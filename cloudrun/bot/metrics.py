"""The book as Prometheus metrics, read from the ledger when they are asked for: no process keeps counters that a restart loses.

Money is in quote currency, times in seconds. `ost_ledger_up` is 0, and the rest is absent, while the ledger does not answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from shared.domain.errors import LedgerError
from shared.domain.interval import DAY_MS
from shared.domain.records import Heartbeat
from shared.ports import Clock, Ledger
from shared.trading.health import TraderState

MOST_EVENTS = 1000
_COUNTERS = ("steps", "reconnects")


class BookCollector(Collector):
    """The metrics of one book."""

    def __init__(self, ledger: Ledger, book: str, clock: Clock) -> None:
        self._ledger = ledger
        self._book = book
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Every metric, as of now."""
        up = GaugeMetricFamily("ost_ledger_up", "Whether the ledger answers", labels=["book"])
        try:
            found = [*self._account(), *self._orders(), *self._processes()]
        except LedgerError:
            found = []
        up.add_metric([self._book], 1.0 if found else 0.0)
        return [up, *found]

    def _account(self) -> list[Metric]:
        point = self._ledger.last_equity(self._book)
        held = GaugeMetricFamily("ost_position", "Signed position, base units", labels=["book", "symbol"])
        positions = self._ledger.positions(self._book)
        for symbol, position in positions.items():
            held.add_metric([self._book, symbol], float(position.quantity))
        if point is None:
            return [held]
        values = {
            "ost_equity": ("Equity at the last bar, quote currency", float(point.equity)),
            "ost_drawdown": ("Loss from the peak as a fraction", point.drawdown),
            "ost_exposure": (
                "Sum of |notional|, quote currency",
                float(point.exposure) if any(held.quantity for held in positions.values()) else 0.0,
            ),
            "ost_last_bar_timestamp_seconds": ("Close of the last bar that was begun", point.time_ms / 1000),
        }
        return [held, *(self._gauge(name, text, value) for name, (text, value) in values.items())]

    def _orders(self) -> list[Metric]:
        now_ms = self._clock.now_ms()
        unfinished = self._ledger.orders(self._book, unfinished=True)
        by_state = GaugeMetricFamily("ost_unfinished_orders", "Orders that are not final", labels=["book", "state"])
        for state, count in Counter(order.state.value for order in unfinished).items():
            by_state.add_metric([self._book, state], count)
        halts = GaugeMetricFamily("ost_halts", "Halts in force", labels=["book", "kind"])
        for kind, count in Counter(halt.kind.value for halt in self._ledger.halts(self._book, now_ms)).items():
            halts.add_metric([self._book, kind], count)
        events = len(self._ledger.unpublished_events(MOST_EVENTS))
        waiting = self._gauge("ost_outbox_waiting", f"Events not yet published, up to {MOST_EVENTS}", events)
        aside = self._gauge(
            "ost_outbox_set_aside",
            "Events that the bus refused again and again",
            len(self._ledger.set_aside_events(self._book)),
        )
        return [by_state, halts, waiting, aside, *self._answers()]

    def _answers(self) -> list[Metric]:
        """How long the venue took to answer the orders of the last day that is stored."""
        newest = self._ledger.arrivals(self._book, limit=1)
        arrivals = self._ledger.arrivals(self._book, newest[0].sent_ms - DAY_MS + 1) if newest else []
        waits = [(arrival.answered_ms - arrival.sent_ms) / 1000 for arrival in arrivals if arrival.answered_ms]
        summary = SummaryMetricFamily("ost_order_answer_seconds", "From sending an order to its answer", labels=["book"])
        summary.add_metric([self._book], len(waits), float(np.sum(waits)))
        if not waits:
            return [summary]
        slow = GaugeMetricFamily("ost_order_answer_quantile_seconds", "Quantiles of the same", labels=["book", "quantile"])
        for share in (0.5, 0.99):
            slow.add_metric([self._book, str(share)], float(np.quantile(waits, share)))
        return [summary, slow]

    def _processes(self) -> list[Metric]:
        labels = ["book", "role", "holder"]
        age = GaugeMetricFamily("ost_heartbeat_age_seconds", "Since the process was last heard", labels=labels)
        state = GaugeMetricFamily("ost_trader_state", "1 for the state of the process", labels=[*labels, "state"])
        bare = GaugeMetricFamily("ost_unprotected_positions", "Positions without their full stop", labels=labels)
        counters = {name: CounterMetricFamily(f"ost_{name}", f"{name} of the process", labels=labels) for name in _COUNTERS}
        now_ms = self._clock.now_ms()
        for beat in self._ledger.heartbeats(self._book):
            if now_ms - beat.time_ms > DAY_MS:
                continue
            named = [self._book, beat.role, beat.holder]
            age.add_metric(named, (now_ms - beat.time_ms) / 1000)
            bare.add_metric(named, float(len(beat.state.get("bare") or ())))
            for known in TraderState:
                state.add_metric([*named, known.value], 1.0 if _state(beat) == known.value else 0.0)
            for name, counter in counters.items():
                counter.add_metric(named, float(beat.state.get(name) or 0))
        return [age, state, bare, *counters.values()]

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        metric = GaugeMetricFamily(name, text, labels=["book"])
        metric.add_metric([self._book], value)
        return metric


def _state(beat: Heartbeat) -> str:
    return str(beat.state.get("state", ""))
