"""Tables of where the profit came from: months as a heat map, costs by asset, regimes, and what chance could do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.backtest.breakdown import monthly_returns
from shared.backtest.report.record import RunRecord
from shared.backtest.report.return_figures import Daily
from shared.backtest.report.tables import html_table, number, percent
from shared.risk.monte_carlo import MonteCarlo

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STRONGEST = 85  # percent of the colour that the largest month gets


def month_table(days: Daily) -> str:
    """Compound return of each month, coloured by size, and of each year."""
    months = monthly_returns(days.days_ms, days.returns)
    largest = max((abs(value) for value in months.values()), default=0.0) or 1.0
    body = []
    for year in sorted({name[:4] for name in months}):
        row = [months.get(f"{year}-{month:02d}") for month in range(1, 13)]
        total = float(np.prod([1 + value for value in row if value is not None]) - 1)
        cells = "".join(_cell(value, largest) for value in row)
        body.append(f'<tr><th scope="row">{year}</th>{cells}<td class="n"><strong>{total:+.1%}</strong></td></tr>')
    head = "".join(f'<th scope="col" class="n">{name}</th>' for name in (*_MONTHS, "year"))
    return (
        '<div class="scroll"><table class="heat"><caption>Return by month (UTC), after all costs</caption>'
        f'<thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _cell(value: float | None, largest: float) -> str:
    if value is None:
        return '<td class="n quiet">–</td>'
    colour = "gain" if value > 0 else "loss"
    share = round(_STRONGEST * abs(value) / largest)
    return f'<td class="n" style="background:color-mix(in srgb, var(--{colour}) {share}%, transparent)">{value:+.1%}</td>'


def cost_table(record: RunRecord) -> str:
    """Profit by asset from gross to net; empty where the record does not know the costs."""
    if not record.costs:
        return ""
    names = ("gross", "fees", "slippage", "funding", "profit", "traded")
    rows = []
    for item in record.costs:
        values = (item.gross, -item.fees, -item.slippage, item.funding, item.profit)
        rows.append((item.symbol, *(f"{value:+,.0f}" for value in values), f"{item.traded:,.0f}"))
    if len(record.costs) > 1:
        sums = {name: sum(getattr(item, name) for item in record.costs) for name in names}
        signed = (sums["gross"], -sums["fees"], -sums["slippage"], sums["funding"], sums["profit"])
        rows.append(("all", *(f"{value:+,.0f}" for value in signed), f"{sums['traded']:,.0f}"))
    columns = ("asset", "before costs", "fees", "slippage", "funding", "profit", "traded")
    return html_table("From gross to net, quote currency", columns, rows, frozenset(columns[1:]))


def regime_row_table(record: RunRecord) -> str:
    """What was earned while each regime was held; empty without regimes."""
    if not record.regime_rows:
        return ""
    rows = [
        (
            row.regime.value,
            percent(row.share, 0),
            f"{row.total_return:+.2%}",
            number(row.sharpe),
            str(row.round_trips),
            percent(row.won / row.round_trips, 0) if row.round_trips else "–",
            f"{row.profit:+,.0f}",
        )
        for row in record.regime_rows
    ]
    columns = ("regime", "share of bars", "return", "Sharpe, annual", "round trips", "won", "their P&L")
    return html_table("By the regime held (returns are sums, without funding)", columns, rows, frozenset(columns[1:]))


def chance_table(chance: MonteCarlo, depths: Sequence[float]) -> str:
    """Probabilities of a loss, and of drawdowns deeper than `depths`, in the simulated futures."""
    rows = [(f"{name} of futures return less than", f"{value:+.1%}") for name, value in chance.final_quantiles().items()]
    rows.append(("probability of a loss", percent(chance.loss_probability(), 1)))
    rows += [
        (f"probability of a drawdown over {depth:.0%}", percent(chance.drawdown_probability(depth), 1)) for depth in depths
    ]
    return html_table(f"After {chance.horizon_days} more days", ("", "value"), rows, frozenset({"value"}))
