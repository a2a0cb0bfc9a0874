"""The ledger on SQLite or PostgreSQL: `open_ledger(url)` gives the port `shared.ports.Ledger`, `open_research` `Research`."""

from shared.adapters.sql.engine import Patience
from shared.adapters.sql.ledger import SqlLedger, open_ledger
from shared.adapters.sql.research import SqlResearch, open_research

__all__ = ["Patience", "SqlLedger", "SqlResearch", "open_ledger", "open_research"]
