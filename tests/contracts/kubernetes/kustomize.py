"""Renders a kustomization, as far as deploy/k8s uses them: no package brings kustomize itself.

A test holds it against `kubectl kustomize` where there is one. What it does not know it refuses.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
KNOWN = {"apiVersion", "kind", "resources", "configMapGenerator", "patches", "images", "namespace"}
UNSPELLABLE = str.maketrans("013ae", "ghkmt")
"""Kustomize's names have no vowels, and no digits that look like one."""


def render(folder: Path) -> list[Manifest]:
    """All manifests; the names of generated config maps end in a hash of their content."""
    manifests = _accumulate(folder)
    renamed = {}
    for manifest in manifests:
        if manifest.pop("generated", False):
            name = manifest["metadata"]["name"]
            renamed[name] = manifest["metadata"]["name"] = f"{name}-{_hash(manifest)}"
    for manifest in manifests:
        for reference in _config_maps(manifest):
            reference["name"] = renamed.get(reference["name"], reference["name"])
    return manifests


def _accumulate(folder: Path) -> list[Manifest]:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    if unknown := kustomization.keys() - KNOWN:
        raise NotImplementedError(", ".join(unknown))
    manifests: list[Manifest] = []
    for name in kustomization.get("resources", []):
        path = folder / name
        manifests += _accumulate(path) if path.is_dir() else yaml.safe_load_all(path.read_text(encoding="utf-8"))
    manifests = json.loads(json.dumps(manifests))  # an anchor's copies must not change together
    for generator in kustomization.get("configMapGenerator", []):
        _generate(generator, manifests, folder)
    for patch in kustomization.get("patches", []):
        _patch(patch, manifests, folder)
    for manifest in manifests:
        _set_namespace(manifest, kustomization.get("namespace"))
        for container in containers(manifest):
            _set_image(container, kustomization.get("images", []))
    return manifests


def containers(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Of the pods that it describes."""
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    yield from pod.get("initContainers", [])
    yield from pod.get("containers", [])


def _generate(generator: dict[str, Any], manifests: list[Manifest], folder: Path) -> None:
    data = {name: (folder / name).read_text(encoding="utf-8") for name in generator.get("files", [])}
    data |= dict(literal.split("=", 1) for literal in generator.get("literals", []))
    if generator.get("behavior") == "merge":
        (merged,) = (one for one in manifests if _is(one, "ConfigMap", generator["name"]))
        merged["data"] |= data
    else:
        metadata = {"name": generator["name"]}
        manifests.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "generated": True}
        )


def _patch(patch: dict[str, Any], manifests: list[Manifest], folder: Path) -> None:
    """JSON patches (RFC 6902) that add."""
    text = patch.get("patch") or (folder / patch["path"]).read_text(encoding="utf-8")
    for manifest in manifests:
        if _is(manifest, patch["target"]["kind"], patch["target"].get("name", ".*")):
            for operation in json.loads(json.dumps(yaml.safe_load(text))):
                if operation["op"] != "add":
                    raise NotImplementedError(operation["op"])
                _add(manifest, operation["path"].strip("/").split("/"), operation["value"])


def _add(target: Any, path: list[str], value: Any) -> None:
    for step in path[:-1]:
        target = target[int(step) if isinstance(target, list) else step]
    if isinstance(target, list):
        target.insert(len(target) if path[-1] == "-" else int(path[-1]), value)
    else:
        target[path[-1]] = value


def _is(manifest: Manifest, kind: str, name: str) -> bool:
    found = re.fullmatch(kind, manifest["kind"]) and re.fullmatch(name, manifest["metadata"]["name"])
    return found is not None


def _set_namespace(manifest: Manifest, namespace: str | None) -> None:
    if namespace and manifest["kind"] != "Namespace":
        manifest["metadata"]["namespace"] = namespace


def _set_image(container: dict[str, Any], images: list[dict[str, str]]) -> None:
    for image in images:
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"


def _config_maps(value: Any) -> Iterator[dict[str, str]]:
    """Every reference to a config map."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if key in {"configMap", "configMapRef", "configMapKeyRef"}:
            yield inner
        elif isinstance(inner, dict | list):
            yield from _config_maps(inner)


def _hash(manifest: Manifest) -> str:
    """As kustomize makes it (api/hasher): a change of the content changes the name, and so the pods that use it."""
    told = {"data": manifest["data"], "kind": "ConfigMap", "name": ""}
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return sha256(text.encode()).hexdigest()[:10].translate(UNSPELLABLE)
