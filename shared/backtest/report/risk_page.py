"""The risk numbers of a book as one self-contained page: `render_risk(assessment)`."""

from __future__ import annotations

from html import escape

from shared.backtest.report.breakdown_tables import chance_table
from shared.backtest.report.figure import GENERATED
from shared.backtest.report.page import GENERATED_BANNER, document, figure_box
from shared.backtest.report.return_figures import fan_figure
from shared.backtest.report.tables import html_table
from shared.domain.interval import format_ms
from shared.risk.assessment import Assessment
from shared.risk.stress import StressResult


def render_risk(found: Assessment) -> str:
    """A complete HTML page (about 5 MB, most of it plotly.js)."""
    now = found.book
    title = escape(f"Risk of {now.name}{f' · {GENERATED}' if now.generated else ''}")
    held = ", ".join(f"{symbol} {fraction:+.0%}" for symbol, fraction in now.positions.items()) or "nothing"
    days = f"{len(now.daily_returns)} days on record"
    lead = f"{format_ms(now.time_ms)} UTC · equity {now.equity:,.2f} · holds {held} of equity · {days}"
    parts = [f'<h1>{title}</h1><p class="lead">{escape(lead)}</p>', GENERATED_BANNER if now.generated else ""]
    if found.value_at_risk:
        columns = ("confidence", "historical", "Gaussian", "Cornish-Fisher", "CVaR", "historical, money")
        rows = [
            (
                f"{one.level:.0%}",
                f"{one.historical:.2%}",
                f"{one.gaussian:.2%}",
                "historical" if one.cornish_fisher_note else f"{one.cornish_fisher:.2%}",
                f"{one.cvar:.2%}",
                f"{one.historical * now.equity:,.0f}",
            )
            for one in found.value_at_risk
        ]
        parts += ["<h2>Loss of a day</h2>", html_table("Value at risk", columns, rows, frozenset(columns[1:]))]
    if (chance := found.monte_carlo) is not None:
        about = (
            f"{len(chance.drawdowns):,} futures made of blocks of the {chance.days:,} past days, "
            f"{chance.mean_block_days:g} days long on average"
        )
        fan = fan_figure(chance, now.equity, now.time_ms)
        parts += ["<h2>What chance could do</h2>", figure_box("The next days, simulated", about, fan, generated=now.generated)]
        parts.append(chance_table(chance, found.drawdown_depths))
    if found.shocks:
        parts.append("<h2>Stress</h2><p>Positions are held unchanged: neither the strategy nor its stops react.</p>")
        parts += [_stress("Replayed", found.windows, now.equity), _stress("Shocks", found.shocks, now.equity)]
    kelly = f"quarter Kelly exposure {found.kelly:.2f}, sizing cap {found.kelly_cap:.2f}, from {len(now.unit_returns):,} bars"
    notes = "".join(f"<li>{escape(note)}</li>" for note in (kelly, *found.notes))
    return document(title, "\n".join([*parts, f"<h2>Notes</h2><ul>{notes}</ul>"]))


def _stress(caption: str, results: tuple[StressResult, ...], equity: float) -> str:
    rows = [
        (
            one.name,
            one.about + (f" ({', '.join(one.proxied)}: by beta)" if one.proxied else ""),
            f"{one.worst:+.1%}",
            f"{one.end:+.1%}",
            f"{one.worst * equity:+,.0f}",
        )
        for one in results
    ]
    columns = ("scenario", "what", "worst", "end", "worst, money")
    return html_table(caption, columns, rows, frozenset(columns[2:]))
