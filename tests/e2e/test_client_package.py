"""`halftone-client` by itself: its wheel, the packages that it declares, and the examples of its README."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.origin import Origin, status
from tests.stack import ROOT, Stack, until

README = (ROOT / "client/README.md").read_text(encoding="utf-8")
EXAMPLE, RECEIVER = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SERVER = ("services", "shared", "deploy", "starlette", "dramatiq", "sqlmodel", "psycopg", "PIL", "uvicorn")
WITHIN = 90


@pytest.fixture(scope="module")
def installed(workspace: Path) -> Path:
    """A folder with the client as `pip install` makes it, and the packages that it declares with theirs."""
    folder = workspace / "client"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    subprocess.run([*pip, "--target", folder, ROOT / "client"], check=True, timeout=WITHIN)
    (metadata,) = folder.glob("halftone_client-*.dist-info")
    for package in needed(PathDistribution(metadata)):
        for name in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if not (folder / name).exists():
                (folder / name).symlink_to(str(package.locate_file(name)))
    return folder


def needed(package: Distribution) -> Iterator[Distribution]:
    """What it declares, and what that declares."""
    for line in package.requires or ():
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            found = distribution(wanted.name)
            assert wanted.specifier.contains(found.version)
            yield found
            yield from needed(found)


def python(
    installed: Path, folder: Path, code: str, *arguments: str, key: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Python with the standard library and this folder, and nothing else."""
    begin = f"import sys; sys.path.append({str(installed)!r})\n"
    command = [sys.executable, "-I", "-S", "-c", begin + code, *arguments]
    env = os.environ | {"HALFTONE_API_KEY": key or ""}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=WITHIN)


def halftone(
    installed: Path, folder: Path, *arguments: str, key: str | None = None
) -> subprocess.CompletedProcess[str]:
    script = f"import runpy; runpy.run_path({str(installed / 'bin/halftone')!r}, run_name='__main__')"
    return python(installed, folder, script, *arguments, key=key)


@pytest.fixture
def folder(origin: Origin, tmp_path: Path) -> Path:
    """With a products.csv; one of its two images is not there."""
    urls = [origin.add("/shoe.jpg", draw("shoe.jpg", (64, 48))), origin.url("/gone.jpg")]
    (tmp_path / "products.csv").write_bytes(manifest([("1", "Shoe", urls)]))
    return tmp_path


def test_the_command_works_with_what_it_declares(stack: Stack, installed: Path, folder: Path) -> None:
    helped = halftone(installed, folder, "--help")
    assert (helped.returncode, "submit" in helped.stdout) == (0, True), helped.stderr
    done = halftone(
        installed, folder, "submit", "products.csv", "--url", stack.base_url, "--images", "images", key=stack.api_key
    )
    assert done.returncode == 1, done.stderr
    assert [path.name for path in (folder / "images").iterdir()] == ["1_Shoe_1.jpg"]


def test_the_client_is_typed_and_brings_nothing_of_the_server(installed: Path, tmp_path: Path) -> None:
    assert (installed / "halftone_client/py.typed").exists()
    code = f"""
import halftone_client, importlib.util
from halftone_client import *
print(sorted(set(halftone_client.__all__) - set(globals())))
print([name for name in {SERVER} if importlib.util.find_spec(name)])
"""
    assert python(installed, tmp_path, code).stdout == "[]\n[]\n"


def test_the_readme_shows_what_works(stack: Stack, installed: Path, folder: Path, origin: Origin) -> None:
    origin.on("/hook", status(204))
    example = EXAMPLE.replace("http://127.0.0.1:8080", stack.base_url)
    example = example.replace("key=None", f"key={stack.api_key!r}")
    example = example.replace("https://shop.example/hook", origin.url("/hook"))
    done = python(installed, folder, example)
    assert done.returncode == 0, done.stderr
    assert origin.url("/gone.jpg") in done.stdout
    assert (folder / "out.csv").read_text().count("/files/") == 1
    assert [path.name for path in (folder / "pictures").iterdir()] == ["1_Shoe_1.jpg"]

    (sent,) = until(lambda: origin.posts("/hook"))
    secret = stack.command("secret").stdout.strip()
    received = f"body, headers = {sent.body!r}, {dict(sent.headers)!r}\n"
    seen = python(installed, folder, received + RECEIVER.replace("whsec_...", secret))
    assert seen.stdout.startswith("request.completed "), seen.stderr
