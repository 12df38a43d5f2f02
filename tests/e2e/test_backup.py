"""What docs/backup.md says, done: a stack is lost under load, and another goes on from its backup.

Before the backup a request finished (`done`), one is half done (`open`) and one waits for its webhook's receiver
(`owed`); after it one more finishes (`late`).
"""

import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from standardwebhooks import Webhook

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from deploy.local import postgres
from deploy.local.data_dir import DataDir
from tests.api import Client, Refused
from tests.e2e.conftest import new_key
from tests.origin import Exchange, Origin, body, status
from tests.stack import Stack, reserve_ports, until

IMAGES = 20
POINT = "before the mistake"


@dataclass
class Lost:
    """What is left of a stack that is gone, and what its clients know."""

    folder: Path
    origin: Origin
    env: dict[str, str]
    key: str = ""
    secret: str = ""
    requests: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # URL's path -> SHA-256, of `done`
    before: dict[str, int] = field(default_factory=dict)  # webhooks that had come when the new stack began
    gate: threading.Event = field(default_factory=threading.Event)

    def upload(self, api: Client, name: str, *, closed: int = 0) -> None:
        """A request whose last `closed` images come once the gate is open."""
        pictures = {n: draw(f"{name}{n}.jpg", (160, 120)) for n in range(IMAGES)}
        urls = [self.origin.add(f"/{name}/{n}.jpg", picture) for n, picture in pictures.items()]
        for n in range(IMAGES - closed, IMAGES):
            self.origin.on(f"/{name}/{n}.jpg", self._behind_the_gate(pictures[n]))
        csv = manifest([(str(n), f"Product {n}", [url]) for n, url in enumerate(urls)])
        self.requests[name] = api.upload(csv, webhook_url=self.origin.url(f"/hook/{name}"))["request_id"]

    def _behind_the_gate(self, picture: bytes) -> Any:
        def answer(exchange: Exchange) -> None:
            if self.gate.is_set():
                body(picture)(exchange)
            else:
                exchange.keep = False  # a reset, which is tried again

        return answer


@pytest.fixture(scope="module")
def lost(workspace: Path, cluster: Path) -> Iterator[Lost]:
    folder = workspace / "backup"
    (folder / "wal").mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "wal").chmod(0o777)
    env = {"HALFTONE_AUTH": "required", "HALFTONE_ORPHAN_HOURS": "0.0001", "HALFTONE_SWEEP_SECONDS": "1"}
    stack = Stack(workspace / "lost", env=env, like=cluster)
    env["HALFTONE_FETCH_ALLOW"] = ",".join(stack.hosts)
    with stack, Origin(port=stack.host_ports[0]) as origin:
        lost = Lost(folder, origin, env)
        _archive(stack, folder / "wal")
        lost.key, lost.secret = new_key(stack, "shop"), stack.command("secret", "--account", "shop").stdout.strip()
        api = Client(stack.base_url, key=lost.key)
        for name, hook in (("done", 200), ("open", 200), ("owed", 503), ("late", 200)):
            origin.on(f"/hook/{name}", status(hook))
        _work(lost, api)
        _back_up(lost, stack, api)
        stack.stop()
        shutil.rmtree(stack.data_dir)
        yield lost


