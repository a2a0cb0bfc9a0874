"""The report of a run as one self-contained HTML page: `render_report(record)`. Plain values in, a text out, no network."""

from shared.backtest.report.page import render_report
from shared.backtest.report.record import AssetRecord, RunRecord, collect

__all__ = ["AssetRecord", "RunRecord", "collect", "render_report"]
