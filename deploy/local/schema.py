"""What a start does without Alembic, which takes longer than all servers together, if the tables are current."""

from collections.abc import Mapping

import psycopg

from deploy.local.settings import ROOT
from deploy.migrations import roles

VERSIONS = ROOT / "deploy" / "migrations" / "versions"


def newest() -> str:
    """The newest migration: their file names begin with their numbers (`file_template` in alembic.ini)."""
    return max(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))


async def is_current(database_url: str) -> bool:
    """Whether the newest migration was applied; False also where that cannot be known, and Alembic says why."""
    try:
        async with await psycopg.AsyncConnection.connect(database_url, connect_timeout=5) as connection:
            applied = await connection.execute("SELECT version_num FROM alembic_version")
            return await applied.fetchall() == [(newest(),)]
    except psycopg.Error:
        return False


def grant(database_url: str, passwords: Mapping[str, str]) -> None:
    """Make the services' roles as they are to be; raises psycopg.Error."""
    with psycopg.connect(database_url, connect_timeout=5) as connection:
        roles.grant(connection, passwords)
