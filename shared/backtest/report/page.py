"""The whole report: one HTML text that needs nothing else. Figures are drawn by plotly.js, which is embedded once.

Everything from outside is escaped: texts by `html.escape`, figures as JSON without `<`, so that no value can end a script.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files

from shared.backtest.report import breakdown_tables, tables
from shared.backtest.report.account_figure import account_figure
from shared.backtest.report.asset_figure import asset_figure
from shared.backtest.report.figure import GENERATED, Figure, marked_generated
from shared.backtest.report.record import AssetRecord, RunRecord
from shared.backtest.report.return_figures import (
    LEAST_DAYS,
    ROLLING_DAYS,
    daily,
    distribution_figure,
    fan_figure,
    rolling_sharpe_figure,
)
from shared.backtest.report.series import MAX_POINTS, merged_bars
from shared.backtest.report.trade_marks import profit_figure
from shared.domain.interval import format_ms

GENERATED_BANNER = (
    '<p class="banner" role="note"><strong>This is a generated market.</strong> The prices are made up by a random '
    "process; nothing here says what the strategy would earn on a real one.</p>"
)
_LISTED = 2000  # round trips in the table: the page stays below 10 MB
_ZOOM = "drag to zoom in, double-click to see all"


def render_report(record: RunRecord) -> str:
    """The report of `record` as a complete HTML page (about 5 MB, most of it plotly.js)."""
    mark = f" · {GENERATED}" if record.generated else ""
    title = escape(f"{record.kind} {record.book}{mark}")
    return document(title, _body(record, title))


def document(title: str, body: str) -> str:
    """A complete page of `body` (HTML) with style and scripts; `title` is escaped already."""
    from plotly.offline import get_plotlyjs

    resources = files("shared.backtest.report")
    style, script = (resources.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n<body><main>{body}</main>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{script}</script></body></html>\n"
    )


def _body(record: RunRecord, title: str) -> str:
    """Everything between the page's header and its scripts."""
    return "\n".join(
        (
            _header(record, title),
            tables.tiles(record),
            _account(record),
            _statistics(record),
            *(_asset(item, record) for item in record.assets),
            _trades(record),
            _details(record),
            _further(record),
        )
    )


def _header(record: RunRecord, title: str) -> str:
    """Title, what was traded, the banner of a generated market, and links."""
    banner = GENERATED_BANNER if record.generated else ""
    names = ", ".join(item.asset.symbol for item in record.assets)
    lead = f"{names} · {record.interval} bars · {format_ms(record.start_ms)} to {format_ms(record.end_ms)} · {record.source}"
    links = (
        [("#account", "Account"), ("#statistics", "Months and risk")] if _has_statistics(record) else [("#account", "Account")]
    )
    links += [(f"#{_anchor(item)}", item.asset.symbol) for item in record.assets]
    links += [("#trades", "Trades"), ("#details", "All numbers"), ("#further", "Look further")]
    nav = "".join(f'<a href="{escape(to)}">{escape(name)}</a>' for to, name in links)
    return f'<h1>{title}</h1><p class="lead">{escape(lead)}</p>{banner}<nav aria-label="Sections">{nav}</nav>'


def _account(record: RunRecord) -> str:
    """Equity, drawdown and exposure."""
    thin = (
        f"; thinned to the extremes of each stretch of {len(record.equity):,} bars" if len(record.equity) > MAX_POINTS else ""
    )
    worst = tables.percent(record.summary.max_drawdown)
    about = f"worst drawdown {worst}; exposure is |notional| / equity; {_ZOOM}{thin}"
    return '<h2 id="account">Account</h2>' + _figure("Equity, drawdown, exposure", about, account_figure(record), record)


def _asset(item: AssetRecord, record: RunRecord) -> str:
    """One asset: price with trades, regimes, position."""
    name = item.asset.symbol
    count = f"{len(item.trades)} round trip{'s' * (len(item.trades) != 1)}"
    merged = merged_bars(item.candles)
    bars = f"; each candle is {merged} bars" if merged > 1 else ""
    regimes = "the ribbon is the regime held, below it the probabilities known at each close; " if any(item.regimes) else ""
    about = f"{count}; {regimes}{_ZOOM}{bars}"
    return f'<h2 id="{escape(_anchor(item))}">{escape(name)}</h2>' + _figure(
        f"{name}: price, trades, regime, position", about, asset_figure(item, record), record
    )


def _has_statistics(record: RunRecord) -> bool:
    return record.summary.days >= LEAST_DAYS


