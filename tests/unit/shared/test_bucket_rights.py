"""The policies of deploy/bucket-policies.json: each service may do what it does, and nothing else."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import boto3  # type: ignore[import-untyped]
import httpx
import pytest

from shared.blobs import Access, BlobMissing, Blobs, connect, output_key, source_key
from shared.blobs.store import STORE_ID
from shared.errors import StorageError
from tests.bucket import BUCKET, REGION, Bucket
from tests.stack import ROOT

POLICIES = json.loads((ROOT / "deploy/bucket-policies.json").read_text())
REQUEST = uuid4()
SOURCE, OUT = source_key(REQUEST, "a" * 64), output_key(REQUEST, "b" * 64, "jpg")
ACTS: dict[str, Callable[[Blobs], object]] = {
    "start": lambda blobs: blobs.check(),
    "put": lambda blobs: blobs.put(OUT, b"x"),
    "get": lambda blobs: blobs.get(SOURCE),
    "size": lambda blobs: blobs.size(OUT),
    "folders": lambda blobs: list(blobs.folders()),
    "changed": lambda blobs: blobs.changed_at(str(REQUEST)),
    "delete": lambda blobs: blobs.delete(OUT),
    "delete all": lambda blobs: blobs.delete_prefix(str(REQUEST)),
}
NEEDS = {
    "worker": set(ACTS),
    "notifier": {"start", "folders", "changed", "delete", "delete all"},
    "ingest": {"start", "folders", "changed", "delete", "delete all"},
    "status": {"start", "get", "size", "folders", "changed"},
}


@pytest.fixture
def moto(bucket: Bucket) -> str:
    """The address of the server itself, which judges signatures and rights once a test has set these up."""
    return f"http://127.0.0.1:{bucket.server_port}"


@pytest.mark.parametrize("service", POLICIES)
def test_a_service_may_do_what_it_does_and_nothing_else(service: str, moto: str, bucket: Bucket) -> None:
    for key in (STORE_ID, SOURCE, OUT):
        bucket.connect().put(key, b"x")
    access = _key_with(moto, POLICIES[service])
    try:
        httpx.post(f"{moto}/moto-api/reset-auth", content="0").raise_for_status()
        blobs = connect(f"s3://{BUCKET}", access)
        allowed = {name for name, act in ACTS.items() if _is_allowed(blobs, act)}
    finally:
        httpx.post(f"{moto}/moto-api/reset-auth", content="inf").raise_for_status()
    assert allowed == NEEDS[service]


def _is_allowed(blobs: Blobs, act: Callable[[Blobs], object]) -> bool:
    try:
        act(blobs)
    except BlobMissing:
        return True
    except StorageError:
        return False
    return True


def _key_with(moto: str, policy: dict[str, Any]) -> Access:
    """Of a new user who has this policy alone."""
    # moto judges the deletion of several by the bucket, S3 by each object.
    also = [{"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{BUCKET}"}]
    statements = policy["Statement"] + (also if "s3:DeleteObject" in json.dumps(policy) else [])
    document = json.dumps(policy | {"Statement": statements})
    iam = boto3.client("iam", endpoint_url=moto, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    name = f"user-{uuid4()}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Access(
        key_id=key["AccessKeyId"], secret=key["SecretAccessKey"], region=REGION, endpoint=moto, allow_http=True
    )
