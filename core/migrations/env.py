"""Runs the migrations for Alembic, on the connection of ``upgrade`` and inside its transaction."""

from alembic import context

from core.base.tables.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
