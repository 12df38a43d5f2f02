"""Alembic's entry: runs the migrations against DATABASE_URL, one process at a time."""

from alembic import context
from sqlalchemy import create_engine, make_url, text
from sqlmodel import SQLModel

import shared.schemas  # noqa: F401 - fills SQLModel.metadata
from deploy.migrations.settings import MigrationSettings

LOCK = 0x68616C66  # "half": two stacks that start at once migrate one after the other


def run() -> None:
    """Migrate in one transaction, under an advisory lock."""
    url = make_url(MigrationSettings().database_url).set(drivername="postgresql+psycopg")
    with create_engine(url).begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        context.configure(connection=connection, target_metadata=SQLModel.metadata)
        with context.begin_transaction():
            context.run_migrations()


run()
