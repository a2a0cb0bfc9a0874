"""How the signal commands report: JSON-able rows and the tables that people read."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.cli import output
from shared.domain.interval import DAY_MS, MINUTE_MS, format_ms
from shared.domain.regime import REGIMES
from shared.regime.drift import drift_path, stress_level
from shared.trading.recommendation import recommend

if TYPE_CHECKING:
    from shared.domain.asset import Asset
    from shared.domain.decision import Decision
    from shared.domain.interval import Interval
    from shared.regime.params import RegimeParams
    from shared.trading.params import SystemParams
    from shared.trading.signals import RegimeHistory

Row = dict[str, Any]


def classified_row(history: RegimeHistory, params: SystemParams, now_ms: int) -> Row:
    """What `ost classify` says about one asset; `problem` is empty where all is well."""
    close_ms = int(history.window.candles.close_time[-1])
    row = _empty(str(history.window.asset)) | {"bar_close_ms": close_ms, "age_ms": now_ms - close_ms}
    last = history.refits[-1]
    stale = last.model is None or last.model.valid_from_ms != last.instant_ms
    damaged = next((refit.damaged for refit in history.refits if refit.damaged), "")
    row["problem"] = f"a stored model cannot be used and was fitted anew: {damaged}" if damaged else ""
    if stale:
        row["problem"] = f"no model of {format_ms(last.instant_ms)}: {last.reason}"
    if history.model is None or not history.states:
        return row
    if last.model is not None and stale:
        row["problem"] += f"; the model of {format_ms(last.model.valid_from_ms)} stays in use"
    state = history.states[-1]
    return row | {
        "probabilities": state.probabilities.as_dict(),
        "regime": state.regime.value,
        "model_id": state.model_id,
        "model_age_ms": close_ms - history.model.valid_from_ms,
        "models_fitted": sum(refit.fitted for refit in history.refits),
        **_drift(history, params.regime),
        "stress_bars": state.stress_bars,
        "stress": stress_level(state.stress_bars, params.regime).value,
    }


def _drift(history: RegimeHistory, params: RegimeParams) -> Row:
    """Distance of the newest probabilities from their recent mean, and CUSUM alarms of the shown bars."""
    path = drift_path(history.probabilities, params)
    newest = path.drift[-1]
    alarms = {
        regime.value: int(path.alarm_up[:, column].sum() + path.alarm_down[:, column].sum())
        for column, regime in enumerate(REGIMES)
    }
    known = bool(np.isfinite(newest).all())
    drift = dict(zip((regime.value for regime in REGIMES), newest.tolist(), strict=True)) if known else None
    now = [regime.value for column, regime in enumerate(REGIMES) if path.alarm_up[-1, column] or path.alarm_down[-1, column]]
    return {"drift": drift, "drift_alarms": alarms, "drift_alarm_now": now}


def failed_row(asset: Asset, error: Exception) -> Row:
    """The row of an asset that could not be classified."""
    return _empty(str(asset)) | {"problem": str(error)}


def _empty(asset: str) -> Row:
    nothing = ("bar_close_ms", "age_ms", "probabilities", "regime", "model_id", "model_age_ms", "models_fitted")
    return {"asset": asset, **dict.fromkeys((*nothing, "drift", "drift_alarms", "drift_alarm_now", "stress_bars", "stress"))}


def classified_table(rows: list[Row], interval: Interval) -> Any:
    """The rows of `ost classify` for people; assets without a model are named on standard error."""
    from rich.console import Group

    columns = ("asset", "calm", "balanced", "stress", "held", "drift", "stress bars")
    known = [row for row in rows if row["regime"]]
    table = output.table(
        columns,
        [_classified_cells(row) for row in known],
        title=f"Regimes, {interval} bars",
        right=("calm", "balanced", "stress", "stress bars"),
    )
    models = [
        f"{_symbol(row)}: bar closed at {format_ms(row['bar_close_ms'])} UTC, "
        f"model {row['model_id']} is {row['model_age_ms'] / DAY_MS:.1f} d old"
        for row in known
    ]
    return Group(table, *models)


def _classified_cells(row: Row) -> tuple[str, ...]:
    drift = "-"
    if row["drift"]:
        regime = max(row["drift"], key=lambda name: abs(row["drift"][name]))
        drift = f"{row['drift'][regime]:+.2f} {regime}{' ALARM' if row['drift_alarm_now'] else ''}"
    return (
        _symbol(row),
        *(f"{row['probabilities'][regime.value]:.1%}" for regime in REGIMES),
        row["regime"],
        drift,
        str(row["stress_bars"]) + ("" if row["stress"] == "none" else f" {row['stress'].upper()}"),
    )


def _symbol(row: Row) -> str:
    return str(row["asset"]).partition(":")[2]


def recommendation_row(decision: Decision, now_ms: int) -> Row:
    """What `ost recommend` says about one asset: the recommendation and what is behind it."""
    made = recommend(decision)
    objections = [f"{approval.rule}: {approval.detail}" for approval in decision.approvals if not approval.passed]
    return made.as_dict() | {
        "score": decision.score,
        "probabilities": decision.probabilities.as_dict(),
        "votes": [asdict(vote) for vote in decision.votes],
        "alphas": dict(decision.alphas),
        "objections": objections,
        "data_hash": decision.data_hash,
        "age_ms": now_ms - decision.bar_close_ms,
        "valid": made.is_valid(now_ms),
    }


def signal_row(decision: Decision, new: bool, now_ms: int) -> Row:
    """What `ost regenerate-signal` says about one asset."""
    names = ("decision_id", "asset", "side", "target_fraction", "score", "regime", "price", "stop_price", "data_hash")
    row = recommendation_row(decision, now_ms)
    kept = {name: row[name] for name in names}
    return kept | {"bar_close_ms": decision.bar_close_ms, "age_ms": row["age_ms"], "valid": row["valid"], "new": new}


def signal_table(rows: list[Row], capital: str) -> Any:
    """The rows of `ost regenerate-signal` for people."""
    from rich.console import Group

    columns = ("asset", "signal", "target", "score", "regime", "price", "stop", "")
    cells = [
        (
            _symbol(row),
            row["side"],
            f"{row['target_fraction']:+.3f}",
            f"{row['score']:+.2f}",
            row["regime"],
            f"{row['price']:g}",
            "-" if row["stop_price"] is None else f"{row['stop_price']:g}",
            "new" if row["new"] else "unchanged",
        )
        for row in rows
    ]
    ages = [
        f"{_symbol(row)}: decision {row['decision_id']}, {_age(row['bar_close_ms'], row['age_ms'], row['valid'])}"
        for row in rows
    ]
    return Group(output.table(columns, cells, right=("target", "score", "price", "stop")), *ages, _basis(capital))


def recommendation_view(decisions: list[Decision], now_ms: int, capital: str) -> Any:
    """Recommendations with their reasons for people."""
    from rich.console import Group

    parts: list[Any] = []
    for decision in decisions:
        row = recommendation_row(decision, now_ms)
        size = f" {abs(row['target_fraction']):.1%} of equity" if row["target_fraction"] else ""
        headline = f"{row['asset']}: {row['side']}{size} at {row['price']:g}"
        parts += [output.table(("", headline), _recommended_cells(decision, row)), ""]
    return Group(*parts, _basis(capital))


def _recommended_cells(decision: Decision, row: Row) -> list[tuple[str, str]]:
    chances = ", ".join(f"{name} {value:.0%}" for name, value in row["probabilities"].items())
    votes = [
        f"{vote.agent}: {vote.score:+.2f}, weight {vote.weight:.0%} - {vote.reason}"
        if vote.active
        else f"{vote.agent}: not active - {vote.reason}"
        for vote in decision.votes
    ]
    stop = row["stop_price"]
    return [
        ("data", _age(decision.bar_close_ms, row["age_ms"], row["valid"])),
        ("consensus", f"{decision.score:+.2f}, confidence {row['confidence']:.0%} (agreement of the agents)"),
        ("regime", f"{decision.regime} ({chances})"),
        ("stop", "-" if stop is None else f"{stop:g} ({stop / decision.price - 1:+.1%} from the price)"),
        ("why", "\n".join(decision.reasons)),
        ("risk control", "\n".join(row["objections"]) or "no objection"),
        ("agents", "\n".join(votes)),
        ("alphas", ", ".join(f"{name} {value:+.2f}" for name, value in decision.alphas.items())),
        ("more", f"ost decisions show {decision.id}"),
    ]


def _age(bar_close_ms: int, age_ms: int, valid: bool) -> str:
    """How old the bar is, and whether a newer one has closed since."""
    hours, minutes = divmod(max(0, age_ms) // MINUTE_MS, 60)
    age = f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{hours} h {minutes} min"
    state = "the newest" if valid else "OUT OF DATE: newer bars have closed; fetch them with ost backfill"
    return f"bar closed at {format_ms(bar_close_ms)} UTC, {age} ago, {state}"


def _basis(capital: str) -> str:
    return (
        f"For a flat account of {float(capital):,.0f} without halts. Stops and sizes are not rounded to the venue's grid. "
        "Nothing was ordered."
    )
