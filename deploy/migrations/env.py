"""Alembic's entry: runs the migrations against DATABASE_URL, one process at a time."""

from alembic import context
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

import shared.schemas  # noqa: F401 - fills SQLModel.metadata
from deploy.migrations.settings import MigrationSettings
from shared.settings import from_environment, refuse

LOCK = 0x68616C66  # "half": two stacks that start at once migrate one after the other


def run() -> None:
    """Migrate in one transaction, under an advisory lock."""
    url = make_url(from_environment(MigrationSettings).database_url).set(drivername="postgresql+psycopg")
    with _connect(create_engine(url)) as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        context.configure(connection=connection, target_metadata=SQLModel.metadata)
        with context.begin_transaction():
            context.run_migrations()


def _connect(engine: Engine) -> Connection:
    """A server that is away, or lets us not in, is one line."""
    try:
        return engine.connect()
    except OperationalError as error:
        refuse([f"DATABASE_URL: {' '.join(str(error.orig).split())}"])


run()
