"""The tables, the default account and the triggers that keep terminal states terminal."""

import base64
import secrets
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op

from deploy.migrations.settings import MigrationSettings
from shared.schemas.accounts import DEFAULT_ACCOUNT

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text())  # as it stands: `%` is no parameter here
    secret = MigrationSettings().webhook_secret or new_secret()
    op.execute(
        sa.text("INSERT INTO account (id, name, signing_secret) VALUES (:id, 'default', :secret)").bindparams(
            id=DEFAULT_ACCOUNT, secret=secret
        )
    )


def new_secret() -> str:
    """A signing secret as Standard Webhooks 1.0 spells them: `whsec_` and 24 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def downgrade() -> None:
    raise NotImplementedError("There is nothing before the first migration: drop the database instead.")
