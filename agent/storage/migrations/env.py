"""What Alembic runs: the connection, and the lock around it, come from `agent/storage/migrate.py`."""

from __future__ import annotations

from alembic import context

from agent.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column only by making the table anew
)
context.run_migrations()
