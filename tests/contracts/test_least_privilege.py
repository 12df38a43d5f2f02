"""Each service may do in PostgreSQL and Valkey what it needs, and no more."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import make_url
from sqlmodel import SQLModel

import shared.schemas.tables  # noqa: F401 - fills SQLModel.metadata
from deploy.local.data_dir import DataDir
from deploy.local.logins import OF_MIGRATIONS
from deploy.local.processes import Processes
from deploy.local.settings import LocalSettings
from deploy.local.valkey import USERS, password
from deploy.migrations.roles import GRANTS, role_of
from shared.schema_version import is_migrated
from tests.stack import Stack

TABLES = {*SQLModel.metadata.tables, "alembic_version"}
SERVICES = sorted(GRANTS)

each_service = pytest.mark.parametrize("service", SERVICES)


def login(servers: Stack, service: str) -> "psycopg.Connection[tuple[object, ...]]":
    """As the service itself does, over the network with its own password."""
    url = make_url(servers.database_url)
    own = url.set(username=role_of(service, str(url.database)), password=secret(servers, service))
    return psycopg.connect(own.render_as_string(hide_password=False), autocommit=True)


def secret(servers: Stack, service: str) -> str:
    return DataDir(servers.data_dir).secret(f"postgres-{service}")


@each_service
def test_the_grants_name_tables_that_exist(service: str) -> None:
    assert GRANTS[service].keys() <= TABLES


@each_service
def test_a_role_has_its_grants_and_nothing_else(servers: Stack, service: str) -> None:
    rights = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    with login(servers, service) as connection:
        for table in TABLES:
            granted = GRANTS[service].get(table, "")
            for right in rights:
                holds = connection.execute("SELECT has_table_privilege(%s, %s)", [table, right]).fetchone()
                assert holds == (right in granted.replace("UPDATE (last_used_at)", "").split(", "),), (table, right)


@each_service
def test_a_role_owns_nothing_and_makes_nothing(servers: Stack, service: str) -> None:
    with login(servers, service) as connection:
        role = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(role).fetchone() == (False, False, False, False)
        owned = "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = current_user"
        assert connection.execute(owned).fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (id int)")


@each_service
def test_no_role_can_run_code_of_its_own_as_the_owner(servers: Stack, service: str) -> None:
    """By a trigger function with the owner's rights on a table of its own, beside a table `account` of its own."""
    definers = "SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef AND has_function_privilege(oid, 'EXECUTE')"
    with login(servers, service) as connection:
        assert connection.execute(definers).fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TEMPORARY TABLE account (id uuid, kept_bytes bigint)")


@each_service
def test_a_role_sees_whether_the_migrations_have_run(servers: Stack, service: str) -> None:
    with login(servers, service) as connection:
        url = connection.info
        assert is_migrated(f"postgresql://{url.user}:{url.password}@{url.host}:{url.port}/{url.dbname}")


@pytest.mark.parametrize(
    ("service", "statement"),
    [
        ("status", "UPDATE image SET state = 'failed'"),
        ("status", "DELETE FROM processing_request"),
        ("status", "SELECT signing_secret FROM account"),
        ("status", "SELECT previous_secret FROM account"),
        ("ingest", "UPDATE image SET state = 'completed'"),
        ("ingest", "INSERT INTO event (id, request_id, run, type, body) SELECT id, id, 1, '', '' FROM event"),
        ("ingest", "DELETE FROM audit_entry"),
        ("ingest", "UPDATE audit_entry SET actor = 'cli'"),
        ("worker", "SELECT signing_secret FROM account"),
        ("worker", "SELECT digest FROM api_key"),
        ("worker", "DELETE FROM image"),
        ("notifier", "INSERT INTO image (request_id, number, url) SELECT request_id, number, url FROM image"),
        ("notifier", "UPDATE api_key SET revoked_at = NULL"),
        ("notifier", "UPDATE account SET signing_secret = ''"),
    ],
)
def test_what_a_service_must_not_do_is_refused(servers: Stack, service: str, statement: str) -> None:
    with login(servers, service) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.fixture
def valkey_as(servers: Stack) -> Iterator["dict[str, redis.Redis]"]:
    port = make_url(servers.redis_url).port
    data = DataDir(servers.data_dir)
    clients = {
        user: redis.Redis(port=port or 0, username=user, password=password(data, user), decode_responses=True)
        for user in USERS
    }
    yield clients
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("user", [user for user in USERS if user != "operator"])
@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "CONFIG GET *", "ACL LIST", "SHUTDOWN NOSAVE", "GET other", "CLIENT KILL ID 1"],
)
def test_a_service_cannot_administer_valkey(valkey_as: "dict[str, redis.Redis]", user: str, command: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        valkey_as[user].execute_command(*command.split())  # type: ignore[no-untyped-call]


def test_status_cannot_read_or_send_messages_and_ingest_cannot_read_them(
    valkey_as: "dict[str, redis.Redis]",
) -> None:
    for user, command in (
        ("status", ("RPUSH", "halftone:queue:fetch", "x")),
        ("status", ("LRANGE", "halftone:queue:fetch", 0, -1)),
        ("ingest", ("LRANGE", "halftone:queue:fetch", 0, -1)),
        ("ingest", ("GET", "halftone:epoch")),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            valkey_as[user].execute_command(*command)  # type: ignore[no-untyped-call]


def test_without_a_password_valkey_answers_a_ping_and_nothing_else(servers: Stack) -> None:
    with closing(redis.Redis(port=make_url(servers.redis_url).port or 0)) as client:
        assert client.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("halftone:epoch")


def test_a_service_gets_its_own_logins_and_no_other_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFTONE_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    processes = Processes(LocalSettings(), DataDir(tmp_path))
    secrets = {path.stem: path.read_text() for path in tmp_path.glob("*.secret")}
    assert len(secrets) == 1 + len(SERVICES) + len(USERS)
    for spec in processes.services():
        service = spec.name.partition("-")[0]
        shown = " ".join(spec.env.values())
        assert {name for name, value in secrets.items() if value in shown} == {
            f"postgres-{service}",
            f"valkey-{service}",
        }
        assert "whsec_" not in shown


def test_no_process_inherits_a_secret_that_a_person_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HALFTONE_KEY", "HALFTONE_OPERATOR_PASSWORD", "POSTGRES_PASSWORD", *OF_MIGRATIONS):
        monkeypatch.setenv(name, f"secret-of-{name}")
    monkeypatch.setenv("DATABASE_URL", "postgresql://owner:secret-of-owner@db.test/shop")
    monkeypatch.setenv("REDIS_URL", "redis://:secret-of-redis@valkey.test/0")
    processes = Processes(LocalSettings(), DataDir(tmp_path))
    found = {spec.name: set(re.findall(r"secret-of-\w+", " ".join(spec.env.values()))) for spec in processes.services()}
    assert found == {
        spec.name: {f"secret-of-HALFTONE_{spec.name.partition('-')[0].upper()}_PASSWORD", "secret-of-redis"}
        for spec in processes.services()
    }
    assert {name: secret for name, secret in processes.gateway().env.items() if "secret-of" in secret} == {}
