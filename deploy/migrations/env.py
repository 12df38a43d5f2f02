"""Alembic's entry: runs the migrations against DATABASE_URL, one process at a time; then sees to roles and secret."""

import time
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
LOCK_SECONDS = 2
"""How long a change of a table may wait for those who read it: all who come later wait behind it."""
PAUSE_SECONDS = 2.0
TRIES = 60


def run() -> None:
    """Migrate, also while the services work: a change that does not get its table makes room and tries again."""
    settings = from_environment(MigrationSettings)
    engine = create_engine(make_url(settings.database_url).set(drivername="postgresql+psycopg"))
    for _ in range(TRIES):
        try:
            _migrate(engine, settings)
        except OperationalError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return
    exit_with([f"DATABASE_URL: a long transaction holds a table, and {TRIES} tries to change it were in vain"])


def _migrate(engine: Engine, settings: MigrationSettings) -> None:
    """In one transaction, under an advisory lock."""
    with _connect(engine) as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
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
