"""What an image installs is what its code imports: dependency groups of pyproject.toml, and the locks made of them."""

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compose.images import NOT_IN
from tests.stack import ROOT

SERVICES = ("ingest", "status", "worker", "notifier")
CODE = {**{name: f"services.{name}" for name in SERVICES}, "migrate": "deploy.migrations"}
RUN_BUT_NOT_IMPORTED = {"ingest": {"uvicorn", "uvloop", "httptools"}, "status": {"uvicorn", "uvloop", "httptools"}}
"""The command of both is uvicorn, which takes the two others where it finds them."""
NAMESPACES = {"opentelemetry": {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"}}
"""Several distributions share the first name, and grimp does not look behind it: these are what we import of it."""
SHARED = {"tables": ("service", "migrate"), "service": SERVICES}
"""Groups that are a layer of several images: each of these images installs all of it, and then the rest of its own."""
IMAGE_LOCKS = sorted({*CODE, *SHARED})
LOCKS = ["requirements.lock", "requirements-dev.lock"]
LOCKS += [f"deploy/locks/{name}.lock" for name in (*IMAGE_LOCKS, "sbom")]

each_image = pytest.mark.parametrize("image", CODE)
each_image_lock = pytest.mark.parametrize("name", IMAGE_LOCKS)


@each_image
def test_an_image_installs_what_its_code_imports_and_nothing_else(image: str) -> None:
    assert declared(image) - RUN_BUT_NOT_IMPORTED.get(image, set()) == imported(CODE[image])


@each_image
def test_what_an_image_must_not_hold_does_not_come_with_something_else(image: str) -> None:
    assert not NOT_IN[image] & pins(f"deploy/locks/{image}.lock").keys()


@each_image_lock
def test_the_lock_of_an_image_is_made_from_its_group(name: str) -> None:
    assert declared(name) <= pins(f"deploy/locks/{name}.lock").keys()


@each_image_lock
def test_the_lock_of_an_image_is_a_part_of_the_one_lock(name: str) -> None:
    lock = f"deploy/locks/{name}.lock"
    assert pins(lock).items() <= pins("requirements.lock").items()
    assert hashes(lock) <= hashes("requirements.lock")


def test_the_one_lock_holds_nothing_that_is_in_no_image() -> None:
    assert set().union(*(pins(f"deploy/locks/{image}.lock") for image in CODE)) == pins("requirements.lock").keys()


def test_the_tests_run_with_the_versions_of_the_images() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


@pytest.mark.parametrize("shared", SHARED)
def test_a_shared_layer_is_all_needed_by_each_image_above_it(shared: str) -> None:
    for above in SHARED[shared]:
        assert pins(f"deploy/locks/{shared}.lock").items() <= pins(f"deploy/locks/{above}.lock").items(), above


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|^--|@ ", text, re.MULTILINE)
    assert pins(lock).keys() == set(re.findall(r"^[a-z0-9][^ =]*", text, re.MULTILINE))


def imported(package: str) -> set[str]:
    """The distributions that the modules of `package`, and all that these import of ours, import."""
    graph = imports()
    reached: set[str] = set()
    waiting = {package, *graph.find_descendants(package)}
    while waiting:
        reached |= waiting
        found = set[str]().union(*(graph.find_modules_directly_imported_by(module) for module in waiting))
        # Python also executes the packages around a module.
        waiting = found.union(*(around(module) for module in found | {package})) & graph.modules - reached
    roots = {module.partition(".")[0] for module in reached} - sys.stdlib_module_names
    found, distributions = set[str](), packages_distributions()
    for root in roots - {"services", "shared", "deploy"}:
        found |= NAMESPACES.get(root) or {canonicalize_name(distributions[root][0])}
    return found


def around(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("services", "shared", "deploy", include_external_packages=True)


def declared(group: str) -> set[str]:
    """The packages of a dependency group and of those that it includes."""
    groups: dict[str, list[Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found: set[str] = set()
    for item in groups[group]:
        found |= declared(item["include-group"]) if isinstance(item, dict) else {_name(item)}
    return found


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def pins(lock: str) -> dict[str, str]:
    """Package -> version."""
    return {name: version for name, version, _ in _blocks(lock)}


def hashes(lock: str) -> set[str]:
    return set().union(*(re.findall(r"sha256:[0-9a-f]{64}", found) for _, _, found in _blocks(lock)))


def _blocks(lock: str) -> list[tuple[str, str, str]]:
    block = r"^([a-z0-9][^ =]*)==([^ ]+)[^\\\n]*((?: \\\n +--hash=\S+)+)"
    return re.findall(block, (ROOT / lock).read_text(), re.MULTILINE)
