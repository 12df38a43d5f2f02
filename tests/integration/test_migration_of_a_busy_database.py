"""A migration beside a service that goes on: `docker compose up` of a new version, or a start during a backup."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg

from tests.stack import ROOT, until

MIGRATE = [sys.executable, "-m", "alembic", "-c", "deploy/migrations/alembic.ini", "upgrade", "head"]
BEFORE_0003 = """
    ALTER TABLE image DROP COLUMN fetch_ms, DROP COLUMN settled_at;
    ALTER TABLE delivery_attempt DROP COLUMN webhook_timestamp, DROP COLUMN webhook_signature;
    UPDATE alembic_version SET version_num = '0002'
"""
VERSION = "SELECT version_num FROM alembic_version"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def test_nobody_waits_for_a_migration_that_waits_for_a_backup(database_url: str, tmp_path: Path) -> None:
    env = os.environ | {"DATABASE_URL": database_url}
    log = tmp_path / "log"
    with psycopg.connect(database_url) as backup, psycopg.connect(database_url, autocommit=True) as reader:
        reader.execute(BEFORE_0003)
        backup.execute("SELECT count(*) FROM image")
        with log.open("w") as written, subprocess.Popen(MIGRATE, cwd=ROOT, env=env, stdout=written) as migration:
            try:
                until(lambda: "in use" in log.read_text(), within=30)
                until(lambda: reader.execute(WAITING).fetchone() == (0,), within=30)
                assert migration.poll() is None
                assert reader.execute(VERSION).fetchone() == ("0002",)
                backup.commit()
                assert migration.wait(60) == 0
            finally:
                migration.kill()
        assert reader.execute("SELECT count(settled_at) FROM image").fetchone() == (0,)
    assert log.read_text().count("in use") == 1
