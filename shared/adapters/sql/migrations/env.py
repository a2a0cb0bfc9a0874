"""Where Alembic gets its connection and the models: both are handed over by `shared/adapters/sql/migrate.py`.

There is no alembic.ini; the caller holds the transaction and the lock.
"""

from __future__ import annotations

from alembic import context

from shared.adapters.sql.migrate import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    compare_type=True,
    render_as_batch=True,  # SQLite alters tables by copying them
)
context.run_migrations()
