"""The examples in /docs and in the README, run as a reader would."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from services.status.assets import STATIC
from tests.e2e.conftest import new_key
from tests.e2e.node import program
from tests.origin import Origin
from tests.stack import ROOT, Stack

EXAMPLES = STATIC / "examples"
UPLOADS = ("upload.sh", "upload.py", "upload.mjs")
README = (ROOT / "README.md").read_text(encoding="utf-8")

each_upload = pytest.mark.parametrize("name", UPLOADS)


def command(name: str) -> list[str]:
    programs = {".sh": "sh", ".py": sys.executable, ".mjs": "node"}
    program_name = programs[Path(name).suffix]
    return [program(program_name) if program_name == "node" else program_name, str(EXAMPLES / name)]


def run(name: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name),
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


@each_upload
def test_an_example_uploads_a_catalogue_and_saves_the_output(
    stack: Stack, origin: Origin, tmp_path: Path, name: str
) -> None:
    urls = [origin.add(f"/{name}-{number}.jpg", draw(f"{number}.jpg", (160, 120))) for number in (1, 2)]
    (tmp_path / "products.csv").write_bytes(manifest([("1", "Shoe", urls)]))

    done = run(name, tmp_path, HALFTONE_URL=stack.base_url, HALFTONE_API_KEY=stack.api_key or "")

    assert done.returncode == 0, done.stderr
    ended = '"status":"completed"' if name == "upload.sh" else "completed: 2 of 2 images"
    assert ended in done.stdout
    with (tmp_path / "output.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["Input Image Urls"] == ",".join(urls)
    outputs = [httpx.get(url, follow_redirects=True) for url in row["Output Image Urls"].split(",")]
    assert [output.status_code for output in outputs] == [200, 200]


@each_upload
def test_an_example_sends_the_key_and_says_why_an_upload_is_refused(closed: Stack, tmp_path: Path, name: str) -> None:
    (tmp_path / "products.csv").write_bytes(manifest([("1", "Shoe", ["ftp://127.0.0.1/a.jpg"])]))
    address = {"HALFTONE_URL": closed.base_url}

    without = run(name, tmp_path, **address)
    refused = run(name, tmp_path, HALFTONE_API_KEY=new_key(closed, "examples"), **address)

    assert without.returncode != 0
    assert "/docs/problems/missing_key" in without.stdout + without.stderr
    assert refused.returncode != 0
    assert "/docs/problems/invalid_manifest" in refused.stdout + refused.stderr


def test_the_key_is_no_argument_of_a_command(tmp_path: Path) -> None:
    """Others on the machine see those; a curl of ours notes its own."""
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\necho "$@" >>arguments\ncat >>input\n')
    curl.chmod(0o755)
    (tmp_path / "products.csv").touch()

    run("upload.sh", tmp_path, HALFTONE_API_KEY="ht_id_secret", PATH=f"{tmp_path}:{os.environ['PATH']}")

    assert "products.csv" in (tmp_path / "arguments").read_text()
    assert "secret" not in (tmp_path / "arguments").read_text()
    assert "Authorization: Bearer ht_id_secret\n" in (tmp_path / "input").read_text()


@each_upload
def test_the_readme_and_the_docs_have_the_example_itself(stack: Stack, name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")

    assert text in README
    described = httpx.get(f"{stack.base_url}/openapi.json").json()["info"]["description"]
    assert text in described
    assert httpx.get(f"{stack.base_url}/docs/examples/{name}").text == text


def test_every_example_that_the_pages_name_is_served(stack: Stack) -> None:
    described = httpx.get(f"{stack.base_url}/openapi.json").json()["info"]["description"]
    named = set(re.findall(r"/docs/examples/[\w.]+", described))

    assert named == {f"/docs/examples/{path.name}" for path in EXAMPLES.iterdir() if path.is_file()}
    assert {httpx.get(stack.base_url + path).status_code for path in named} == {200}