def _work(lost: Lost, api: Client) -> None:
    lost.upload(api, "done")
    lost.upload(api, "open", closed=IMAGES // 2)
    lost.upload(api, "owed")
    api.finished(lost.requests["done"])
    api.finished(lost.requests["owed"])
    until(lambda: api.request(lost.requests["open"])["images"]["completed"] == IMAGES // 2, within=30)
    until(lambda: lost.origin.posts("/hook/done") and lost.origin.posts("/hook/owed"))
    for image in api.items(f"/v1/requests/{lost.requests['done']}/images"):
        path = "/" + image["output_url"].split("/", 3)[3]
        lost.files[path] = sha256(api.read(path)).hexdigest()


def _back_up(lost: Lost, stack: Stack, api: Client) -> None:
    """The database, then the files, while work goes on."""
    to = lost.folder
    _run("pg_dump", "--format=custom", f"--file={to / 'database.dump'}", stack.database_url)
    _run("pg_basebackup", "--checkpoint=fast", "--wal-method=none", "-D", str(to / "base"), "-d", stack.database_url)
    lost.upload(api, "late")
    api.finished(lost.requests["late"])
    until(lambda: lost.origin.posts("/hook/late"))
    subprocess.run(["cp", "-a", stack.data_dir / "blobs", to / "blobs"], check=True)
    with psycopg.connect(stack.database_url, autocommit=True) as owner:
        owner.execute("SELECT pg_create_restore_point(%s)", [POINT])
        owner.execute("DELETE FROM processing_request")
        archived = owner.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert archived
        until((to / "wal" / archived[0]).exists, within=30)
    (to / "secrets").mkdir()
    for secret in stack.data_dir.glob("*.secret"):
        shutil.copy(secret, to / "secrets")


def _archive(stack: Stack, to: Path) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as owner:
        owner.execute("ALTER SYSTEM SET archive_mode = 'on'")
        command: Any = f"ALTER SYSTEM SET archive_command = 'test ! -f {to}/%f && cp %p {to}/%f'"
        owner.execute(command)
    stack.restart("postgres", signal.SIGINT)
    until(lambda: stack.command("status").returncode == 0, within=30)


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run([postgres.binaries() / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_from_a_dump_all_goes_on_that_it_knows_and_nothing_else_is_left(
    lost: Lost, workspace: Path, cluster: Path
) -> None:
    folder = workspace / "from-dump"
    with Stack(folder, servers_only=True, env=lost.env, like=cluster) as servers:
        arguments = ("--clean", "--if-exists", "--no-owner", "--no-acl", "--single-transaction", "--exit-on-error")
        _run("pg_restore", *arguments, "-d", servers.database_url, str(lost.folder / "database.dump"))
    _restore_files(lost, folder)
    lost.gate.set()
    with Stack(folder, env=lost.env) as stack:
        api = _goes_on(lost, stack)

        with pytest.raises(Refused):  # its client has no 202 that the backup knows, and uploads it again
            api.request(lost.requests["late"])
        until(lambda: not (folder / "blobs" / lost.requests["late"]).exists(), within=30)


def test_from_a_base_backup_and_its_wal_all_goes_on_from_the_moment_before_a_mistake(
    lost: Lost, workspace: Path
) -> None:
    folder = workspace / "from-wal"
    folder.mkdir(mode=0o755)
    for secret in (lost.folder / "secrets").iterdir():
        shutil.copy(secret, folder)
    _recover(lost, folder / "postgres")
    _restore_files(lost, folder)
    lost.gate.set()
    with Stack(folder, env=lost.env) as stack:
        api = _goes_on(lost, stack)

        assert api.request(lost.requests["late"])["images"]["completed"] == IMAGES
        assert len(lost.origin.posts("/hook/late")) == 1


def _recover(lost: Lost, cluster: Path) -> None:
    """PostgreSQL alone reads the archive up to the point, and becomes a server of its own."""
    shutil.copytree(lost.folder / "base", cluster)
    (cluster / "recovery.signal").touch()
    with (cluster / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"restore_command = 'cp {lost.folder}/wal/%f %p'\narchive_mode = off\n")
        settings.write(f"recovery_target_name = '{POINT}'\nrecovery_target_action = promote\n")
    cluster.chmod(0o700)
    if user := postgres.run_as():
        subprocess.run(["chown", "-R", f"{user[0]}:{user[1]}", cluster], check=True)
    control: list[str | Path] = [postgres.binaries() / "pg_ctl", "-D", cluster, "-w", "-s"]
    [port] = reserve_ports(1)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c max_connections=200"

    url = postgres.url(DataDir(cluster.parent), port)

    def is_recovered() -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(url) as owner:
            return owner.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        return False

    _as_postgres([*control, "-l", cluster / "recovery.log", "-o", options, "start"], cluster)
    until(is_recovered, within=30)  # one that is stopped earlier replays the mistake at its next start
    _as_postgres([*control, "stop"], cluster)


def _as_postgres(command: list[str | Path], cluster: Path) -> None:
    uid, gid = postgres.run_as() or (None, None)
    done = subprocess.run(command, user=uid, group=gid, cwd=cluster, env=postgres.ENV, check=False, timeout=60)
    assert done.returncode == 0, (cluster / "recovery.log").read_text()


def _restore_files(lost: Lost, folder: Path) -> None:
    lost.origin.on("/hook/owed", status(200))
    lost.before = {name: len(lost.origin.posts(f"/hook/{name}")) for name in ("done", "open", "owed")}
    shutil.rmtree(folder / "blobs", ignore_errors=True)
    subprocess.run(["cp", "-a", lost.folder / "blobs", folder / "blobs"], check=True)


def _goes_on(lost: Lost, stack: Stack) -> Client:
    """Keys and secrets are valid, files are there, open work ends, and webhooks that were owed come, once."""
    api = Client(stack.base_url, key=lost.key)
    assert {path: sha256(api.read(path)).hexdigest() for path in lost.files} == lost.files
    assert stack.command("secret", "--account", "shop").stdout.strip() == lost.secret

    ended = api.finished(lost.requests["open"], within=120)
    assert ended["images"]["completed"] == IMAGES
    with psycopg.connect(stack.database_url, autocommit=True) as owner:
        owner.execute("UPDATE delivery SET next_attempt_at = now() WHERE status = 'pending'")  # in place of an hour
    until(lambda: len(lost.origin.posts("/hook/open")) > lost.before["open"], within=30)
    until(lambda: len(lost.origin.posts("/hook/owed")) > lost.before["owed"], within=30)
    last = lost.origin.posts("/hook/open")[-1]
    assert Webhook(lost.secret).verify(last.body, dict(last.headers))["type"] == "request.completed"
    assert len(lost.origin.posts("/hook/done")) == lost.before["done"]
    return api
