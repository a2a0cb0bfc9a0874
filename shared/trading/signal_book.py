"""The book that holds the regimes and recommendations of an interval."""

from __future__ import annotations

from shared.domain.interval import Interval


def signal_book(interval: Interval) -> str:
    """Its name: `signal` for 1h, `signal-4h` for another one."""
    # Decisions and regimes are keyed by asset and bar close, not by interval: two intervals must not share a book.
    return "signal" if interval is Interval.H1 else f"signal-{interval}"
