"""The command under what terminals, pipes and people do to it, against a server that answers as told."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.origin import Behaviour, Exchange, Origin, body, status
from tests.stack import reserve_ports

COMMAND = (sys.executable, "-m", "halftone_client.cli")
ID = "01a2012e-79c1-7690-b0f1-0d12b3c72e72"
REQUEST = {
    "request_id": ID,
    "run": 1,
    "status": "processing",
    "products": 1,
    "images": {"total": 1, "pending": 1, "completed": 0, "failed": 0, "cancelled": 0},
    "created_at": "2026-01-01T00:00:00Z",
}
WRONG = {"row": 1, "line": 2, "column": "Input Image Urls", "url_index": 1, "code": "invalid_url"}
REFUSED = {
    "valid": False,
    "products": 0,
    "images": 0,
    "errors": [WRONG | {"detail": "Not a URL.", "value": "ftp://日本"}],
    "error_count": 1,
}
MANIFEST = "S. No.,Product Name,Input Image Urls\n1,Shoe,ftp://日本\n"
Finished = subprocess.CompletedProcess[str]


def answered(value: object, **headers: str) -> Behaviour:
    return body(json.dumps(value).encode(), headers=headers)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Origin]:
    (tmp_path / "products.csv").write_text(MANIFEST, encoding="utf-8")
    with Origin(port=reserve_ports(1)[0]) as host:
        host.on("/v1/requests", answered({"items": [], "next_page_token": None}))
        yield host


def run(host: Origin, folder: Path, *arguments: str, shell: str = '"$@"', **env: str) -> Finished:
    """The command in a pipe, as a shell starts it."""
    return subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "HALFTONE_URL": host.url(""), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("library", ["httpx", "typer", "rich", "httpx_sse"])
def test_an_interrupt_while_it_loads_is_no_traceback(host: Origin, tmp_path: Path, library: str) -> None:
    (tmp_path / f"{library}.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run(host, tmp_path, "list", PYTHONPATH=path)
    assert done.returncode == 130
    assert done.stderr == "X Interrupted. Type the same command again.\n"


def interrupting(children: list[subprocess.Popen[str]], number: signal.Signals) -> Behaviour:
    """A server whose client is interrupted while it waits for the answer."""

    def answer(exchange: Exchange) -> None:
        children[0].send_signal(number)
        exchange.pause(60)

    return answer


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/requests", "Type it again: what arrived is not done twice."),
        (f"/v1/requests/{ID}", f"halftone watch {ID} --output 'my out.csv'"),
        (f"/v1/requests/{ID}/events", f"halftone watch {ID} --output 'my out.csv'"),
    ],
)
def test_an_interrupt_says_how_to_go_on(host: Origin, tmp_path: Path, path: str, says: str) -> None:
    children: list[subprocess.Popen[str]] = []
    host.on("/v1/requests", answered(REQUEST, **{"Idempotent-Replayed": "true"}))
    host.on(f"/v1/requests/{ID}", answered(REQUEST))
    host.on(path, interrupting(children, signal.SIGINT))
    children.append(started(host, tmp_path, "submit", "products.csv", "--output", "my out.csv"))
    with children[0] as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert says in said
    assert "Traceback" not in said


def test_terminated_it_leaves_no_part_of_a_file(host: Origin, tmp_path: Path) -> None:
    children: list[subprocess.Popen[str]] = []

    def half(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        interrupting(children, signal.SIGTERM)(exchange)

    done = REQUEST | {"status": "completed", "started_at": None, "finished_at": REQUEST["created_at"]}
    host.on(f"/v1/requests/{ID}", answered(done))
    host.on(f"/v1/requests/{ID}/output.csv", half)
    children.append(started(host, tmp_path, "watch", ID, "--output", "out.csv"))
    with children[0] as process:
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["products.csv"]


def test_under_nohup_it_goes_on(host: Origin, tmp_path: Path) -> None:
    children: list[subprocess.Popen[str]] = []
    listed = answered({"items": [REQUEST], "next_page_token": None})

    def hang_up(exchange: Exchange) -> None:
        children[0].send_signal(signal.SIGHUP)
        listed(exchange)

    host.on("/v1/requests", hang_up)
    children.append(started(host, tmp_path, "list", under=("sh", "-c", 'trap "" HUP; exec "$@"', "sh")))
    with children[0] as process:
        shown, _ = process.communicate(timeout=60)
    assert (process.returncode, shown.startswith(ID)) == (0, True)


def started(host: Origin, folder: Path, *arguments: str, under: Sequence[str] = ()) -> subprocess.Popen[str]:
    env = {**os.environ, "HALFTONE_URL": host.url("")}
    command, pipe = [*under, *COMMAND, *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_encoding_that_lacks_a_character_is_no_crash(host: Origin, tmp_path: Path, encoding: str) -> None:
    host.on("/v1/requests", answered(REFUSED))
    found = run(host, tmp_path, "check", "products.csv", "--json", PYTHONIOENCODING=encoding)
    assert json.loads(found.stdout) == REFUSED
    plain = run(host, tmp_path, "check", "products.csv", PYTHONIOENCODING=encoding)
    assert plain.stdout.split("\t")[4:6] == ["invalid_url", "Not a URL."]
    assert (found.returncode, plain.returncode) == (2, 2)


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ('"$@" >&-', 0),
        ('"$@" >&- 2>&-', 0),
        ('"$@" <&-', 0),
        ('"$@" >/dev/full', 2),
        ('{ "$@"; echo $? >&2; } | :', 0),
    ],
)
def test_a_closed_or_full_stream_is_no_traceback(host: Origin, tmp_path: Path, shell: str, code: int) -> None:
    items = [REQUEST] * 3000
    host.on("/v1/requests", answered({"items": items, "next_page_token": None}))
    done = run(host, tmp_path, "list", "-n", "3000", shell=shell)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_a_pipe_without_a_reader_ends_with_its_own_code(host: Origin, tmp_path: Path) -> None:
    host.on("/v1/requests", answered({"items": [REQUEST] * 3000, "next_page_token": None}))
    for arguments in (("list", "-n", "3000"), ("list", "-n", "3000", "--json")):
        done = run(host, tmp_path, *arguments, shell='{ "$@"; echo $? >&2; } | sleep 0')
        assert done.stderr == "141\n"


def test_standard_input_that_is_closed_is_empty(host: Origin, tmp_path: Path) -> None:
    done = run(host, tmp_path, "submit", "-", shell='"$@" <&-')
    assert (done.returncode, done.stderr) == (2, "X Standard input is empty: there is nothing to send.\n")


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("127.0.0.1:8080", 2, "Not an HTTP address"),
        ("http://[::1", 2, "Not an HTTP address"),
        ("http://{host}/other", 2, "does not look like Halftone"),
    ],
)
def test_a_wrong_address_is_said_at_once(host: Origin, tmp_path: Path, url: str, code: int, says: str) -> None:
    host.on("/other/v1/requests", status(404, b'{"code": "not_found", "detail": "Nothing exists at this path."}'))
    address = url.replace("{host}", host.url("").removeprefix("http://"))
    done = run(host, tmp_path, "list", "--url", address)
    assert done.returncode == code
    assert says in done.stderr
    assert "Trying again" not in done.stderr


def test_https_where_there_is_none_is_said_at_once(host: Origin, tmp_path: Path) -> None:
    def refuse(server: socket.socket) -> None:
        with server.accept()[0] as taken:
            taken.recv(1 << 16)
            taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(refuse, server)
        done = run(host, tmp_path, "list", "--url", f"https://127.0.0.1:{server.getsockname()[1]}")
    assert done.returncode == 3
    assert "speaks no TLS; http:// may be meant." in done.stderr
    assert "Trying again" not in done.stderr


def test_what_cannot_be_a_key_or_an_id_is_not_sent(host: Origin, tmp_path: Path) -> None:
    for key in ("ht_a b", "ht_é", "ht_a\nb"):
        done = run(host, tmp_path, "list", HALFTONE_API_KEY=key)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert key not in done.stderr
    for command in ("status", "watch", "retry", "cancel", "deliveries"):
        done = run(host, tmp_path, command, "nonsense")
        assert (done.returncode, "no id of a request" in done.stderr) == (2, True)
    assert run(host, tmp_path, "check", "products.csv", "--webhook", "").returncode == 2
    assert host.hits("/v1/requests") == 0


def test_a_file_that_changed_under_its_key_can_be_sent_anew(host: Origin, tmp_path: Path) -> None:
    host.on("/v1/requests", status(422, b'{"code": "idempotency_key_reused"}'))
    done = run(host, tmp_path, "submit", "products.csv")
    assert (done.returncode, "--new" in done.stderr) == (2, True)


def test_a_terminal_that_cannot_write_over_a_line_gets_lines(host: Origin, tmp_path: Path) -> None:
    done = REQUEST | {
        "status": "completed",
        "outcome": "success",
        "images": REQUEST["images"] | {"pending": 0, "completed": 1},  # type: ignore[operator]
        "bytes": {"source": 2, "rendition": 1, "saved": 1, "saved_ratio": 0.5},
        "options": {"quality": 50, "mode": "absolute", "format": "keep", "max_side": None},
        "started_at": REQUEST["created_at"],
        "finished_at": REQUEST["created_at"],
        "eta_seconds": 0,
        "webhook_url": None,
    }
    coming = b"".join(
        b"event: progress\ndata: " + json.dumps(one).encode() + b"\n\n" for one in (REQUEST | {"eta_seconds": 0}, done)
    )
    host.on(f"/v1/requests/{ID}", answered(REQUEST))
    host.on(f"/v1/requests/{ID}/events", body(coming, headers={"Content-Type": "text/event-stream"}))
    own, other = pty.openpty()
    env = {**os.environ, "HALFTONE_URL": host.url(""), "TERM": "dumb"}
    with subprocess.Popen(
        [*COMMAND, "watch", ID], cwd=tmp_path, env=env, stdin=other, stdout=other, stderr=other
    ) as process:
        os.close(other)
        written = b""
        try:
            while chunk := os.read(own, 1 << 16):
                written += chunk
        except OSError:  # the other end is closed
            pass
    os.close(own)
    assert process.returncode == 0, written
    assert b"1 of 1 images\r\n" in written
    assert b"0s left" not in written
    assert not re.search(rb"\x1b|\r(?!\n)", written)
