"""What `ost run` shows while it works: simulated time, speed, equity, drawdown, the regime of each asset."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.cli import output
from shared.cli.texts import market_text
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from shared.ports import Ledger
    from shared.trading.run_plan import RunPlan
    from shared.trading.session import StepReport

LINES_WITHOUT_TERMINAL = 10


@contextmanager
def showing(plan: RunPlan, ledger: Ledger, book: str) -> Iterator[Callable[[StepReport], None]]:
    """A function that shows each step: a live progress bar on a terminal, ten lines in a log."""
    last = ledger.last_equity(book)
    done = (last.time_ms - plan.start_ms) // plan.interval.ms + 1 if last else 0
    total = plan.bars + 1
    output.note(
        f"{' '.join(asset.symbol for asset in plan.universe)} {plan.interval}, {format_ms(plan.start_ms)} to "
        f"{format_ms(plan.end_ms)}, {market_text(plan.market_label, plan.generated)}; run {book}"
    )
    started: float | None = None
    first_done = done
    with output.progress(unit="") as bar:
        task = bar.add_task("starting the paper exchange", total=total, completed=done, detail="")

        def on_step(report: StepReport) -> None:
            nonlocal done, started, first_done
            done += 1
            if started is None:
                # The first step loads the history and fits the first models: it says nothing about the speed.
                started, first_done = time.perf_counter(), done
            speed = (done - first_done) * len(plan.universe) / max(time.perf_counter() - started, 1e-9)
            regimes = " ".join(f"{symbol.removesuffix('USDT')} {regime}" for symbol, regime in report.regimes.items())
            detail = f"{speed:.0f} bars/s  equity {report.equity:,.2f}  drawdown {report.drawdown:.1%}  {regimes}"
            bar.update(task, completed=done, description=format_ms(report.bar_close_ms), detail=detail)
            if bar.disable and done * LINES_WITHOUT_TERMINAL // total > (done - 1) * LINES_WITHOUT_TERMINAL // total:
                output.note(f"{done}/{total} {format_ms(report.bar_close_ms)}  {detail}")

        yield on_step
