"""A secret may be given in a file, by NAME_FILE; never in both ways, and the error says what is wrong."""

from pathlib import Path
from uuid import UUID

import pytest

from deploy.migrations.settings import MigrationSettings
from services.status.settings import StatusSettings
from shared.blobs import connect, output_key
from shared.blobs.configured import access_of
from shared.secret_files import secrets_from_files
from shared.settings import BucketSettings, from_environment

DATABASE = "postgresql://halftone:secret@127.0.0.1:5432/halftone"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that DATABASE_URL_FILE names."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    file = tmp_path / "DATABASE_URL"
    file.write_text(f"{DATABASE}\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    return file


def test_a_service_reads_its_addresses_from_files(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = given.with_name("REDIS_URL")
    redis.write_text("redis://status:own@valkey:6379/0")
    monkeypatch.setenv("REDIS_URL_FILE", str(redis))
    settings = from_environment(StatusSettings)
    assert (settings.database_url, settings.redis_url) == (DATABASE, "redis://status:own@valkey:6379/0")


def test_the_migrations_read_passwords_and_the_signing_secret_from_files(
    given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HALFTONE_STATUS_PASSWORD", "of-status"), ("HALFTONE_WEBHOOK_SECRET", SIGNING)):
        given.with_name(name).write_text(value)
        monkeypatch.setenv(f"{name}_FILE", str(given.with_name(name)))
    settings = from_environment(MigrationSettings)
    assert (settings.passwords, settings.webhook_secret) == ({"status": "of-status"}, SIGNING)


@pytest.mark.parametrize("empty", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_one_that_is_set_to_nothing_is_not_set(given: Path, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    monkeypatch.setenv("DATABASE_URL_FILE", str(given))
    monkeypatch.setenv(empty, "")
    assert from_environment(StatusSettings).database_url == DATABASE


@pytest.mark.parametrize(
    ("content", "both", "said"),
    [
        (DATABASE, "yes", "DATABASE_URL: DATABASE_URL_FILE is set too, and only one of them may be"),
        (None, "", "DATABASE_URL_FILE: the file cannot be read (FileNotFoundError)"),
        (" \n", "", "DATABASE_URL: Field required"),
        ("mysql://secret", "", "DATABASE_URL: must be postgresql://user:password@host:port/database"),
    ],
)
def test_what_is_wrong_is_one_line_without_the_secret(
    given: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    both: str,
    said: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", both and DATABASE)
    if content is None:
        given.unlink()
    else:
        given.write_text(content)
    with pytest.raises(SystemExit) as ended:
        from_environment(StatusSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"halftone: {said}\n"


def test_files_of_other_programs_are_left_alone() -> None:
    others = {"AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere"}
    assert secrets_from_files(others) == {}


def test_a_bucket_s_keys_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("minio\n")
    assert secrets_from_files({"AWS_SECRET_ACCESS_KEY_FILE": str(tmp_path / "key")}) == {
        "AWS_SECRET_ACCESS_KEY": "minio"
    }


def test_a_bucket_is_opened_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "of-the-file"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        (tmp_path / name).write_text(f"{value}\n")
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    key = output_key(UUID(int=1), "0" * 64, "jpg")
    signed = connect("s3://bucket", access_of(BucketSettings())).signed_url(key, seconds=60)
    assert signed is not None
    assert "X-Amz-Credential=of-the-file%2F" in signed
