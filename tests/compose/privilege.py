"""Each service has its own login at PostgreSQL, no password of another, and status no way to write a rendition."""

import re

from tests.compose.compose import SERVICES, Compose
from tests.compose.engine import Failed


def check_secret_is_read(compose: Compose) -> None:
    """The signing secret, as docs/secrets.md says."""
    if not re.fullmatch(r"whsec_\S+\n", compose.ask("SELECT signing_secret FROM account WHERE name = 'default'")):
        raise Failed("the signing secret cannot be read")


def check_logins(compose: Compose) -> None:
    """The logins at PostgreSQL are those of the services alone."""
    query = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'halftone' AND pid <> pg_backend_pid()"
    logins, own = set(compose.ask(query).split()), {f"halftone_{name}" for name in SERVICES}
    if not logins or not logins <= own:
        raise Failed(f"these logins are at the database: {', '.join(sorted(logins))}; wanted: {', '.join(sorted(own))}")
    print(f"logins at the database: {', '.join(sorted(logins))}")


def check_passwords(compose: Compose) -> None:
    """A service sees its own password and no secret besides."""
    for name in SERVICES:
        looking = "cat /proc/1/environ; echo; cat /run/secrets/*"
        environment, _, files = compose("exec", "-T", name, "sh", "-c", looking, capture=True).partition("\n")
        if "password-of" in environment:
            raise Failed(f"{name} has a password in its environment")
        seen = set(re.findall(r"password-of-(\w+)", files))
        if seen != {name} or "whsec_" in environment + files:
            raise Failed(f"{name} sees the passwords of {', '.join(sorted(seen))}")


def check_status_only_reads(compose: Compose) -> None:
    """The blob store is mounted read-only there."""
    planting = "touch /var/lib/halftone/blobs/planted 2>&1 || true"
    if "Read-only" not in compose("exec", "-T", "status", "sh", "-c", planting, capture=True):
        raise Failed("status can write to the blob store")
