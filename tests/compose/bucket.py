"""The containers with `--profile s3`: one journey with a key and blobs in the bucket.

moto stands in for the image of the S3 server (tests/compose/bucket.yml).
"""

import json
from http import HTTPStatus
from itertools import islice

import httpx

from tests.api import Client
from tests.compose.compose import BASE_URL, PORT, Compose
from tests.compose.engine import Failed
from tests.compose.journey import check_journey
from tests.compose.keys import new_key

LOOKED_AT = 40
BUCKET_PORT = PORT + 1
PUBLIC = f"http://127.0.0.1:{BUCKET_PORT}"
OVERRIDE = "tests/compose/override.yml:tests/compose/bucket.yml"
SETTINGS = {
    "COMPOSE_PROFILES": "s3",
    "BLOB_URL": "s3://halftone",
    "AWS_ACCESS_KEY_ID": "halftone",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket",
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL": "http://s3:7070",
    "AWS_ALLOW_HTTP": "true",
    "HALFTONE_BUCKET_PORT": str(BUCKET_PORT),
    "HALFTONE_BLOB_PUBLIC_ENDPOINT": PUBLIC,
}


def check_bucket(compose: Compose) -> None:
    """A stack of its own, up, one journey, down."""
    own = Compose(compose.engine, compose.pictures, override=OVERRIDE, settings=SETTINGS)
    files_from = json.loads(own("config", "--format", "json", capture=True))["services"]["gateway"]["environment"]
    if files_from["HALFTONE_FILES_FROM"] != "status":
        raise Failed("the gateway would serve files from the disk")
    own.build()
    try:
        own("up", "-d", "--no-build", "--wait", "--scale", "worker=2")
        check_journey(own)
        _check_redirects(own)
    except Exception:
        own("ps", "-a", check=False)
        own("logs", "--no-color", "--tail", "40", check=False)
        raise
    finally:
        own("down", "-v", "--timeout", "20", check=False)


def _check_redirects(compose: Compose) -> None:
    """Each rendition is redirected to the bucket, and the volume holds none."""
    client = Client(BASE_URL, key=new_key(compose))
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
