"""Makes the secrets of a deployment, with new passwords. It needs nothing but Python.

`... | kubectl -n halftone create -f -` takes what it prints. docker-compose.yml runs it with `--into FOLDER`: it
writes files into a folder for each container, and keeps the passwords that are there. It reads from the environment:
DATABASE_URL: a database outside, as its owner; without it, the `postgres` of the deployment.
REDIS_URL: of all services; without it, each has its own login at the `valkey` of the deployment.
POSTGRES_PASSWORD, HALFTONE_OPERATOR_PASSWORD, HALFTONE_INGEST_PASSWORD and the other services': instead of new ones.
HALFTONE_WEBHOOK_SECRET: passed on to the migrations.
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: of the bucket. Without them, and where AWS_ENDPOINT_URL is the server in
docker-compose.yml, they are made. On Kubernetes all AWS_... together are the secret of the bucket.
"""

import argparse
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

SERVICES = ("ingest", "status", "worker", "notifier")
PASSWORDS = {
    **{name: f"HALFTONE_{name.upper()}_PASSWORD" for name in (*SERVICES, "operator")},
    "postgres": "POSTGRES_PASSWORD",
}
"""Whose, and the variable."""
BUCKET_KEY = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
OWN_BUCKET = "http://s3:7070"
USERS = Path(__file__).resolve().parent / "valkey" / "users.acl"
OWNER = re.compile(
    r"(postgres(?:ql)?(?:\+psycopg)?://)(?:[^:@/?#\s]*(?::[^@/?#\[\]\s]*)?@)?([^@/?#\s]*/([^@/?#\s]+)(?:\?([^#\s]*))?)"
)
"""A DATABASE_URL that has one meaning: what precedes the login, what follows it, and of that database and query."""
Made = dict[str, dict[str, str]]


def choose(given: Mapping[str, str]) -> dict[str, str]:
    """A password for each of PASSWORDS, new where its variable is not given.

    Raises:
        ValueError: one has characters that mean something in an address or in Valkey's file of users.

    """
    for variable in PASSWORDS.values():
        if not re.fullmatch(r"[A-Za-z0-9_-]*", given.get(variable, "")):
            raise ValueError(f"{variable}: a password has letters, digits, - and _ only")
    return {name: given.get(variable) or secrets.token_hex(24) for name, variable in PASSWORDS.items()}


def make(environment: Mapping[str, str], passwords: Mapping[str, str], *, servers_run: bool = False) -> Made:
    """The values of each secret, by its name; those of the two servers if they are used, or `servers_run` anyway."""
    database, redis = environment.get("DATABASE_URL"), environment.get("REDIS_URL")
    owner = database or f"postgresql://halftone:{passwords['postgres']}@postgres:5432/halftone"
    made = {
        f"halftone-{name}": {
            "DATABASE_URL": _as_role(owner, name, passwords[name]),
            "REDIS_URL": redis or f"redis://{name}:{passwords[name]}@valkey:6379/0",
        }
        for name in SERVICES
    }
    roles = {PASSWORDS[name]: passwords[name] for name in SERVICES}
    signing = {name: environment[name] for name in ("HALFTONE_WEBHOOK_SECRET",) if environment.get(name)}
    made["halftone-migrate"] = {"DATABASE_URL": owner, **roles, **signing}
    if servers_run or not database:
        made["halftone-postgres"] = {"POSTGRES_PASSWORD": passwords["postgres"]}
    if servers_run or not redis:
        users = re.sub(r"\{(\w+)\}", lambda found: passwords[found[1]], USERS.read_text(encoding="utf-8"))
        made["halftone-valkey"] = {"users.acl": users, "operator": passwords["operator"]}
    if bucket := {name: value for name, value in environment.items() if name.startswith("AWS_") and value}:
        made["halftone-bucket"] = bucket
    return made


def _as_role(owner: str, service: str, password: str) -> str:
    """The same database for the role that the migrations make (deploy/migrations/roles.py).

    Raises:
        ValueError: part of the owner's login could be left in it.

    """
    found = OWNER.fullmatch(owner)
    if not found or {"user", "password"} & parse_qs(found[4] or "", keep_blank_values=True).keys():
        raise ValueError(
            "DATABASE_URL: must be postgresql://user:password@host:port/database; in the password @ is %40, / %2F, "
            "? %3F, # %23, [ %5B and ] %5D"
        )
    return f"{found[1]}{found[3]}_{service}:{password}@{found[2]}"


def manifests(made: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """All of them as one Kubernetes list."""
    items = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
        for name, values in made.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def keep(environment: Mapping[str, str], folder: Path) -> None:
    """Write the files of each container of docker-compose.yml into a folder that it alone is given."""
    given = {**_kept(folder), **{name: value for name, value in environment.items() if value}}
    made = make(environment, choose(given), servers_run=True)
    made["halftone-migrate"].setdefault("HALFTONE_WEBHOOK_SECRET", "")  # an empty file is as an empty variable
    own = environment.get("AWS_ENDPOINT_URL") == OWN_BUCKET
    key = _key_of_bucket(environment, folder / "bucket" if own else None)
    made["halftone-bucket"] = key if own else {}
    for name in SERVICES:
        made[f"halftone-{name}"] |= key
    for name, values in made.items():
        for file, value in values.items():
            _write(folder / name.removeprefix("halftone-") / file, value)


def _kept(folder: Path) -> dict[str, str]:
    """The passwords that are in use, by their variables."""
    files = {variable: folder / "migrate" / variable for variable in PASSWORDS.values()}
    files[PASSWORDS["operator"]] = folder / "valkey" / "operator"
    files[PASSWORDS["postgres"]] = folder / "postgres" / PASSWORDS["postgres"]
    return {variable: file.read_text(encoding="utf-8") for variable, file in files.items() if file.exists()}


def _key_of_bucket(environment: Mapping[str, str], kept: Path | None) -> dict[str, str]:
    """As it is given; else the kept or a new one of our own server. Elsewhere a role may stand for it: it is empty."""
    key = {name: environment.get(name) or "" for name in BUCKET_KEY}
    if kept is None or any(key.values()):
        return key
    files = {name: kept / name for name in BUCKET_KEY}
    if all(file.exists() for file in files.values()):
        return {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    return {name: secrets.token_hex(size) for name, size in zip(BUCKET_KEY, (10, 24), strict=True)}


def _write(file: Path, value: str) -> None:
    """At once or not at all. The reader has another user id, and the volume is given to no other container."""
    half = file.with_name(f".{file.name}")
    half.unlink(missing_ok=True)  # of a start that was broken off: even root may not write to it, without capabilities
    with half.open("w", encoding="utf-8") as written:
        written.write(value)
        written.flush()
        os.fsync(written.fileno())  # PostgreSQL keeps its first password on disk; ours must not be lost by then
    half.chmod(0o444)
    half.replace(file)


def main() -> None:
    """Exit status 2, with one line that says why, where a password cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="write files, and keep the passwords in them")
    folder = parser.parse_args().into
    try:
        if folder:
            keep(os.environ, folder)
        else:
            json.dump(manifests(make(os.environ, choose(os.environ))), sys.stdout)
    except ValueError as error:
        sys.stderr.write(f"halftone: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
