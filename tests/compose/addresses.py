"""External servers' addresses reach the container that writes the files of all others; that of a bucket, each."""

import json

from tests.compose.compose import SERVICES, Compose
from tests.compose.engine import Failed

ELSEWHERE = {"DATABASE_URL": "postgresql://db.test/x", "REDIS_URL": "redis://valkey.test/1", "BLOB_URL": "s3://bucket"}


def check_addresses(compose: Compose) -> None:
    """Needs no container."""
    project = json.loads(compose("config", "--format", "json", capture=True, env=ELSEWHERE))
    given = {name: service.get("environment", {}) for name, service in project["services"].items()}
    if any(given["secrets"].get(name) != ELSEWHERE[name] for name in ("DATABASE_URL", "REDIS_URL")):
        raise Failed("the addresses of servers that are set do not reach `secrets`")
    for name in ("migrate", *SERVICES):
        if given[name].get("BLOB_URL") != ELSEWHERE["BLOB_URL"]:
            raise Failed(f"{name} does not get the address of the bucket")
