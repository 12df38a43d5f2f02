"""Quotas of an account, decided by the database in the transaction that accepts."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.ingest import changes
from services.ingest.accounts.quotas import set_limits
from services.ingest.app import create
from services.ingest.settings import IngestSettings
from shared.db import Database
from shared.http.problems import Problem
from shared.schemas.accounts import DEFAULT_ACCOUNT, Limits
from shared.usage import Usage, usage
from tests.integration.ingest.conftest import Sql
from tests.integration.ingest.test_accept import CSV, post_csv
from tests.serving import serving
from tests.stack import until

IMAGES = 2
"""Of CSV."""


def limit(database: Database, **limits: int) -> None:
    database.transact(lambda session: set_limits(session, DEFAULT_ACCOUNT, Limits(**limits)))


def used(database: Database) -> Usage:
    return database.transact(lambda session: usage(session, DEFAULT_ACCOUNT))


def used_up(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (429, "quota_used_up"), body
    return body | {"after": int(answer.headers["retry-after"])}


def finish(sql: Sql, *, failed: int = 0, rendition_bytes: int = 0) -> None:
    sql("UPDATE image SET state = 'failed', error_code = 'timeout' WHERE number <= %(failed)s", failed=failed)
    sql("UPDATE image_group SET state = 'settled', failed = %(failed)s, completed = images - %(failed)s", failed=failed)
    sql(
        """
        UPDATE processing_request SET status = 'completed', completed = images - %(failed)s, failed = %(failed)s,
               finished_at = now(), open_groups = 0, rendition_bytes = %(bytes)s WHERE finished_at IS NULL
        """,
        failed=failed,
        bytes=rendition_bytes,
    )


def test_of_fifty_uploads_at_once_as_many_are_accepted_as_may_be_open(
    settings: IngestSettings, database: Database, sql: Sql
) -> None:
    limit(database, open_requests=10)
    app = create(settings.model_copy(update={"http_at_once": 300, "database_pool": 30}))
    with (
        serving(app) as address,
        ThreadPoolExecutor(50) as threads,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        answers = list(threads.map(lambda _: post_csv(client), range(50)))
    assert sorted(answer.status_code for answer in answers) == [202] * 10 + [429] * 40
    assert sql("SELECT count(*) AS n FROM processing_request") == [{"n": 10}]
    assert sql("SELECT images FROM account_usage") == [{"images": 10 * IMAGES}]


def test_a_finished_request_makes_room_for_another(client: httpx.Client, database: Database, sql: Sql) -> None:
    limit(database, open_requests=1)
    assert post_csv(client).status_code == 202
    refused = used_up(post_csv(client))
    assert (refused["quota"], refused["limit"], refused["used"], refused["after"]) == ("open_requests", 1, 1, 60)
    assert "has 1 unfinished requests and may have 1" in refused["detail"]
    finish(sql)
    assert post_csv(client).status_code == 202


def test_images_of_a_day_are_used_up_until_the_next(client: httpx.Client, database: Database, sql: Sql) -> None:
    limit(database, images_per_day=2 * IMAGES - 1)
    assert post_csv(client).status_code == 202
    refused = used_up(post_csv(client))
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    assert (refused["quota"], refused["limit"], refused["used"]) == ("images_per_day", 3, 2)
    assert f"renews at {midnight:%Y-%m-%dT%H:%M:%SZ}" in refused["detail"]
    assert abs(refused["after"] - (midnight - datetime.now(UTC)).total_seconds()) < 60
    sql("UPDATE account_usage SET day = day - 1")
    assert post_csv(client).status_code == 202


def test_a_refused_upload_stores_nothing_and_is_not_charged(client: httpx.Client, database: Database, sql: Sql) -> None:
    limit(database, images_per_day=1)
    used_up(post_csv(client))
    assert sql("SELECT count(*) AS n FROM image") == [{"n": 0}]
    assert used(database).images_today == 0


def test_the_answer_stored_for_an_idempotency_key_is_not_charged(client: httpx.Client, database: Database) -> None:
    limit(database, images_per_day=IMAGES, open_requests=1)
    for _ in range(2):
        answer = client.post("/v1/requests", files={"file": ("a.csv", CSV)}, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 202
    assert used(database).images_today == IMAGES


def test_a_retry_is_charged_with_what_it_tries_again(client: httpx.Client, database: Database, sql: Sql) -> None:
    path = f"/v1/requests/{post_csv(client).json()['request_id']}/retry"
    finish(sql, failed=1)
    limit(database, images_per_day=IMAGES)
    assert used_up(client.post(path))["quota"] == "images_per_day"
    assert sql("SELECT status, run FROM processing_request") == [{"status": "completed", "run": 1}]
    limit(database, images_per_day=IMAGES + 1)
    assert client.post(path).status_code == 202
    assert used(database).images_today == IMAGES + 1


def test_a_retry_beyond_a_quota_is_refused_before_its_work(
    client: httpx.Client, database: Database, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = UUID(post_csv(client).json()["request_id"])
    finish(sql, failed=1)
    reopened = list[UUID]()
    monkeypatch.setattr(changes, "_reopen_groups", lambda _, request_id: reopened.append(request_id))

    with pytest.raises(Problem) as refused:
        database.transact(
            lambda session: changes.retry(
                session,
                DEFAULT_ACCOUNT,
                request_id,
                deadline=timedelta(days=1),
                limits=Limits(images_per_day=IMAGES),
            )
        )

    assert refused.value.code == "quota_used_up"
    assert reopened == []


def test_stored_bytes_follow_the_end_the_retry_and_the_deletion_of_requests(
    client: httpx.Client, database: Database, sql: Sql
) -> None:
    limit(database, stored_bytes=1000)
    first = post_csv(client).json()["request_id"]
    second = post_csv(client).json()["request_id"]
    assert used(database).stored_bytes == 0
    sql("UPDATE processing_request SET rendition_bytes = 300 WHERE id = %(id)s", id=first)  # it runs still
    assert used(database).stored_bytes == 300
    finish(sql, failed=1, rendition_bytes=500)
    assert used(database).stored_bytes == 1000
    refused = used_up(post_csv(client))
    assert (refused["quota"], refused["limit"], refused["used"]) == ("stored_bytes", 1000, 1000)

    assert client.delete(f"/v1/requests/{second}").status_code == 204
    assert used(database).stored_bytes == 500
    assert client.post(f"/v1/requests/{first}/retry").status_code == 202
    assert (used(database).stored_bytes, kept(sql)) == (500, 0)
    finish(sql, rendition_bytes=700)
    assert (used(database).stored_bytes, kept(sql)) == (700, 700)
    assert client.delete(f"/v1/requests/{first}").status_code == 204
    assert (used(database).stored_bytes, kept(sql)) == (0, 0)


def kept(sql: Sql) -> int:
    [row] = sql("SELECT kept_bytes FROM account WHERE name = 'default'")
    found: int = row["kept_bytes"]
    return found


def test_the_older_contracts_answer_429_too(client: httpx.Client, database: Database) -> None:
    limit(database, images_per_day=1)
    for path in ("/upload", "/api/upload-csv/"):
        used_up(client.post(path, files={"file": ("a.csv", CSV)}))


def test_an_upload_is_counted_under_the_lock_of_its_account(client: httpx.Client, database: Database, sql: Sql) -> None:
    """It stores its rows without the lock, and waits only for the end."""
    limit(database, open_requests=1)
    answers = list[httpx.Response]()
    upload = Thread(target=lambda: answers.append(post_csv(client)))
    with database.engine.begin() as other:
        other.exec_driver_sql("SELECT 1 FROM account FOR NO KEY UPDATE")
        upload.start()
        until(
            lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%calls_per%%'")
        )
        assert not answers
    upload.join()
    assert answers[0].status_code == 202
