"""Alembic's entry: it works in the transaction that `Database` has begun. No package, so that nobody imports it."""

from alembic import context

from fieldloop.gateway.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
