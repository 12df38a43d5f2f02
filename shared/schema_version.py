"""The migration that this code needs. `python -m shared.schema_version` waits for it (ADR 31)."""

import time

import psycopg

from shared.log import configure, get_logger
from shared.settings import Settings, from_environment

SCHEMA = "0004"
"""The last one of deploy/migrations/versions. Later ones suit this code too: they take nothing away that it needs."""
PAUSE_SECONDS = 2
CONNECT_SECONDS = 5
log = get_logger(__name__)


def is_migrated(database_url: str) -> bool:
    """Whether the database has this migration; not so either where the server or this login is not there yet."""
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_SECONDS) as connection:
            found = connection.execute("SELECT max(version_num) >= %s FROM alembic_version", [SCHEMA]).fetchone()
    except psycopg.Error as error:
        log.info("waiting_for_migrations", schema=SCHEMA, error=" ".join(str(error).split()))
        return False
    if found != (True,):
        log.info("waiting_for_migrations", schema=SCHEMA)
        return False
    return True


def main() -> None:
    """Return as soon as the migrations have run."""
    settings = from_environment(Settings)
    configure(level=settings.log_level, style=settings.log_format)
    while not is_migrated(settings.database_url):
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
