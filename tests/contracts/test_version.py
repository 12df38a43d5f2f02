"""The version is that of pyproject.toml wherever it is named, and documents begin with it."""

import re

import pytest

from services.status.openapi import document
from shared.version import VERSION
from tests import release


@pytest.mark.parametrize("path", release.COPIES)
def test_a_file_that_names_the_version_names_that_of_the_project(path: str) -> None:
    assert release.copies()[path] == {VERSION}


def test_the_openapi_document_has_the_version_of_the_service() -> None:
    assert document(public_url="http://halftone.test", needs_keys=True)["info"]["version"] == VERSION


def test_the_newest_release_in_the_changelog_has_notes_on_upgrading() -> None:
    released = re.findall(r"^## ([\d.]+) - \d{4}-\d\d-\d\d$", release.CHANGELOG.read_text(), re.MULTILINE)
    upgrading = re.findall(r"^## ([\d.]+)$", release.UPGRADING.read_text(), re.MULTILINE)
    assert released[0] == VERSION
    assert upgrading[: len(released)] == released
