"""Settings of the migrations; deploy/env.example is their manual."""

from pydantic import AliasChoices, Field

from deploy.migrations.roles import GRANTS
from shared.settings import DatabaseUrl, FromEnvironment, SigningSecret


class RolePasswords(FromEnvironment):
    """Of the services' roles in the database (roles.py); a role is made where its password is set."""

    ingest_password: str | None = None
    worker_password: str | None = None
    notifier_password: str | None = None
    status_password: str | None = None

    @property
    def passwords(self) -> dict[str, str]:
        """Those that are set, by service."""
        given = {service: getattr(self, f"{service}_password") for service in GRANTS}
        return {service: password for service, password in given.items() if password}


class MigrationSettings(RolePasswords):
    """`webhook_secret` is the default account's signing secret; without one, the first migration makes one."""

    database_url: DatabaseUrl = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    webhook_secret: SigningSecret | None = None
