"""Venues through ccxt: market data and trading of `shared/ports.py`, three outcomes for every request."""

from shared.adapters.exchange.connection import Connection, connect
from shared.adapters.exchange.market import CcxtMarketData
from shared.adapters.exchange.params import PAPER_CONNECTION, ConnectionParams
from shared.adapters.exchange.probe import Probe, probe
from shared.adapters.exchange.trading import CcxtExchange

__all__ = ["PAPER_CONNECTION", "CcxtExchange", "CcxtMarketData", "Connection", "ConnectionParams", "Probe", "connect", "probe"]
