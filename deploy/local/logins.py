"""The login of each service at PostgreSQL and Valkey: its own, which may do what that service needs and no more."""

from collections.abc import Mapping

from sqlalchemy import make_url

from deploy.local import postgres, valkey
from deploy.local.data_dir import DataDir
from deploy.local.settings import LocalSettings
from deploy.migrations.roles import GRANTS, role_of

OF_ROLES = tuple(f"HALFTONE_{service.upper()}_PASSWORD" for service in GRANTS)
OF_MIGRATIONS = frozenset({"HALFTONE_WEBHOOK_SECRET", *OF_ROLES})
ADDRESSES = frozenset({"DATABASE_URL", "REDIS_URL"})
FILES_TAKEN = frozenset(f"{name}_FILE" for name in (*OF_ROLES, *ADDRESSES))
"""Read by the stack itself, which gives the migrations what is in them."""
SECRETS = (
    OF_MIGRATIONS
    | ADDRESSES
    | FILES_TAKEN
    | {"HALFTONE_WEBHOOK_SECRET_FILE", "HALFTONE_KEY", "HALFTONE_OPERATOR_PASSWORD", "POSTGRES_PASSWORD"}
)
"""Variables that no service inherits; its own two addresses it is given."""


class Logins:
    """A server that is not ours has one login for all, unless passwords of roles are set."""

    def __init__(self, settings: LocalSettings, data: DataDir, port: Mapping[str, int]) -> None:
        self.database_url = settings.database_url or postgres.url(data, port["postgres"])
        self.redis_url = settings.redis_url or valkey.url(data, port["valkey"])
        self.passwords = settings.passwords
        self._redis_urls: dict[str, str] = {}
        if not settings.database_url:
            self.passwords = {service: data.secret(f"postgres-{service}") for service in GRANTS} | self.passwords
        if not settings.redis_url:
            self._redis_urls = {service: valkey.url(data, port["valkey"], service) for service in GRANTS}

    def of_service(self, service: str) -> dict[str, str]:
        return {"DATABASE_URL": self._database(service), "REDIS_URL": self._redis_urls.get(service, self.redis_url)}

    def of_migrations(self) -> dict[str, str]:
        """The owner of the tables, and the passwords of the roles that it makes."""
        passwords = {f"HALFTONE_{name.upper()}_PASSWORD": value for name, value in self.passwords.items()}
        return {"DATABASE_URL": self.database_url, **passwords}

    def _database(self, service: str) -> str:
        if service not in self.passwords:
            return self.database_url
        url = make_url(self.database_url)
        login = url.set(username=role_of(service, url.database or ""), password=self.passwords[service])
        return login.render_as_string(hide_password=False)
