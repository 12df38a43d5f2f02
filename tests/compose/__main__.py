"""`make compose-test`: builds the containers, sends one request with a new key through two workers, takes all down.

Without a Docker engine it uses the one from `../shared/containers`, if that folder exists.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from deploy.demo import pictures
from deploy.demo.catalogue import manifest
from tests.api import ApiError, Client, Refused
from tests.stack import ROOT

TOOLS = ROOT.parent / "shared" / "containers"
PORT = 18_080
IMAGES = 400
PICTURES = 40
FINISHED_WITHIN = 180.0
ELSEWHERE = {"DATABASE_URL": "postgresql://db.test/x", "REDIS_URL": "redis://valkey.test/1", "BLOB_URL": "s3://bucket"}
FILES = ("docker-compose.yml", "tests/compose/override.yml")
PROJECT = "halftone-test"
BASE_URL = f"http://127.0.0.1:{PORT}"
SERVICES = ("ingest", "worker", "notifier", "status")
PASSWORDS = {f"HALFTONE_{name.upper()}_PASSWORD": f"password-of-{name}" for name in (*SERVICES, "operator")}
PASSWORDS |= {"POSTGRES_PASSWORD": "password-of-postgres"}


class Failed(Exception):
    """The message is for a person."""


class Compose:
    """Runs `docker compose` on our files with our settings."""

    def __init__(self, engine: Mapping[str, str], pictures: str) -> None:
        files = {"COMPOSE_FILE": ":".join(FILES), "COMPOSE_PROJECT_NAME": PROJECT, "PICTURES": pictures}
        settings = {"HALFTONE_PORT": str(PORT), "HALFTONE_FETCH_ALLOW": "origin:8000"}
        self.env = {**os.environ, **engine, **files, **settings, **PASSWORDS}

    def __call__(
        self, *arguments: str, capture: bool = False, check: bool = True, env: Mapping[str, str] | None = None
    ) -> str:
        command = ["docker", "compose", "--progress", "quiet", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.env, **(env or {})},
            text=True,
            check=False,
            stdout=subprocess.PIPE if capture else None,
        )
        if check and done.returncode:
            raise Failed(f"`docker compose {' '.join(arguments)}` ended with status {done.returncode}")
        return done.stdout or ""


@dataclass(frozen=True)
class Engine:
    """`env` reaches it; `tools`: it comes from ../shared/containers; `ours`: we started it and stop it."""

    env: dict[str, str]
    tools: bool = False
    ours: bool = False


def find_engine() -> Engine:
    """A Docker engine that answers, started if need be."""
    if shutil.which("docker") and _succeeds("docker", "info") and _succeeds("docker", "compose", "version"):
        return Engine({})
    if not TOOLS.is_dir():
        raise Failed("no Docker engine answers (`docker info`), and there is no ../shared/containers to make one")
    shown = subprocess.run([TOOLS / "engine", "env"], check=True, stdout=subprocess.PIPE, text=True).stdout
    env = dict(re.findall(r"(DOCKER_\w+)=(\S+)", shown))
    ours = not _succeeds("docker", "info", env={**os.environ, **env})
    if ours and subprocess.run([TOOLS / "engine", "up"], check=False).returncode:
        raise Failed("../shared/containers/engine could not start")
    if subprocess.run([TOOLS / "images"], check=False).returncode:
        raise Failed("../shared/containers/images could not build the base images")
    return Engine(env, tools=True, ours=ours)


def _succeeds(*command: str, env: Mapping[str, str] | None = None) -> bool:
    quiet = subprocess.DEVNULL
    return subprocess.run(command, env=env, check=False, stdout=quiet, stderr=quiet).returncode == 0


def build(compose: Compose, *, with_tools: bool) -> None:
    """Build the images; the tools also build where a bridge network cannot reach the package index."""
    if not with_tools:
        compose("build")
        return
    if subprocess.run([TOOLS / "compose-build", ROOT], env=compose.env, cwd=ROOT, check=False).returncode:
        raise Failed("the images could not be built")


def addresses_arrive(compose: Compose) -> None:
    """Those of external servers reach the container that writes the files of all others; that of the bucket, each."""
    project = json.loads(compose("config", "--format", "json", capture=True, env=ELSEWHERE))
    given = {name: service.get("environment", {}) for name, service in project["services"].items()}
    if any(given["secrets"].get(name) != ELSEWHERE[name] for name in ("DATABASE_URL", "REDIS_URL")):
        raise Failed("the addresses of servers that are set do not reach `secrets`")
    for name in ("migrate", *SERVICES):
        if given[name].get("BLOB_URL") != ELSEWHERE["BLOB_URL"]:
            raise Failed(f"{name} does not get the address of the bucket")


def read_secret(compose: Compose) -> None:
    """The signing secret, read as docs/operations.md says."""
    shown = _asked(compose, "SELECT signing_secret FROM account WHERE name = 'default'")
    if not re.fullmatch(r"whsec_\S+\n", shown):
        raise Failed("the signing secret cannot be read")


def _asked(compose: Compose, query: str) -> str:
    return compose("exec", "-T", "postgres", "psql", "-U", "halftone", "-Atc", query, capture=True)


def new_key(compose: Compose) -> str:
    """The first API key, made as docker-compose.yml says; without one a call is refused."""
    try:
        Client(BASE_URL).account()
    except Refused as refused:
        if refused.status != HTTPStatus.UNAUTHORIZED:
            raise
    else:
        raise Failed("a call without a key was answered")
    return compose("run", "--rm", "-T", "keys", "create", "shop", capture=True).strip()


def least_privilege(compose: Compose) -> None:
    """Each service has its own login at PostgreSQL, no password of another, and status no way to write a rendition."""
    query = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'halftone' AND pid <> pg_backend_pid()"
    logins, own = set(_asked(compose, query).split()), {f"halftone_{name}" for name in SERVICES}
    if not logins or not logins <= own:
        raise Failed(f"these logins are at the database: {', '.join(sorted(logins))}; wanted: {', '.join(sorted(own))}")
    print(f"logins at the database: {', '.join(sorted(logins))}")
    for name in SERVICES:
        looking = "cat /proc/1/environ; echo; cat /run/secrets/*"
        environment, _, files = compose("exec", "-T", name, "sh", "-c", looking, capture=True).partition("\n")
        if "password-of" in environment:
            raise Failed(f"{name} has a password in its environment")
        seen = set(re.findall(r"password-of-(\w+)", files))
        if seen != {name} or "whsec_" in environment + files:
            raise Failed(f"{name} sees the passwords of {', '.join(sorted(seen))}")
    planting = "touch /var/lib/halftone/blobs/planted 2>&1 || true"
    if "Read-only" not in compose("exec", "-T", "status", "sh", "-c", planting, capture=True):
        raise Failed("status can write to the blob store")


def draw_pictures(folder: Path) -> None:
    """Write the files that the origin serves."""
    folder.chmod(0o755)
    for number in range(1, PICTURES + 1):
        name = f"{number}.jpg"
        (folder / name).write_bytes(pictures.draw(name, (300, 300)))


def journey(compose: Compose, key: str) -> None:
    """One request from upload to output, with both workers at it."""
    client = Client(BASE_URL, key=key)
    urls = [f"http://origin:8000/{number % PICTURES + 1}.jpg?{number}" for number in range(IMAGES)]
    accepted = client.upload(manifest((str(number), f"Product {number}", [url]) for number, url in enumerate(urls)))
    finished = client.finished(accepted["request_id"], within=FINISHED_WITHIN)
    if (finished["status"], finished["outcome"]) != ("completed", "success"):
        raise Failed(f"the request ended as {json.dumps(finished)}")
    image = next(client.items(f"/v1/requests/{accepted['request_id']}/images"))
    width, height = pictures.decode(client.read(image["output_url"])).size
    print(f"one of {IMAGES} renditions: {image['rendition']['bytes']} bytes, {width} x {height} pixels")
    for number in (1, 2):
        print(f"worker {number} compressed {_batches(compose, number):.0f} batches")


def _batches(compose: Compose, number: int) -> float:
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    shown = compose("exec", "-T", "--index", str(number), "worker", "python", "-c", script, capture=True)
    batches = r'^halftone_messages_total{actor="worker.compress_batch",outcome="done"} (\S+)$'
    counts = re.findall(batches, shown, re.MULTILINE)
    if not counts:
        raise Failed(f"worker {number} compressed nothing")
    return float(counts[0])


def main() -> int:
    """Up, one journey, down; the exit status."""
    try:
        engine = find_engine()
        try:
            with tempfile.TemporaryDirectory() as folder:
                draw_pictures(Path(folder))
                _try_out(Compose(engine.env, folder), with_tools=engine.tools)
        finally:
            if engine.ours:
                subprocess.run([TOOLS / "engine", "down"], check=False)
    except (Failed, ApiError, OSError) as failure:
        print(f"compose-test: {failure}", file=sys.stderr)
        return 1
    print("compose-test: all good")
    return 0


def _try_out(compose: Compose, *, with_tools: bool) -> None:
    addresses_arrive(compose)
    build(compose, with_tools=with_tools)
    try:
        compose("up", "-d", "--no-build", "--wait", "--scale", "worker=2")
        read_secret(compose)
        journey(compose, new_key(compose))
        least_privilege(compose)
    except (Failed, ApiError, OSError):
        compose("ps", "-a", check=False)
        compose("logs", "--no-color", "--tail", "40", check=False)
        raise
    finally:
        compose("down", "-v", "--timeout", "20", check=False)


if __name__ == "__main__":
    sys.exit(main())
