"""Passwords at PostgreSQL are rotated as docs/secrets.md says: the migrations set what the settings say."""

import os
import subprocess

import psycopg
import pytest
from sqlalchemy import make_url

from tests.integration.test_migration import ALEMBIC
from tests.stack import ROOT


def migrate(database_url: str, **passwords: str) -> None:
    environment = os.environ | {"DATABASE_URL": database_url} | passwords
    done = subprocess.run([*ALEMBIC, "head"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def login(database_url: str, user: str, password: str) -> str:
    return make_url(database_url).set(username=user, password=password).render_as_string(hide_password=False)


def test_a_services_new_password_opens_and_its_old_one_no_longer_does(database_url: str) -> None:
    migrate(database_url, HALFTONE_STATUS_PASSWORD="old-one")
    user = f"{make_url(database_url).database}_status"
    with psycopg.connect(login(database_url, user, "old-one"), autocommit=True) as service:
        migrate(database_url, HALFTONE_STATUS_PASSWORD="new-one")

        assert service.execute("SELECT count(*) FROM image").fetchone() == (0,)  # until it is recreated
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(login(database_url, user, "old-one"))
    psycopg.connect(login(database_url, user, "new-one")).close()
