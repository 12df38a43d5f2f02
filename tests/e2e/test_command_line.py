"""`halftone` as a person and as a script use it, against the whole stack."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import decode, draw
from halftone_client import Client
from tests.e2e.conftest import new_key
from tests.origin import Exchange, Origin, body, status
from tests.stack import Stack, reserve_ports, until

MEMORY = 100 << 20
COMMAND = (sys.executable, "-m", "halftone_client.cli")
WITHIN = 90
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(stack: Stack, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "HALFTONE_URL": stack.base_url,
        "COLUMNS": "100",
        "HALFTONE_API_KEY": stack.api_key or "",
        **more,
    }


@pytest.fixture
def run(stack: Stack, tmp_path: Path) -> Run:
    """The command in a folder of its own, in pipes."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=environment(stack, **env),
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN,
        )

    return run


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.base_url, key=stack.api_key) as client:
        yield client


def products(origin: Origin, path: Path, *, gone: int = 0) -> Path:
    """Two products with three images, and so many more that are gone."""
    for name in ("a.jpg", "b.jpg", "c.png"):
        origin.add(f"/{name}", draw(name, (320, 240)))
    urls = [origin.url(f"/gone{number}.jpg") for number in range(gone)]
    rows = [("1", "Shoe", [origin.url("/a.jpg"), origin.url("/b.jpg")]), ("2", "Hat", [origin.url("/c.png"), *urls])]
    path.write_bytes(manifest(rows))
    return path


def fields(done: subprocess.CompletedProcess[str]) -> Mapping[str, str]:
    return dict(line.split("\t") for line in done.stdout.splitlines())


def test_one_command_from_the_csv_to_the_images(run: Run, origin: Origin, tmp_path: Path) -> None:
    products(origin, tmp_path / "products.csv")
    done = run("submit", "products.csv", "--output", "out.csv", "--zip", "out.zip", "--images", "new/images")
    assert done.returncode == 0, done.stderr
    assert (fields(done)["status"], fields(done)["completed"]) == ("completed", "3")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        members = {name: archive.read(name) for name in archive.namelist()}
    written = {path.name: path.read_bytes() for path in (tmp_path / "new/images").iterdir()}
    assert written == members
    assert sorted(written) == ["1_Shoe_1.jpg", "1_Shoe_2.jpg", "2_Hat_1.png"]
    assert {decode(content).size for content in written.values()} == {(320, 240)}
    assert (tmp_path / "out.csv").read_text().count("/files/") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out.csv", "out.zip", "products.csv"]


def test_a_script_reads_exit_codes_and_json(run: Run, origin: Origin, tmp_path: Path) -> None:
    products(origin, tmp_path / "products.csv", gone=2)
    done = run("submit", "products.csv", "--wait", "--json")
    request = json.loads(done.stdout)
    assert (done.returncode, request["outcome"], request["images"]["failed"]) == (1, "partial", 2)

    listed = json.loads(run("list", "--json", "--limit", "1").stdout)
    assert [one["request_id"] for one in listed] == [request["request_id"]]
    assert run("status", request["request_id"]).returncode == 0
    assert run("cancel", request["request_id"]).returncode == 2
    for number in range(2):
        origin.add(f"/gone{number}.jpg", draw(f"{number}.jpg", (64, 64)))
    again = run("retry", request["request_id"], "--wait", "--json")
    assert (again.returncode, json.loads(again.stdout)["run"]) == (0, 2), again.stderr
    assert run("watch", request["request_id"]).returncode == 0


def test_in_a_pipe_stdout_is_the_id_alone(run: Run, origin: Origin, tmp_path: Path) -> None:
    products(origin, tmp_path / "products.csv")
    first, second, other, new = (
        run("submit", "products.csv", *more).stdout for more in ((), (), ("--quality", "30"), ("--new",))
    )
    assert re.fullmatch(r"[0-9a-f-]{36}\n", first)
    assert second == first, "the same file is the same request"
    assert len({first, other, new}) == 3


def test_killed_and_started_again_it_finds_the_same_request(
    run: Run, stack: Stack, client: Client, origin: Origin, tmp_path: Path
) -> None:
    held, picture = tmp_path / "held", draw("x.jpg", (64, 64))
    held.touch()

    def slow(exchange: Exchange) -> None:
        until(lambda: not held.exists(), within=WITHIN)
        body(picture)(exchange)

    origin.on("/slow.jpg", slow)
    (tmp_path / "products.csv").write_bytes(manifest([("1", "Shoe", [origin.url("/slow.jpg")])]))
    before = {request["request_id"] for request in client.requests()}
    for number in (signal.SIGKILL, signal.SIGINT):
        code, said = interrupted(stack, tmp_path, number)
        (made,) = {request["request_id"] for request in client.requests()} - before
    assert code == 130
    assert f"halftone watch {made}" in said
    held.unlink()
    assert fields(run("submit", "products.csv", "--wait"))["request_id"] == made


def interrupted(stack: Stack, folder: Path, number: signal.Signals) -> tuple[int, str]:
    """A `submit --wait` that gets this signal once it waits: its exit code and its last words."""
    command = [*COMMAND, "submit", "products.csv", "--wait"]
    with subprocess.Popen(command, cwd=folder, env=environment(stack), stderr=subprocess.PIPE) as process:
        stderr = process.stderr
        assert stderr is not None
        until(lambda: b"of 1 images" in stderr.readline())
        process.send_signal(number)
        said = stderr.read().decode()
    return process.returncode, said


