"""The containers with `--profile s3`, with the two lines in `.env` that docs/bucket.md has, and its other commands.

A stand-in has the place of the S3 server's image (tests/compose/s3): it judges signatures, and moto keeps what comes.
"""

import json
import re
from http import HTTPStatus
from itertools import islice

import httpx

from tests.api import Client
from tests.compose.compose import BASE_URL, SERVICES, Compose
from tests.compose.e2e import check_end_to_end
from tests.compose.engine import Failed
from tests.compose.journey import PICTURES, check_journey
from tests.compose.keys import new_key
from tests.stack import ROOT

LOOKED_AT = 40
OVERRIDE = "tests/compose/bucket.yml"
FOLDER = "file:///var/lib/halftone/blobs"


def settings() -> dict[str, str]:
    """The lines of the manual."""
    told = (ROOT / "docs/bucket.md").read_text().partition("## The containers' own server\n")[2].partition("\n## ")[0]
    found = dict(re.findall(r"^([A-Z_]+)=(\S+)$", told, re.MULTILINE))
    if found.keys() != {"COMPOSE_PROFILES", "BLOB_URL"}:
        raise Failed(f"docs/bucket.md sets {found}")
    return found


def check_bucket(compose: Compose) -> None:
    """A stack of its own, up, one journey, down."""
    override = f"tests/compose/override.yml:{OVERRIDE}"
    own = Compose(compose.engine, compose.pictures, override=override, settings=settings())
    own.build()
    with own.up("--scale", "worker=2"):
        check_journey(own)
        _check_redirects(own)
        _check_key(own)
        _check_copying(own)


def check_end_to_end_bucket(compose: Compose) -> None:
    """The end-to-end tests, with blobs in the bucket."""
    Compose(compose.engine, compose.pictures, override=OVERRIDE, settings=settings()).build()
    check_end_to_end(compose, override=f":{OVERRIDE}", settings=settings())


def _check_redirects(compose: Compose) -> None:
    """Each rendition is redirected to the bucket, which is behind the gateway, and the volume holds none."""
    client = Client(BASE_URL, key=new_key(compose))
    request = next(client.items("/v1/requests"))
    images = list(islice(client.items(f"/v1/requests/{request['request_id']}/images"), LOOKED_AT))
    for image in images:
        answer = httpx.get(image["output_url"], follow_redirects=True)
        if answer.status_code != HTTPStatus.OK or not str(answer.url).startswith(f"{BASE_URL}/halftone/"):
            raise Failed(f"{image['output_url']} gave {answer.status_code} from {answer.url.copy_with(query=None)}")
    if in_volume := _in_volume(compose):
        raise Failed(f"the volume holds {in_volume}")
    print(f"{len(images)} renditions came from the bucket, none is in the volume")


def _in_volume(compose: Compose) -> list[str]:
    return compose("exec", "-T", "worker", "ls", FOLDER.removeprefix("file://"), capture=True).split()


def _check_key(compose: Compose) -> None:
    """The services and the server have the same new key, in files, and nobody who inspects a container sees it."""
    looking = ["cat", "/run/secrets/AWS_SECRET_ACCESS_KEY"]
    (secret, *more) = {compose("exec", "-T", name, *looking, capture=True) for name in (*SERVICES, "s3")}
    ids = compose("ps", "-aq", capture=True).split()
    if more or len(secret) < 40 or secret in json.dumps(compose.docker("inspect", *ids)):
        raise Failed("the key of the bucket is not the same everywhere, or stands in an environment")


def _check_copying(compose: Compose) -> None:
    """The command of docs/bucket.md, there and back: the bucket has all that came from it."""
    copying = ["run", "--rm", "-T", "worker", "python", "-m", "shared.blobs.copy"]
    there = compose(*copying, "s3://halftone", FOLDER, capture=True)
    back = compose(*copying, FOLDER, "s3://halftone", capture=True)
    copied, found = re.search(r"(\d+) copied", there), re.search(r"^0 copied .* (\d+) were there, .* 0 failed", back)
    if not copied or not found or int(copied[1]) != int(found[1]) + 1 or int(found[1]) < 2 * PICTURES:  # and `store-id`
        raise Failed(f"copying said: {there}{back}")
    print(there.strip())
