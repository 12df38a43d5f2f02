"""`python -m services.ingest.keys`, and `make key` on the local stack."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from services.ingest import keys
from services.ingest.settings import IngestSettings
from shared.db import Database
from shared.http.authentication import KEY
from tests.integration.keys.conftest import Call, Key, add_account, add_key
from tests.integration.seed import sql
from tests.stack import ROOT, Stack

Said = tuple[int, list[str], str]
Run = Callable[..., Said]


@pytest.fixture
def run(
    database: Database,
    settings: IngestSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """The exit status, the lines of stdout, and stderr."""
    del database  # its tables are empty
    monkeypatch.setenv("DATABASE_URL", settings.database_url)

    def ran(*arguments: str) -> Said:
        try:
            keys.main(arguments)
            status = 0
        except SystemExit as ended:
            status = int(str(ended.code or 0))
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return ran


def test_a_key_stands_alone_on_the_last_line_and_works(run: Run, call: Call) -> None:
    status, lines, explained = run("create", "shop")
    assert status == 0
    assert len(lines) == 1
    match = KEY.fullmatch(lines[0])
    assert match is not None
    assert "`shop` (read, write)" in explained
    assert match[2] not in explained
    answer = call("GET", "/v1/account", headers={"Authorization": f"Bearer {lines[0]}"})
    assert (answer.json()["name"], answer.json()["scopes"]) == ("shop", ["read", "write"])


def test_a_second_key_is_of_the_same_account(run: Run, database: Database) -> None:
    for _ in range(2):
        run("create", "shop", "--scopes", "admin,read")
    of_shop = "JOIN account a ON a.id = account_id WHERE a.name = 'shop'"
    rows = sql(database, f"SELECT scopes FROM api_key {of_shop}")
    assert [row["scopes"] for row in rows] == [["read", "admin"]] * 2
    audit = sql(database, f"SELECT actor, action FROM audit_entry {of_shop}")
    assert sorted(row["action"] for row in audit) == ["account.created", "key.created", "key.created"]
    assert {row["actor"] for row in audit} == {"cli"}


@pytest.mark.parametrize(("expires", "days"), [("90d", 90), ("48h", 2), ("2880m", 2)])
def test_an_expiry_is_a_duration(run: Run, expires: str, days: int) -> None:
    made = json.loads(run("create", "shop", "--json", "--expires", expires)[1][0])
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=days) - timedelta(minutes=1) < left <= timedelta(days=days)


def test_or_a_date(run: Run) -> None:
    day = (datetime.now(UTC) + timedelta(days=40)).date()
    made = json.loads(run("create", "shop", "--json", "--expires", day.isoformat())[1][0])
    assert made["expires_at"] == f"{day}T00:00:00.000Z"


@pytest.mark.parametrize("named", ["{id}", "ht_{id}", "{key}"])
def test_a_key_is_revoked_by_its_id_its_prefix_or_its_text(
    run: Run, call: Call, database: Database, named: str
) -> None:
    key = add_key(database, add_account(database))
    status, lines, explained = run("revoke", named.format(id=key.id, key=key.text))
    assert (status, lines) == (0, [])
    assert f"ht_{key.id}" in explained
    assert key.text not in explained
    assert call("GET", "/v1/requests", headers=key.headers).status_code == 401


def test_rotation_prints_the_new_key_and_ends_the_old_one_later(run: Run, call: Call, database: Database) -> None:
    old = add_key(database, add_account(database))
    status, lines, explained = run("rotate", old.id, "--overlap", "30m")
    assert status == 0
    assert f"ht_{old.id} expires" in explained
    for text in (old.text, lines[-1]):
        assert call("GET", "/v1/keys", headers={"Authorization": f"Bearer {text}"}).status_code == 200


def test_the_list_shows_prefixes_and_no_secret(run: Run, database: Database) -> None:
    text = run("create", "shop")[1][0]
    status, lines, _ = run("list", "shop")
    assert status == 0
    assert lines[0].split() == ["ACCOUNT", "KEY", "SCOPES", "CREATED", "LAST", "USED", "STATE"]
    assert lines[1].startswith(f"shop     {text[:15]}  read,write  ")
    assert lines[1].endswith("never      does not expire")
    [listed] = json.loads(run("list", "shop", "--json")[1][0])
    assert (listed["account"], listed["prefix"]) == ("shop", text[:15])
    assert text[-43:] not in str((lines, listed))
    assert run("list", "shop of no keys") == (0, [], "halftone: no keys yet: `create NAME` makes one\n")
    sql(database, "UPDATE api_key SET revoked_at = now() WHERE id = %(id)s", id=text[3:15])
    assert "revoked 20" in run("list")[1][-1] + "".join(run("list", "shop")[1])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["create"], "NAME"),
        (["create", "  "], "1 to 100 printable"),
        (["create", "x\ny"], "1 to 100 printable"),
        (["create", "shop", "--scopes", "root"], "read, write, admin"),
        (["create", "shop", "--expires", "soon"], "no duration like 90d"),
        (["create", "shop", "--expires", "2020-01-01"], "ahead"),
        (["create", "shop", "--expires", "9000d"], "ten years"),
        (["create", "shop", "--expires", "99999d"], "ten years"),
        (["rotate", "aaaaaaaaaaaa"], "no key ht_aaaaaaaaaaaa"),
        (["rotate", "aaaaaaaaaaaa", "--overlap", "31d"], "longer than 30d"),
        (["revoke", "aaaaaaaaaaaa"], "no key ht_aaaaaaaaaaaa"),
        (["revoke", "x"], "the id of a key"),
        (["limits", "nobody"], "no account `nobody`"),
        (["limits", "shop", "--images-per-day", "many"], "no whole number from 1"),
        (["limits", "shop", "--images-per-day", "0"], "no whole number from 1"),
        (["limits", "shop", "--stored-bytes", "-1"], "--stored-bytes"),
        (["limits", "shop", "--calls-per-second", "2147483648"], "2,147,483,647"),
        (["destroy"], "destroy"),
        ([], "create|list|rotate|revoke|limits"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run: Run, arguments: list[str], why: str) -> None:
    status, lines, explained = run(*arguments)
    assert (status, lines) == (2, [])
    assert explained.startswith("halftone: ")
    assert why in explained
    assert explained.count("\n") == 1


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "cannot be reached"),
    ],
)
def test_a_database_that_is_away_is_said_in_one_line(env: dict[str, str], why: str) -> None:
    command = [sys.executable, "-m", "services.ingest.keys", "list"]
    known = {"PATH": os.defpath} | env
    done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_key_that_ended_is_not_rotated(run: Run, database: Database) -> None:
    key: Key = add_key(database, add_account(database), expires_in=-1)
    status, _, explained = run("rotate", key.id)
    assert (status, explained) == (2, "halftone: This key is expired or revoked; create a new one.\n")


def test_the_limits_of_an_account_are_set_and_printed(run: Run, database: Database) -> None:
    run("create", "shop")
    status, lines, _ = run("limits", "shop", "--images-per-day", "1_000_000", "--calls-per-second", "5")
    assert (status, lines[0].split(), lines[3].split()) == (0, ["calls_per_second", "5"], ["images_per_day", "1000000"])
    assert lines[4].split() == ["stored_bytes", "default"]
    own = json.loads(run("limits", "shop", "--calls-per-second", "default", "--json")[1][0])
    assert (own["calls_per_second"], own["images_per_day"]) == (None, 1_000_000)
    assert run("limits", "shop")[0] == 0  # reads only, and is on no record
    audit = sql(database, "SELECT actor, detail FROM audit_entry WHERE action = 'limits.changed' ORDER BY id")
    changes = [{"images_per_day": 1_000_000, "calls_per_second": 5}, {"calls_per_second": None}]
    assert [(row["actor"], row["detail"]) for row in audit] == [("cli", change) for change in changes]


def test_make_key_on_the_running_stack(servers: Stack) -> None:
    made = servers.command("keys", "create", "local-shop")
    assert made.returncode == 0, made.stderr
    assert KEY.fullmatch(made.stdout.splitlines()[-1])
    assert made.stdout[:15] in servers.command("keys", "list").stdout
    assert servers.command("keys", "revoke", made.stdout.strip()).returncode == 0
    with psycopg.connect(servers.database_url) as connection:  # the template of all others
        connection.execute("DELETE FROM account WHERE name = 'local-shop'")


def test_make_key_says_that_the_stack_must_run(tmp_path: object) -> None:
    env = {"PATH": os.defpath, "HALFTONE_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "deploy.local", "keys", "create", "shop"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "halftone: not running; start it with make run, or set DATABASE_URL\n"
