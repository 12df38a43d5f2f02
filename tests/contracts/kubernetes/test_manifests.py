"""deploy/k8s is valid, and runs what docker-compose.yml runs, as docs/capacity.md says."""

import importlib
import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject

from services.ingest.settings import IngestSettings
from services.notifier.settings import NotifierSettings
from services.status.settings import StatusSettings
from services.worker.settings import WorkerSettings
from shared.settings import Settings
from tests.contracts.kubernetes.cluster import (
    ALL,
    COMPOSE,
    FOLDER,
    OURS,
    SERVERS,
    SERVICES,
    config_map,
    container,
    pod,
    quantity,
    rendered,
    seconds,
    workload,
)
from tests.contracts.kubernetes.kustomize import Manifest, containers
from tests.contracts.test_layout import GATEWAY, _documented, _variable
from tests.stack import ROOT

OVERLAYS = ("base", "servers", "example")
OLDEST = "1.30"
"""The first with `preStop.sleep`."""
SETTINGS: dict[str, type[Settings]] = {
    "ingest": IngestSettings,
    "status": StatusSettings,
    "worker": WorkerSettings,
    "notifier": NotifierSettings,
}
THREADS, MAX_SOURCE_BYTES, CODEC_MEMORY_MB = (
    WorkerSettings.model_fields[name].default for name in ("threads", "max_source_bytes", "codec_memory_mb")
)

each_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)
each_workload = pytest.mark.parametrize("name", ALL)


