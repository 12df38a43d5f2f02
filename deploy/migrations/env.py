"""Alembic's entry: runs the migrations against DATABASE_URL, one process at a time; then sees to roles and secret."""

from datetime import timedelta

import psycopg
from alembic import context
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

import shared.schemas.tables  # noqa: F401 - fills SQLModel.metadata
from deploy.migrations.roles import grant
from deploy.migrations.secret import rotate_to
from deploy.migrations.settings import MigrationSettings
from shared.schemas.accounts import BOTH_SIGN
from shared.settings import exit_with, from_environment

LOCK = 0x68616C66  # "half": two stacks that start at once migrate one after the other


def run() -> None:
    """Migrate in one transaction, under an advisory lock."""
    settings = from_environment(MigrationSettings)
    url = make_url(settings.database_url).set(drivername="postgresql+psycopg")
    with _connect(create_engine(url)) as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        context.configure(connection=connection, target_metadata=SQLModel.metadata)
        with context.begin_transaction():
            context.run_migrations()
        _grant(connection, settings)
        rotated = settings.webhook_secret is not None and rotate_to(settings.webhook_secret, connection)
    if rotated:
        hours = BOTH_SIGN // timedelta(hours=1)
        print(f"HALFTONE_WEBHOOK_SECRET is new: for {hours} hours the one before signs webhooks too")


def _grant(connection: Connection, settings: MigrationSettings) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        grant(driver, settings.passwords)
    except psycopg.errors.InsufficientPrivilege as error:
        exit_with([f"DATABASE_URL: this login cannot make the services' roles: {' '.join(str(error).split())}"])


def _connect(engine: Engine) -> Connection:
    """A server that is away or refuses the login is reported in one line."""
    try:
        return engine.connect()
    except OperationalError as error:
        exit_with([f"DATABASE_URL: {' '.join(str(error.orig).split())}"])


run()
