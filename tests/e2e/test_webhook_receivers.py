"""Receivers in Python and in Node.js, written with the public `standardwebhooks` library, take our real deliveries."""

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from services.notifier.webhook import signed_headers
from services.status.assets import STATIC
from tests.e2e.node import install, program
from tests.given import is_given
from tests.openapi import differences
from tests.origin import Origin, status
from tests.stack import Stack, until

WRONG = "whsec_d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZw=="
LANGUAGES = ("webhook.py", "webhook.mjs")
each_language = pytest.mark.parametrize("name", LANGUAGES)


@pytest.fixture(scope="module")
def receivers(workspace: Path) -> Path:
    """A folder with the two receivers and the packages of the one in JavaScript."""
    if is_given():
        pytest.skip("the examples listen on the loopback, which containers do not reach")
    folder = workspace / "receivers"
    folder.mkdir()
    for name in LANGUAGES:
        shutil.copy(STATIC / "examples" / name, folder)
    install(folder)
    return folder


class Running:
    """A receiver; `line()` is the next that it prints."""

    def __init__(self, process: "subprocess.Popen[str]", place: str) -> None:
        self.url = f"http://{place}/hook"
        self.place = place
        self._lines = queue.Queue[str]()
        assert process.stdout is not None
        threading.Thread(target=self._read, args=[process.stdout], daemon=True).start()

    def _read(self, lines: Any) -> None:
        for line in lines:
            self._lines.put(line.strip())

    def line(self) -> str:
        return self._lines.get(timeout=30)


@contextmanager
def receiver(folder: Path, name: str, *, place: str, secret: str) -> Iterator[Running]:
    """Started as its first lines say, at one of the stack's own hosts."""
    runtime = sys.executable if name.endswith(".py") else program("node")
    env = os.environ | {"WEBHOOK_SECRET": secret, "PORT": place.partition(":")[2]}
    with subprocess.Popen([runtime, str(folder / name)], env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            running = Running(process, place)
            until(lambda: process.poll() is not None or answers(running.url))
            assert process.poll() is None
            assert running.line().startswith("refused")  # the empty POST of `answers`
            yield running
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.post(url, content=b"").status_code == 400
    except httpx.TransportError:
        return False


def secret_of(stack: Stack) -> str:
    return stack.command("secret").stdout.strip()


def finished(http: httpx.Client, origin: Origin, webhook_url: str) -> str:
    """The id of a request that has ended and owes this receiver a webhook."""
    body = manifest([("1", "Shoe", [origin.add("/shoe.jpg", draw("shoe.jpg", (160, 120)))])])
    answer = http.post("/v1/requests", files={"file": ("a.csv", body)}, data={"webhook_url": webhook_url})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["request_id"])


def delivery(http: httpx.Client, request_id: str) -> dict[str, Any]:
    """The delivery once it has been answered."""

    def answered() -> dict[str, Any] | None:
        items = http.get(f"/v1/requests/{request_id}/deliveries").json()["items"]
        return next((item for item in items for attempt in item["attempts"] if attempt["status_code"]), None)

    return until(answered, within=30)


@each_language
def test_a_receiver_takes_a_delivery(
    stack: Stack, http: httpx.Client, origin: Origin, receivers: Path, name: str
) -> None:
    with receiver(receivers, name, place=stack.hosts[1], secret=secret_of(stack)) as running:
        request_id = finished(http, origin, running.url)
        found = delivery(http, request_id)

        assert running.line() == f"request.completed {request_id} {found['event_id']}"
    assert [attempt["status_code"] for attempt in found["attempts"]] == [204]


@each_language
def test_a_receiver_lives_on_after_what_no_service_sends(stack: Stack, receivers: Path, name: str) -> None:
    """An upload that breaks off ended the one in JavaScript."""
    host, port = stack.hosts[4].split(":")
    with receiver(receivers, name, place=stack.hosts[4], secret=WRONG) as running:
        for head in ("Content-Length: 100", "Content-Length: 99999999999", "Content-Length: -1", "X-No: length"):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(f"POST /hook HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nhalf".encode())
        with suppress(httpx.TransportError):  # it may close the connection before it was all sent
            assert httpx.post(running.url, content=b"x" * 5_000_000, timeout=30).status_code == 400
        until(lambda: answers(running.url))


def test_the_receiver_in_python_waits_for_no_body_that_is_no_event(stack: Stack, receivers: Path) -> None:
    host, port = stack.hosts[4].split(":")
    with receiver(receivers, "webhook.py", place=stack.hosts[4], secret=WRONG):
        for length in ("99999999999", "-1"):
            with socket.create_connection((host, int(port)), timeout=8) as connection:
                connection.sendall(f"POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode())
                assert connection.recv(20).startswith(b"HTTP/1.0 400")


def test_a_delivery_is_what_the_openapi_document_shows(stack: Stack, http: httpx.Client, origin: Origin) -> None:
    document = http.get("/openapi.json").json()
    (operation,) = (webhook["post"] for webhook in document["webhooks"].values())
    finished(http, origin, origin.on("/documented", status(204)))

    (sent,) = until(lambda: origin.posts("/documented"), within=30)

    assert {one["name"] for one in operation["parameters"]} <= sent.headers.keys()
    shown = document["components"]["examples"]["WebhookEvent.completed"]["value"]
    assert list(differences(shown, json.loads(sent.body))) == []


@each_language
def test_a_receiver_with_another_secret_refuses_it(
    stack: Stack, http: httpx.Client, origin: Origin, receivers: Path, name: str
) -> None:
    """At a place of its own: it is tried again there while other tests run."""
    with receiver(receivers, name, place=stack.hosts[5], secret=WRONG) as running:
        found = delivery(http, finished(http, origin, running.url))

        assert running.line() == "refused: No matching signature found"
    assert (found["status"], found["attempts"][0]["status_code"]) == ("pending", 400)


@each_language
def test_during_a_rotation_receivers_with_either_secret_take_it(
    stack: Stack, http: httpx.Client, origin: Origin, receivers: Path, name: str
) -> None:
    old = secret_of(stack)
    new = http.post("/v1/account/signing-secret/rotate").json()["signing_secret"]
    assert new != old
    with (
        receiver(receivers, name, place=stack.hosts[1], secret=old) as before,
        receiver(receivers, name, place=stack.hosts[2], secret=new) as after,
    ):
        for running in (before, after):
            request_id = finished(http, origin, running.url)
            assert running.line().startswith(f"request.completed {request_id} ")
            assert delivery(http, request_id)["status"] == "delivered"


@each_language
def test_a_receiver_refuses_what_is_old_or_was_changed(stack: Stack, receivers: Path, name: str) -> None:
    secret, body, now = secret_of(stack), '{"type":"request.completed","data":{"request_id":"1"}}', datetime.now(UTC)
    old = signed_headers("event-1", body, secrets=[secret], now=now - timedelta(minutes=6))
    early = signed_headers("event-1", body, secrets=[secret], now=now + timedelta(minutes=6))
    fresh = signed_headers("event-1", body, secrets=[secret], now=now)
    with receiver(receivers, name, place=stack.hosts[3], secret=secret) as running:
        assert httpx.post(running.url, content=body, headers=fresh).status_code == 204
        assert running.line() == "request.completed 1 event-1"
        for headers, sent in ((old, body), (early, body), (fresh, body + " "), (fresh | {"webhook-id": "2"}, body)):
            assert httpx.post(running.url, content=sent, headers=headers).status_code == 400
            assert running.line().startswith("refused: ")
