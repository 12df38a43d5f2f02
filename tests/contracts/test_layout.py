"""Facts written down twice must agree: settings and their manual, image types, services and containers."""

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from deploy.make_secrets import OWN_BUCKET
from services.worker.settings import WorkerSettings
from shared.formats import EXTENSIONS, MEDIA_TYPES
from shared.secret_files import SECRETS
from tests.stack import ROOT

SERVICES = ("ingest", "worker", "notifier", "status")
# Read only by the gateway, through its Caddyfile.
GATEWAY = {
    "HALFTONE_INGEST_UPSTREAMS",
    "HALFTONE_STATUS_UPSTREAMS",
    "HALFTONE_BUCKET_UPSTREAM",
    "HALFTONE_FILES_FROM",
    "HALFTONE_BLOB_DIR",
    "HALFTONE_GATEWAY_MAX_BODY",
    "HALFTONE_SITE",
    "HALFTONE_CERT_ISSUER",
    "HALFTONE_ACCESS_LOG",
}
OF_TRACES = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}  # OpenTelemetry's own
OF_COMPOSE = {
    "POSTGRES_PASSWORD",
    "HALFTONE_OPERATOR_PASSWORD",
    "HALFTONE_GRAFANA_PORT",
    "DOMAIN",
    "HALFTONE_HTTP_PORT",
    "HALFTONE_HTTPS_PORT",
    "HALFTONE_DATA_INTERNAL",
    "HALFTONE_INGEST_MEMORY",
    "HALFTONE_INGEST_REPLICAS",
    "HALFTONE_NOTIFIER_REPLICAS",
    "HALFTONE_STATUS_REPLICAS",
    "HALFTONE_WORKER_MEMORY",
    "HALFTONE_POSTGRES_MEMORY",
}
"""Read by docker-compose.yml itself, or by the servers in it."""
IN_WORDS = {"HALFTONE_AUTH", "HALFTONE_CODEC_PROCESSES"}  # depend on where it runs
SECRET = ("_PASSWORD", "_SECRET", "_KEY_ID", "_ACCESS_KEY")
NEVER_RENDERED = {"bmp", "tiff"}  # these become JPEG or PNG


def test_env_example_documents_every_setting_and_no_other() -> None:
    assert set(_documented()) == {name for name, _ in _settings()} | GATEWAY | OF_COMPOSE | OF_TRACES


def test_env_example_shows_the_defaults() -> None:
    documented = _documented()
    defaults: dict[str, list[tuple[object, object]]] = {}
    for name, field in _settings():
        if documented[name] and not field.is_required() and field.default is not None:
            kind: Any = field.annotation
            read = TypeAdapter(kind).validate_python(documented[name])
            defaults.setdefault(name, []).append((field.default, read))
    wrong = {name: pairs for name, pairs in defaults.items() if not any(real == said for real, said in pairs)}
    assert not wrong


def test_env_example_leaves_empty_only_what_has_no_default_or_one_that_takes_words() -> None:
    documented = _documented()
    empty = {name for name, field in _settings() if not documented[name] and (field.is_required() or field.default)}
    assert empty <= IN_WORDS


def test_env_example_shows_the_gateway_s_own_defaults() -> None:
    caddyfile = (ROOT / "deploy/gateway/Caddyfile").read_text()
    documented = _documented()
    for name, default in re.findall(r"\{\$([A-Z_]+):([^}]+)\}", caddyfile):
        assert documented[name] == default, name


def test_the_containers_are_given_only_documented_variables() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    given = set(re.findall(r"\b(?:HALFTONE_[A-Z_]+|DOMAIN|DATABASE_URL|REDIS_URL|BLOB_URL)\b", compose))
    assert {name.removesuffix("_FILE") for name in given} <= set(_documented())


def test_the_containers_overrule_no_setting_of_a_person() -> None:
    """`environment` wins over `env_file`, so what is set there must ask the environment first."""
    compose = (ROOT / "docker-compose.yml").read_text()
    settings = compose.partition("x-environment:")[2].partition("\n\n")[0]
    given = dict(re.findall(r"^  ([A-Z_]+):[ ]*(.*)$", settings, re.MULTILINE))
    overruled = {name for name, value in given.items() if value[:1] not in {"", "#"} and f"${{{name}:-" not in value}
    assert overruled == {"HALFTONE_HEALTH_HOST", "HALFTONE_HEALTH_PORT"}


