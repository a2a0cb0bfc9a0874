"""A backtest on the terminal: its numbers beside buying and holding, costs, regimes, what chance could do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.cli.texts import fixed, market_text, percent
from shared.domain.interval import DAY_MS, format_ms

if TYPE_CHECKING:
    from shared.backtest.metrics import RunSummary
    from shared.cli.backtest_run import Done


def view(done: Done, files: list[str]) -> Any:
    """Everything that a person wants to see first."""
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output
    from shared.cli.backtest_trade import SYSTEM

    found = done.found
    market = market_text(found.label, found.generated)
    period = f"{format_ms(found.start_ms)} to {format_ms(found.end_ms)}, {found.interval} bars"
    symbols = " ".join(asset.symbol for asset in done.result.assets)
    title = escape(f"{done.wanted.strategy} on {symbols}, {period}; {market}")
    columns = ("", done.wanted.strategy, "buy and hold")
    others = "buy and hold trades" if done.wanted.strategy == SYSTEM else "both trade"
    parts: list[Any] = [output.table(columns, _rows(done.summary, done.comparison), title=title, right=columns[1:])]
    parts.append(f"{others} without breakers, within the same limits and with the same costs")
    shown = ("asset", "before costs", "fees", "slippage", "funding", "profit", "round trips", "won")
    parts.append(output.table(shown, _cost_rows(done), right=shown[1:]))
    if done.regimes:
        kept = ("regime held", "share of bars", "return", "Sharpe, annual", "round trips")
        rows = [
            (row.regime.value, f"{row.share:.0%}", f"{row.total_return:+.2%}", fixed(row.sharpe), row.round_trips)
            for row in done.regimes
        ]
        parts.append(output.table(kept, rows, right=kept[1:]))
    chance = done.monte_carlo
    if chance is not None:
        quantiles = ", ".join(f"{name} {value:+.0%}" for name, value in chance.final_quantiles().items())
        depths = ", ".join(f"{depth:.0%}: {chance.drawdown_probability(depth):.0%}" for depth in done.drawdown_depths)
        parts.append(f"if the next {chance.horizon_days} days are made of the same days: return at quantiles {quantiles}")
        parts.append(f"probability of a drawdown over {depths}")
    if len(done.result.halts):
        parts.append(f"breakers: trading was halted {len(done.result.halts)} times")
    parts += [escape(line) for line in ([done.trials] if done.trials else [])]
    parts += [escape(f"written: {path}") for path in files]
    return Group(*parts)


def _rows(one: RunSummary, other: RunSummary) -> list[tuple[str, str, str]]:
    rows = (
        ("return", "total_return", percent),
        ("growth per year (CAGR)", "cagr", percent),
        ("volatility, annual", "volatility", percent),
        ("Sharpe, annual", "sharpe", fixed),
        ("Sortino, annual", "sortino", fixed),
        ("Calmar", "calmar", fixed),
        ("max drawdown", "max_drawdown", percent),
        ("longest drawdown", "longest_drawdown_ms", lambda length_ms: f"{length_ms / DAY_MS:,.0f} d"),
        ("VaR 95 % of a day", "var_95", percent),
        ("CVaR 95 % of a day", "cvar_95", percent),
        ("VaR 99 % of a day", "var_99", percent),
        ("CVaR 99 % of a day", "cvar_99", percent),
        ("tail ratio", "tail_ratio", fixed),
        ("round trips", "trades", lambda count: f"{count:,}"),
        ("won", "win_rate", percent),
        ("profit factor", "profit_factor", fixed),
        ("bars with a position", "exposure", percent),
        ("turnover", "turnover", lambda value: "-" if value is None else f"{value:,.1f} x"),
        ("fees", "fees", lambda value: f"{-value:+,.2f}"),
        ("slippage", "slippage", lambda value: "-" if value is None else f"{-value:+,.2f}"),
        ("funding", "funding", lambda value: f"{value:+,.2f}"),
        ("equity at the end", "end_equity", lambda value: f"{value:,.2f}"),
    )
    return [(label, show(getattr(one, name)), show(getattr(other, name))) for label, name, show in rows]


def _cost_rows(done: Done) -> list[tuple[Any, ...]]:
    return [
        (
            row.symbol,
            *(f"{value:+,.0f}" for value in (row.gross, -row.fees, -row.slippage, row.funding, row.profit)),
            row.round_trips,
            row.won,
        )
        for row in done.costs
    ]
