"""`ost risk`: value at risk, simulated futures, stress and Kelly of the newest book, or of a backtest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from shared.risk.assessment import Assessment


def risk(
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    backtest: Annotated[
        Path | None, typer.Option(help="Folder that `ost backtest --parquet` or `--csv` wrote, instead of a book.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with candles for stress and correlation (default: the book's own, the lake).")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the fan chart here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """What can be lost: VaR and CVaR of a day, a year of simulated futures, the worst weeks of the past, sudden shocks.

    Example: ost risk --data ../shared/data/ohlcv/binance_usdm --html risk.html

    Example: ost backtest --parquet out && ost risk --backtest out --json
    """
    from shared.cli import output, wiring
    from shared.cli.risk_source import assessed
    from shared.cli.run_report import check_writable, write_report

    if book is not None and backtest is not None:
        raise UsageError("--book and --backtest both say what to look at; give one of them")
    check_writable(html)
    found = assessed(wiring.settings(), book=book, backtest=backtest, data=data)
    if html is not None:
        from shared.backtest.report.risk_page import render_risk

        write_report(html, render_risk(found))
        output.note(f"written: {html}")
    output.emit(found.as_dict(), as_json, view=None if as_json else _view(found))


def _view(found: Assessment) -> Any:
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output

    now = found.book
    held = ", ".join(f"{symbol} {fraction:+.0%} of equity" for symbol, fraction in now.positions.items()) or "nothing"
    kind = "GENERATED market, not real prices; " if now.generated else ""
    parts: list[Any] = [escape(f"{now.name}: {kind}equity {now.equity:,.2f}, holds {held}, {len(now.daily_returns)} days")]
    if found.value_at_risk:
        columns = ("loss of a day", "historical", "Gaussian", "Cornish-Fisher", "CVaR", "in money")
        rows = [
            (
                f"{one.level:.0%}",
                *(f"{loss:.2%}" for loss in (one.historical, one.gaussian)),
                "historical" if one.cornish_fisher_note else f"{one.cornish_fisher:.2%}",
                f"{one.cvar:.2%}",
                f"{one.historical * now.equity:,.0f}",
            )
            for one in found.value_at_risk
        ]
        parts.append(output.table(columns, rows, right=columns[1:]))
    scenario = ("stress, positions unchanged", "", "worst", "end", "in money")
    results = [
        (
            one.name,
            one.about + (f" ({', '.join(one.proxied)}: by beta)" if one.proxied else ""),
            f"{one.worst:+.1%}",
            f"{one.end:+.1%}",
            f"{one.worst * now.equity:+,.0f}",
        )
        for one in (*found.windows, *found.shocks)
    ]
    if results:
        parts.append(output.table(scenario, results, right=scenario[2:]))
    if (chance := found.monte_carlo) is not None:
        quantiles = ", ".join(f"{name} {value:+.0%}" for name, value in chance.final_quantiles().items())
        depths = ", ".join(f"{depth:.0%}: {chance.drawdown_probability(depth):.0%}" for depth in found.drawdown_depths)
        parts.append(f"the next {chance.horizon_days} days, if made of the same days: return at quantiles {quantiles}")
        parts.append(f"probability of a loss {chance.loss_probability():.0%}; of a drawdown over {depths}")
    parts.append(
        f"Kelly: exposure {found.kelly:.2f}, sizing cap {found.kelly_cap:.2f} ({len(now.unit_returns):,} bars on record)"
    )
    return Group(*parts, *(escape(note) for note in found.notes))
