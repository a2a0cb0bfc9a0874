"""How `ost alphas` shows what it found: tables for people, one document for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.backtest.market import AssetMarket
    from shared.calibration.attribution import Attribution
    from shared.cli.research_market import ResearchMarkets
    from shared.domain.research import Pattern
    from shared.strategy.ml_model import ModelCard

NEWEST = 12
"""Models and patterns that a table shows; `--json` has all"""


def document(result: Attribution, found: ResearchMarkets) -> dict[str, Any]:
    """The report as JSON-able values."""
    from dataclasses import asdict

    names = [one.name for one in result.information]
    return {
        "market": found.label,
        "generated": found.generated,
        "data_hash": found.data_hash,
        "start_ms": result.start_ms,
        "end_ms": result.end_ms,
        "assets": result.assets,
        "sharpe": result.sharpe,
        "scores": [
            {**asdict(one), "kind": result.kinds[one.name], "p_holm": result.p_holm.get(one.name)} for one in result.information
        ],
        "correlations": {
            name: dict(zip(names, row, strict=True)) for name, row in zip(names, result.correlations, strict=True)
        },
        "ablations": [{**asdict(one), "verdict": one.verdict} for one in result.ablations],
        "alone": [asdict(one) for one in result.alone],
        "sentences": result.sentences,
        "problems": [*found.problems, *result.problems],
    }


def view(result: Attribution) -> Any:
    """The report as tables and sentences."""
    from rich.console import Group

    from shared.calibration.attribution import HORIZONS
    from shared.calibration.attribution_page import piece_row, score_row
    from shared.cli import output

    numbers = [*(f"IC {horizon}" for horizon in HORIZONS), "t", "p (Holm)", "hit", "speaks", "turnover"]
    parts: list[Any] = [
        output.table(
            ("score", "kind", *numbers),
            [score_row(result, place) for place in range(len(result.information))],
            title="What each score knows (rank correlation with the return over the next bars)",
            right=numbers,
        )
    ]
    if result.ablations:
        numbers = ["with", "without", "difference", "p helps (Holm)", "p hurts (Holm)", "exposure", "fees"]
        parts.append(
            output.table(
                ("piece", *numbers, "verdict"),
                [piece_row(result, place) for place in range(len(result.ablations))],
                title="Sharpe ratio of the system with and without each piece",
                right=numbers,
            )
        )
    if result.alone:
        rows = [
            (one.name, _two(one.sharpe), f"{one.total_return:+.1%}", f"{one.exposure:.0%}", f"{one.fees:.1%}")
            for one in result.alone
        ]
        title = "Plug-ins traded alone, through the same policy and costs"
        numbers = ["Sharpe", "return", "exposure", "fees"]
        parts.append(output.table(("plug-in", *numbers), rows, title=title, right=numbers))
    return Group(*parts, *result.sentences)


def trained(cards: Sequence[tuple[AssetMarket, ModelCard, str]]) -> tuple[list[dict[str, Any]], Any]:
    """Stored models with their objects' names: JSON-able rows and a table of the newest."""
    from shared.cli import output
    from shared.domain.interval import format_ms

    rows = [
        {
            "asset": market.asset.symbol,
            "id": card.id,
            "valid_from_ms": card.valid_from_ms,
            "expires_ms": card.expires_ms,
            "samples": card.samples,
            "up_share": card.up_share,
            "train_auc": card.train_auc,
            "object": name,
        }
        for market, card, name in cards
    ]
    shown = [
        (
            market.asset.symbol,
            card.id,
            format_ms(card.valid_from_ms),
            format_ms(card.expires_ms),
            card.samples,
            f"{card.up_share:.0%}",
            f"{card.train_auc:.3f}",
        )
        for market, card, _ in cards[-NEWEST:]
    ]
    title = f"{len(rows)} models stored (newest {len(shown)} shown); in training every model looks better than it is"
    return rows, output.table(
        ("asset", "model", "valid from", "expires", "samples", "up", "AUC in training"), shown, title=title
    )


def kept_patterns(rows: Sequence[Mapping[str, Any]], kept: Sequence[Pattern]) -> tuple[dict[str, Any], Any]:
    """What was recognised (`rows`, by asset) and what is kept of the period: a JSON-able document and tables."""
    from rich.console import Group

    from shared.cli import output
    from shared.domain.interval import format_ms

    columns = list(dict.fromkeys(name for row in rows for name in row))
    counted = output.table(columns, [[row.get(name, 0) for name in columns] for row in rows], right=columns[1:])
    patterns = [
        {
            "id": one.id,
            "asset": one.asset.symbol,
            "kind": one.kind,
            "start_ms": one.start_ms,
            "known_ms": one.end_ms,
            "strength": one.strength,
            "detail": dict(one.detail),
        }
        for one in kept
    ]
    shown = [
        (one.asset.symbol, one.kind, format_ms(one.start_ms), format_ms(one.end_ms), f"{one.strength:.2f}")
        for one in sorted(kept, key=lambda one: one.end_ms)[-NEWEST:]
    ]
    title = f"{len(kept)} patterns kept of the period (newest {len(shown)} shown)"
    listed = output.table(("asset", "pattern", "began", "known", "strength"), shown, title=title, right=("strength",))
    return {"assets": list(rows), "patterns": patterns}, Group(counted, listed)


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
