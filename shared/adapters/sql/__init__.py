"""The ledger on SQLite or PostgreSQL: `open_ledger(url)` gives the port `shared.ports.Ledger`."""

from shared.adapters.sql.ledger import SqlLedger, open_ledger

__all__ = ["SqlLedger", "open_ledger"]