def _statistics(record: RunRecord) -> str:
    """Months, rolling Sharpe, distribution of daily returns, costs, regimes, and what chance could do."""
    costs, regimes = breakdown_tables.cost_table(record), breakdown_tables.regime_row_table(record)
    if not _has_statistics(record):
        return f'<div class="pair">{costs}{regimes}</div>' if costs or regimes else ""
    days = daily(record)
    rolling, spread = rolling_sharpe_figure(days), distribution_figure(days)
    window = min(ROLLING_DAYS, len(days.returns) // 2)
    still = int((days.returns == 0).sum())
    flat = f"; {still} days without a change are not drawn" if still else ""
    parts = [
        '<h2 id="statistics">Months and risk</h2>',
        breakdown_tables.month_table(days),
        '<div class="pair">',
        _figure("Rolling Sharpe", f"annual, of the last {window} days; the band is ± 1 standard error", rolling, record),
        _figure("Daily returns", f"with the value at risk and the mean loss beyond it{flat}", spread, record),
        f'</div><div class="pair">{costs}{regimes}</div>',
    ]
    if record.monte_carlo is not None:
        about = (
            f"{len(record.monte_carlo.drawdowns):,} futures made of blocks of the {record.monte_carlo.days:,} past days, "
            f"{record.monte_carlo.mean_block_days:g} days long on average: what chance alone can do if nothing changes"
        )
        parts += [
            _figure(
                "The next days, simulated",
                about,
                fan_figure(record.monte_carlo, record.summary.end_equity, record.end_ms),
                record,
            ),
            breakdown_tables.chance_table(record.monte_carlo, record.drawdown_depths),
        ]
    return "".join(parts)


def _trades(record: RunRecord) -> str:
    """What the round trips earned: one by one, by asset, by regime."""
    trades = sorted((trade for item in record.assets for trade in item.trades), key=lambda trade: trade.opened_ms)
    title = '<h2 id="trades">Trades</h2>'
    if not trades:
        table = "" if record.costs else tables.asset_table(record)
        return f'{title}<p class="quiet">No round trip was closed in this run.</p>{table}'
    about = "profit after fees of each, and the sum of all"
    return (
        title
        + _figure("P&L of each round trip", about, profit_figure(trades), record)
        + ("" if record.costs else f'<div class="pair">{tables.asset_table(record)}{tables.regime_table(record)}</div>')
        + f'<div class="pair">{tables.best_and_worst(trades)}</div>'
        + f"<details><summary>{_all_or_newest(len(trades))}</summary>"
        + tables.trade_table("Round trips", trades[-_LISTED:])
        + "</details>"
    )


def _all_or_newest(count: int) -> str:
    return f"All {count} round trips" if count <= _LISTED else f"The newest {_LISTED} of {count:,} round trips"


def _figure(caption: str, about: str, figure: Figure, record: RunRecord) -> str:
    return figure_box(caption, about, figure, generated=record.generated)


def figure_box(caption: str, about: str, figure: Figure, *, generated: bool) -> str:
    """A plot with its caption, and its data as JSON that cannot close the script element."""
    drawn = marked_generated(figure) if generated else figure
    data = json.dumps(drawn, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    shown = f"{caption} ({GENERATED})" if generated else caption
    label = escape(f"{shown}: {about}")
    height = int(figure["layout"]["height"])
    return (
        f"<figure><figcaption>{escape(shown)}<small>{escape(about)}</small></figcaption>"
        f'<div class="plot" role="img" aria-label="{label}" style="min-height:{height}px"></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def _details(record: RunRecord) -> str:
    """All numbers, halts, data quality, settings and the log."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in record.quality_notes)
    quality = (
        f"<h3>Problems and findings about the data</h3><ul>{notes}</ul>"
        if notes
        else "<p>No problem, and no finding about the data.</p>"
    )
    log = f"<details><summary>Log</summary>{tables.log_table(record.log)}</details>" if record.log else ""
    return (
        f'<h2 id="details">All numbers</h2><div class="pair">{tables.summary_table(record.summary)}'
        f"<div>{tables.settings_table(record.settings)}{tables.halt_table(record.halts)}{quality}</div></div>"
        f"{log}"
    )


def _further(record: RunRecord) -> str:
    """Commands that explain what the plots show."""
    title = '<h2 id="further">Look further</h2>'
    if record.commands is not None:
        return f'{title}<pre class="card">{escape(chr(10).join(record.commands))}</pre>'
    traded = next((d.id for item in record.assets for d in item.decisions if d.order_ids), "ID")
    commands = "\n".join(
        (
            f"ost decisions show {traded}",
            f"ost decisions list --book {record.book} --traded",
            "ost status",
        )
    )
    return (
        f"{title}<p>Every trade names the decision that opened it. The first command shows why it "
        "was made: candles, features, regime, votes, risk rules, orders, fills.</p>"
        f'<pre class="card">{escape(commands)}</pre>'
    )


def _anchor(item: AssetRecord) -> str:
    """The name of an asset's section."""
    return f"asset-{item.asset.symbol}"
