"""Checks before the start: each problem is one line, and the stack does not start."""

import errno
import os
import pwd
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

import redis
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local.data_dir import DataDir, is_free
from deploy.local.settings import LocalSettings
from deploy.migrations.settings import MigrationSettings
from services.ingest.settings import IngestSettings
from services.notifier.settings import NotifierSettings
from services.status.settings import StatusSettings
from services.worker.settings import WorkerSettings
from shared.settings import LOOPBACK, error_lines, exit_with

SERVICES = (IngestSettings, WorkerSettings, NotifierSettings, StatusSettings, MigrationSettings)
ANY_DATABASE = "postgresql://127.0.0.1/halftone"
"""Placeholder for the stack's own database, whose address is not known yet."""
REDIS_SECONDS = 2.0


def read_settings() -> LocalSettings:
    """The stack's settings; ends the process unless they and those of every service are valid."""
    errors = []
    database = (
        {} if os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE") else {"database_url": ANY_DATABASE}
    )
    given: list[tuple[type[BaseSettings], dict[str, Any]]] = [(LocalSettings, {})]
    for kind, values in given + [(kind, database) for kind in SERVICES]:
        try:
            kind(**values)
        except ValidationError as error:
            errors += error_lines(error)
    if errors:
        exit_with(errors)
    return LocalSettings()


def require_address(settings: LocalSettings) -> None:
    """End the process if the gateway cannot listen on its address; a taken port is detected later."""
    try:
        is_free(settings.bind, settings.port)
    except socket.gaierror:
        exit_with([f"HALFTONE_BIND: nothing has the name {settings.bind}"])
    except OSError as error:
        exit_with([why_not(error, settings)])


def why_not(error: OSError, settings: LocalSettings) -> str:
    """The error line for an address that cannot be listened on."""
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HALFTONE_BIND: this machine has no address {settings.bind}"
    if error.errno == errno.EACCES:
        return f"HALFTONE_PORT: port {settings.port} is not for ordinary users; choose one from 1024 up"
    return f"HALFTONE_BIND: {settings.bind} cannot be listened on: {error.strerror}"


def tell_of_others(settings: LocalSettings) -> None:
    """Say what others who reach the gateway need: a key, and a name of this machine that is allowed."""
    if settings.is_loopback:
        return
    if settings.auth == "required":
        _say(f"others can reach {settings.bind}, so calls need an API key: `make key NAME=shop` makes one")
    public = urlsplit(settings.public_url or "").hostname
    if settings.is_every_address and not settings.allowed_hosts and public in (None, *LOOPBACK):
        example = f"HALFTONE_PUBLIC_URL=http://{_own_address()}:{settings.port}"
        _say(f"warning: calls to this machine's own address are refused until it is named, as in {example}")


def _own_address() -> str:
    """The address with which this machine would reach others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:  # no network
            return socket.gethostname()
        return str(probe.getsockname()[0])


def _say(text: str) -> None:
    print(f"halftone: {text}", file=sys.stderr, flush=True)


def require_own_folder(data: DataDir) -> None:
    """End the process if another user owns the data folder: its files would end up with two owners."""
    try:
        owner = data.folder.stat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        conflict = f"{data.folder} belongs to {_user(owner)}, and this is {_user(os.geteuid())}"
        exit_with([f"HALFTONE_DATA_DIR: {conflict}: start it as {_user(owner)}, or choose another folder"])


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def warn_of_missing_redis(settings: LocalSettings) -> None:
    """Only a warning: messages are hints, and the sweeper sends them once Redis is back."""
    if settings.redis_url is None:
        return
    try:
        with redis.Redis.from_url(
            settings.redis_url,
            socket_connect_timeout=REDIS_SECONDS,
            socket_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        reason = " ".join(str(error).split())
        _say(f"warning: REDIS_URL: {reason} Uploads are accepted and wait until it is available.")