def test_ten_thousand_images_take_little_memory_and_the_bar_never_goes_back(
    stack: Stack, origin: Origin, tmp_path: Path
) -> None:
    picture = draw("many.jpg", (16, 16))
    origin.otherwise = body(picture)
    rows = [(str(row), "Shoe", [origin.url(f"/many/{row}-{one}.jpg") for one in range(20)]) for row in range(500)]
    (tmp_path / "many.csv").write_bytes(manifest(rows))
    code, peak, screen = on_a_terminal(stack, "submit", "many.csv", "--wait", folder=tmp_path)
    assert code == 0, screen[-2000:]
    done = [int(figure.replace(",", "")) for figure in re.findall(r"([\d,]+)/10,000", screen)]
    assert len(done) > 2
    assert done == sorted(done)
    assert peak < MEMORY


def on_a_terminal(stack: Stack, *arguments: str, folder: Path, **env: str) -> tuple[int, int, str]:
    """The exit code, the most memory in bytes, and all that was written."""
    own, other = pty.openpty()
    more = {"TERM": "xterm-256color", **env}
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment(stack, **more), stdout=other, stderr=other, stdin=other
    ) as process:
        os.close(other)
        written, peak = b"", 0
        try:
            while chunk := os.read(own, 1 << 16):
                written += chunk
                peak = max(peak, memory_of(process.pid))
        except OSError:  # the other end is closed
            pass
        code = process.wait(WITHIN)
    os.close(own)
    return code, peak, written.decode()


def memory_of(pid: int) -> int:
    """The most that it ever had in memory (Linux), in bytes; 0 once it has ended."""
    try:
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except (OSError, ValueError):
        return 0
    return int(peak) * 1024


def test_a_person_sees_the_cell_and_colours_that_can_be_turned_off(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text('S. No.,Product Name,Input Image Urls\n1,Shoe,"http://a.example/a.jpg,ftp://b"\n')
    code, _, colourful = on_a_terminal(stack, "check", "bad.csv", folder=tmp_path)
    assert code == 2
    assert "\x1b[3" in colourful
    code, _, plain = on_a_terminal(stack, "submit", "bad.csv", folder=tmp_path, NO_COLOR="1")
    assert code == 2
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", plain)
    line, carets = re.sub(r"\x1b\[[0-9;]*m", "", plain).split("\r\n")[3:5]
    assert line[carets.index("^") : carets.rindex("^") + 1] == "ftp://b"


def client_requests(stack: Stack) -> int:
    with Client(stack.base_url, key=stack.api_key) as client:
        return sum(1 for _ in client.requests())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.csv", None, "There is no file"),
        (".", None, "is a folder"),
        ("empty.csv", b"", "is empty"),
        ("sheet.xlsx", b"PK\x03\x04" + b"x" * 100, "Save it as CSV"),
        ("utf32.csv", "S. No.".encode("utf-32"), ""),
        ("columns.csv", b"Name,Url\n1,2\n", "1 error"),
        ("binary.csv", bytes(range(256)) * 10, ""),
    ],
)
def test_a_wrong_file_is_two_lines_and_no_traceback(
    run: Run, tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for command in ("submit", "check"):
        done = run(command, name)
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.startswith("X ")
        assert len(done.stderr.splitlines()) <= 2


def test_a_place_that_cannot_be_written_to_is_found_before_the_upload(
    run: Run, stack: Stack, origin: Origin, tmp_path: Path
) -> None:
    products(origin, tmp_path / "products.csv")
    before = client_requests(stack)
    for options in (("--output", "no/out.csv"), ("--zip", "."), ("--images", "products.csv")):
        done = run("submit", "products.csv", *options)
        assert (done.returncode, done.stdout) == (2, "")
    assert client_requests(stack) == before


def test_a_service_that_is_away_is_exit_code_3(run: Run) -> None:
    away = f"http://127.0.0.1:{reserve_ports(1)[0]}"
    for command in (("list",), ("doctor",)):
        done = run(*command, "--url", away)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert away in done.stdout + done.stderr


def test_a_missing_and_a_wrong_key_are_told_apart(run: Run, closed: Stack) -> None:
    key = new_key(closed, "cli")
    missing, wrong = (
        run("list", "--url", closed.base_url, HALFTONE_API_KEY=""),
        run("list", "--url", closed.base_url, HALFTONE_API_KEY=key[:-1]),
    )
    assert (missing.returncode, wrong.returncode) == (2, 2)
    assert "requires an API key" in missing.stderr
    assert "not valid" in wrong.stderr
    assert run("doctor", "--url", closed.base_url, HALFTONE_API_KEY=key).returncode == 0
    reader = new_key(closed, "cli", "read")
    assert run("doctor", "--url", closed.base_url, HALFTONE_API_KEY=reader).returncode == 2


def test_a_webhook_is_listed_and_sent_again(run: Run, origin: Origin, tmp_path: Path) -> None:
    origin.on("/hook", status(204))
    products(origin, tmp_path / "products.csv")
    request_id = fields(run("submit", "products.csv", "--wait", "--webhook", origin.url("/hook")))["request_id"]
    until(lambda: origin.hits("/hook") == 1)
    until(lambda: json.loads(run("deliveries", request_id, "--json").stdout)[0]["status"] == "delivered")
    (delivery,) = json.loads(run("deliveries", request_id, "--json").stdout)
    (sent,) = origin.posts("/hook")
    assert delivery["body"].encode() == sent.body
    assert delivery["attempts"][0]["request_headers"].items() <= dict(sent.headers).items()
    assert run("deliveries", request_id, "--redeliver", "nonsense").returncode == 2
    assert run("deliveries", request_id, "--redeliver", delivery["id"]).returncode == 0
    until(lambda: origin.hits("/hook") == 2)


@pytest.mark.parametrize(
    "arguments", [(), ("nonsense",), ("submit",), ("submit", "x.csv", "--quality", "0"), ("list", "-n", "x")]
)
def test_a_wrong_command_says_where_to_read(run: Run, arguments: Sequence[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
