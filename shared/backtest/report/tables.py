"""The tables and tiles of a report as HTML. Every text that is not ours goes through `escape`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from shared.backtest.metrics import RunSummary
from shared.backtest.report.holdings import buy_and_hold
from shared.backtest.report.record import RunRecord
from shared.domain.interval import DAY_MS, HOUR_MS, format_ms
from shared.domain.records import Halt, Trade
from shared.domain.regime import REGIMES

_SHOWN_TRADES = 6
_LONG = 36  # characters of a cell from which it may be broken into lines


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as a percentage; a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}%}"


def number(value: float | None) -> str:
    """Two decimals; a dash where it is not defined."""
    return "–" if value is None else f"{value:,.2f}"


def duration(length_ms: int) -> str:
    """`3 d 4 h`, `4 h`, `0 h`."""
    days, hours = length_ms // DAY_MS, length_ms % DAY_MS // HOUR_MS
    return f"{days} d {hours} h" if days else f"{hours} h"


def html_table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: frozenset[str] = frozenset()
) -> str:
    """A table of texts (escaped here); the columns named in `numeric` are set to the right, signed values coloured."""
    kinds = [name in numeric for name in columns]
    head = "".join(f'<th scope="col"{_kind(n)}>{escape(name)}</th>' for name, n in zip(columns, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{_kind(n, cell)}>{escape(cell)}</td>" for cell, n in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _kind(numeric: bool, cell: str = "") -> str:
    """The class attribute of a cell: numbers to the right with a leading sign coloured, long texts wrapped."""
    tone = {"+": " gain", "-": " loss"}.get(cell[:1], "") if numeric and len(cell) > 1 else ""
    if numeric:
        return f' class="n{tone}"'
    return ' class="text"' if len(cell) > _LONG else ""


def tiles(record: RunRecord) -> str:
    """The numbers that one looks at first, each with what puts it into proportion."""
    run = record.summary
    held = buy_and_hold(record)[-1]
    kept = f"holding, free of cost {held / run.start_equity - 1:+.1%}" if math.isfinite(held) else "no price to compare with"
    error = sharpe_error(run.sharpe, run.bars, record.interval.bars_per_year)
    shown = (
        ("Return", f"{run.total_return:+.2%}", kept, "gain" if run.total_return > 0 else "loss"),
        ("Equity", f"{run.end_equity:,.0f}", f"from {run.start_equity:,.0f}", ""),
        ("Max drawdown", percent(run.max_drawdown), f"longest {duration(run.longest_drawdown_ms)}", ""),
        ("Sharpe, annual", number(run.sharpe), "" if error is None else f"± {error:.1f} std. error", ""),
        ("Volatility, annual", percent(run.volatility, 1), f"Sortino {number(run.sortino)}", ""),
        ("Round trips", str(run.trades), f"{percent(run.win_rate, 0)} won", ""),
        ("Profit factor", number(run.profit_factor), "gains / losses", ""),
        ("Costs", f"{-run.fees - (run.slippage or 0):+,.0f}", _cost_parts(run), ""),
        ("In the market", percent(run.exposure, 0), f"turnover {number(run.turnover)} ×", ""),
    )
    cells = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="value {tone}">{escape(value)}</dd><dd class="more">{escape(more)}</dd></div>'
        for name, value, more, tone in shown
    )
    return f'<dl class="tiles">{cells}</dl>'


def _cost_parts(run: RunSummary) -> str:
    slippage = "" if run.slippage is None else f" and slippage {run.slippage:,.0f}"
    return f"fees{slippage}; funding {run.funding:+,.0f}"


def sharpe_error(sharpe: float | None, bars: int, per_year: float) -> float | None:
    """Standard error of an annual Sharpe ratio from independent returns, √((1 + s²/2) / n) per period (Lo, 2002, eq. 9)."""
    if sharpe is None or bars < 2:
        return None
    return math.sqrt((1 + sharpe**2 / per_year / 2) / (bars - 1) * per_year)


def summary_table(summary: RunSummary) -> str:
    """All numbers of the run."""
    rows = (
        ("Equity at the start", number(summary.start_equity)),
        ("Equity at the end", number(summary.end_equity)),
        ("Return", percent(summary.total_return)),
        ("Growth per 365 days (CAGR)", percent(summary.cagr)),
        ("Volatility, annual", percent(summary.volatility)),
        ("Sharpe, annual", number(summary.sharpe)),
        ("Sortino, annual", number(summary.sortino)),
        ("Calmar", number(summary.calmar)),
        ("Max drawdown", percent(summary.max_drawdown)),
        ("Longest drawdown", duration(summary.longest_drawdown_ms)),
        ("Round trips", str(summary.trades)),
        ("Won", percent(summary.win_rate, 1)),
        ("Profit factor", number(summary.profit_factor)),
        ("Bars with a position", percent(summary.exposure, 1)),
        ("Turnover (traded / average equity)", number(summary.turnover)),
        ("VaR 95 % of a day", percent(summary.var_95)),
        ("CVaR 95 % of a day", percent(summary.cvar_95)),
        ("VaR 99 % of a day", percent(summary.var_99)),
        ("CVaR 99 % of a day", percent(summary.cvar_99)),
        ("Tail ratio of daily returns", number(summary.tail_ratio)),
        ("Fees paid", number(summary.fees)),
        ("Slippage paid", number(summary.slippage)),
        ("Funding received minus paid", number(summary.funding)),
        ("Bars", f"{summary.bars:,}"),
    )
    return html_table("Numbers; a dash means that one is not defined for this run", ("", "value"), rows, frozenset({"value"}))


def asset_table(record: RunRecord) -> str:
    """What each asset contributed."""
    rows = []
    for item in record.assets:
        profit = float(sum(trade.profit for trade in item.trades))
        paid = float(sum(p.amount for p in record.funding if p.symbol == item.asset.symbol))
        won = sum(trade.profit > 0 for trade in item.trades)
        fees = float(sum(fill.fee for fill in item.fills))
        rows.append(
            (
                item.asset.symbol,
                str(len(item.trades)),
                str(won),
                f"{profit:+,.2f}",
                f"{fees:,.2f}",
                f"{paid:+,.2f}",
                f"{len(item.decisions):,}",
            )
        )
    columns = ("asset", "round trips", "won", "P&L after fees", "fees", "funding", "decisions")
    return html_table("By asset", columns, rows, frozenset(columns[1:]))


def regime_table(record: RunRecord) -> str:
    """What the round trips earned by the regime that was held when they were opened."""
    regime_of = {decision.id: decision.regime for item in record.assets for decision in item.decisions}
    trades = [(regime_of.get(trade.open_decision_id or ""), trade) for item in record.assets for trade in item.trades]
    bars = sum(len(item.regimes) for item in record.assets)
    rows = []
    for regime in REGIMES:
        some = [trade for opened, trade in trades if opened is regime]
        share = sum(item.regimes.count(regime) for item in record.assets) / bars if bars else None
        won = sum(trade.profit > 0 for trade in some)
        profit = float(sum(trade.profit for trade in some))
        rows.append((regime.value, percent(share, 0), str(len(some)), str(won), f"{profit:+,.2f}"))
    columns = ("regime at entry", "share of bars", "round trips", "won", "P&L after fees")
    return html_table("By regime", columns, rows, frozenset(columns[1:]))


def trade_table(caption: str, trades: Sequence[Trade]) -> str:
    """Round trips, one a line."""
    rows = [
        (
            trade.symbol,
            trade.side,
            format_ms(trade.opened_ms),
            format_ms(trade.closed_ms),
            f"{trade.quantity.normalize():f}",
            f"{float(trade.entry_price):,.6g}",
            f"{float(trade.exit_price):,.6g}",
            f"{trade.profit:+,.2f}",
            trade.open_decision_id or "–",
        )
        for trade in trades
    ]
    columns = ("asset", "side", "opened", "closed", "quantity", "entry", "exit", "P&L", "decision")
    return html_table(caption, columns, rows, frozenset({"quantity", "entry", "exit", "P&L"}))


def best_and_worst(trades: Sequence[Trade]) -> str:
    """The best and the worst round trips, a few of each."""
    ordered = sorted(trades, key=lambda trade: trade.profit)
    winners = [trade for trade in reversed(ordered) if trade.profit > 0][:_SHOWN_TRADES]
    losers = [trade for trade in ordered if trade.profit <= 0][:_SHOWN_TRADES]
    columns = ("asset", "side", "opened", "P&L", "decision")
    return "".join(
        html_table(
            caption,
            columns,
            [(t.symbol, t.side, format_ms(t.opened_ms), f"{t.profit:+,.2f}", t.open_decision_id or "–") for t in some],
            frozenset({"P&L"}),
        )
        for caption, some in (("Best", winners), ("Worst", losers))
        if some
    )


def halt_table(halts: Sequence[Halt]) -> str:
    """Stops of trading."""
    rows = [
        (
            halt.symbol or "whole book",
            format_ms(halt.since_ms),
            "until resumed" if halt.until_ms is None else format_ms(halt.until_ms),
            halt.reason,
        )
        for halt in halts
    ]
    return (
        html_table("Halts", ("what", "since", "until", "why"), rows) if rows else "<p>Trading was not halted in this run.</p>"
    )


def settings_table(settings: Mapping[str, object]) -> str:
    """The settings of the run."""
    return html_table("Settings", ("setting", "value"), [(str(name), str(value)) for name, value in settings.items()])


def log_table(log: Sequence[Mapping[str, object]]) -> str:
    """The newest entries of the agent log."""
    rows = [
        (
            format_ms(int(str(entry["time_ms"]))),
            str(entry.get("level", "")),
            str(entry.get("source", "")),
            str(entry.get("message", "")),
        )
        for entry in log
    ]
    return (
        html_table("Newest log entries", ("time", "level", "source", "message"), rows) if rows else "<p>The log is empty.</p>"
    )
