"""The outside world of a function, made when it is first needed and kept for the calls after it, in the same instance.

An instance serves one request at a time. Market data are not kept: their connections belong to one call's event loop.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from shared.cli import wiring

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.domain.asset import Universe
    from shared.ports import Bucket, Bus, Ledger, Research, TaskArray
    from shared.trading.signal_desk import SignalDesk


@cache
def settings() -> Settings:
    """The settings, from the environment."""
    return wiring.settings()


@cache
def bucket() -> Bucket:
    """The lake."""
    return wiring.bucket(settings())


@cache
def bus() -> Bus:
    """Where events are published."""
    return wiring.bus(settings())


@cache
def ledger() -> Ledger:
    """The ledger. Raises `LedgerUnavailable`, and tries again at the next call."""
    return wiring.ledger(settings())


@cache
def research() -> Research:
    """The memory of research. Raises `LedgerUnavailable`, and tries again at the next call."""
    return wiring.research(settings())


@cache
def task_array() -> TaskArray:
    """What does the tasks of campaigns."""
    return wiring.task_array(settings())


def signal_desk(universe: Universe, until_ms: int | None = None) -> SignalDesk:
    """Regimes and recommendations of the interval that is traded, as of `until_ms` (`None`: of all that the lake holds)."""
    from shared.trading.signal_desk import SignalDesk
    from shared.version import code_version

    here = settings()
    capital, clock = str(here.run.capital), wiring.clock()
    return SignalDesk(bucket(), ledger(), universe, here.interval, here.system, capital, code_version, clock, until_ms)
