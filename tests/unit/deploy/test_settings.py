"""Wrong settings: one line that names the variable and exit status 2, from each process and before the stack starts."""

import base64
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from deploy.local.preflight import read_settings, why_not
from deploy.local.settings import LocalSettings
from shared.settings import BlobUrl, DatabaseUrl, LogLevel, RedisUrl
from tests.unit.deploy.test_auth import started

WRONG = [
    ("HALFTONE_MAX_IMAGES", "abc"),
    ("HALFTONE_DEADLINE", "soon"),
    ("HALFTONE_DEADLINE", "-P1D"),
    ("REDIS_URL", "nonsense"),
    ("REDIS_URL", "redis://host:port"),
    ("BLOB_URL", "nonsense"),
    ("BLOB_URL", "file://relative/folder"),
    ("BLOB_URL", "s3:///"),
    ("DATABASE_URL", "nonsense"),
    ("DATABASE_URL", "mysql://a/b"),
    ("HALFTONE_LOG_LEVEL", "loud"),
    ("HALFTONE_LOG_FORMAT", "xml"),
    ("HALFTONE_THREADS", "0"),
    ("HALFTONE_FETCH_ALLOW", "foo"),
    ("HALFTONE_FETCH_ALLOW", "127.0.0.1:9000,http://127.0.0.1:9000"),
    ("HALFTONE_FETCH_ALLOW", "127.0.0.1:90000"),
    ("HALFTONE_FETCH_ALLOW", "127.0.0.1:9000,169.254.169.254:80"),
    ("HALFTONE_FETCH_CONTACT", "ask us"),
    ("HALFTONE_FETCH_CONTACT", "https://halftone.example/a)b"),
    ("HALFTONE_SWEEP_SECONDS", "0"),
    ("HALFTONE_FETCH_SECONDS", "601"),
    ("HALFTONE_PUBLIC_URL", "foo"),
    ("HALFTONE_WEBHOOK_SECRET", "abc"),
    ("HALFTONE_WEBHOOK_SECRET", "whsec_" + base64.b64encode(b"x" * 23).decode()),
    ("HALFTONE_PORT", "0"),
]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DatabaseUrl, "postgresql://u:p#a?s[s@db:5432/halftone"),
        (DatabaseUrl, "postgresql:///halftone?host=/run/postgresql"),
        (RedisUrl, "unix:///run/valkey.sock"),
        (RedisUrl, "rediss://user:pass@valkey.example:6380/1"),
        (RedisUrl, "redis://[::1]:6379/0"),
        (BlobUrl, "s3://bucket/folder"),
        (LogLevel, "CRITICAL"),
    ],
)
def test_what_the_libraries_take_is_taken(kind: Any, value: str) -> None:
    assert TypeAdapter(kind).validate_python(value) in (value, value.lower())


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        read_settings()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert line.startswith(f"halftone: {name}: ")


def test_all_that_is_wrong_is_said_at_once_before_anything_starts(tmp_path: Path) -> None:
    wrong = {"HALFTONE_PORT": "x", "HALFTONE_THREADS": "0", "REDIS_URL": "nonsense"}
    status, printed = started("deploy.local", "start", HALFTONE_DATA_DIR=str(tmp_path / "data"), **wrong)
    assert (status, len(printed)) == (2, 3)
    assert {line.split(":")[1] for line in printed} == {f" {name}" for name in wrong}
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "service",
    [
        ("services.worker.__main__",),
        ("services.notifier.__main__",),
        ("uvicorn", "services.ingest.app:create", "--factory"),
        ("uvicorn", "services.status.app:create", "--factory"),
        ("alembic", "-c", "deploy/migrations/alembic.ini", "upgrade", "head"),
    ],
)
def test_each_process_says_it_by_itself_too(service: tuple[str, ...]) -> None:
    status, printed = started(*service, DATABASE_URL="nonsense")
    assert status == 2
    assert [line.split(" must ")[0] for line in printed] == ["halftone: DATABASE_URL:"]


@pytest.mark.parametrize(("bind", "why"), [("192.0.2.1", "no address"), ("nohost.invalid", "nothing has the name")])
def test_an_address_that_is_not_ours_is_not_called_taken(tmp_path: Path, bind: str, why: str) -> None:
    env = {"HALFTONE_BIND": bind, "HALFTONE_AUTH": "off", "HALFTONE_DATA_DIR": str(tmp_path / "data")}
    status, printed = started("deploy.local", "run", **env)
    assert (status, len(printed)) == (2, 1)
    assert printed[0].startswith("halftone: HALFTONE_BIND: ")
    assert why in printed[0]


def test_a_port_for_root_alone_is_not_called_taken() -> None:
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    assert why_not(error, LocalSettings(port=80)).startswith("HALFTONE_PORT: port 80 is not for ordinary users")


def test_a_database_that_refuses_connections_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        unused = server.getsockname()[1]
    env = {"HALFTONE_DATA_DIR": str(tmp_path), "DATABASE_URL": f"postgresql://a:secret@127.0.0.1:{unused}/b"}
    status, printed = started("deploy.local", "run", "--servers-only", REDIS_URL="redis://127.0.0.1:1/0", **env)
    (line,) = (text for text in printed if text.startswith("halftone:"))
    assert status != 0
    assert line.startswith("halftone: DATABASE_URL: ")
    assert "refused" in line
    assert printed[-1] == line
    assert "secret" not in "".join(printed)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a folder of another user")
def test_another_user_s_data_are_left_alone_in_one_line(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    for command in ("run", "start"):
        status, printed = started("deploy.local", command, HALFTONE_DATA_DIR=str(tmp_path))
        assert (status, len(printed)) == (2, 1)
        assert printed[0].startswith("halftone: HALFTONE_DATA_DIR: ")
        assert "belongs to" in printed[0]
    assert list(tmp_path.iterdir()) == []


def test_a_redis_that_is_away_is_a_warning(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that nothing is started after all
        port = str(taken.getsockname()[1])
        env = {"HALFTONE_DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0", "HALFTONE_PORT": port}
        status, printed = started("deploy.local", "start", **env)
    assert status == 1
    (warning,) = (line for line in printed if "REDIS_URL" in line)
    assert "halftone: warning: REDIS_URL: " in warning
    assert "already taken" in printed[-2]  # not because of Redis
