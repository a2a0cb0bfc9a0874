"""The register: the fields of reference document 4, and a short life of a book computed by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from shared.domain.asset import Asset
from shared.domain.decision import Action, Approval, Decision
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderRecord, OrderState, Side
from shared.domain.records import EmergencyRecord, EquityPoint, HaltKind, Trade
from shared.domain.regime import Regime, RegimeProbabilities
from shared.trading.register import EMERGENCY_FIELDS, REGISTER_FIELDS, BookHistory, emergency_rows, register_rows

START_MS = parse_date_ms("2025-07-01")
REFERENCE = Path(__file__).parents[4] / "shared" / "seeds" / "4_live_trading_plan.md"
HEADER = (
    "timestamp,paso,episodio,action,precio,recompensa,terminated,truncated,status,balance,equity,max_drawdown,operaciones_total,"
    "pnl_total,posicion_abierta,trade_id_activo,tipo_posicion_activa,precio_entrada_activa,cantidad_activa,velas_activa,"
    "pnl_no_realizado,tipo_accion,operacion,resultado,error,trade_id,tipo_posicion,precio_entrada,precio_salida,cantidad,"
    "cantidad_adicional,cantidad_total,cantidad_restante,cantidad_reducida,porcentaje_inversion,comision,slippage,margen,"
    "margen_liberado,pnl_realizado,pnl_parcial,velas_abiertas"
)


def decision(bar: int, price: float, score: float, *, halted: bool = False) -> Decision:
    return Decision(
        id=f"d-{bar}",
        book="b",
        asset=Asset("binanceusdm", "BTCUSDT"),
        interval=Interval.H1,
        bar_close_ms=START_MS + bar * HOUR_MS,
        params_version="p-1",
        code_version="0",
        data_hash="c-1",
        window_start_ms=START_MS,
        regime_model_id="m-1",
        probabilities=RegimeProbabilities(0.7, 0.2, 0.1),
        regime=Regime.CALM,
        alphas={},
        votes=(),
        score=score,
        price=price,
        target_fraction=0.1,
        approved_fraction=0.1,
        action=Action.OPEN,
        approvals=(Approval("no halt", not halted, ""),),
    )


def order(bar: int, leg: str, quantity: str, state: OrderState = OrderState.FILLED, reason: str = "") -> OrderRecord:
    size, stop = Decimal(quantity), leg == "stop"
    intent = OrderIntent(
        client_id=f"o-{bar}-{leg}",
        book="b",
        decision_id=f"d-{bar}",
        leg=leg,
        symbol="BTCUSDT",
        side=Side.of(size),
        kind=OrderKind.STOP if stop else OrderKind.MARKET,
        quantity=abs(size),
        created_ms=START_MS + bar * HOUR_MS,
        stop_price=Decimal(90) if stop else None,
        reduce_only=stop,
    )
    return OrderRecord(intent, state, abs(size) if state is OrderState.FILLED else Decimal(0), reason=reason)


def fill(record: OrderRecord, price: str, fee: str, after_ms: int = 0) -> Fill:
    intent = record.intent
    return Fill(
        "BTCUSDT",
        intent.client_id,
        intent.client_id,
        "7",
        intent.side,
        intent.quantity,
        Decimal(price),
        Decimal(fee),
        intent.created_ms + after_ms,
    )


def point(bar: int, wallet: str, equity: str, peak: str) -> EquityPoint:
    return EquityPoint(START_MS + bar * HOUR_MS, Decimal(equity), Decimal(wallet), Decimal(peak))


OPEN, MORE, STOP = order(0, "market", "2"), order(1, "market", "1"), order(1, "stop", "-3")
SHORT, REFUSED = order(3, "market", "-1"), order(4, "market", "-1", OrderState.REJECTED, "no margin")
EMERGENCY = EmergencyRecord(
    "em-1",
    "b",
    HaltKind.MANUAL,
    "by ana: enough",
    START_MS + 4 * HOUR_MS - 5,
    START_MS + 4 * HOUR_MS,
    Decimal("990"),
    Decimal("991"),
    ("BTCUSDT", "ETHUSDT"),
    ("one", "two"),
)
BARS = ((0, 100, 0.5), (1, 110, 0.6), (2, 95, 0.1), (3, 90, -0.5), (4, 91, -0.6))
HISTORY = BookHistory(
    interval=Interval.H1,
    decisions=[decision(bar, price, score) for bar, price, score in BARS],
    orders=[OPEN, MORE, STOP, SHORT, REFUSED],
    fills=[
        fill(OPEN, "100.1", "0.1"),
        fill(MORE, "110", "0.05"),
        fill(STOP, "100", "0.15", 60_000),
        fill(SHORT, "90", "0.04"),
    ],
    equity=[
        point(0, "1000", "1000", "1000"),
        point(1, "999.9", "1019.7", "1019.7"),
        point(2, "989.5", "989.5", "1019.7"),
        point(3, "989.5", "989.5", "1019.7"),
        point(4, "989.46", "988.46", "1019.7"),
    ],
    trades=[
        Trade("t-1", "b", "BTCUSDT", "long", Decimal(3), Decimal("103.4"), Decimal(100), START_MS, START_MS + HOUR_MS + 60_000,
              Decimal("-10.5"), Decimal("0.3"), "d-0", None)
    ],
    emergencies=[EMERGENCY],
    is_finished=True,
)  # fmt: skip


def test_the_header_is_that_of_the_reference() -> None:
    assert ",".join(REGISTER_FIELDS) == HEADER
    assert ",".join(EMERGENCY_FIELDS) == "timestamp,razon,balance_final,equity_final,posiciones_cerradas,detalles"


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference documents are not on this computer")
def test_every_field_of_the_reference_document_is_there_in_its_order() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    section = text[text.index("Campos por paso:") : text.index("### Archivo: `emergencias")]
    named = [name.strip() for line in section.splitlines() if line.startswith("- ") for name in line[2:].split(",")]
    assert tuple(named) == REGISTER_FIELDS


def test_a_step_by_hand() -> None:
    rows = register_rows(HISTORY, "BTCUSDT", 4)
    assert [row["operacion"] for row in rows] == ["abrir", "aumentar", "cerrar", "abrir", "mantener"]
    assert rows[1] == {
        "timestamp": "2025-07-01 01:00",
        "paso": 2,
        "episodio": 1,
        "action": 0.6,
        "precio": 110,
        "recompensa": pytest.approx(0.0197),
        "terminated": False,
        "truncated": False,
        "status": "running",
        "balance": 999.9,
        "equity": 1019.7,
        "max_drawdown": 0.0,
        "operaciones_total": 0,
        "pnl_total": 0.0,
        "posicion_abierta": True,
        "trade_id_activo": "d-0",
        "tipo_posicion_activa": "LONG",
        "precio_entrada_activa": pytest.approx(103.4),  # (2 x 100.1 + 110) / 3
        "cantidad_activa": 3.0,
        "velas_activa": 1,
        "pnl_no_realizado": pytest.approx(19.8),
        "tipo_accion": "LONG",
        "operacion": "aumentar",
        "resultado": "ejecutada",
        "error": None,
        "trade_id": "d-0",
        "tipo_posicion": "LONG",
        "precio_entrada": pytest.approx(103.4),
        "precio_salida": None,
        "cantidad": 1.0,
        "cantidad_adicional": 1.0,
        "cantidad_total": 3.0,
        "cantidad_restante": None,
        "cantidad_reducida": 0.0,
        "porcentaje_inversion": pytest.approx(330 / 1019.7),
        "comision": 0.05,
        "slippage": 0.0,
        "margen": pytest.approx(310.2 / 4),
        "margen_liberado": 0.0,
        "pnl_realizado": 0.0,
        "pnl_parcial": 0.0,
        "velas_abiertas": None,
    }


def test_a_stop_between_two_bars_shows_in_the_later_row() -> None:
    row = register_rows(HISTORY, "BTCUSDT", 4)[2]
    assert (row["resultado"], row["tipo_accion"], row["tipo_posicion"]) == ("stop", "SHORT", "LONG")
    assert (row["precio_salida"], row["cantidad_reducida"], row["cantidad_restante"]) == (100.0, 3.0, 0.0)
    assert row["pnl_realizado"] == pytest.approx(-10.2)
    assert row["margen_liberado"] == pytest.approx(310.2 / 4)
    assert (row["velas_abiertas"], row["posicion_abierta"], row["velas_activa"]) == (2, False, 0)
    assert (row["operaciones_total"], row["pnl_total"]) == (1, -10.5)
    assert row["max_drawdown"] == pytest.approx(1 - 989.5 / 1019.7)


def test_an_exit_between_two_bars_shows_in_the_later_row() -> None:
    entry, leaving = order(0, "market", "1"), order(0, "emergency-1", "-1")
    fills = [fill(entry, "100", "0.1", 1_000), fill(leaving, "95", "0.1", 60_000)]
    history = replace(HISTORY, decisions=[decision(0, 100, 0.5), decision(1, 96, 0.0)], orders=[entry, leaving], fills=fills)
    first, second = register_rows(history, "BTCUSDT", 4)
    assert (first["operacion"], first["resultado"], first["posicion_abierta"]) == ("abrir", "ejecutada", True)
    assert (second["operacion"], second["resultado"], second["precio_salida"]) == ("cerrar", "stop", 95.0)


def test_a_refused_order_an_emergency_and_the_end_of_a_run() -> None:
    row = register_rows(HISTORY, "BTCUSDT", 4)[4]
    assert (row["operacion"], row["resultado"], row["error"]) == ("mantener", "rechazada", "no margin")
    assert (row["terminated"], row["truncated"]) == (True, True)
    assert (row["tipo_posicion_activa"], row["cantidad_activa"], row["pnl_no_realizado"]) == ("SHORT", 1.0, -1.0)
    halted = replace(HISTORY, decisions=[decision(0, 100, 0.5, halted=True)], orders=[], fills=[])
    assert register_rows(halted, "BTCUSDT", 4)[0]["status"] == "halted"


def test_a_range_keeps_the_numbering_of_the_whole_book() -> None:
    rows = register_rows(HISTORY, "BTCUSDT", 4, START_MS + HOUR_MS, START_MS + 3 * HOUR_MS)
    assert [row["paso"] for row in rows] == [2, 3]
    assert rows == register_rows(HISTORY, "BTCUSDT", 4)[1:3]


def test_emergencies() -> None:
    assert emergency_rows(HISTORY.emergencies) == [
        {
            "timestamp": "2025-07-01 03:59:59",
            "razon": "manual: by ana: enough",
            "balance_final": 990.0,
            "equity_final": 991.0,
            "posiciones_cerradas": "BTCUSDT ETHUSDT",
            "detalles": "one | two",
        }
    ]
    assert emergency_rows(HISTORY.emergencies, START_MS + 4 * HOUR_MS) == []