def _of_kind(kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in rendered("example") if one["kind"] == kind}


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(overlay: str, version: str) -> None:
    for manifest in rendered(overlay):
        if manifest["kind"] != "ScaledObject":
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_policy_in_the_readme_is_valid() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    (policy,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    kubernetes_validate.validate(policy, OLDEST, strict=True)


def test_the_scaled_object_is_what_keda_knows() -> None:
    scaled = _of_kind("ScaledObject")["worker"]
    assert ScaledObject.model_validate(scaled).model_dump(by_alias=True, exclude_unset=True) == scaled


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here: nothing confirms our renderer")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_renders_the_same(overlay: str) -> None:
    done = subprocess.run(["kubectl", "kustomize", FOLDER / overlay], check=True, stdout=subprocess.PIPE)
    assert _sorted(yaml.safe_load_all(done.stdout)) == _sorted(rendered(overlay))


def _sorted(manifests: Any) -> list[Manifest]:
    return sorted(manifests, key=lambda one: (one["kind"], one["metadata"]["name"]))


@each_service
def test_a_service_gets_every_setting_that_compose_gives_it(name: str) -> None:
    known = {_variable(field, info) for field, info in SETTINGS[name].model_fields.items()}
    wanted = {variable.removesuffix("_FILE") for variable in COMPOSE["services"][name]["environment"]} & known
    given = config_map().keys() | {variable["name"] for variable in container(name)["env"]}
    of_bucket = {variable for variable in wanted if variable.startswith("AWS_")}  # from its secret, if there is one
    assert wanted - of_bucket <= given
    assert {"BLOB_URL", "HALFTONE_PUBLIC_URL"} <= wanted


def test_the_gateway_gets_what_compose_gives_it_but_the_folder_of_blobs() -> None:
    wanted = COMPOSE["services"]["gateway"]["environment"].keys() & GATEWAY | {"HALFTONE_BIND", "HALFTONE_PORT"}
    https = {"HALFTONE_SITE", "HALFTONE_CERT_ISSUER"}
    assert wanted - {"HALFTONE_BLOB_DIR"} - https <= _env("gateway").keys()
    assert _env("gateway")["HALFTONE_FILES_FROM"] == "status"
    assert config_map()["BLOB_URL"].startswith("s3://")


def test_every_variable_is_documented_and_auth_is_required() -> None:
    named = {variable["name"] for name in OURS for variable in container(name)["env"]}
    ours = {name for name in named | config_map().keys() if not name.startswith(("AWS_", "XDG_"))}
    assert ours <= set(_documented())
    assert config_map()["HALFTONE_AUTH"] == "required"
    assert (config_map()["HALFTONE_HEALTH_HOST"], config_map()["HALFTONE_HEALTH_PORT"]) == ("0.0.0.0", "8000")


@each_workload
def test_image_and_command_are_those_of_compose(name: str) -> None:
    compose = COMPOSE["services"][name]
    wanted = compose.get("image", f"{COMPOSE['name']}-{name}")
    every = [manifest for overlay in OVERLAYS[:2] for manifest in rendered(overlay)]
    found = {one["image"] for one in every if one["metadata"]["name"] == name for one in containers(one)}
    assert found == {wanted}
    if name not in SERVERS:
        assert container(name).get("command") == compose.get("command")


def test_the_example_names_one_version_of_all_images() -> None:
    images = {container(name)["image"] for name in ("migrate", *SERVICES)}
    assert {image.partition(":")[0] for image in images} == {
        f"registry.example/halftone-{name}" for name in ("migrate", *SERVICES)
    }
    assert len({image.partition(":")[2] for image in images}) == 1


@each_service
def test_probes_ask_the_service_and_an_init_container_waits_for_the_schema(name: str) -> None:
    probes = {key: container(name)[f"{key}Probe"]["httpGet"] for key in ("startup", "liveness", "readiness")}
    assert {key: probe["path"] for key, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert container(name)["ports"] == [{"name": "http", "containerPort": 8000}]
    (waiting,) = pod(name)["initContainers"]
    importlib.import_module(waiting["command"][-1])
    assert waiting["image"] == container(name)["image"]


def test_a_gateway_stays_when_what_is_behind_it_is_away() -> None:
    """It then says 503 with Retry-After."""
    assert all("tcpSocket" in container("gateway")[f"{key}Probe"] for key in ("startup", "liveness", "readiness"))


@each_of_ours
def test_replicas_are_spread_replaced_one_by_one_and_not_evicted_together(name: str) -> None:
    budget = _of_kind("PodDisruptionBudget")[name]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": name}}}
    spread = pod(name)["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert workload(name)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_what_is_scaled_has_no_number_of_its_own() -> None:
    """`kubectl apply` would set it back."""
    scalers = _of_kind("HorizontalPodAutoscaler") | _of_kind("ScaledObject")
    assert scalers.keys() == {"ingest", "status", "worker"}
    for name, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in workload(name)["spec"]


def test_workers_are_scaled_by_queues_that_there_are() -> None:
    query = _of_kind("ScaledObject")["worker"]["spec"]["triggers"][0]["metadata"]["query"]
    queues = re.search(r'queue=~"([\w|]+)"', query)
    actors = importlib.import_module("services.worker.actors")
    assert queues
    assert set(queues[1].split("|")) <= {
        value.queue for value in vars(actors).values() if isinstance(getattr(value, "queue", None), str)
    }


@each_workload
def test_nothing_runs_as_root_or_may_become_it(name: str) -> None:
    context = pod(name)["securityContext"]
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["runAsUser"] == (999 if name in SERVERS else 10001)
    assert pod(name)["automountServiceAccountToken"] is pod(name)["enableServiceLinks"] is False
    for one in containers(workload(name)):
        capabilities = {"drop": ["ALL"]} | ({"add": ["NET_BIND_SERVICE"]} if name == "gateway" else {})
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": capabilities,
        }


@each_service
def test_a_pod_has_time_to_stop(name: str) -> None:
    field = SETTINGS[name].model_fields.get("shutdown_seconds")
    sleeps = container(name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    served = field.default if field else int(container(name)["command"][-1].partition("shutdown=")[2])
    assert pod(name)["terminationGracePeriodSeconds"] >= sleeps + served + 5
    assert pod(name)["terminationGracePeriodSeconds"] == seconds(COMPOSE["services"][name]["stop_grace_period"])


@each_workload
def test_memory_is_requested_as_far_as_it_may_be_used(name: str) -> None:
    for one in containers(workload(name)):
        assert one["resources"]["requests"]["memory"] == one["resources"]["limits"]["memory"]
        assert "cpu" in one["resources"]["requests"]
        assert "cpu" not in one["resources"]["limits"]


def test_the_memory_of_a_worker_is_the_sum_in_the_manual() -> None:
    processes = int(_env("worker")["HALFTONE_CODEC_PROCESSES"])
    assert processes == quantity(container("worker")["resources"]["requests"]["cpu"])
    wanted = 0.3e9 + 1.5 * THREADS * 16 * MAX_SOURCE_BYTES + 1.5 * processes * CODEC_MEMORY_MB * 2**20
    assert wanted <= _memory("worker") <= 1.02 * wanted


@pytest.mark.parametrize(
    ("name", "told"), [("ingest", "1.7 GB"), ("status", "0.5 GB"), ("notifier", "0.5 GB"), ("gateway", "0.25 GB")]
)
def test_the_memory_of_the_others_is_that_of_the_manual(name: str, told: str) -> None:
    assert _memory(name) == float(told.removesuffix(" GB")) * 1e9
    assert f"`{name}` {told}" in _manual()


def test_uploads_have_the_disk_that_they_may_use() -> None:
    room = quantity(pod("ingest")["volumes"][0]["emptyDir"]["sizeLimit"])
    assert room > IngestSettings.model_fields["spool_bytes"].default
    assert quantity(container("ingest")["resources"]["limits"]["ephemeral-storage"]) > room


def test_postgresql_has_a_connection_for_every_replica_there_may_be() -> None:
    """A process has two pools, each of which doubles under load (shared/db.py)."""
    pools = {
        "ingest": IngestSettings.model_fields["database_pool"].default,
        "status": StatusSettings.model_fields["database_pool"].default,
        "worker": THREADS,
        "notifier": NotifierSettings.model_fields["threads"].default // 2 + 2,
    }
    scalers = (_of_kind("HorizontalPodAutoscaler") | _of_kind("ScaledObject")).items()
    replicas = {name: one["spec"].get("maxReplicas") or one["spec"]["maxReplicaCount"] for name, one in scalers}
    replicas["notifier"] = workload("notifier")["spec"]["replicas"]
    most = sum(4 * pools[name] * replicas[name] for name in SERVICES)
    (connections,) = re.findall(r"max_connections=(\d+)", " ".join(container("postgres")["args"]))
    assert most < int(connections)
    assert f"{most} with as many replicas" in " ".join((FOLDER / "README.md").read_text(encoding="utf-8").split())


@each_workload
def test_what_may_be_written_is_a_volume(name: str) -> None:
    mounts = {mount["mountPath"] for mount in container(name)["volumeMounts"] if not mount.get("readOnly")}
    compose = COMPOSE["services"][name]
    written = {text.partition(":")[0] for text in compose.get("tmpfs", [])} | {
        text.split(":")[1] for text in compose.get("volumes", []) if not text.endswith(":ro")
    }
    in_bucket = "/var/lib/halftone/blobs"
    # There the file of users is made at the start; the certificate is the Ingress's.
    unused = {"valkey": {"/tmp"}, "gateway": {"/certificates"}}.get(name, set())
    assert mounts >= written - {in_bucket} - unused


def _memory(name: str) -> float:
    return quantity(container(name)["resources"]["limits"]["memory"])


def _env(name: str) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container(name)["env"]}


def _manual() -> str:
    return " ".join((ROOT / "docs/capacity.md").read_text(encoding="utf-8").split())
