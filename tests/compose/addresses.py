"""The addresses of external servers reach each of our processes."""

import json

from tests.compose.compose import SERVICES, Compose
from tests.compose.engine import Failed

ELSEWHERE = {"DATABASE_URL": "postgresql://db.test/x", "REDIS_URL": "redis://valkey.test/1", "BLOB_URL": "s3://bucket"}


def check_addresses(compose: Compose) -> None:
    """Needs no container."""
    project = json.loads(compose("config", "--format", "json", capture=True, env=ELSEWHERE))
    for name in ("migrate", *SERVICES):
        given = project["services"][name]["environment"]
        wanted = {**ELSEWHERE, "REDIS_URL": given.get("REDIS_URL")} if name == "migrate" else ELSEWHERE
        if {variable: given.get(variable) for variable in ELSEWHERE} != wanted:
            raise Failed(f"{name} does not get the addresses that are set")