def test_env_example_names_what_the_containers_get_from_the_shell() -> None:
    """All else reaches them through `.env` alone: compose passes on what its file names."""
    published = [path.read_text() for path in (ROOT / "deploy/gateway").glob("published*.yml")]
    compose = "\n".join([(ROOT / "docker-compose.yml").read_text(), *published])
    passed = {*re.findall(r"\$\{([A-Z_]+)", compose), *re.findall(r"^ +([A-Z_]+):[ ]*(?:#.*)?$", compose, re.MULTILINE)}
    told = (ROOT / "deploy/env.example").read_text().partition("passes on these names alone:\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"[A-Z_]+", told)) == sorted(passed - {"COMPOSE_PROJECT_NAME"})


def test_the_caddyfile_reads_only_documented_variables() -> None:
    read = set(re.findall(r"\{\$([A-Z_]+)", (ROOT / "deploy/gateway/Caddyfile").read_text()))
    assert read == GATEWAY | {"HALFTONE_PORT", "HALFTONE_BIND"}


def test_the_gateway_serves_exactly_the_renditions_the_codec_writes() -> None:
    caddyfile = (ROOT / "deploy/gateway/Caddyfile").read_text()
    served = dict(re.findall(r"^\t\t\t(\w+) (image/\w+)$", caddyfile, re.MULTILINE))
    assert served == {EXTENSIONS[name]: MEDIA_TYPES[name] for name in EXTENSIONS.keys() - NEVER_RENDERED}
    pattern = re.search(r"\\\.\(([a-z|]+)\)\)\$", caddyfile)
    assert pattern is not None
    assert set(pattern[1].split("|")) == set(served)


def test_only_the_gateway_is_published_and_on_the_loopback() -> None:
    """With a domain on all addresses. And Grafana, where it was asked for."""
    services = _compose()["services"]
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"grafana": ["127.0.0.1:${HALFTONE_GRAFANA_PORT:-3000}:3000"]}
    assert services["grafana"]["profiles"] == ["observability"]
    assert services["s3"]["profiles"] == ["s3"]
    assert services["gateway"]["extends"]["file"] == "deploy/gateway/published${DOMAIN:+-everywhere}.yml"
    assert [name for name, service in services.items() if "extends" in service] == ["gateway"]
    published = {
        path.stem: yaml.safe_load(path.read_text())["services"]
        for path in (ROOT / "deploy/gateway").glob("published*.yml")
    }
    assert published == {
        "published": {"gateway": {"ports": ["127.0.0.1:${HALFTONE_PORT:-8080}:8080"]}},
        "published-everywhere": {
            "gateway": {"ports": ["${HALFTONE_HTTP_PORT:-80}:8080", "${HALFTONE_HTTPS_PORT:-443}:8443"]}
        },
    }


def test_only_who_must_reaches_out() -> None:
    """The gateway gets its certificate, and grafana has to be published; with its profile alone."""
    networks = {name: network or {} for name, network in _compose()["networks"].items()}
    open_ones = {name for name, network in networks.items() if not network.get("internal")}
    out = {
        name
        for name, service in _compose()["services"].items()
        if service.get("network_mode") != "none" and open_ones & set(service.get("networks", ["default"]))
    }
    assert out == {"worker", "notifier", "gateway", "grafana"}
    assert networks["data"]["internal"] == "${HALFTONE_DATA_INTERNAL:-true}"


def test_an_up_without_scale_leaves_the_replicas_that_the_settings_want() -> None:
    """Compose takes away what is above the file's number, with any `up`."""
    numbers = {name: service["scale"] for name, service in _compose()["services"].items() if "scale" in service}
    assert numbers == {
        "worker": "${HALFTONE_WORKERS:-1}",
        "notifier": "${HALFTONE_NOTIFIER_REPLICAS:-1}",
        "ingest": "${HALFTONE_INGEST_REPLICAS:-1}",
        "status": "${HALFTONE_STATUS_REPLICAS:-1}",
    }


def test_every_container_has_a_limit_of_memory_and_of_processes() -> None:
    """But the two of the profile, whose memory grows with what they watch."""
    services = _compose()["services"]
    limited = {name for name, service in services.items() if {"mem_limit", "pids_limit"} <= service.keys()}
    assert services.keys() - limited == {"prometheus", "grafana"}


def test_a_worker_s_limits_follow_its_settings() -> None:
    """The sum of docs/capacity.md."""
    worker = _compose()["services"]["worker"]
    defaults = {name: field.default for name, field in WorkerSettings.model_fields.items()}
    processes = int(worker["environment"]["HALFTONE_CODEC_PROCESSES"].partition(":-")[2].strip("}"))
    wanted = 0.3e9 + 1.5 * defaults["threads"] * 16 * defaults["max_source_bytes"]
    wanted += 1.5 * processes * defaults["codec_memory_mb"] * 2**20
    megabytes = int(worker["mem_limit"].partition(":-")[2].strip("m}"))
    assert wanted <= megabytes * 2**20 <= 1.1 * wanted
    assert worker["pids_limit"] >= 512 + 3 * defaults["threads"] + 2 * 1.5 * processes


