"""A bucket at a real S3-speaking server: what each call costs, what is repeated, and what a person is told."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from shared.blobs import Access, BlobMissing, Blobs, StoreRefused, connect, output_key, source_key
from shared.blobs.configured import access_of, open_store
from shared.blobs.copy import create_bucket
from shared.errors import StorageError
from shared.settings import Settings, from_environment
from tests.bucket import INTERNAL, SLOW_DOWN, Bucket, Fault

REQUEST = uuid4()
KEY = source_key(REQUEST, "a" * 64)
OUT = output_key(REQUEST, "b" * 64, "jpg")


@pytest.fixture
def blobs(bucket: Bucket) -> Blobs:
    return bucket.connect()


def test_an_image_costs_two_puts_and_a_get(bucket: Bucket, blobs: Blobs) -> None:
    large = os.urandom(12_000_000)  # more than obstore sends in one part, if it may send parts
    blobs.put(KEY, large, durable=False)
    with blobs.open(KEY) as source:
        assert source.read() == large
    with blobs.batch() as put:
        put(OUT, b"rendition")
    assert bucket.count == {"PutObject": 2, "GetObject": 1}


def test_a_deletion_in_pages_of_a_thousand_that_was_broken_off_goes_on_where_it_was(
    bucket: Bucket, blobs: Blobs
) -> None:
    fill(blobs, 2_050)
    bucket.faults.append(Fault("DeleteObjects", error=(403, "AccessDenied"), after=1))
    with pytest.raises(StorageError):
        blobs.delete_prefix(str(REQUEST))
    assert len(list(blobs.keys(str(REQUEST)))) == 1_050
    bucket.calls.clear()
    blobs.delete_prefix(str(REQUEST))
    assert bucket.count == {"ListObjects": 2, "DeleteObjects": 2}
    assert list(blobs.folders()) == []


@pytest.mark.parametrize("error", [SLOW_DOWN, INTERNAL])
def test_a_call_that_the_server_could_not_answer_now_is_repeated(
    bucket: Bucket, blobs: Blobs, error: tuple[int, str]
) -> None:
    operations = ("PutObject", "GetObject", "HeadObject", "ListObjects", "DeleteObjects")
    bucket.faults += [Fault(operation, error=error, times=2) for operation in operations]
    blobs.put(KEY, b"picture")
    assert (blobs.get(KEY), blobs.size(KEY)) == (b"picture", 7)
    blobs.delete_prefix(str(REQUEST))
    assert list(blobs.keys(str(REQUEST))) == []
    assert all(bucket.count[operation] >= 3 for operation in operations)


def test_a_put_whose_answer_was_lost_is_repeated_and_gives_the_same_blob(bucket: Bucket, blobs: Blobs) -> None:
    bucket.faults.append(Fault("PutObject", lost=True, times=2))
    blobs.put(OUT, b"rendition")
    assert bucket.count == {"PutObject": 3}
    assert (blobs.get(OUT), [key for key, _ in blobs.keys(str(REQUEST))]) == (b"rendition", [OUT])


def test_a_bucket_that_never_answers_is_given_up_and_a_late_answer_is_asked_for_again(bucket: Bucket) -> None:
    blobs = bucket.connect(answer_seconds=0.3)
    bucket.faults.append(Fault("GetObject", seconds=1.0, times=100))
    with pytest.raises(StorageError):
        blobs.get(OUT)
    patient = bucket.connect(answer_seconds=2.0)
    bucket.faults[:] = [Fault("GetObject", seconds=4.0)]
    with pytest.raises(BlobMissing):
        patient.get(OUT)


def test_a_rendition_is_served_from_the_bucket_as_what_it_is(bucket: Bucket, blobs: Blobs) -> None:
    blobs.put(OUT, b"rendition")
    url = blobs.signed_url(OUT, seconds=60)
    assert url is not None
    assert url.startswith(f"{bucket.public_endpoint}/")
    answer = httpx.get(url, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"ndi")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert httpx.get(url.replace("localhost", "127.0.0.1")).status_code == 403
    bucket.clock = timedelta(seconds=61)
    assert httpx.get(url).status_code == 403


def wrong_key(bucket: Bucket) -> Blobs:
    return bucket.connect(key_id="nobody")


def wrong_secret(bucket: Bucket) -> Blobs:
    return bucket.connect(secret="wrong")


def no_bucket(bucket: Bucket) -> Blobs:
    return bucket.connect("s3://elsewhere/folder")


def skewed(bucket: Bucket) -> Blobs:
    bucket.clock = timedelta(hours=1)
    return bucket.connect()


@pytest.mark.parametrize(
    ("connected", "reason"),
    [
        (wrong_key, "does not know the access key in AWS_ACCESS_KEY_ID"),
        (wrong_secret, "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID"),
        (no_bucket, "there is no such bucket"),
        (skewed, "clocks of this machine and of its server differ"),
    ],
)
def test_what_only_a_person_can_put_right_is_one_sentence(
    bucket: Bucket, connected: Callable[[Bucket], Blobs], reason: str
) -> None:
    blobs = connected(bucket)
    for call in (blobs.check, lambda: blobs.put(KEY, b"x"), lambda: blobs.get(KEY)):
        with pytest.raises(StoreRefused, match=reason) as refused:
            call()
        assert "\n" not in str(refused.value)


@pytest.fixture
def settings(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """What a service reads from its environment, with a change."""

    def read(**change: str) -> Settings:
        addresses = {"BLOB_URL": "s3://halftone", "DATABASE_URL": "postgresql://db.test/x"}
        for name, value in (bucket.env | addresses | change).items():
            monkeypatch.setenv(name, value)
        return from_environment(Settings)

    return read


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID."),
        ({"HALFTONE_BLOB_FALLBACK_URL": "s3://nowhere"}, "s3://nowhere: there is no such bucket"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed both, or neither"),
    ],
)
def test_a_service_that_its_bucket_refuses_ends_with_one_sentence(
    settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str], change: dict[str, str], reason: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        open_store(settings(**change))
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert reason in said


def test_a_service_starts_while_its_bucket_is_away(bucket: Bucket, settings: Callable[..., Settings]) -> None:
    bucket.faults.append(Fault("GetObject", error=SLOW_DOWN, times=100))
    blobs = open_store(settings(), answer_seconds=0.2)
    bucket.faults.clear()
    blobs.put(OUT, b"x")


def test_plain_http_is_used_only_where_it_was_asked_for(bucket: Bucket) -> None:
    with pytest.raises(StoreRefused, match="set AWS_ALLOW_HTTP=true"):
        bucket.connect(allow_http=False).check()


@pytest.mark.parametrize(
    ("host", "near"), [("s3", True), ("minio.example", False), ("10.0.0.5", False), ("[fd00::5]", False)]
)
def test_plain_http_needs_no_word_within_one_s_own_network(
    settings: Callable[..., Settings], host: str, *, near: bool
) -> None:
    given = settings(AWS_ALLOW_HTTP="", AWS_ENDPOINT_URL=f"http://{host}:7070")
    assert access_of(given).allow_http is near


def test_empty_variables_are_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the containers all are there, and most are empty."""
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "")
    signed = connect("s3://halftone", Access(key_id="id", secret="x")).signed_url("key", seconds=1)
    assert str(signed).startswith("https://s3.us-east-1.amazonaws.com/halftone/key?")


def test_a_bucket_that_is_there_is_made_again_without_harm(bucket: Bucket, blobs: Blobs) -> None:
    blobs.put(OUT, b"x")
    create_bucket(blobs)
    assert blobs.get(OUT) == b"x"


def test_a_bucket_has_no_room_to_tell(blobs: Blobs) -> None:
    assert blobs.room() is None


def fill(blobs: Blobs, count: int) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: blobs.put(f"{REQUEST}/out/{number}.jpg", b"x"), range(count)))
