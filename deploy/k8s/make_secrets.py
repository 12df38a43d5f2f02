"""Prints the secrets of a deployment on Kubernetes, with new passwords: `... | kubectl -n halftone create -f -`.

Needs nothing but Python. It reads from the environment:
DATABASE_URL: a database outside, as its owner; without it, the one of deploy/k8s/servers.
REDIS_URL: of all services; without it, each has its own login at the Valkey of deploy/k8s/servers.
HALFTONE_WEBHOOK_SECRET and AWS_...: passed on, to the migrations and as the secret of the bucket.
"""

import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

SERVICES = ("ingest", "status", "worker", "notifier")
USERS = Path(__file__).resolve().parents[1] / "valkey" / "users.acl"


def make(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The values of each secret, by its name."""
    passwords = {name: secrets.token_hex(24) for name in (*SERVICES, "operator", "postgres")}
    owner = environment.get("DATABASE_URL") or f"postgresql://halftone:{passwords['postgres']}@postgres:5432/halftone"
    made = {
        f"halftone-{name}": {
            "DATABASE_URL": _as_role(owner, name, passwords[name]),
            "REDIS_URL": environment.get("REDIS_URL") or f"redis://{name}:{passwords[name]}@valkey:6379/0",
        }
        for name in SERVICES
    }
    roles = {f"HALFTONE_{name.upper()}_PASSWORD": passwords[name] for name in SERVICES}
    signing = {name: environment[name] for name in ("HALFTONE_WEBHOOK_SECRET",) if environment.get(name)}
    made["halftone-migrate"] = {"DATABASE_URL": owner, **roles, **signing}
    if not environment.get("DATABASE_URL"):
        made["halftone-postgres"] = {"POSTGRES_PASSWORD": passwords["postgres"]}
    if not environment.get("REDIS_URL"):
        users = re.sub(r"\{(\w+)\}", lambda found: passwords[found[1]], USERS.read_text(encoding="utf-8"))
        made["halftone-valkey"] = {"users.acl": users, "operator": passwords["operator"]}
    if bucket := {name: value for name, value in environment.items() if name.startswith("AWS_")}:
        made["halftone-bucket"] = bucket
    return made


def _as_role(owner: str, service: str, password: str) -> str:
    """The same database for the role that the migrations make (deploy/migrations/roles.py)."""
    parts = urlsplit(owner)
    role = f"{parts.path.strip('/')}_{service}"
    return parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


def manifests(made: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """All of them as one Kubernetes list."""
    items = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
        for name, values in made.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


if __name__ == "__main__":
    json.dump(manifests(make(os.environ)), sys.stdout)
