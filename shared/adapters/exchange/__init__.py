"""Venues through ccxt: market data and trading of `shared/ports`, three outcomes for every request.

The names below are imported when they are first used: the settings read `params.py` alone, and a command that talks to no
venue should not wait for an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.adapters.exchange.connection import Connection, connect
    from shared.adapters.exchange.market import CcxtMarketData
    from shared.adapters.exchange.params import PAPER_CONNECTION, ConnectionParams, StreamParams
    from shared.adapters.exchange.pauses import SharedPauses
    from shared.adapters.exchange.probe import Probe, probe_venue
    from shared.adapters.exchange.streams import CcxtMarketStream, CcxtUserStream
    from shared.adapters.exchange.trading import CcxtExchange

__all__ = [
    "PAPER_CONNECTION",
    "CcxtExchange",
    "CcxtMarketData",
    "CcxtMarketStream",
    "CcxtUserStream",
    "Connection",
    "ConnectionParams",
    "Probe",
    "SharedPauses",
    "StreamParams",
    "connect",
    "probe_venue",
]

_MODULES = {
    "PAPER_CONNECTION": "params",
    "CcxtExchange": "trading",
    "CcxtMarketData": "market",
    "CcxtMarketStream": "streams",
    "CcxtUserStream": "streams",
    "Connection": "connection",
    "ConnectionParams": "params",
    "Probe": "probe",
    "SharedPauses": "pauses",
    "StreamParams": "params",
    "connect": "connection",
    "probe_venue": "probe",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