def test_prometheus_reaches_every_service_by_its_name_and_nothing_outside() -> None:
    compose = _compose()
    prometheus = compose["services"]["prometheus"]
    assert all(compose["networks"][name]["internal"] for name in prometheus["networks"])
    jobs = yaml.safe_load((ROOT / "deploy/observability/prometheus.yml").read_text())["scrape_configs"]
    found = {job["job_name"]: (job["dns_sd_configs"][0]["names"], job["dns_sd_configs"][0]["port"]) for job in jobs}
    assert found == {name: ([name], 8000) for name in SERVICES}
    for name in SERVICES:
        assert set(compose["services"][name]["networks"]) & set(prometheus["networks"]), name


def test_what_the_containers_mount_is_there() -> None:
    mounts = [mount for service in _compose()["services"].values() for mount in service.get("volumes", [])]
    paths = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def _compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_its_settings_and_its_container(service: str) -> None:
    assert (ROOT / "services" / service / "settings.py").exists()
    assert re.search(rf"^  {service}:$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)


def test_who_is_asking_stands_in_one_place() -> None:
    sources = [path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")]
    naming = {str(path.relative_to(ROOT)) for path in sources if "DEFAULT_ACCOUNT" in path.read_text(encoding="utf-8")}
    old = "shared/messages.py"  # where a message of an older service names none
    assert naming == {"shared/schemas/accounts.py", "shared/http/caller.py", old}


def test_a_container_gets_no_secret_but_its_own() -> None:
    """`.env` may hold all of them, and `env_file` would give them to every service."""
    compose = (ROOT / "docker-compose.yml").read_text()
    blanked = re.findall(
        r'^  ([A-Z_]+): ""$', compose.partition("x-without-secrets:")[2].partition("\n\n")[0], re.MULTILINE
    )
    secrets = {name for name in _documented() if name.endswith(SECRET)}
    assert set(blanked) == secrets | {"DATABASE_URL", "REDIS_URL"} >= SECRETS
    readers = {"keys": "ingest", "s3": "bucket"}
    for name, service in _compose()["services"].items():
        mounts = {mount for mount in service.get("volumes", []) if mount.startswith("secrets-")}
        if name != "secrets":
            assert mounts <= {f"secrets-{readers.get(name, name)}:/run/secrets:ro"}
        given = service.get("environment", {})
        assert not [one for one in given if one.endswith(SECRET) and given[one]]
        if "env_file" in service:
            assert given.keys() >= secrets


def test_the_key_of_the_bucket_is_read_from_files_by_all_who_reach_it_and_by_no_other() -> None:
    key = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    files = {f"{name}_FILE": f"/run/secrets/{name}" for name in key}
    services = _compose()["services"]
    given = {name: service.get("environment", {}).items() for name, service in services.items()}
    assert {name for name in services if files.items() <= given[name]} == {*SERVICES, "bucket"}
    assert all(f"/run/secrets/{name}" in services["s3"]["command"][0] for name in key)


def test_browsers_reach_the_bucket_inside_at_the_public_address() -> None:
    compose = _compose()
    public = compose["x-environment"]["HALFTONE_PUBLIC_URL"]
    of_bucket = compose["x-of-bucket"]
    assert of_bucket["AWS_ENDPOINT_URL"] == f"${{AWS_ENDPOINT_URL-{OWN_BUCKET}}}"
    wanted = f"${{HALFTONE_BLOB_PUBLIC_ENDPOINT:-${{AWS_ENDPOINT_URL-{public}}}}}"
    assert of_bucket["HALFTONE_BLOB_PUBLIC_ENDPOINT"] == wanted
    assert f"http://{_documented()['HALFTONE_BUCKET_UPSTREAM']}" == OWN_BUCKET


def _documented() -> dict[str, str]:
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / "deploy/env.example").read_text(), re.MULTILINE))


def _settings() -> Iterator[tuple[str, FieldInfo]]:
    found = [path for folder in ("shared", "services", "deploy") for path in (ROOT / folder).rglob("settings.py")]
    for path in found:
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseSettings) and value is not BaseSettings:
                for name, field in value.model_fields.items():
                    yield _variable(name, field), field


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"HALFTONE_{name.upper()}"
