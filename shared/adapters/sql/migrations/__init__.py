"""Alembic's scripts: the history of the ledger's schema. Run from code by `shared/adapters/sql/migrate.py`."""
