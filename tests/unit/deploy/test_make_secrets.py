"""The secrets of docker-compose.yml: made once, kept, and each container's in a folder of its own."""

import os
from pathlib import Path

import pytest

from deploy.make_secrets import BUCKET_KEY, OWN_BUCKET, PASSWORDS, SERVICES, keep

CONTAINERS = ("migrate", "postgres", "valkey", "bucket", *SERVICES)
OUTSIDE = {
    "DATABASE_URL": "postgresql://me:mine@db.example/shop?sslmode=require",
    "REDIS_URL": "rediss://valkey.example/0",
}

OWN = {"AWS_ENDPOINT_URL": OWN_BUCKET}
GIVEN = {"AWS_ACCESS_KEY_ID": "AKIAGIVEN", "AWS_SECRET_ACCESS_KEY": "given/secret+="}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in CONTAINERS:
        (tmp_path / name).mkdir()
    return tmp_path


def _read(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_passwords_are_made_once_and_kept(folder: Path, tmp_path: Path) -> None:
    keep({}, folder)
    first = _read(folder)
    keep({}, folder)
    assert _read(folder) == first
    assert first["migrate/HALFTONE_WEBHOOK_SECRET"] == ""
    assert len({value for name, value in first.items() if name.endswith(("PASSWORD", "operator"))}) == len(PASSWORDS)


def test_each_container_has_its_own_files_and_may_read_them(folder: Path) -> None:
    keep({}, folder)
    files = _read(folder)
    passwords = {variable: files[f"migrate/{variable}"] for name, variable in PASSWORDS.items() if name in SERVICES}
    for name in SERVICES:
        own = "".join(value for file, value in files.items() if file.startswith(f"{name}/"))
        assert {variable for variable, value in passwords.items() if value in own} == {PASSWORDS[name]}
        assert files[f"{name}/DATABASE_URL"].startswith(f"postgresql://halftone_{name}:")
    assert all(file.stat().st_mode & 0o777 == 0o444 for file in folder.rglob("*") if file.is_file())


def test_a_password_that_is_given_replaces_the_kept_one_alone(folder: Path) -> None:
    keep({}, folder)
    first = _read(folder)
    keep({"HALFTONE_STATUS_PASSWORD": "another"}, folder)
    changed = {name for name, value in _read(folder).items() if value != first[name]}
    assert changed == {
        "migrate/HALFTONE_STATUS_PASSWORD",
        "status/DATABASE_URL",
        "status/REDIS_URL",
        "valkey/users.acl",
    }
    assert "user status on >another " in _read(folder)["valkey/users.acl"]


def test_servers_outside_are_used_by_all_and_those_inside_still_start(folder: Path) -> None:
    keep(OUTSIDE, folder)
    files = _read(folder)
    assert files["migrate/DATABASE_URL"] == OUTSIDE["DATABASE_URL"]
    own = files["migrate/HALFTONE_WORKER_PASSWORD"]
    assert files["worker/DATABASE_URL"] == f"postgresql://shop_worker:{own}@db.example/shop?sslmode=require"
    assert files["worker/REDIS_URL"] == OUTSIDE["REDIS_URL"]
    assert files["postgres/POSTGRES_PASSWORD"]
    assert files["valkey/users.acl"]


def test_a_password_that_would_break_an_address_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="HALFTONE_STATUS_PASSWORD"):
        keep({"HALFTONE_STATUS_PASSWORD": "a@b"}, folder)
    assert _read(folder) == {}


@pytest.mark.parametrize(
    "owner",
    [
        "postgresql://me:mi/ne@db.example/shop",
        "postgresql://me:mi?ne@db.example/shop",
        "postgresql://me:mi#ne@db.example/shop",
        "postgresql://me:mi@ne@db.example/shop",
        "postgresql://me:[mine]@db.example/shop",
        "postgresql://db.example/shop?user=me&password=mine",
        "postgresql://me@db.example/shop?sslmode=require&p%61ssword=mine",
        "postgresql://me:mine@db.example",
        "postgresql://me:mine@db.example/shop\n",
        "mysql://me:mine@db.example/shop",
    ],
)
def test_an_address_that_could_leave_the_owners_login_with_a_service_is_refused(folder: Path, owner: str) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL: must be postgresql://") as refused:
        keep({"DATABASE_URL": owner}, folder)
    assert "ne@" not in str(refused.value)
    assert _read(folder) == {}


@pytest.mark.parametrize(
    ("owner", "of_status"),
    [
        ("postgresql://me:p%40s%2Fs@db.example:5433/shop", "postgresql://shop_status:PASSWORD@db.example:5433/shop"),
        ("postgres://me@[::1]/shop", "postgres://shop_status:PASSWORD@[::1]/shop"),
        ("postgresql+psycopg://me:\u00fc$'\"@/a?host=/run", "postgresql+psycopg://a_status:PASSWORD@/a?host=/run"),
    ],
)
def test_a_service_has_its_own_login_at_the_owners_database(folder: Path, owner: str, of_status: str) -> None:
    keep({"DATABASE_URL": owner, "HALFTONE_STATUS_PASSWORD": "PASSWORD"}, folder)
    assert _read(folder)["status/DATABASE_URL"] == of_status


def test_a_start_that_was_broken_off_is_made_up_for(folder: Path, tmp_path: Path) -> None:
    """What it left is replaced, not written to: a file of the mode 0444 may not be, by a root without capabilities."""
    other = tmp_path / "other"
    other.write_text("left")
    (folder / "migrate" / ".DATABASE_URL").hardlink_to(other)
    keep({}, folder)
    assert other.read_text() == "left"
    assert not [name for name in _read(folder) if "/." in name]


def test_a_password_is_on_the_disk_before_anyone_reads_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = list[int]()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    keep({}, folder)
    assert {file.stat().st_ino for file in folder.rglob("*") if file.is_file()} <= {*synced}


def _keys(folder: Path) -> dict[str, tuple[str, ...]]:
    files = _read(folder)
    readers = {name.partition("/")[0] for name in files if name.endswith(BUCKET_KEY)}
    return {reader: tuple(files[f"{reader}/{name}"] for name in BUCKET_KEY) for reader in readers}


def test_the_bucket_inside_has_a_key_that_is_made_once_and_that_all_services_share(folder: Path) -> None:
    keep(OWN, folder)
    first = _keys(folder)
    assert first.keys() == {"bucket", *SERVICES}
    ((key_id, secret),) = set(first.values())
    assert key_id
    assert len(secret) >= 40
    keep(OWN, folder)
    assert _keys(folder) == first


def test_a_key_that_is_given_replaces_that_of_the_bucket_inside_and_stays(folder: Path) -> None:
    keep(OWN, folder)
    keep(OWN | GIVEN, folder)
    assert set(_keys(folder).values()) == {tuple(GIVEN.values())}
    keep(OWN, folder)
    assert set(_keys(folder).values()) == {tuple(GIVEN.values())}


def test_the_key_of_a_bucket_elsewhere_reaches_the_services_alone(folder: Path) -> None:
    keep(OWN, folder)
    own = _keys(folder)["bucket"]
    keep({"AWS_ENDPOINT_URL": "https://s3.example"} | GIVEN, folder)
    assert _keys(folder) == {"bucket": own} | dict.fromkeys(SERVICES, tuple(GIVEN.values()))


def test_a_bucket_elsewhere_without_a_key_gets_no_key(folder: Path) -> None:
    """A role of the machine stands for it."""
    keep({"AWS_ENDPOINT_URL": ""}, folder)
    assert _keys(folder) == dict.fromkeys(SERVICES, ("", ""))
