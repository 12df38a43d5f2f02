"""Whether the tables are current, asked without starting Alembic, which takes longer than all servers together."""

import psycopg

from deploy.local.settings import ROOT

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
