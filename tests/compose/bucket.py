"""`python -m tests.compose.bucket`: the containers with `--profile s3`, one journey with a key and blobs in the bucket.

moto stands in for the image of the S3 server (tests/compose/bucket.yml).
"""

import json
import sys
import tempfile
from http import HTTPStatus
from itertools import islice
from pathlib import Path

import httpx

from tests.api import ApiError, Client
from tests.compose import __main__ as containers
from tests.compose.__main__ import Compose, Failed, build, draw_pictures, find_engine, journey, new_key

PORT = 18_381
LOOKED_AT = 40
PUBLIC = f"http://127.0.0.1:{PORT}"
SETTINGS = {
    "COMPOSE_FILE": ":".join((*containers.FILES, "tests/compose/bucket.yml")),
    "COMPOSE_PROFILES": "s3",
    "BLOB_URL": "s3://halftone",
    "AWS_ACCESS_KEY_ID": "halftone",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket",
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL": "http://s3:7070",
    "AWS_ALLOW_HTTP": "true",
    "HALFTONE_BUCKET_PORT": str(PORT),
    "HALFTONE_BLOB_PUBLIC_ENDPOINT": PUBLIC,
}


def in_the_bucket(compose: Compose, key: str) -> None:
    """Each rendition is redirected to the bucket, and the volume holds none."""
    client = Client(containers.BASE_URL, key=key)
    request = next(client.items("/v1/requests"))
    images = list(islice(client.items(f"/v1/requests/{request['request_id']}/images"), LOOKED_AT))
    for image in images:
        answer = httpx.get(image["output_url"], follow_redirects=True)
        if answer.status_code != HTTPStatus.OK or not str(answer.url).startswith(PUBLIC):
            raise Failed(f"{image['output_url']} gave {answer.status_code} from {answer.url.host}")
    in_volume = compose("exec", "-T", "worker", "ls", "/var/lib/halftone/blobs", capture=True).split()
    if in_volume:
        raise Failed(f"the volume holds {in_volume}")
    print(f"{len(images)} renditions came from the bucket, none is in the volume")


def main() -> int:
    """Up, one journey, down; the exit status."""
    try:
        engine = find_engine()
        with tempfile.TemporaryDirectory() as folder:
            draw_pictures(Path(folder))
            compose = Compose(engine.env, folder)
            compose.env |= SETTINGS
            _try_out(compose, with_tools=engine.tools)
    except (Failed, ApiError, OSError) as failure:
        print(f"compose-test: {failure}", file=sys.stderr)
        return 1
    print("compose-test: all good with a bucket")
    return 0


def _try_out(compose: Compose, *, with_tools: bool) -> None:
    files_from = json.loads(compose("config", "--format", "json", capture=True))["services"]["gateway"]["environment"]
    if files_from["HALFTONE_FILES_FROM"] != "status":
        raise Failed("the gateway would serve files from the disk")
    build(compose, with_tools=with_tools)
    try:
        compose("up", "-d", "--no-build", "--wait", "--scale", "worker=2")
        key = new_key(compose)
        journey(compose, key)
        in_the_bucket(compose, key)
    except (Failed, ApiError, OSError):
        compose("ps", "-a", check=False)
        compose("logs", "--no-color", "--tail", "40", check=False)
        raise
    finally:
        compose("down", "-v", "--timeout", "20", check=False)


if __name__ == "__main__":
    sys.exit(main())
