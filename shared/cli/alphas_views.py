"""How `ost alphas report` shows what it found: tables for people, one document for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.calibration.attribution import Attribution
    from shared.cli.research_market import ResearchMarkets


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


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
