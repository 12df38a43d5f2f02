"""The manifests hold no password; deploy/make_secrets.py makes those that they refer to, each service its own."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import redis

from deploy.local.valkey import binary
from deploy.make_secrets import SERVICES as OF_SECRETS
from deploy.make_secrets import choose
from deploy.make_secrets import make as made_of
from deploy.migrations.roles import GRANTS, role_of
from deploy.migrations.settings import MigrationSettings
from tests.contracts.kubernetes.cluster import ALL, SERVICES, container, pod, rendered, workload
from tests.contracts.kubernetes.kustomize import containers
from tests.stack import ROOT, reserve_ports, until

BUCKET = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def make(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return made_of(environment, choose(environment))


def test_no_manifest_holds_a_secret() -> None:
    for manifest in (*rendered("base"), *rendered("servers"), *rendered("example")):
        assert manifest["kind"] != "Secret"
        for one in containers(manifest):
            literals = {value["name"] for value in one.get("env", []) if "value" in value}
            assert not {name for name in literals if re.search("PASSWORD|SECRET|_URL|KEY", name)}


def test_what_the_manifests_refer_to_is_made() -> None:
    made = make(BUCKET)
    wanted = {name: set(_references(name)) for name in ALL}
    assert {name for references in wanted.values() for name, _ in references} == made.keys()
    for references in wanted.values():
        for name, key in references:
            assert key is None or key in made[name]


def _references(name: str) -> Iterator[tuple[str, str | None]]:
    """Secrets of a workload, each with the key that it needs; None: all of them."""
    for one in containers(workload(name)):
        for variable in one.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], reference["key"]
        for source in one.get("envFrom", []):
            if reference := source.get("secretRef"):
                yield reference["name"], None
    for volume in pod(name).get("volumes", []):
        for item in volume.get("secret", {}).get("items", []):
            yield volume["secret"]["secretName"], item["key"]


@pytest.mark.parametrize("name", ALL)
def test_a_workload_gets_no_secret_but_its_own(name: str) -> None:
    shared = {"halftone-bucket"} if name in SERVICES else set()
    assert {secret for secret, _ in _references(name)} - shared <= {f"halftone-{name}"}


def test_every_deployment_has_passwords_of_its_own_and_every_service_too() -> None:
    first, second = make({}), make({})
    found = [set(re.findall(r"[0-9a-f]{48}", json.dumps(one))) for one in (first, second)]
    assert len(found[0]) == len(SERVICES) + 2
    assert not found[0] & found[1]
    own = [set(re.findall(r"[0-9a-f]{48}", json.dumps(first[f"halftone-{name}"]))) for name in SERVICES]
    assert sum(map(len, own)) == len(set().union(*own)) == len(SERVICES)


def test_the_migrations_make_the_roles_that_the_services_log_in_as(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make({"DATABASE_URL": "postgresql://me:mine@db.example:5433/shop?sslmode=require"})
    for name, value in made["halftone-migrate"].items():
        monkeypatch.setenv(name, value)
    passwords = MigrationSettings().passwords
    assert set(OF_SECRETS) == passwords.keys() == GRANTS.keys()
    for name, password in passwords.items():
        wanted = f"postgresql://{role_of(name, 'shop')}:{password}@db.example:5433/shop?sslmode=require"
        assert made[f"halftone-{name}"]["DATABASE_URL"] == wanted
    assert "halftone-postgres" not in made


def test_servers_outside_need_no_secret_of_servers_inside() -> None:
    made = make({"DATABASE_URL": "postgresql://me:mine@db.example/shop", "REDIS_URL": "rediss://:own@valkey.example/0"})
    assert made.keys() == {"halftone-migrate", *(f"halftone-{name}" for name in SERVICES)}
    assert {made[f"halftone-{name}"]["REDIS_URL"] for name in SERVICES} == {"rediss://:own@valkey.example/0"}


def test_the_program_prints_what_kubernetes_takes() -> None:
    """Without our packages: the operator's machine has Python and kubectl."""
    command = [sys.executable, "-I", "-S", str(ROOT / "deploy" / "make_secrets.py")]
    done = subprocess.run(command, env=BUCKET, check=True, stdout=subprocess.PIPE)
    printed: dict[str, Any] = json.loads(done.stdout)
    assert {item["metadata"]["name"] for item in printed["items"]} == make(BUCKET).keys()
    for item in printed["items"]:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)


def test_valkey_takes_its_arguments_and_lets_in_each_service_alone(tmp_path: Path) -> None:
    made = make({})
    users = tmp_path / "users.acl"
    users.write_text(made["halftone-valkey"]["users.acl"])
    (port,) = reserve_ports(1)
    command: list[str] = container("valkey")["command"] + container("valkey")["args"]
    assert command[0] == "valkey-server"
    options = [str(users) if option == "/etc/valkey/users.acl" else option for option in command[1:]]
    with subprocess.Popen([binary(), *options, "--port", str(port), "--bind", "127.0.0.1"], cwd=tmp_path) as running:
        try:
            with redis.Redis(port=port) as anyone:
                until(lambda: _pings(anyone))
                with pytest.raises(redis.exceptions.NoPermissionError):
                    anyone.get("halftone:epoch")
            for name in SERVICES:
                url = made[f"halftone-{name}"]["REDIS_URL"].replace("valkey:6379", f"127.0.0.1:{port}")
                with redis.Redis.from_url(url) as client:
                    assert client.ping()
            password = made["halftone-valkey"]["operator"]
            with redis.Redis(port=port, username="operator", password=password) as operator:
                assert operator.config_get("save", "maxmemory-policy") == {"save": "", "maxmemory-policy": "noeviction"}
        finally:
            running.terminate()


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
