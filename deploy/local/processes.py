"""The processes of the stack, with their commands and environment."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deploy.local import fork_server, postgres, valkey
from deploy.local.data_dir import DataDir
from deploy.local.logins import FILES_TAKEN, SECRETS, Logins
from deploy.local.process import Spec, Tier
from deploy.local.settings import ROOT, LocalSettings

HTTP_SERVICES = ("ingest", "status")
NOTHING: Mapping[str, str] = {}
SHUTDOWN_SECONDS = "6"  # below the supervisor's limit for a service, which is below the 15 s for the whole stack


class Processes:
    """The processes for these settings; creating it chooses the ports and writes only small files."""

    def __init__(self, settings: LocalSettings, data: DataDir) -> None:
        self.settings = settings
        self.data = data
        self.workers = [f"worker-{number}" for number in range(1, settings.workers + 1)]
        self.port = data.ports(["postgres", "valkey", *HTTP_SERVICES, *self.workers, "notifier"])
        self.logins = Logins(settings, data, self.port)
        self.blob_url = settings.blob_url or data.blobs.as_uri()

    @property
    def env(self) -> dict[str, str]:
        """The environment of our own processes, without secrets: ours, and what follows from the settings."""
        return {
            "HALFTONE_SHUTDOWN_SECONDS": SHUTDOWN_SECONDS,
            **{name: value for name, value in os.environ.items() if name not in SECRETS},
            "BLOB_URL": self.blob_url,
            "HALFTONE_PUBLIC_URL": self.settings.public_url or self.settings.base_url,
            "HALFTONE_ALLOWED_HOSTS": self.settings.hosts,
            "HALFTONE_AUTH": self.settings.auth or "off",
            "HALFTONE_FETCH_ALLOW": self.settings.egress_allow,
            "HALFTONE_HEALTH_HOST": "127.0.0.1",
        }

    def servers(self) -> list[Spec]:
        """The servers whose addresses are not given."""
        wanted = []
        if not self.settings.database_url:
            wanted.append(postgres.spec(self.data, self.settings, self.port["postgres"]))
        if not self.settings.redis_url:
            wanted.append(valkey.spec(self.data, self.port["valkey"]))
        return wanted

    def migration_env(self) -> dict[str, str]:
        """The environment of the migrations, which alone have all secrets."""
        kept = {name: value for name, value in os.environ.items() if name not in FILES_TAKEN}
        return {**kept, **self.logins.of_migrations()}

    def migrate(self) -> list[str]:
        """The command that applies the migrations."""
        return [sys.executable, "-m", "alembic", "-c", "deploy/migrations/alembic.ini", "upgrade", "head"]

    def services(self) -> list[Spec]:
        """The services, in the order of a request's journey."""
        return [
            self._http("ingest"),
            *(self._module(name, "services.worker") for name in self.workers),
            self._module("notifier", "services.notifier"),
            self._http("status"),
        ]

    def gateway(self) -> Spec:
        """Caddy, whose own files are in the data folder."""
        env = {
            **self.env,
            "HALFTONE_BIND": self.settings.bind,
            "HALFTONE_PORT": str(self.settings.port),
            "HALFTONE_INGEST_UPSTREAMS": f"127.0.0.1:{self.port['ingest']}",
            "HALFTONE_STATUS_UPSTREAMS": f"127.0.0.1:{self.port['status']}",
            **files_from(self.blob_url, fallback=self.settings.blob_fallback_url),
            "XDG_DATA_HOME": str(self.data.folder / "caddy"),
            "XDG_CONFIG_HOME": str(self.data.folder / "caddy"),
        }
        caddy = Path(sys.executable).parent / "caddy"
        config = ROOT / "deploy" / "gateway" / "Caddyfile"
        return Spec(
            name="gateway",
            tier=Tier.GATEWAY,
            command=[caddy, "run", "--config", config, "--adapter", "caddyfile"],
            env=env,
            cwd=ROOT,
            ready=_answers(self.settings.port, "/healthz", host=urlsplit(self.settings.base_url).hostname or ""),
        )

    def _http(self, name: str) -> Spec:
        port = self.port[name]
        command = ["uvicorn", f"services.{name}.app:create", "--factory"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "--no-access-log"]
        command += ["--no-server-header", "--no-proxy-headers", "--timeout-graceful-shutdown", "5"]
        return self._service(name, command, port)

    def _module(self, name: str, module: str) -> Spec:
        port = self.port[name]
        return self._service(name, [module], port, {"HALFTONE_HEALTH_PORT": str(port)})

    def _service(self, name: str, command: list[str], port: int, more: Mapping[str, str] = NOTHING) -> Spec:
        return Spec(
            name=name,
            tier=Tier.SERVICE,
            command=command if fork_server.SAFE else [sys.executable, "-m", *command],
            env={**self.env, **self.logins.of_service(name.partition("-")[0]), **more},
            cwd=ROOT,
            ready=_answers(port, "/readyz"),
            forked=fork_server.SAFE,
        )


def files_from(blob_url: str, *, fallback: str | None = None) -> dict[str, str]:
    """How the gateway serves `/files`: from the blob folder, or through status if blobs are (also) in a bucket."""
    parts = urlsplit(blob_url)
    if parts.scheme == "file" and not fallback:
        return {"HALFTONE_FILES_FROM": "disk", "HALFTONE_BLOB_DIR": unquote(parts.path)}
    return {"HALFTONE_FILES_FROM": "status", "HALFTONE_BLOB_DIR": "/nonexistent"}


def _answers(port: int, path: str, *, host: str = "127.0.0.1") -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return b" 200" in await reader.readline()
        finally:
            writer.close()

    return ready
