"""HALFTONE_WEBHOOK_SECRET at a later start than the first, by way of the command that every start runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import make_url

from tests.stack import ROOT
from tests.unit.deploy.test_auth import started

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ACCOUNT = """
    SELECT signing_secret, previous_secret, extract(epoch FROM previous_secret_until - now()) / 3600 AS hours
    FROM account WHERE name = 'default'
"""


def test_a_new_secret_in_the_environment_signs_and_the_one_before_signs_too_for_a_day(database_url: str) -> None:
    before = _account(database_url)
    printed = _start(database_url, NEW)
    after = _account(database_url)
    assert after["signing_secret"] == NEW
    assert after["previous_secret"] == before["signing_secret"]
    assert 23 < after["hours"] <= 24
    assert printed.count("\n") == 1
    assert "HALFTONE_WEBHOOK_SECRET is new" in printed
    assert "whsec_" not in printed


@pytest.mark.parametrize("again", [True, False], ids=["the same", "none"])
def test_no_other_secret_is_no_rotation(database_url: str, *, again: bool) -> None:
    before = _account(database_url)
    assert _start(database_url, str(before["signing_secret"]) if again else "") == ""
    assert _account(database_url) == before


def test_a_secret_that_was_rotated_away_is_not_put_back(database_url: str) -> None:
    leaked = str(_account(database_url)["signing_secret"])
    _start(database_url, NEW)
    assert _start(database_url, leaked) == ""
    assert _account(database_url)["signing_secret"] == NEW


def test_a_setting_that_was_rotated_away_over_the_api_never_comes_back(database_url: str) -> None:
    _start(database_url, NEW)
    with psycopg.connect(database_url) as connection:
        for _ in range(2):
            connection.execute(
                "UPDATE account SET previous_secret = signing_secret, signing_secret = gen_random_uuid()"
            )
    before = _account(database_url)
    assert _start(database_url, NEW) == ""
    assert _account(database_url)["signing_secret"] == before["signing_secret"]


def test_a_database_without_tables_is_one_line_that_says_what_to_do(database_url: str, tmp_path: Path) -> None:
    without = make_url(database_url).set(database="postgres").render_as_string(hide_password=False)
    status, printed = started("deploy.local", "secret", DATABASE_URL=without, HALFTONE_DATA_DIR=str(tmp_path))
    assert (status, len(printed)) == (1, 1)
    assert printed[0].startswith("halftone: the database has no tables yet; ")


def _start(database_url: str, secret: str) -> str:
    """Migrate a database that is up to date; the output."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", "deploy/migrations/alembic.ini", "upgrade", "head"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "HALFTONE_WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def _account(database_url: str) -> dict[str, Any]:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return connection.execute(ACCOUNT).fetchone() or {}
