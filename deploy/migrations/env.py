"""Alembic's entry: runs the migrations against DATABASE_URL, one process at a time; then sees to roles and secret."""

import re
import time
from datetime import timedelta

import psycopg
from alembic import context
from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

import shared.schemas.tables  # noqa: F401 - fills SQLModel.metadata
from deploy.migrations.roles import grant
from deploy.migrations.secret import rotate_to
from deploy.migrations.settings import MigrationSettings
from shared.schemas.accounts import BOTH_SIGN
from shared.settings import exit_with, from_environment

LOCK = 0x68616C66  # "half": two stacks that start at once migrate one after the other
LOCK_SECONDS, PAUSE_SECONDS, ATTEMPTS = 1, 2, 300
"""A change of a table waits for those who read it, a backup for hours, and all others wait behind it: so it waits for
less than a call does, and tries again."""
AUTOVACUUM_GIVES_WAY = """
SELECT set_config('deadlock_timeout', '200ms', false) WHERE has_parameter_privilege('deadlock_timeout', 'SET')
"""
"""It is ended when a waiting session looks for deadlocks: after a second by default, when this one has given up."""
IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


def run() -> None:
    """Migrate as soon as no table that has to be changed is held by a long transaction; for ten minutes at least."""
    settings = from_environment(MigrationSettings)
    url = make_url(settings.database_url).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=NullPool)  # locks and settings of a session end with each attempt
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _migrate(engine, settings)
        except OperationalError as error:
            if not isinstance(error.orig, IN_USE):
                raise
            if attempt == ATTEMPTS:
                exit_with(["a table stays in use (a backup, a long report?): it was not migrated, start again later"])
            if attempt == 1:
                print("a table that the migration changes is in use: it waits for its turn", flush=True)
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _migrate(engine: Engine, settings: MigrationSettings) -> None:
    """Each migration in a transaction, under a lock of the session: some commit meanwhile (online.py)."""
    with _connect(engine) as connection:
        _lock(connection)
        context.configure(connection=connection, target_metadata=SQLModel.metadata, transaction_per_migration=True)
        if newer := _newer(connection):
            print(f"the database has migration {newer}, made by a newer version: there is nothing to do", flush=True)
            return
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()  # where there was nothing to migrate, Alembic has read only
        with connection.begin():
            if context.get_context().get_current_revision() == context.script.get_current_head():
                _grant(connection, settings)  # which names the newest tables
            rotated = settings.webhook_secret is not None and rotate_to(settings.webhook_secret, connection)
    if rotated:
        hours = BOTH_SIGN // timedelta(hours=1)
        print(f"HALFTONE_WEBHOOK_SECRET is new: for {hours} hours the one before signs webhooks too")


def _lock(connection: Connection) -> None:
    """Asks again and again: the transaction of one that waits would hold up indexes that are made concurrently."""
    while True:
        with connection.begin():
            if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}):
                connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
                connection.execute(text(AUTOVACUUM_GIVES_WAY))
                return
        time.sleep(PAUSE_SECONDS)


def _newer(connection: Connection) -> str | None:
    """The migration of a later version of this code, after which an older one was brought back; nothing is granted.

    Its grants may be fewer than those of services that are newer.
    """
    head = context.script.get_current_head() or ""
    with connection.begin():
        applied = context.get_context().get_current_revision() or ""
    return applied if re.fullmatch(r"\d{4}", applied) and applied > head else None


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
