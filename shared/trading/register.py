"""The register of a book: one row per decision with the fields of reference document 4, rebuilt from the ledger.

The names are those of the reference, so that a live register can be read beside one of the training environment; docs/risk.md
says what each means here. A row shows the account at the close of its bar and what the orders of the step did. What exists only
in training has a fixed meaning: `episodio` is 1, `recompensa` the change of equity since the step before, `terminated` an
emergency since then, `truncated` the last step of a finished run. Quote currency and base units; what does not apply is `None`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

from shared.domain.decision import Decision
from shared.domain.interval import Interval, format_ms
from shared.domain.orders import Fill, OrderRecord
from shared.domain.records import BookRecord, EmergencyRecord, EquityPoint, Trade
from shared.ports import Ledger
from shared.trading.register_steps import account_after, operation, steps

ENVIRONMENT_FIELDS = ("timestamp", "paso", "episodio", "action", "precio", "recompensa", "terminated", "truncated", "status")
PORTFOLIO_FIELDS = (
    "balance",
    "equity",
    "max_drawdown",
    "operaciones_total",
    "pnl_total",
    "posicion_abierta",
    "trade_id_activo",
    "tipo_posicion_activa",
    "precio_entrada_activa",
    "cantidad_activa",
    "velas_activa",
    "pnl_no_realizado",
)
OPERATION_FIELDS = (
    "tipo_accion",
    "operacion",
    "resultado",
    "error",
    "trade_id",
    "tipo_posicion",
    "precio_entrada",
    "precio_salida",
    "cantidad",
    "cantidad_adicional",
    "cantidad_total",
    "cantidad_restante",
    "cantidad_reducida",
    "porcentaje_inversion",
    "comision",
    "slippage",
    "margen",
    "margen_liberado",
    "pnl_realizado",
    "pnl_parcial",
    "velas_abiertas",
)
REGISTER_FIELDS = (*ENVIRONMENT_FIELDS, *PORTFOLIO_FIELDS, *OPERATION_FIELDS)
EMERGENCY_FIELDS = ("timestamp", "razon", "balance_final", "equity_final", "posiciones_cerradas", "detalles")


@dataclass(frozen=True, eq=False)
class BookHistory:
    """Everything that the register of a book is made from, oldest first each."""

    interval: Interval
    decisions: Sequence[Decision]
    orders: Sequence[OrderRecord]
    fills: Sequence[Fill]
    equity: Sequence[EquityPoint]
    trades: Sequence[Trade]
    emergencies: Sequence[EmergencyRecord]
    is_finished: bool

    @classmethod
    def of(cls, ledger: Ledger, record: BookRecord, interval: Interval) -> BookHistory:
        """A book as the ledger has it. Raises `LedgerUnavailable`."""
        book = record.book
        return cls(
            interval=interval,
            decisions=ledger.decisions(book),
            orders=ledger.orders(book),
            fills=ledger.fills(book),
            equity=ledger.equity(book),
            trades=ledger.trades(book),
            emergencies=ledger.emergencies(book),
            is_finished=record.finished_ms is not None,
        )

    @property
    def symbols(self) -> list[str]:
        """Symbols that were decided, in the order of their first decision."""
        return list(dict.fromkeys(decision.asset.symbol for decision in self.decisions))


def register_rows(
    history: BookHistory, symbol: str, leverage: int, from_ms: int = 0, to_ms: int = 2**62
) -> list[dict[str, Any]]:
    """The register of one symbol: rows of the bars that close in [from_ms, to_ms), with `REGISTER_FIELDS`.

    Numbers that accumulate (`paso`, `max_drawdown`, totals) count from the beginning of the book. `leverage` is that of the
    account: margins are notional / leverage.
    """
    rows = []
    account = _Account(history)
    decisions = [decision for decision in history.decisions if decision.asset.symbol == symbol]
    fills = [fill for fill in history.fills if fill.symbol == symbol]
    walked = steps(decisions, history.orders, fills, is_finished=history.is_finished)
    for number, step in enumerate(walked, start=1):
        decision = step.decision
        if not from_ms <= decision.bar_close_ms < to_ms:
            continue
        rows.append(
            {
                "timestamp": format_ms(decision.bar_close_ms),
                "paso": number,
                "episodio": 1,
                "action": decision.score,
                "precio": decision.price,
                **account.environment(decision, is_last=step.is_last),
                **account.portfolio(decision.bar_close_ms),
                **account_after(step, history.interval),
                **operation(step, leverage, account.equity_at(decision.bar_close_ms), history.interval),
            }
        )
    return [{name: row[name] for name in REGISTER_FIELDS} for row in rows]


def emergency_rows(emergencies: Sequence[EmergencyRecord], from_ms: int = 0, to_ms: int = 2**62) -> list[dict[str, Any]]:
    """One row per emergency that began in [from_ms, to_ms), with `EMERGENCY_FIELDS`."""
    return [
        {
            "timestamp": format_ms(row.started_ms),
            "razon": f"{row.kind.value}: {row.reason}",
            "balance_final": _number(row.wallet),
            "equity_final": _number(row.equity),
            "posiciones_cerradas": " ".join(row.closed),
            "detalles": " | ".join(row.steps),
        }
        for row in emergencies
        if from_ms <= row.started_ms < to_ms
    ]


class _Account:
    """The account at any bar close."""

    def __init__(self, history: BookHistory) -> None:
        self._points = history.equity
        self._times = [point.time_ms for point in history.equity]
        self._depths = list(accumulate((point.drawdown for point in history.equity), max))
        self._closed_ms = [trade.closed_ms for trade in sorted(history.trades, key=lambda trade: trade.closed_ms)]
        profits = (trade.profit for trade in sorted(history.trades, key=lambda trade: trade.closed_ms))
        self._profits = list(accumulate(profits, initial=Decimal(0)))
        self._emergencies_ms = sorted(row.started_ms for row in history.emergencies)

    def equity_at(self, time_ms: int) -> Decimal | None:
        """Equity at a bar close."""
        place = self._place(time_ms)
        return None if place < 0 else self._points[place].equity

    def environment(self, decision: Decision, *, is_last: bool) -> dict[str, Any]:
        """What the training environment would have said of the step."""
        place = self._place(decision.bar_close_ms)
        reward, since_ms = 0.0, 0
        if place > 0:
            before = self._points[place - 1]
            reward = float(self._points[place].equity / before.equity - 1) if before.equity else 0.0
            since_ms = before.time_ms
        begun = bisect_right(self._emergencies_ms, decision.bar_close_ms) - bisect_right(self._emergencies_ms, since_ms)
        halted = any(approval.rule == "no halt" and not approval.passed for approval in decision.approvals)
        return {
            "recompensa": reward,
            "terminated": begun > 0,
            "truncated": is_last,
            "status": "halted" if halted else "running",
        }

    def portfolio(self, time_ms: int) -> dict[str, Any]:
        """The account as a whole."""
        place = self._place(time_ms)
        point = None if place < 0 else self._points[place]
        closed = bisect_right(self._closed_ms, time_ms)
        return {
            "balance": None if point is None else float(point.wallet),
            "equity": None if point is None else float(point.equity),
            "max_drawdown": None if point is None else self._depths[place],
            "operaciones_total": closed,
            "pnl_total": float(self._profits[closed]),
        }

    def _place(self, time_ms: int) -> int:
        return bisect_right(self._times, time_ms) - 1


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
