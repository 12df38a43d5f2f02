"""Forms as files: Starlette's parser closes only those that it still knows of, so `upload` closes them itself."""

import asyncio
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from starlette import formparsers
from starlette.requests import Request as HttpRequest
from starlette.types import Message

from services.ingest.settings import IngestSettings
from services.ingest.space import SpoolSpace
from services.ingest.upload import received
from shared.http.problems import Problem

SETTINGS = IngestSettings(database_url="postgresql://nobody@127.0.0.1:1/nothing", max_upload_bytes=4_000_000)
LARGE = b"x" * 300_000  # on disk, not in memory
OPTION = b'\r\n--x\r\nContent-Disposition: form-data; name="webhook_url"\r\n\r\n'
END = b"\r\n--x--\r\n"


def part(name: str, content: bytes = LARGE) -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.csv"\r\n\r\n'
    return head.encode() + content


@pytest.mark.parametrize(
    ("body", "more", "code"),
    [
        (part("file") + END, False, None),
        (part("file"), False, "malformed"),
        (part("file"), True, "incomplete_upload"),
        (part("file") + b"\r\n" + part("file") + END, False, "several_files"),
        (part("other") + END, False, "missing_file"),
        (part("file", LARGE * 14) + END, False, "too_large"),
        (part("file") + (OPTION + b"x" * 100_000) * 2 + END, False, None),
        (part("file") + (OPTION + b"x" * 100_000) * 3 + END, False, "malformed"),
        (part("file") + OPTION + b"x" * 1_100_000 + END, False, "malformed"),
    ],
    ids=[
        *("complete", "no closing boundary", "disconnected", "two files", "another field", "too large"),
        *("large options", "large options together", "a large option"),
    ],
)
def test_every_file_of_a_form_is_closed(
    monkeypatch: pytest.MonkeyPatch, body: bytes, code: str | None, *, more: bool
) -> None:
    files: list[SpooledTemporaryFile[bytes]] = []

    def made(**options: Any) -> SpooledTemporaryFile[bytes]:
        files.append(SpooledTemporaryFile(**options))  # noqa: SIM115
        return files[-1]

    monkeypatch.setattr(formparsers, "SpooledTemporaryFile", made)

    assert asyncio.run(_read(body, more=more)) == (len(LARGE) if code is None else code)

    assert files
    assert all(file.closed for file in files)


async def _read(body: bytes, *, more: bool) -> int | str:
    """The size of the form's file, or the code of the refusal."""
    messages: list[Message] = [
        {"type": "http.request", "body": body, "more_body": more},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b""}
    try:
        async with received(HttpRequest(scope, receive), SETTINGS, SpoolSpace(10**9), asyncio.Semaphore(2)) as upload:
            return upload.size
    except Problem as problem:
        return problem.code
